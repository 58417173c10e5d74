"""Counts how many runs the gate has judged on the same sealed rows.

Each judgement can pass a router by luck. Ten runs that are no better than the champion, each tested at 5 %, pass 12 to 20 %
of the time (`scripts/sim_gate.py`). So the 5 % are shared out: look k at the same rows tests at 5 % / (k (k + 1)), which
adds up to 5 % over all looks, however many there are. This union bound needs the rows themselves to stay unseen: a person who
reads which rows were wrong can train on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from filelock import FileLock
from msgspec import Struct

from tui_router.core.clock import now
from tui_router.training import RUNS

_FILE = "gate_looks.jsonl"
_SAME_SET = 0.5
"""Share of the smaller set's rows that two sets must have in common to count as the same. Chosen by hand: a few new verdicts
must not make a new set."""


class Look(Struct, frozen=True, kw_only=True):
    """One run judged on sealed rows; a line of the file."""

    at: str
    run: str
    rows: tuple[str, ...]
    """`Example.key` of each sealed row."""


def level_of_look(level: float, look: int) -> float:
    """Return the share of the level that a look may use; over all looks they add up to the level."""
    return level / (look * (look + 1))


def next_look(folder: Path, keys: Sequence[str]) -> int:
    """Return the number, from 1, that the next run judged on these rows would have. Records nothing."""
    return 1 + len({look.run for look in _read(folder) if _same_set(look.rows, keys)})


def count_look(folder: Path, run: str, keys: Sequence[str]) -> int:
    """Record that a run is judged on these rows; returns the number of the look, from 1.

    Judging a run again is the same look, because its predictions stay the same.

    Args:
        folder: The data folder.
        run: The run's id.
        keys: `Example.key` of each sealed row.

    Raises:
        OSError: the record cannot be written.
    """
    path = folder / RUNS / _FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        looks = [look for look in _read(folder) if _same_set(look.rows, keys)]
        runs = list(dict.fromkeys(look.run for look in looks))
        if run not in runs:
            runs.append(run)
            line = msgspec.json.encode(Look(at=now(), run=run, rows=tuple(keys)))
            with path.open("ab") as file:
                file.write(b"\n" + line + b"\n")  # the first ends a line that a crash cut off
    return runs.index(run) + 1


def _same_set(one: Sequence[str], other: Sequence[str]) -> bool:
    smaller = min(len(set(one)), len(set(other)))
    return smaller > 0 and len(set(one) & set(other)) > _SAME_SET * smaller


def _read(folder: Path) -> list[Look]:
    """Return the looks so far, oldest first; a line that a crash cut off is skipped, and so are empty lines."""
    try:
        lines = (folder / RUNS / _FILE).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            found.append(msgspec.json.decode(line, type=Look))
        except msgspec.DecodeError:
            continue
    return found
