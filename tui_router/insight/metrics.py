"""How the router does: counts that one turn changes in constant time, each shown with its n and its interval.

A turn that nobody rated is neither right nor wrong: it is in no accuracy. Two figures must not be taken for one another:
`accuracy` is that of the rated turns, `strata` holds what the estimate over all turns needs (`insight.estimate`). Figures by
route, router and confidence are counted on rated turns. The counts of two sets of turns can be merged, so a period is counted
once and only changed turns are counted again (`insight.metrics_cache`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from tui_router.core.clock import local_day
from tui_router.core.fleet import Fleet
from tui_router.core.statistics import wilson
from tui_router.core.types import Turn
from tui_router.core.verdicts import decision_was_right
from tui_router.insight.estimate import StrataCounts
from tui_router.routing.ensemble.grading import Grade, grade
from tui_router.store.store import Store

Key = TypeVar("Key")
RATED_TURNS = "rated turns"
"""What a figure rests on that is not estimated over all turns."""
CALIBRATION_BINS = 10
"""Equal bins of confidence, as in Guo et al. 2017."""
_PAGE_TURNS = 500
"""Turns read from the store at a time. Chosen by hand, not measured."""
_FEW_RIGHT = 0.25
"""Share of right verdicts below which only bad turns seem to be rated. Chosen by hand, not measured."""
_FEW_RATED = 0.3
"""Share of rated turns from which on a low accuracy is believed. Chosen by hand, not measured."""
_ENOUGH_TURNS = 20
"""Turns from which on these two shares say anything. Chosen by hand, not measured."""
_LOG_BIN_WIDTH = math.log(1.05)
"""A bin of a `LogHistogram` is 5 % wide, so a quantile is right to 2.5 %."""
_LEAST_VALUE = 1e-3
"""Values below it, in their own unit, are counted as this: a logarithm of zero does not exist."""


class Rate(Struct, frozen=True):
    """How many of how many."""

    hits: int = 0
    n: int = 0

    @property
    def value(self) -> float | None:
        """The share, 0 to 1; None when n is 0."""
        return self.hits / self.n if self.n else None

    @property
    def ci95(self) -> tuple[float, float]:
        """The 95 % Wilson score interval (Wilson 1927), as fractions."""
        return wilson(self.hits, self.n)

    def plus(self, hit: bool) -> Rate:
        """Return the rate with one more observation."""
        return Rate(self.hits + hit, self.n + 1)

    def merged(self, other: Rate) -> Rate:
        """Return the rate of both sets together."""
        return Rate(self.hits + other.hits, self.n + other.n)

    def to_dict(self) -> dict[str, Any]:
        """Return value, n and interval as the JSON report has them."""
        return {"value": self.value, "n": self.n, "ci95": list(self.ci95)}


class LogHistogram(Struct):
    """Positive values in logarithmic bins: any quantile is right to 2.5 %, however many values there are."""

    bins: dict[int, int] = {}  # msgspec copies it

    def add(self, value: float) -> None:
        """Count one value."""
        place = round(math.log(max(value, _LEAST_VALUE)) / _LOG_BIN_WIDTH)
        self.bins[place] = self.bins.get(place, 0) + 1

    def merge(self, other: LogHistogram) -> None:
        """Add the values of another histogram."""
        _add_counts(self.bins, other.bins)

    @property
    def n(self) -> int:
        """The number of values."""
        return sum(self.bins.values())

    def quantile(self, share: float) -> float | None:
        """Return the value below which this share of the values lies, 0.5 for the median; None without values."""
        rest = share * self.n
        for place in sorted(self.bins):
            rest -= self.bins[place]
            if rest <= 0:
                return math.exp(place * _LOG_BIN_WIDTH)
        return None


class ModelUsage(Struct):
    """What one model did."""

    served: int = 0
    as_fallback: int = 0
    """Of the served turns, those meant for another model."""
    failed: int = 0
    """Turns for which it was tried in vain: another model served, or none did."""
    first_token_ms: LogHistogram = msgspec.field(default_factory=LogHistogram)
    tokens_per_second: LogHistogram = msgspec.field(default_factory=LogHistogram)
    load_ms: LogHistogram = msgspec.field(default_factory=LogHistogram)

    def merge(self, other: ModelUsage) -> None:
        """Add what the model did in other turns."""
        self.served += other.served
        self.as_fallback += other.as_fallback
        self.failed += other.failed
        self.first_token_ms.merge(other.first_token_ms)
        self.tokens_per_second.merge(other.tokens_per_second)
        self.load_ms.merge(other.load_ms)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts and the medians as the JSON report has them."""
        return {
            "served": self.served,
            "instead_of_another": self.as_fallback,
            "failed": self.failed,
            "first_token_ms": self.first_token_ms.quantile(0.5),
            "tokens_per_second": self.tokens_per_second.quantile(0.5),
            "load_ms": self.load_ms.quantile(0.5),
        }


def _histograms() -> dict[str, LogHistogram]:
    return {}


