"""How often the router is right over all turns, estimated from random audits and from answered asks.

Ratings that a person gives unasked say little about all turns: who rates depends on whether the turn was wrong. So turns are
drawn at random when they end, each with a known probability, and the person is asked about them: these are the audits. Every
turn belongs to one stratum, and the strata are estimated apart:

- Asked turns (`unsure`, `informative`) are graded by their answers; an accepted decision was right, a replaced one wrong.
  Asks without an answer are taken to be like the answered ones of their stratum.
- All other turns (`audited`, `unasked`) are estimated from the audits. Each counts by the inverse of its probability (Horvitz
  and Thompson 1952), as a ratio (Hajek 1971). A drawn turn that the person had rated before being asked counts as its audit;
  audits without an answer are taken to be like the answered ones (weighting classes, Little 1986).
- Pinned turns are outside: the router's decision was not acted on.

The interval of a stratum is Wilson's (1927) at Kish's effective sample size (1965), with the correction for a finite
population (Cochran 1977), since the turns of the period are all that is asked about. The intervals of the strata are combined
by the square-and-add rule (Zou and Donner 2008). `python scripts/sim_month.py` shows bias, coverage and width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct, to_builtins

from tui_router.core.statistics import wilson
from tui_router.core.types import Turn

Stratum = Literal["unsure", "informative", "audited", "unasked", "pinned"]
STRATA: tuple[Stratum, ...] = ("unsure", "informative", "audited", "unasked", "pinned")
_ASKED: tuple[Stratum, ...] = ("unsure", "informative")
MIN_AUDITS = 20
"""Graded audits below which nothing is claimed about all turns: at 90 % right, 20 give an interval 27 points wide."""
_USUAL_TURNS_A_DAY = 30.0
"""Turns a day that are expected of a new store. Chosen by hand, not measured."""


def stratum_of(turn: Turn) -> Stratum:
    """Return why a turn's verdict exists, or may come to exist: the sampling stratum of the turn."""
    if turn.pinned_route:
        return "pinned"
    if turn.asked:
        return "unsure" if turn.asked == "unsure" else "informative"
    return "audited" if turn.audit > 0 else "unasked"


def audit_probability(turns_a_day: Sequence[int], audits_a_day: float) -> float:
    """Return the probability with which the next turn is drawn for an audit, above 0 and at most 1.

    It may depend on the past, never on the turn itself nor on how many were drawn today: a limit a day would leave turns with
    probability 0, and these no estimate could speak for.

    Args:
        turns_a_day: Turns of each of the last days with any, oldest first.
        audits_a_day: Audits wanted on a usual day, above 0.
    """
    usual = sum(turns_a_day) / len(turns_a_day) if turns_a_day else _USUAL_TURNS_A_DAY
    return min(1.0, audits_a_day / max(1.0, usual))


class WeightedCount(Struct, frozen=True):
    """Graded turns, each with a weight: how many turns it stands for."""

    n: int = 0
    weight: float = 0.0
    weight_squared: float = 0.0
    """Sum of the squared weights."""
    right: float = 0.0
    """Weight of the turns that were decided rightly."""

    def plus(self, weight: float, right: bool) -> WeightedCount:
        """Return the count with one more turn."""
        return WeightedCount(
            self.n + 1, self.weight + weight, self.weight_squared + weight * weight, self.right + weight * right
        )

    def times(self, factor: float) -> WeightedCount:
        """Return the count with every weight multiplied."""
        return WeightedCount(self.n, self.weight * factor, self.weight_squared * factor * factor, self.right * factor)

    def merged(self, other: WeightedCount) -> WeightedCount:
        """Return the count of both sets of turns."""
        return WeightedCount(
            self.n + other.n,
            self.weight + other.weight,
            self.weight_squared + other.weight_squared,
            self.right + other.right,
        )

    @property
    def value(self) -> float | None:
        """The weighted share of right turns, 0 to 1; None without turns."""
        return self.right / self.weight if self.n else None

    def interval(self, population: int) -> tuple[float, float]:
        """Return the 95 % interval of the share among `population` turns, as fractions; (0, 1) without graded turns.

        Wilson's interval at the effective sample size of Kish (1965), (sum w)^2 / (sum w^2), drawn together by the square root
        of 1 - n / population: a stratum whose turns are all graded is known exactly.
        """
        if not self.n or self.value is None:
            return (0.0, 1.0)
        effective_n = self.weight * self.weight / self.weight_squared
        low, high = wilson(self.value * effective_n, effective_n)
        unknown = math.sqrt(max(0.0, 1 - self.n / max(1, population)))
        return (self.value - unknown * (self.value - low), self.value + unknown * (high - self.value))


