"""How the router does: counts that one turn changes in constant time, each shown with its n and its interval.

A turn that nobody rated is neither right nor wrong: it is in no accuracy. Counts of two sets of turns can be joined, so a
period is counted once and only what changed is counted again (`insight.counted`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from tui_router.core.clock import local_day
from tui_router.core.fleet import Fleet
from tui_router.core.statistics import wilson
from tui_router.core.types import Turn
from tui_router.routing.ensemble.grading import grade
from tui_router.store.store import Store

BINS = 10
_PAGE = 500
_FEW_RIGHT = 0.25
"""Share of right verdicts below which it looks as if only bad turns were rated, when few turns are rated at all."""
_FEW_RATED = 0.3
_STEP = math.log(1.05)


class Rate(Struct, frozen=True):
    """How many of how many."""

    hits: int = 0
    n: int = 0

    @property
    def value(self) -> float | None:
        """The share; None without any."""
        return self.hits / self.n if self.n else None

    @property
    def ci95(self) -> tuple[float, float]:
        """Its Wilson interval."""
        return wilson(self.hits, self.n)

    def plus(self, hit: bool) -> Rate:
        """After one more."""
        return Rate(self.hits + hit, self.n + 1)

    def joined(self, other: Rate) -> Rate:
        """Both together."""
        return Rate(self.hits + other.hits, self.n + other.n)

    def to_dict(self) -> dict[str, Any]:
        """As it stands in reports."""
        return {"value": self.value, "n": self.n, "ci95": list(self.ci95)}


class Spread(Struct):
    """Positive values, counted in bins 5 % wide: any quantile is right to 2.5 %, whatever their number."""

    bins: dict[int, int] = {}  # msgspec copies it

    def add(self, value: float) -> None:
        """Count one value; what is not above zero counts as a thousandth."""
        place = round(math.log(max(value, 1e-3)) / _STEP)
        self.bins[place] = self.bins.get(place, 0) + 1

    def join(self, other: Spread) -> None:
        """Count another's too."""
        for place, count in other.bins.items():
            self.bins[place] = self.bins.get(place, 0) + count

    @property
    def n(self) -> int:
        """How many values."""
        return sum(self.bins.values())

    def at(self, share: float) -> float | None:
        """The quantile, 0.5 for the median; None of nothing."""
        rest = share * self.n
        for place in sorted(self.bins):
            rest -= self.bins[place]
            if rest <= 0:
                return math.exp(place * _STEP)
        return None


class Served(Struct):
    """What a model did."""

    served: int = 0
    instead: int = 0
    """Of them, instead of another model."""
    failed: int = 0
    """Tried, and another one had to serve, or none did."""
    first_token_ms: Spread = msgspec.field(default_factory=Spread)
    tokens_per_second: Spread = msgspec.field(default_factory=Spread)
    load_ms: Spread = msgspec.field(default_factory=Spread)


def _spreads() -> dict[str, Spread]:
    return {}


