"""What every router is, and the arithmetic that they share."""

from __future__ import annotations

import math
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


def ranked(fleet: Fleet, scores: Sequence[float], temperature: float) -> Ranking:
    """Softmax of scores / temperature, weighted by the routes' priorities, likeliest first.

    Scores stand in the order of `fleet.routes`. Equal probabilities are ordered by priority, then by digit.
    """
    logits = [s / temperature + math.log(r.priority) for s, r in zip(scores, fleet.routes, strict=True)]
    top = max(logits)
    weights = [math.exp(logit - top) for logit in logits]
    total = sum(weights)
    order = sorted(range(len(weights)), key=lambda i: (-weights[i], -fleet.routes[i].priority, i))
    return tuple((fleet.routes[i].name, weights[i] / total) for i in order)