class Estimate(Struct, frozen=True):
    """A share of right decisions with its interval."""

    value: float | None
    """0 to 1; None when there is too little to make a claim."""
    n: int
    """Graded turns on which it rests."""
    ci95: tuple[float, float] = (0.0, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Return value, n and interval as the JSON report has them."""
        return {"value": self.value, "n": self.n, "ci95": list(self.ci95)}


class StratumRow(Struct, frozen=True):
    """One line of the table of strata."""

    name: Stratum
    turns: int
    graded: int
    value: float | None
    """Share of right decisions among the graded turns, 0 to 1; of all turns of the stratum only where it was asked about."""


class _Part(Struct, frozen=True):
    """A stratum, or several that are estimated together."""

    turns: int
    weight: float
    """Its share of all turns that are estimated."""
    confidence: float
    """Mean confidence of its turns, 0 to 1."""
    value: float
    """Estimated share of right decisions."""
    graded: WeightedCount


class StrataCounts(Struct):
    """What the estimate needs to know of a period's turns. Counts of two periods can be merged."""

    turns: dict[Stratum, int] = {}
    graded: dict[Stratum, WeightedCount] = {}
    """Per stratum, the turns of which it is known whether the decision was right; audited ones by inverse probability."""
    confidence: dict[Stratum, float] = {}
    """Sum of the confidences of all turns of a stratum, graded or not."""
    drawn_weight: float = 0.0
    """Sum of the inverse probabilities of the drawn turns, answered or not."""
    rated_before: WeightedCount = WeightedCount()
    """Drawn turns that the person had rated before being asked; a part of `graded["audited"]`."""

    def add(self, turn: Turn, right: bool | None) -> None:
        """Count one turn.

        Args:
            turn: Not a cancelled one.
            right: Whether the router's decision was right; None when nobody knows.
        """
        stratum = stratum_of(turn)
        weight = 1 / turn.audit if stratum == "audited" else 1.0
        self.turns[stratum] = self.turns.get(stratum, 0) + 1
        self.confidence[stratum] = self.confidence.get(stratum, 0.0) + turn.decision.confidence
        if stratum == "audited":
            self.drawn_weight += weight
        if right is None:
            return
        self.graded[stratum] = self.graded.get(stratum, WeightedCount()).plus(weight, right)
        if stratum == "audited" and turn.verdict is not None and turn.verdict.kind != "audit":
            self.rated_before = self.rated_before.plus(weight, right)

    def merge(self, other: StrataCounts) -> None:
        """Add the counts of other turns."""
        for stratum, count in other.turns.items():
            self.turns[stratum] = self.turns.get(stratum, 0) + count
        for stratum, confidence in other.confidence.items():
            self.confidence[stratum] = self.confidence.get(stratum, 0.0) + confidence
        for stratum, graded in other.graded.items():
            self.graded[stratum] = self.graded.get(stratum, WeightedCount()).merged(graded)
        self.drawn_weight += other.drawn_weight
        self.rated_before = self.rated_before.merged(other.rated_before)

    @property
    def audits_drawn(self) -> int:
        """The number of turns that were drawn."""
        return self.turns.get("audited", 0)

    @property
    def audits_answered(self) -> int:
        """The number of drawn turns that were graded."""
        return self._graded("audited").n

    def audit(self) -> Estimate:
        """Estimate how often the router is right over the turns that nobody was asked about before or after the answer."""
        sample = self._audit_sample()
        if sample.value is None:
            return Estimate(None, sample.n)
        return Estimate(sample.value, sample.n, sample.interval(self._unasked_turns()))

    def estimate(self) -> Estimate:
        """Estimate how often the router is right over all turns but the pinned ones.

        Makes no claim, which means a value of None, below `MIN_AUDITS` graded audits.
        """
        parts = self._parts()
        n = sum(part.graded.n for part in parts)
        if not self._can_claim():
            return Estimate(None, n)
        value = below = above = 0.0
        for part in parts:
            low, high = part.graded.interval(part.turns)
            value += part.value * part.weight
            below += ((part.value - low) * part.weight) ** 2
            above += ((high - part.value) * part.weight) ** 2
        return Estimate(value, n, (max(0.0, value - math.sqrt(below)), min(1.0, value + math.sqrt(above))))

    @property
    def calibration_error(self) -> float | None:
        """By how much confidence and accuracy differ over all turns but the pinned ones, 0 to 1; None below `MIN_AUDITS`.

        The expected calibration error (Guo et al. 2017) with the strata for bins: the asked turns, which the router is unsure
        of, and the others. The mean confidence of a stratum is known of all of its turns, its accuracy is estimated.
        """
        if not self._can_claim():
            return None
        return sum(part.weight * abs(part.confidence - part.value) for part in self._parts())

    def rows(self) -> list[StratumRow]:
        """Return the table of strata; their turns add up to all turns."""
        return [
            StratumRow(stratum, self.turns.get(stratum, 0), self._graded(stratum).n, self._graded(stratum).value)
            for stratum in STRATA
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return `estimate`, `strata` and `audit` as the JSON report has them."""
        audit = self.audit()
        return {
            "estimate": self.estimate().to_dict(),
            "strata": [to_builtins(row) for row in self.rows()],
            "audit": {
                "drawn": self.audits_drawn,
                "answered": self.audits_answered,
                "value": audit.value,
                "ci95": list(audit.ci95),
            },
        }

    def _can_claim(self) -> bool:
        sample = self._audit_sample()
        return sample.value is not None and sample.n >= MIN_AUDITS

    def _parts(self) -> list[_Part]:
        """The strata that are estimated apart: both kinds of asked turns, and all others."""
        groups: list[tuple[tuple[Stratum, ...], WeightedCount]] = [((one,), self._graded(one)) for one in _ASKED]
        groups.append((("audited", "unasked"), self._audit_sample()))
        counts = [sum(self.turns.get(one, 0) for one in strata) for strata, _ in groups]
        others = groups[-1][1].value or 0.0
        parts = []
        for (strata, graded), turns in zip(groups, counts, strict=True):
            confidence = sum(self.confidence.get(one, 0.0) for one in strata) / max(1, turns)
            # Nothing is known of a stratum without grades: it is put at the share of the others, its interval is all of (0, 1).
            value = graded.value if graded.value is not None else others
            parts.append(_Part(turns, turns / max(1, sum(counts)), confidence, value, graded))
        return parts

    def _graded(self, stratum: Stratum) -> WeightedCount:
        return self.graded.get(stratum, WeightedCount())

    def _unasked_turns(self) -> int:
        return self.turns.get("audited", 0) + self.turns.get("unasked", 0)

    def _audit_sample(self) -> WeightedCount:
        """The graded audits, weighted to stand for all drawn turns.

        Two classes of drawn turns: those that the person rated before being asked, all of them known; and those that had to be
        asked about, for which the answered audits stand. Without an answered audit the second class is unknown, and the count
        is empty.
        """
        audited, before = self._graded("audited"), self.rated_before
        answered = WeightedCount(
            audited.n - before.n,
            audited.weight - before.weight,
            audited.weight_squared - before.weight_squared,
            audited.right - before.right,
        )
        to_ask = self.drawn_weight - before.weight
        if answered.n:
            return before.merged(answered.times(to_ask / answered.weight))
        return before if self.audits_drawn == before.n else WeightedCount()
