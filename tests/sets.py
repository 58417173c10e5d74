"""The labelled sets of benchmarks/sets, read by the program's own reader."""

from pathlib import Path
from typing import Any

from tui_router.cli.shared import request_rows
from tui_router.core.types import Request

SETS = Path(__file__).parent.parent / "benchmarks" / "sets"


def rows(name: str) -> list[tuple[dict[str, Any], Request]]:
    """(row, request) of every line of a set."""
    return [(row, request) for _, row, request in request_rows(str(SETS / f"{name}.jsonl"), "FILE")]
