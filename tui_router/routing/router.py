"""The protocol of every router, and the ranking of routes that they share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from tui_router.core.fleet import Fleet
from tui_router.core.types import Decision, Ranking, Request


class Router(Protocol):
    """Turns a Request into a Decision without calling the target model."""

    @property
    def name(self) -> str:
        """What it is called: `rules`, `learned`, ..."""
        ...

    @property
    def version(self) -> str:
        """A hash of what it was made from, a few hex digits."""
        ...

    def decide(self, request: Request) -> Decision:
        """Decide one request. Never raises for any text."""
        ...

    def decide_many(self, requests: Iterable[Request]) -> Iterable[Decision]:
        """Decide requests in their order."""
        ...

    def rankings(self, requests: Iterable[Request]) -> Iterable[Ranking]:
        """Return the ranking of each decision, in the order of the requests: faster than `decide`, and without reasons."""
        ...


def tie_break_order(fleet: Fleet) -> list[int]:
    """Return the routes' indices in the order in which equal ones are ranked: higher priority first, then fleet order."""
    return sorted(range(len(fleet.routes)), key=lambda i: (-fleet.routes[i].priority, i))


def rank_routes(routes: Sequence[str], probabilities: Sequence[float], tie_break: Sequence[int]) -> Ranking:
    """Return the routes with their probabilities, the most probable first.

    Args:
        routes: Their names.
        probabilities: Of each, in the order of the names.
        tie_break: As `tie_break_order` gives it.
    """
    order = sorted(tie_break, key=probabilities.__getitem__, reverse=True)
    return tuple([(routes[i], probabilities[i]) for i in order])