class Metrics(Struct):
    """Everything that is counted over a period. Routes have the names that they have today.

    Merging adds: integers and rates are summed, histories are appended, so that the order of the turns is kept.
    """

    turns: int = 0
    accuracy: Rate = Rate()
    """Right decisions among the turns of which a verdict tells: the rated ones, a biased sample of all turns."""
    strata: StrataCounts = msgspec.field(default_factory=StrataCounts)
    rated: Rate = Rate()
    """Turns with a rating of any kind."""
    asked: Rate = Rate()
    """Turns at which the person was asked before sending."""
    accepted: Rate = Rate()
    """Accepted decisions among the answered asks."""
    fallbacks: Rate = Rate()
    """Turns served by another model than the intended one, among the served turns."""
    failed: Rate = Rate()
    """Turns without a whole answer, among those that were sent."""
    router_accuracy: dict[str, Rate] = {}
    """Router -> its accuracy on the graded turns, as champion or as a shadow."""
    route_turns: dict[str, int] = {}
    """Decided route -> turns."""
    precision: dict[str, Rate] = {}
    """Decided route -> how often that was right."""
    recall: dict[str, Rate] = {}
    """Right route -> how often it was decided."""
    confusion: dict[str, dict[str, int]] = {}
    """Right route -> decided route -> turns."""
    calibration_bins: list[tuple[float, Rate]] = msgspec.field(
        default_factory=lambda: [(0.0, Rate())] * CALIBRATION_BINS
    )
    """Per tenth of confidence: (sum of the confidences, how often right)."""
    outcomes: dict[str, bytearray] = {}
    """Router -> right (1) or wrong (0) for every graded turn, oldest first."""
    models: dict[str, ModelUsage] = {}
    router_ms: dict[str, LogHistogram] = msgspec.field(default_factory=_histograms)
    """Router -> milliseconds of its decisions, as champion or as a shadow."""

    def add(self, turn: Turn, fleet: Fleet) -> None:
        """Count one turn. Turns must come oldest first; cancelled ones are left out."""
        if turn.state == "cancelled":
            return
        self.turns += 1
        decided = fleet.names.get(turn.decision.route, turn.decision.route)
        self.route_turns[decided] = self.route_turns.get(decided, 0) + 1
        for decision in (turn.decision, *turn.shadows):
            self.router_ms.setdefault(decision.router, LogHistogram()).add(decision.elapsed_ms)
        verdict = turn.verdict
        self.rated = self.rated.plus(verdict is not None and verdict.rating is not None)
        self.asked = self.asked.plus(bool(turn.asked))
        if turn.asked and verdict is not None and verdict.source == "ask":
            self.accepted = self.accepted.plus(verdict.kind == "accepted")
        right = decision_was_right(turn)
        self.strata.add(turn, right)
        if right is not None:
            self._count_rated(decided, turn.decision.confidence, right)
        graded = grade(turn, fleet)
        if graded is not None:
            self._count_graded(turn, graded)
        self._count_served(turn)

    def _count_rated(self, decided: str, confidence: float, right: bool) -> None:
        self.accuracy = self.accuracy.plus(right)
        _add_hit(self.precision, decided, right)
        place = calibration_bin(confidence)
        total, rate = self.calibration_bins[place]
        self.calibration_bins[place] = (total + confidence, rate.plus(right))

    def _count_graded(self, turn: Turn, graded: Grade) -> None:
        if graded.label:
            decided = graded.decisions[turn.decision.router].route
            _add_hit(self.recall, graded.label, decided == graded.label)
            _add_counts(self.confusion.setdefault(graded.label, {}), {decided: 1})
        for router in graded.decisions:
            right = graded.right(router)
            if right is not None:
                _add_hit(self.router_accuracy, router, right)
                self.outcomes.setdefault(router, bytearray()).append(right)

    def _count_served(self, turn: Turn) -> None:
        dispatch, answer = turn.dispatch, turn.answer
        if dispatch is None:
            return
        for hop in dispatch.hops:
            self.models.setdefault(hop.model, ModelUsage()).failed += 1
        self.failed = self.failed.plus(turn.state in ("failed", "interrupted"))
        if dispatch.served is None:
            return
        fell_back = dispatch.served != dispatch.intended
        self.fallbacks = self.fallbacks.plus(fell_back)
        model = self.models.setdefault(dispatch.served, ModelUsage())
        model.served += 1
        model.as_fallback += fell_back
        if answer is None:
            return
        if answer.first_token_ms is not None:
            model.first_token_ms.add(answer.first_token_ms)
        if answer.tokens_per_second is not None:
            model.tokens_per_second.add(answer.tokens_per_second)
        if answer.load_ms is not None:
            model.load_ms.add(answer.load_ms)

    def merge(self, later: Metrics) -> None:
        """Add the counts of later turns."""
        self.turns += later.turns
        for name in ("accuracy", "rated", "asked", "accepted", "fallbacks", "failed"):
            setattr(self, name, getattr(self, name).merged(getattr(later, name)))
        self.strata.merge(later.strata)
        for name in ("router_accuracy", "precision", "recall"):
            rates = getattr(self, name)
            for key, rate in getattr(later, name).items():
                rates[key] = rates.get(key, Rate()).merged(rate)
        _add_counts(self.route_turns, later.route_turns)
        for label, row in later.confusion.items():
            _add_counts(self.confusion.setdefault(label, {}), row)
        self.calibration_bins = [
            (ours + theirs, rate.merged(other))
            for (ours, rate), (theirs, other) in zip(self.calibration_bins, later.calibration_bins, strict=True)
        ]
        for router, outcomes in later.outcomes.items():
            self.outcomes.setdefault(router, bytearray()).extend(outcomes)
        for router, elapsed in later.router_ms.items():
            self.router_ms.setdefault(router, LogHistogram()).merge(elapsed)
        for model, usage in later.models.items():
            self.models.setdefault(model, ModelUsage()).merge(usage)

    @property
    def ece(self) -> float | None:
        """The expected calibration error over the rated turns, 0 to 1 (Guo et al. 2017); None without rated turns."""
        if not self.accuracy.n:
            return None
        return sum(abs(total - rate.hits) for total, rate in self.calibration_bins) / self.accuracy.n

    @property
    def only_bad_rated(self) -> bool:
        """Whether it looks as if only bad turns were rated, so that the accuracy says little."""
        value = self.accuracy.value
        few = self.rated.n >= _ENOUGH_TURNS and (self.rated.value or 0) < _FEW_RATED
        return few and value is not None and value < _FEW_RIGHT

    def to_dict(self, routes: Sequence[str]) -> dict[str, Any]:
        """Return the metrics as the JSON report has them.

        Args:
            routes: Names of the fleet's routes; others are left out of `per_route`.
        """
        return {
            "turns": self.turns,
            "accuracy": self.accuracy.to_dict(),
            **self.strata.to_dict(),
            "rated_share": self.rated.to_dict(),
            "asked_share": self.asked.to_dict(),
            "routers": {name: rate.to_dict() for name, rate in self.router_accuracy.items()},
            "per_route": {name: self._route_to_dict(name) for name in routes},
            "confusion": {label: dict(sorted(row.items())) for label, row in sorted(self.confusion.items())},
            "calibration": {
                "rests_on": RATED_TURNS,
                "n": self.accuracy.n,
                "ece": self.ece,
                "over_all_turns": {"error": self.strata.calibration_error, "n": self.strata.estimate().n},
                "bins": [
                    {"confidence": total / rate.n, **rate.to_dict()} for total, rate in self.calibration_bins if rate.n
                ],
            },
            "fallback_share": self.fallbacks.to_dict(),
            "failed_share": self.failed.to_dict(),
            "models": {name: model.to_dict() for name, model in sorted(self.models.items())},
            "router_ms": {
                name: {"p50": elapsed.quantile(0.5), "p95": elapsed.quantile(0.95), "n": elapsed.n}
                for name, elapsed in sorted(self.router_ms.items())
            },
            "only_bad_turns_rated": self.only_bad_rated,
        }

    def _route_to_dict(self, name: str) -> dict[str, Any]:
        precision, recall = self.precision.get(name, Rate()), self.recall.get(name, Rate())
        return {"turns": self.route_turns.get(name, 0), **precision.to_dict(), "recall": recall.to_dict()}


