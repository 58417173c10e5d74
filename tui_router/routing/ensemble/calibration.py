"""Calibration: the temperature of each router, so that its confidence is its chance of being right.

Temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks"), fitted to graded decisions. Each was
made before its verdict was known, so no router is ever judged on what it has learned. A prior that holds the temperature
near 1 keeps a handful of verdicts from moving it far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from tui_router.core.types import Decision, Ranking
from tui_router.routing.ensemble.grading import Grade

PRIOR_STRENGTH = 60.0
"""How strongly the temperature is held near 1, in graded decisions' worth. Chosen by hand, not measured."""
NEWEST = 400
"""Graded decisions that the temperature is fitted to: older ones were made by another model."""
LOWEST, HIGHEST = 0.5, 3.0
"""Bounds of the temperature."""
_CANDIDATES = np.geomspace(LOWEST, HIGHEST, 31)
_LEAST_PROBABILITY = 1e-6
_NO_ROUTE = -1e9
"""Score of a column that a shorter row does not have."""


class CalibrationRow(NamedTuple):
    """A graded decision of one router."""

    scores: list[float]
    """Of all routes, before any temperature. Natural-log units."""
    right: int
    """Index of the right route in the scores."""


def row_of(grade: Grade, router: str) -> CalibrationRow | None:
    """Return the row of a grade; None when the router did not decide, or did not know the right route."""
    decision = grade.decisions.get(router)
    if decision is None:
        return None
    right = next((i for i, (name, _) in enumerate(decision.ranking) if name == grade.label), None)
    if right is None:
        return None
    return CalibrationRow(
        [math.log(max(_LEAST_PROBABILITY, p)) * decision.temperature for _, p in decision.ranking], right
    )


def temperature(rows: Sequence[CalibrationRow]) -> float:
    """Return the temperature with the least log loss on the newest rows of a router, drawn towards 1; 1 without rows.

    Args:
        rows: Oldest first.
    """
    rows = rows[-NEWEST:]
    if not rows:
        return 1.0
    scores = np.full((len(rows), max(len(row.scores) for row in rows)), _NO_ROUTE)
    for line, row in zip(scores, rows, strict=True):
        line[: len(row.scores)] = row.scores
    scores -= scores.max(axis=1, keepdims=True)
    right = float(scores[np.arange(len(rows)), [row.right for row in rows]].sum())
    losses = [float(np.log(np.exp(scores / t).sum(axis=1)).sum()) - right / t for t in _CANDIDATES.tolist()]
    return float(_CANDIDATES[int(np.argmin(np.array(losses) + PRIOR_STRENGTH * 0.5 * np.log(_CANDIDATES) ** 2))])


def rescale(decision: Decision, t: float) -> Decision:
    """Return the decision at a temperature: the same order, more or less sure."""
    return decision if t == 1.0 else replace(decision, ranking=rescale_ranking(decision.ranking, t), temperature=t)


def rescale_ranking(ranking: Ranking, t: float) -> Ranking:
    """Return a ranking at a temperature: each probability to the power of 1 / t, normalised."""
    if t == 1.0:
        return ranking
    powers = [max(_LEAST_PROBABILITY, p) ** (1 / t) for _, p in ranking]
    total = sum(powers)
    return tuple((name, p / total) for (name, _), p in zip(ranking, powers, strict=True))
