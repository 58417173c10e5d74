"""How turns, verdicts and sessions lie in the store, and how an older layout becomes this one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from tui_router.core.types import Session, Turn, Verdict
from tui_router.store import json_codec

SCHEMA = 2
"""Version of the documents' layout. A change of it comes with a step in `migrations.MIGRATIONS`."""

TURNS, VERDICTS, SESSIONS = "turns", "verdicts", "sessions"
OBSERVATIONS, LEADS, SETTINGS, COUNTERS = "observations", "leads", "settings", "counters"
EXAMPLES, RULINGS, DIALOGUES, PENDING = "examples", "rulings", "dialogues", "pending"
TABLES = (TURNS, VERDICTS, SESSIONS, OBSERVATIONS, LEADS, SETTINGS, COUNTERS, EXAMPLES, RULINGS, DIALOGUES, PENDING)


class StoredTurn(Turn, frozen=True, kw_only=True):
    """A turn with its link to the one before it in the session. The verdict lies in a table of its own."""

    previous: int | None = None


class RatingEvent(Struct, frozen=True, kw_only=True):
    """One act of rating: a verdict, or (None) taking the latest one back."""

    at: str
    verdict: Verdict | None = None


class Verdicts(Struct, frozen=True, kw_only=True):
    """All acts of rating of one turn, oldest first. Its id in the table is the turn's number."""

    turn: str
    session: str
    route: str
    """The decided route, for the counters."""
    history: tuple[RatingEvent, ...] = ()
    right: bool | None = None
    """Whether the decision was right by the latest verdict; None when that does not tell. For the counters and the chart."""

    @property
    def latest(self) -> Verdict | None:
        """The verdict that counts: the newest that was not taken back."""
        held: list[Verdict] = []
        for event in self.history:
            if event.verdict is not None:
                held.append(event.verdict)
            elif held:
                held.pop()
        return held[-1] if held else None


class StoredSession(Session, frozen=True, kw_only=True):
    """A session with the number of its newest turn."""

    last_turn: int | None = None


class RouteTally(Struct, frozen=True):
    """Rated and right turns of one decided route."""

    rated: int = 0
    right: int = 0


class Counters(Struct, frozen=True, kw_only=True):
    """The counts that the first screen shows, written in the same transaction as the records."""

    turns: int = 0
    rated: int = 0
    """Turns whose latest verdict belongs to the accuracy."""
    right: int = 0
    by_route: dict[str, RouteTally] = msgspec.field(default_factory=dict)

    def with_turn(self) -> Counters:
        """One turn more."""
        return msgspec.structs.replace(self, turns=self.turns + 1)

    def regraded(self, route: str, old: bool | None, new: bool | None) -> Counters:
        """Return the counters after a turn of this decided route changed from one grade to another."""
        if old == new:
            return self
        rated, right = (new is not None) - (old is not None), bool(new) - bool(old)
        tally = self.by_route.get(route, RouteTally())
        tallies = {**self.by_route, route: RouteTally(tally.rated + rated, tally.right + right)}
        return Counters(turns=self.turns, rated=self.rated + rated, right=self.right + right, by_route=tallies)


def decoder(kind: type[Any]) -> Callable[[bytes], Any]:
    """Return a function from stored bytes to a record. Text with lone surrogates takes a slower way."""
    fast: Callable[[bytes], Any] = msgspec.json.Decoder(kind).decode

    def decode(raw: bytes) -> Any:
        try:
            return fast(raw)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            return msgspec.convert(json_codec.decode(raw), kind)

    return decode