def _add_hit(rates: dict[str, Rate], key: str, hit: bool) -> None:
    rates[key] = rates.get(key, Rate()).plus(hit)


def _add_counts(counts: dict[Key, int], more: Mapping[Key, int]) -> None:
    for key, count in more.items():
        counts[key] = counts.get(key, 0) + count


def calibration_bin(confidence: float) -> int:
    """Return the index of the bin, 0 to 9, that a confidence from 0 to 1 falls into."""
    return min(CALIBRATION_BINS - 1, int(confidence * CALIBRATION_BINS))


def metrics_of(turns: Iterable[Turn], fleet: Fleet) -> Metrics:
    """Count these turns, oldest first: of any period, session, route or model."""
    metrics = Metrics()
    for turn in turns:
        metrics.add(turn, fleet)
    return metrics


def turns_since(store: Store, day: str) -> list[Turn]:
    """Read the turns from a local day on, `YYYY-MM-DD`, in the order of their numbers. The time grows with their number only.

    Raises:
        StoreError: the store cannot be read.
    """
    return [*newest_since(store, day)][::-1]


def newest_since(store: Store, day: str) -> Iterator[Turn]:
    """Read the turns from a local day on, newest number first.

    Times need not grow with the numbers: while the clock of the computer stood wrong, turns got earlier times. So reading goes
    on behind an earlier turn, and ends after a page of them. Raises StoreError.
    """
    earlier = 0
    for turn in newest_first(store):
        if local_day(turn.at) >= day:
            earlier = 0
            yield turn
        elif (earlier := earlier + 1) == _PAGE_TURNS:
            return


def newest_first(store: Store) -> Iterator[Turn]:
    """Read all turns page by page, newest first. Raises StoreError."""
    page = store.recent(_PAGE_TURNS)
    while page:
        yield from page
        page = store.recent(_PAGE_TURNS, before=page[-1].number)