class Metrics(Struct):
    """Everything that is counted over a period. Routes stand in the names that they have now."""

    turns: int = 0
    accuracy: Rate = Rate()
    verdicts: Rate = Rate()
    asked: Rate = Rate()
    accepted: Rate = Rate()
    fallbacks: Rate = Rate()
    failed: Rate = Rate()
    routers: dict[str, Rate] = {}
    """Router -> its accuracy on the graded turns, as leader or as a shadow."""
    routes: dict[str, int] = {}
    """Decided route -> turns."""
    by_route: dict[str, Rate] = {}
    """Decided route -> how often that was right."""
    recall: dict[str, Rate] = {}
    """Right route -> how often it was decided."""
    confusion: dict[str, dict[str, int]] = {}
    """Right route -> decided route -> turns."""
    bins: list[tuple[float, Rate]] = msgspec.field(default_factory=lambda: [(0.0, Rate())] * BINS)
    """Per tenth of confidence: (sum of the confidences, how often right)."""
    running: dict[str, bytearray] = {}
    """Router -> right (1) or wrong (0) for every graded turn, oldest first."""
    models: dict[str, Served] = {}
    router_ms: dict[str, Spread] = msgspec.field(default_factory=_spreads)
    """Router -> what its decisions took, as leader or as a shadow."""

    def add(self, turn: Turn, fleet: Fleet) -> None:
        """Count one turn; turns come oldest first."""
        if turn.state == "cancelled":
            return
        self.turns += 1
        decided = fleet.names.get(turn.decision.route, turn.decision.route)
        self.routes[decided] = self.routes.get(decided, 0) + 1
        for made in (turn.decision, *turn.shadows):
            self.router_ms.setdefault(made.router, Spread()).add(made.elapsed_ms)
        verdict = turn.verdict
        self.verdicts = self.verdicts.plus(verdict is not None and verdict.rating is not None)
        self.asked = self.asked.plus(bool(turn.asked))
        if turn.asked and verdict is not None and verdict.source == "ask":
            self.accepted = self.accepted.plus(verdict.kind == "accepted")
        if verdict is not None and verdict.counts:
            self._count_rated(decided, turn.decision.confidence, verdict.rating == "right")
        self._count_graded(turn, fleet)
        self._count_served(turn)

    def _count_rated(self, decided: str, confidence: float, right: bool) -> None:
        self.accuracy = self.accuracy.plus(right)
        self.by_route[decided] = self.by_route.get(decided, Rate()).plus(right)
        place = bin_of(confidence)
        total, rate = self.bins[place]
        self.bins[place] = (total + confidence, rate.plus(right))

    def _count_graded(self, turn: Turn, fleet: Fleet) -> None:
        graded = grade(turn, fleet)
        if graded is None:
            return
        if graded.label:
            decided = graded.decisions[turn.decision.router].route
            self.recall[graded.label] = self.recall.get(graded.label, Rate()).plus(decided == graded.label)
            row = self.confusion.setdefault(graded.label, {})
            row[decided] = row.get(decided, 0) + 1
        for name in graded.decisions:
            right = graded.right(name)
            if right is None:
                continue
            self.routers[name] = self.routers.get(name, Rate()).plus(right)
            self.running.setdefault(name, bytearray()).append(right)

    def _count_served(self, turn: Turn) -> None:
        dispatch, answer = turn.dispatch, turn.answer
        if dispatch is None:
            return
        for hop in dispatch.hops:
            self.models.setdefault(hop.model, Served()).failed += 1
        self.failed = self.failed.plus(turn.state in ("failed", "interrupted"))
        if dispatch.served is None:
            return
        instead = dispatch.served != dispatch.intended
        self.fallbacks = self.fallbacks.plus(instead)
        model = self.models.setdefault(dispatch.served, Served())
        model.served += 1
        model.instead += instead
        if answer is not None:
            for value, spread in (
                (answer.first_token_ms, model.first_token_ms), (answer.tokens_per_second, model.tokens_per_second),
                (answer.load_ms, model.load_ms),
            ):  # fmt: skip
                if value is not None:
                    spread.add(value)

    def join(self, later: Metrics) -> None:
        """Count the turns of another, which come after these."""
        self.turns += later.turns
        for name in ("accuracy", "verdicts", "asked", "accepted", "fallbacks", "failed"):
            setattr(self, name, getattr(self, name).joined(getattr(later, name)))
        for name in ("routers", "by_route", "recall"):
            mine = getattr(self, name)
            for key, rate in getattr(later, name).items():
                mine[key] = mine.get(key, Rate()).joined(rate)
        for route, count in later.routes.items():
            self.routes[route] = self.routes.get(route, 0) + count
        for label, row in later.confusion.items():
            mine = self.confusion.setdefault(label, {})
            for decided, count in row.items():
                mine[decided] = mine.get(decided, 0) + count
        self.bins = [(a + b, x.joined(y)) for (a, x), (b, y) in zip(self.bins, later.bins, strict=True)]
        for router, right in later.running.items():
            self.running.setdefault(router, bytearray()).extend(right)
        for router, spread in later.router_ms.items():
            self.router_ms.setdefault(router, Spread()).join(spread)
        for model, other in later.models.items():
            held = self.models.setdefault(model, Served())
            held.served += other.served
            held.instead += other.instead
            held.failed += other.failed
            held.first_token_ms.join(other.first_token_ms)
            held.tokens_per_second.join(other.tokens_per_second)
            held.load_ms.join(other.load_ms)

    @property
    def ece(self) -> float | None:
        """The expected calibration error over the rated turns (Guo et al. 2017); None without any."""
        if not self.accuracy.n:
            return None
        return sum(abs(total - rate.hits) for total, rate in self.bins) / self.accuracy.n

    @property
    def biased(self) -> bool:
        """Whether it looks as if only bad turns were rated, so that the accuracy says little."""
        rated, value = self.verdicts, self.accuracy.value
        return rated.n >= 20 and (rated.value or 0) < _FEW_RATED and value is not None and value < _FEW_RIGHT

    def to_dict(self, routes: Sequence[str]) -> dict[str, Any]:
        """As the report's JSON holds it.

        Args:
            routes: Names of the fleet's routes; others are left out of `per_route`.
        """
        return {
            "turns": self.turns,
            "accuracy": self.accuracy.to_dict(),
            "rated_share": self.verdicts.to_dict(),
            "asked_share": self.asked.to_dict(),
            "routers": {name: rate.to_dict() for name, rate in self.routers.items()},
            "per_route": {
                name: {
                    "turns": self.routes.get(name, 0), **self.by_route.get(name, Rate()).to_dict(),
                    "recall": self.recall.get(name, Rate()).to_dict(),
                }
                for name in routes
            },
            "confusion": {label: dict(sorted(row.items())) for label, row in sorted(self.confusion.items())},
            "calibration": {
                "ece": self.ece,
                "bins": [{"confidence": total / rate.n, **rate.to_dict()} for total, rate in self.bins if rate.n],
            },
            "fallback_share": self.fallbacks.to_dict(),
            "failed_share": self.failed.to_dict(),
            "models": {
                name: {
                    "served": model.served, "instead_of_another": model.instead, "failed": model.failed,
                    "first_token_ms": model.first_token_ms.at(0.5), "tokens_per_second": model.tokens_per_second.at(0.5),
                    "load_ms": model.load_ms.at(0.5),
                }
                for name, model in sorted(self.models.items())
            },
            "router_ms": {
                name: {"p50": spread.at(0.5), "p95": spread.at(0.95), "n": spread.n}
                for name, spread in sorted(self.router_ms.items())
            },
            "only_bad_turns_rated": self.biased,
        }  # fmt: skip


def bin_of(confidence: float) -> int:
    """The tenth of confidence that a decision is counted in."""
    return min(BINS - 1, int(confidence * BINS))


def measured(turns: Iterable[Turn], fleet: Fleet) -> Metrics:
    """The metrics of these turns, oldest first: of any period, session, route or model."""
    made = Metrics()
    for turn in turns:
        made.add(turn, fleet)
    return made


def since(store: Store, day: str) -> list[Turn]:
    """The turns of the person's own days from this one on, oldest first. Time grows with their number only."""
    found: list[Turn] = []
    for turn in newest_first(store):
        if local_day(turn.at) < day:
            break
        found.append(turn)
    return found[::-1]


def newest_first(store: Store) -> Iterator[Turn]:
    """All turns, newest first, read page by page."""
    page = store.recent(_PAGE)
    while page:
        yield from page
        page = store.recent(_PAGE, before=page[-1].number)
