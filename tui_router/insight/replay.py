"""Stored turns decided again, by another router or other rules: what would have gone elsewhere.

Depends on nothing but the turns and the router, so two runs give the same. Large stores are decided on all cores.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from tui_router.core.conversation import with_histories
from tui_router.core.fleet import Fleet
from tui_router.core.types import Request, Turn
from tui_router.routing.evaluation.parallel import MakeRouter, decide_parallel
from tui_router.routing.labels import labelled_route


class Move(Struct, frozen=True):
    """A turn that would go elsewhere."""

    turn: str
    at: str
    text: str
    before: str
    """The stored decision."""
    after: str
    confidence: float
    label: str | None
    """The right route by the verdict, if that is known."""

    @property
    def fixes(self) -> bool:
        """Wrong before, right now."""
        return self.label == self.after

    @property
    def breaks(self) -> bool:
        """Right before, wrong now."""
        return self.label == self.before


class Replayed(Struct, frozen=True):
    """What a replay found."""

    turns: int
    labelled: int
    """Turns whose right route is known."""
    right_before: int
    right_after: int
    moves: tuple[Move, ...]

    @property
    def fixes(self) -> int:
        """How many turns become right."""
        return sum(move.fixes for move in self.moves)

    @property
    def breaks(self) -> int:
        """How many right ones become wrong."""
        return sum(move.breaks for move in self.moves)

    @property
    def unlabelled(self) -> int:
        """How many turns move of which nobody said what was right."""
        return sum(move.label is None for move in self.moves)


def replay(turns: Iterable[Turn], make: MakeRouter, fleet: Fleet, *, workers: int | None = None) -> Replayed:
    """Decide turns again.

    Args:
        turns: Oldest first; a conversation that begins before them is not known.
        make: What decides.
        fleet: Of the new router: its names of the routes are used for both sides.
        workers: Processes; by default as many as there are cores, and none for a few turns.
    """
    counts = {"turns": 0, "labelled": 0, "before": 0, "after": 0}
    moves: list[Move] = []
    for turn, route, confidence in _decided(with_histories(turns), make, workers):
        before = fleet.names.get(turn.decision.route, turn.decision.route)
        said = labelled_route(turn, turn.verdict) if turn.verdict is not None else None
        label = fleet.names.get(said, said) if said is not None else None
        counts["turns"] += 1
        counts["labelled"] += label is not None
        counts["before"] += label == before
        counts["after"] += label == route
        if route != before:
            moves.append(Move(turn.id, turn.at, turn.request.text, before, route, confidence, label))
    return Replayed(counts["turns"], counts["labelled"], counts["before"], counts["after"], tuple(moves))


def _decided(turns: Iterator[Turn], make: MakeRouter, workers: int | None) -> Iterator[tuple[Turn, str, float]]:
    waiting: deque[Turn] = deque()

    def requests() -> Iterator[Request]:
        for turn in turns:
            waiting.append(_without_text(turn))
            yield turn.request

    for route, confidence in decide_parallel(requests(), make, workers):
        yield waiting.popleft(), route, confidence


def _without_text(turn: Turn) -> Turn:
    """What is needed of a turn while it is decided elsewhere."""
    return replace(turn, request=replace(turn.request, history=()), answer=None, shadows=())
