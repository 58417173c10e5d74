"""What every router is, and the arithmetic that they share."""

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
        """What it was made from, as a few hex digits."""
        ...

    def decide(self, request: Request) -> Decision:
        """One decision; never raises for any text."""
        ...

    def decide_many(self, requests: Iterable[Request]) -> Iterable[Decision]:
        """Decisions in the order of the requests."""
        ...

    def rankings(self, requests: Iterable[Request]) -> Iterable[Ranking]:
        """The ranking of each decision, in the order of the requests: faster than the decisions, and without reasons."""
        ...


def ties(fleet: Fleet) -> list[int]:
    """The places of the routes in the order in which equal ones are ranked: by priority, then by digit."""
    return sorted(range(len(fleet.routes)), key=lambda i: (-fleet.routes[i].priority, i))


def ranked(routes: Sequence[str], chances: Sequence[float], ties: Sequence[int]) -> Ranking:
    """The routes with their probabilities, likeliest first.

    Args:
        routes: Their names.
        chances: The probability of each.
        ties: As `ties` gives them.
    """
    return tuple([(routes[i], chances[i]) for i in sorted(ties, key=chances.__getitem__, reverse=True)])
