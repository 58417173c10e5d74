"""`logs/routing_YYYY-MM-DD.jsonl`: one line a turn with its latest verdict, for anybody to read.

The files are made from the store, never read back by it. A row:
`{"timestamp","id","session_id","request":{"text","has_image","has_code"},"routing":{"model_chosen","task_type",
"confidence","router","served","fallback_used"},"feedback":{"user_rating":1|-1|null,"kind","correct_model",
"correct_route","notes"}}`. Days are local days.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from tui_router.core.clock import local_day
from tui_router.core.fleet import Fleet
from tui_router.core.types import Turn
from tui_router.store import json_codec
from tui_router.store.store import Store

_PAGE = 200
"""Turns that are read at a time."""


def write_all(store: Store, fleet: Fleet, folder: Path) -> list[Path]:
    """Write the file of every day that has turns; returns the files. Time grows with the number of turns."""
    return _write(store.turns(), fleet, folder)


def write_days_of(store: Store, fleet: Fleet, folder: Path, numbers: Iterable[int]) -> list[Path]:
    """Write the files of the days to which these turns belong; returns the files.

    Time grows with the turns of those days only: a verdict on a turn of last month rewrites one day.
    """
    written: dict[str, Path] = {}
    for number in sorted(numbers):
        turn = store.find(str(number))
        if turn is not None and _day(turn) not in written:
            written |= dict(zip([_day(turn)], _write(_same_day(store, turn), fleet, folder), strict=False))
    return list(written.values())


def _same_day(store: Store, turn: Turn) -> list[Turn]:
    """Return the turns around this one that belong to its local day, oldest first."""
    day, first, last = _day(turn), turn.number, turn.number
    found = [turn]
    while earlier := [t for t in store.between(first - _PAGE, first - 1) if _day(t) == day]:
        found, first = [*earlier, *found], earlier[0].number
    while later := [t for t in store.between(last + 1, last + _PAGE) if _day(t) == day]:
        found, last = [*found, *later], later[-1].number
    return found


def _write(turns: Iterable[Turn], fleet: Fleet, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    made: dict[Path, Path] = {}
    for day, group in groupby(turns, key=_day):
        path = folder / f"routing_{day}.jsonl"
        if path not in made:  # a clock that jumped back brings a day a second time
            made[path] = path.with_name(f"{path.name}.{os.getpid()}.tmp")
            made[path].unlink(missing_ok=True)
            made[path].touch(0o600)
        with made[path].open("ab") as file:
            for turn in group:
                file.write(json_codec.encode(row(turn, fleet)) + b"\n")
    for path, part in made.items():
        part.replace(path)
    return list(made)


def row(turn: Turn, fleet: Fleet) -> dict[str, Any]:
    """One turn as a line of the log."""
    verdict, dispatch = turn.verdict, turn.dispatch
    route = verdict.route if verdict else None
    right = fleet.by_route.get(route) if route else None
    return {
        "timestamp": turn.at,
        "id": turn.id,
        "session_id": turn.session,
        "request": {
            "text": turn.request.text,
            "has_image": turn.request.has_image,
            "has_code": turn.request.has_code or "```" in turn.request.text,
        },
        "routing": {
            "model_chosen": turn.decision.model,
            "task_type": turn.decision.route,
            "confidence": round(turn.decision.confidence, 4),
            "router": turn.decision.router,
            "served": dispatch.served if dispatch else None,
            "fallback_used": bool(dispatch and dispatch.served and dispatch.served != dispatch.intended),
        },
        "feedback": {
            "user_rating": {"right": 1, "wrong": -1}.get((verdict.rating or "") if verdict else ""),
            "kind": verdict.kind if verdict else None,
            "correct_model": right.model if right else None,
            "correct_route": route,
            "notes": verdict.comment if verdict else "",
        },
    }


def _day(turn: Turn) -> str:
    return local_day(turn.at)
