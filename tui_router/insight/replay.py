"""Stored turns decided again, by another router or other rules: what would have gone elsewhere.

Depends on nothing but the turns and the router, so two runs give the same. Large stores are decided on all cores.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from itertools import islice
from multiprocessing import get_context

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tui_router.core.conversation import with_histories
from tui_router.core.fleet import Fleet
from tui_router.core.types import Request, Turn
from tui_router.routers.base import Router
from tui_router.routers.lessons import labelled_route

MakeRouter = Callable[[], Router]
"""Makes the router anew in whichever process it is needed; must be picklable."""

CHUNK = 2000


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
    first = list(islice(turns, CHUNK))
    count = workers if workers is not None else (os.cpu_count() or 1)
    if len(first) < CHUNK or count < 2:
        router = make()
        for chunk in _chunks(turns, first):
            choices = router.choices(turn.request for turn in chunk)
            yield from ((turn, *choice) for turn, choice in zip(chunk, choices, strict=True))
        return
    with ProcessPoolExecutor(count, get_context("spawn"), initializer=_begin, initargs=(make,)) as pool:
        waiting = []
        for chunk in _chunks(turns, first):
            job = msgspec.json.encode([_lean(turn.request) for turn in chunk])
            waiting.append(([_without_text(turn) for turn in chunk], pool.submit(_decide, job)))
            while len(waiting) > 2 * count:
                yield from _finished(*waiting.pop(0))
        for one in waiting:
            yield from _finished(*one)


def _chunks(turns: Iterator[Turn], first: list[Turn]) -> Iterator[list[Turn]]:
    chunk = first
    while chunk:
        yield chunk
        chunk = list(islice(turns, CHUNK))


def _lean(request: Request) -> Request:
    return replace(request, typed="")


def _without_text(turn: Turn) -> Turn:
    """What is needed of a turn while another process decides it."""
    return replace(turn, request=replace(turn.request, history=()), answer=None, shadows=())


def _finished(chunk: list[Turn], future: Future[list[tuple[str, float]]]) -> Iterator[tuple[Turn, str, float]]:
    for turn, (route, confidence) in zip(chunk, future.result(), strict=True):
        yield turn, route, confidence


_router: Router | None = None


def _begin(make: MakeRouter) -> None:
    global _router  # noqa: PLW0603  # a worker has one router for its life
    _router = make()
    gc.disable()  # a worker makes thousands of small objects, none of them in a circle


def _decide(job: bytes) -> list[tuple[str, float]]:
    assert _router is not None
    requests = msgspec.json.decode(job, type=list[Request])
    return list(_router.choices(requests))


def by_rules(fleet: Fleet) -> MakeRouter:
    """The rules of a fleet."""
    return partial(_rules, msgspec.json.encode(fleet))


def _rules(fleet: bytes) -> Router:
    from tui_router.routers.rules import RulesRouter

    return RulesRouter(msgspec.json.decode(fleet, type=Fleet))
