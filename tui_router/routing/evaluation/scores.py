"""Score a router on requests whose right route is known.

Accuracy comes with its Wilson interval; calibration as the expected calibration error over ten equal bins (Guo et al.
2017, "On Calibration of Modern Neural Networks") and as the Brier score over all routes (Brier 1950).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from tui_router.core.statistics import tail, wilson
from tui_router.core.types import Decision, Request

BINS = 10
"""Equal-width bins of confidence for the calibration error."""
RESAMPLES = 10_000
"""Resamples of the paired bootstrap."""
_ASK_BELOW = 0.7
"""Confidence below which the program asks, as shipped."""


class LabelledRequest(Struct, frozen=True):
    """A request with its right route."""

    row: Mapping[str, Any]
    """The whole line that it came from."""
    request: Request
    route: str


class ScoredDecision(Struct, frozen=True):
    """A labelled request and what a router decided about it."""

    row: LabelledRequest
    decision: Decision

    @property
    def right(self) -> bool:
        """Whether the likeliest route is the right one."""
        return self.decision.route == self.row.route


def summary(scored: Sequence[ScoredDecision]) -> dict[str, Any]:
    """Return the figures of one router: accuracy, interval, macro F1, calibration, per route, confusion, latency in ms."""
    n = len(scored)
    hits = sum(j.right for j in scored)
    routes = sorted({j.row.route for j in scored} | {j.decision.route for j in scored})
    per_route = {route: _of_route(scored, route) for route in routes}
    labelled = [r for r in routes if per_route[r]["n"]]
    times = sorted(j.decision.elapsed_ms for j in scored)
    return {
        "n": n,
        "accuracy": hits / n if n else None,
        "ci95": list(wilson(hits, n)),
        "macro_f1": sum(per_route[r]["f1"] for r in labelled) / len(labelled) if labelled else None,
        "asked": _asked(scored, _ASK_BELOW),
        "ece": expected_calibration_error((j.decision.confidence, j.right) for j in scored),
        "brier": sum(map(_brier, scored)) / n if n else None,
        "per_route": per_route,
        "confusion": _confusion(scored),
        "latency_ms": {name: _quantile(times, share) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))},
    }


def compare(first: Sequence[ScoredDecision], second: Sequence[ScoredDecision]) -> dict[str, Any]:
    """Compare two routers on the same rows: the difference of their accuracies, and whether it is more than chance.

    The interval comes from a paired bootstrap (Efron 1979; rows drawn again `RESAMPLES` times, always the same draws),
    the probability from the exact test of McNemar (1947): that so uneven a split of the rows on which only one of them
    is right comes about if both are equally good.
    """
    gains = np.array([int(b.right) - int(a.right) for a, b in zip(first, second, strict=True)])
    only_first, only_second = int((gains < 0).sum()), int((gains > 0).sum())
    n = len(gains)
    draws = np.random.default_rng(0).multinomial(
        n, [only_first / n, only_second / n, 1 - (only_first + only_second) / n], RESAMPLES
    )
    low, high = np.quantile((draws[:, 1] - draws[:, 0]) / n, (0.025, 0.975)).tolist()
    p = min(1.0, 2 * tail(max(only_first, only_second), only_first + only_second, 0.5))
    return {
        "difference": (only_second - only_first) / n,
        "ci95": [low, high],
        "p": p,
        "only_first": only_first,
        "only_second": only_second,
    }


def expected_calibration_error(pairs: Iterable[tuple[float, bool]], bins: int = BINS) -> float:
    """Return the mean distance between confidence and accuracy over equal-width bins, weighted by their size.

    Args:
        pairs: (confidence, right?) of each decision. Without any the result is 0.
        bins: How many.
    """
    sums: dict[int, list[float]] = {}
    n = 0
    for confidence, right in pairs:
        found = sums.setdefault(min(bins - 1, int(confidence * bins)), [0.0, 0.0])
        found[0] += confidence
        found[1] += right
        n += 1
    return sum(abs(confident - hits) for confident, hits in sums.values()) / n if n else 0.0


def _asked(scored: Sequence[ScoredDecision], threshold: float) -> dict[str, float]:
    """Return the share of all rows that are below a confidence, and of those that are below it although right."""
    below = [j for j in scored if j.decision.confidence < threshold]
    n = max(1, len(scored))
    return {"all": len(below) / n, "though_right": sum(j.right for j in below) / n}


def _of_route(scored: Sequence[ScoredDecision], route: str) -> dict[str, Any]:
    n = sum(j.row.route == route for j in scored)
    chosen = sum(j.decision.route == route for j in scored)
    hits = sum(j.right for j in scored if j.row.route == route)
    recall, precision = hits / n if n else 0.0, hits / chosen if chosen else 0.0
    f1 = 2 * recall * precision / (recall + precision) if hits else 0.0
    return {"n": n, "recall": recall, "precision": precision, "f1": f1, "ci95": list(wilson(hits, n))}


def _brier(one: ScoredDecision) -> float:
    """Return the squared distance between the probabilities and the truth."""
    known = dict(one.decision.ranking)
    known.setdefault(one.row.route, 0.0)
    return sum((p - (route == one.row.route)) ** 2 for route, p in known.items())


def _confusion(scored: Sequence[ScoredDecision]) -> dict[str, dict[str, int]]:
    """Return right route -> decided route -> how often."""
    counts = Counter((j.row.route, j.decision.route) for j in scored)
    table: dict[str, dict[str, int]] = {}
    for (right, decided), count in sorted(counts.items()):
        table.setdefault(right, {})[decided] = count
    return table


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None
