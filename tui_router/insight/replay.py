"""Stored turns decided again, by another router or with other rules: which of them would change their route.

The result depends on nothing but the turns and the router, so two runs give the same. Large stores are decided on all cores.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from tui_router.core.conversation import with_histories
from tui_router.core.fleet import Fleet
from tui_router.core.types import Request, Turn
from tui_router.core.verdicts import labelled_route
from tui_router.routing.evaluation.parallel import MakeRouter, decide_parallel


class Move(Struct, frozen=True):
    """A turn that would change its route."""

    turn: str
    """Its id."""
    at: str
    text: str
    """The request."""
    before: str
    """The route that was decided."""
    after: str
    """The route that would be decided."""
    confidence: float
    """Probability of `after`, 0 to 1."""
    label: str | None
    """The right route by the verdict; None when it is not known."""

    @property
    def fixes(self) -> bool:
        """Whether the turn becomes right."""
        return self.label == self.after

    @property
    def breaks(self) -> bool:
        """Whether the turn becomes wrong."""
        return self.label == self.before


class ReplayResult(Struct, frozen=True):
    """What a replay found."""

    turns: int
    labelled: int
    """Turns whose right route is known."""
    right_before: int
    right_after: int
    """Of the labelled turns."""
    moves: tuple[Move, ...]

    @property
    def fixes(self) -> int:
        """The number of turns that become right."""
        return sum(move.fixes for move in self.moves)

    @property
    def breaks(self) -> int:
        """The number of turns that become wrong."""
        return sum(move.breaks for move in self.moves)

    @property
    def unrated(self) -> int:
        """The number of turns that change their route and whose right route is not known."""
        return sum(move.label is None for move in self.moves)


def replay(turns: Iterable[Turn], make: MakeRouter, fleet: Fleet, *, workers: int | None = None) -> ReplayResult:
    """Decide turns again, and compare with what was decided.

    Args:
        turns: Oldest first; the conversation before the first of them is not known.
        make: Makes the router that decides.
        fleet: Of the new router; both decisions are compared under its names of the routes.
        workers: Processes; by default as many as there are cores, and none for a few turns.
    """
    turns_n = labelled = right_before = right_after = 0
    moves: list[Move] = []
    for turn, after, confidence in _decided(with_histories(turns), make, workers):
        before = fleet.names.get(turn.decision.route, turn.decision.route)
        route = labelled_route(turn)
        label = fleet.names.get(route, route) if route is not None else None
        turns_n += 1
        labelled += label is not None
        right_before += label == before
        right_after += label == after
        if after != before:
            moves.append(Move(turn.id, turn.at, turn.request.text, before, after, confidence, label))
    return ReplayResult(turns_n, labelled, right_before, right_after, tuple(moves))


def _decided(turns: Iterator[Turn], make: MakeRouter, workers: int | None) -> Iterator[tuple[Turn, str, float]]:
    """Each turn with its new route and confidence."""
    waiting: deque[Turn] = deque()

    def requests() -> Iterator[Request]:
        for turn in turns:
            waiting.append(_without_texts(turn))
            yield turn.request

    for route, confidence in decide_parallel(requests(), make, workers):
        yield waiting.popleft(), route, confidence


def _without_texts(turn: Turn) -> Turn:
    """The turn without conversation, answer and shadows: thousands wait in memory while other processes decide."""
    return replace(turn, request=replace(turn.request, history=()), answer=None, shadows=())
