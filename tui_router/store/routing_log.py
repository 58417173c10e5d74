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


def write_all(store: Store, fleet: Fleet, folder: Path) -> list[Path]:
    """Write the file of every day that has turns; returns the files. Time grows with the number of turns."""
    return _write(store.turns(), fleet, folder)


def write_since(store: Store, fleet: Fleet, folder: Path, first: int) -> list[Path]:
    """Write the files of the days from that of turn number `first` on; returns the files."""
    turn = store.find(str(first))
    if turn is None:
        return []
    day = _day(turn)
    newest: list[Turn] = []
    before = 2**62
    while page := store.recent(200, before):
        newest += [t for t in page if _day(t) >= day]
        if _day(page[-1]) < day:
            break
        before = page[-1].number
    return _write(reversed(newest), fleet, folder)


def _write(turns: Iterable[Turn], fleet: Fleet, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    written: list[Path] = []
    for day, group in groupby(turns, key=_day):
        path = folder / f"routing_{day}.jsonl"
        made = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        made.touch(0o600)
        with made.open("wb") as file:
            for turn in group:
                file.write(json_codec.encode(row(turn, fleet)) + b"\n")
        made.replace(path)
        written.append(path)
    return written


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
