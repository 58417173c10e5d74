"""How the router does: counts that one turn changes in constant time, each shown with its n and its interval.

A turn that nobody rated is neither right nor wrong: it is in no accuracy.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from statistics import median
from typing import Any

from msgspec import Struct

from tui_router.core.clock import local_day
from tui_router.core.fleet import Fleet
from tui_router.core.statistics import wilson
from tui_router.core.types import Turn
from tui_router.routers.grading import grade
from tui_router.store.store import Store

BINS = 10
_PAGE = 500
_FEW_RIGHT = 0.25
"""Share of right verdicts below which it looks as if only bad turns were rated, when few turns are rated at all."""
_FEW_RATED = 0.3


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

    def to_dict(self) -> dict[str, Any]:
        """As it stands in reports."""
        return {"value": self.value, "n": self.n, "ci95": list(self.ci95)}


class Metrics:
    """Everything that is counted over a period. Turns come oldest first."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.turns = 0
        self.accuracy, self.verdicts, self.asked, self.accepted, self.fallbacks = Rate(), Rate(), Rate(), Rate(), Rate()
        self.failed = Rate()
        self.routers: dict[str, Rate] = {}
        """Router -> its accuracy on the graded turns, as leader or as a shadow."""
        self.routes: Counter[str] = Counter()
        """Decided route -> turns."""
        self.by_route: dict[str, Rate] = {}
        """Decided route -> how often that was right."""
        self.recall: dict[str, Rate] = {}
        """Right route -> how often it was decided."""
        self.confusion: Counter[tuple[str, str]] = Counter()
        """(right route, decided route) -> turns."""
        self.bins: list[tuple[float, Rate]] = [(0.0, Rate())] * BINS
        """Per tenth of confidence: (sum of the confidences, how often right)."""
        self.running: dict[str, list[tuple[int, bool]]] = {}
        """Router -> (turn, right?) of every graded turn, oldest first."""
        self.days: dict[str, Rate] = {}
        self.models: dict[str, Counter[str]] = defaultdict(Counter)
        """Model -> served, instead of another, failed before it could serve."""
        self.first_token_ms: dict[str, list[float]] = defaultdict(list)
        self.tokens_per_second: dict[str, list[float]] = defaultdict(list)
        self.router_ms: list[float] = []

    def add(self, turn: Turn) -> None:
        """Count one turn."""
        if turn.state == "cancelled":
            return
        self.turns += 1
        self.routes[turn.decision.route] += 1
        self.router_ms.append(turn.decision.elapsed_ms)
        verdict = turn.verdict
        self.verdicts = self.verdicts.plus(verdict is not None and verdict.rating is not None)
        self.asked = self.asked.plus(bool(turn.asked))
        if turn.asked and verdict is not None and verdict.source == "ask":
            self.accepted = self.accepted.plus(verdict.kind == "accepted")
        if verdict is not None and verdict.counts:
            self._count_rated(turn, verdict.rating == "right")
        self._count_graded(turn)
        self._count_served(turn)

    def _count_rated(self, turn: Turn, right: bool) -> None:
        decided = turn.decision.route
        self.accuracy = self.accuracy.plus(right)
        self.by_route[decided] = self.by_route.get(decided, Rate()).plus(right)
        place = min(BINS - 1, int(turn.decision.confidence * BINS))
        total, rate = self.bins[place]
        self.bins[place] = (total + turn.decision.confidence, rate.plus(right))
        day = local_day(turn.at)
        self.days[day] = self.days.get(day, Rate()).plus(right)

    def _count_graded(self, turn: Turn) -> None:
        graded = grade(turn, self.fleet)
        if graded is None:
            return
        if graded.label:
            decided = graded.decisions[turn.decision.router].route
            self.recall[graded.label] = self.recall.get(graded.label, Rate()).plus(decided == graded.label)
            self.confusion[graded.label, decided] += 1
        for name in graded.decisions:
            right = graded.right(name)
            if right is None:
                continue
            self.routers[name] = self.routers.get(name, Rate()).plus(right)
            self.running.setdefault(name, []).append((turn.number, right))

    def _count_served(self, turn: Turn) -> None:
        dispatch, answer = turn.dispatch, turn.answer
        if dispatch is None:
            return
        for hop in dispatch.hops:
            self.models[hop.model]["failed"] += 1
        self.failed = self.failed.plus(turn.state in ("failed", "interrupted"))
        if dispatch.served is None:
            return
        instead = dispatch.served != dispatch.intended
        self.fallbacks = self.fallbacks.plus(instead)
        self.models[dispatch.served]["served"] += 1
        self.models[dispatch.served]["instead"] += instead
        if answer is not None and answer.first_token_ms is not None:
            self.first_token_ms[dispatch.served].append(answer.first_token_ms)
        if answer is not None and answer.tokens_per_second is not None:
            self.tokens_per_second[dispatch.served].append(answer.tokens_per_second)

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

    def to_dict(self) -> dict[str, Any]:
        """As the report's JSON holds it."""
        names = [r.name for r in self.fleet.routes]
        return {
            "turns": self.turns,
            "accuracy": self.accuracy.to_dict(),
            "rated_share": self.verdicts.to_dict(),
            "asked_share": self.asked.to_dict(),
            "routers": {name: rate.to_dict() for name, rate in self.routers.items()},
            "per_route": {
                name: {
                    "turns": self.routes[name], **self.by_route.get(name, Rate()).to_dict(),
                    "recall": self.recall.get(name, Rate()).to_dict(),
                }
                for name in names
            },
            "confusion": {
                right: {d: n for (r, d), n in sorted(self.confusion.items()) if r == right}
                for right in sorted({r for r, _ in self.confusion})
            },
            "calibration": {
                "ece": self.ece,
                "bins": [
                    {"confidence": total / rate.n, **rate.to_dict()} for total, rate in self.bins if rate.n
                ],
            },
            "fallback_share": self.fallbacks.to_dict(),
            "failed_share": self.failed.to_dict(),
            "models": {
                name: {
                    "served": counts["served"], "instead_of_another": counts["instead"], "failed": counts["failed"],
                    "first_token_ms": middle(self.first_token_ms[name]), "tokens_per_second": middle(self.tokens_per_second[name]),
                }
                for name, counts in sorted(self.models.items())
            },
            "router_ms": {"p50": middle(self.router_ms), "n": len(self.router_ms)},
            "only_bad_turns_rated": self.biased,
        }  # fmt: skip


def middle(values: list[float]) -> float | None:
    """The median; None of nothing."""
    return median(values) if values else None


def measured(turns: Iterable[Turn], fleet: Fleet) -> Metrics:
    """The metrics of these turns, oldest first."""
    made = Metrics(fleet)
    for turn in turns:
        made.add(turn)
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
