"""How a store of an older layout becomes one of this layout. A verified backup is made before."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tui_router.core.types import Verdict
from tui_router.core.verdicts import decision_was_right
from tui_router.store import json_codec
from tui_router.store.schema import TURNS, VERDICTS, StoredTurn, Verdicts, decoder
from tui_router.store.sqlite_storage import SQLiteStorage

_turn = decoder(StoredTurn)
_verdicts = decoder(Verdicts)


def _verdicts_mean_the_route_acted_on(storage: SQLiteStorage) -> str:
    """Layout 1 to 2.

    Layout 1 stored a confirmation as the *router's* route, also on turns whose route the person had chosen or pinned: the
    opposite of what was meant. The record does not tell a key `y` from picking the router's route in the list, which is
    far rarer; so every such confirmation is taken for a `y`. Layout 2 also stores whether the decision was right.
    """
    mended = 0
    for number, raw in storage.scan(VERDICTS):
        record: Verdicts = _verdicts(raw)
        stored = storage.one(TURNS, number)
        if stored is None:
            continue
        turn: StoredTurn = _turn(stored)
        history = []
        for event in record.history:
            verdict = event.verdict
            if verdict is not None and _confirms_the_decision(verdict, turn):
                mended += verdict.route is not None
                verdict = msgspec.structs.replace(verdict, route=turn.route)
            history.append(msgspec.structs.replace(event, verdict=verdict))
        record = msgspec.structs.replace(record, history=tuple(history))
        right = decision_was_right(msgspec.structs.replace(turn, verdict=record.latest))
        storage.put(VERDICTS, {number: json_codec.encode(msgspec.structs.replace(record, right=right))})
    return f"{mended:,} confirmations of a chosen or pinned route now name that route." if mended else ""


def _confirms_the_decision(verdict: Verdict, turn: StoredTurn) -> bool:
    decided = turn.decision.route
    wanted = verdict.kind == "route" and verdict.rating == "right" and verdict.route in (None, decided)
    return wanted and (verdict.route is None or turn.route != decided)


MIGRATIONS: dict[int, Callable[[SQLiteStorage], str]] = {1: _verdicts_mean_the_route_acted_on}
"""Layout -> the function that makes the next layout of it, in one transaction; it returns a sentence for the person or ""."""
