"""The labelled sets of benchmarks/sets, read by the program's own reader."""

from pathlib import Path

from tui_router.cli.shared import request_rows

SETS = Path(__file__).parent.parent / "benchmarks" / "sets"


def rows(name: str):
    """(row, request) of every line of a set."""
    return [(row, request) for _, row, request in request_rows(str(SETS / f"{name}.jsonl"), "FILE")]
