"""Calibration: the temperature of each router, so that its confidence is its chance of being right.

Temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks"), fitted to graded decisions. Each was
made before its verdict was known, so no router is ever judged on what it has learned. A prior that holds the temperature
near 1 keeps a handful of verdicts from moving it far.

Wrong decisions are asked about and rated unasked more often than right ones. A temperature fitted to all ratings would rise to
its bound, and with it the share of requests that the person is asked about. So only audits and answered asks count, each by the
inverse of its chance of being graded (Horvitz and Thompson 1952), and asked turns alone, without an audit, count for nothing.
`python scripts/sim.py calibration` shows what comes of it.
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
    weight: float = 1.0
    """How many turns it stands for: the inverse of its chance of being graded."""
    audited: bool = True
    """Whether it is a row of a random sample."""


def row_of(grade: Grade, router: str) -> CalibrationRow | None:
    """Return the row of a grade; None when the router did not decide or know the right route, or the turn was rated unasked."""
    decision = grade.decisions.get(router)
    if decision is None or not (grade.audit or grade.asked):
        return None
    right = next((i for i, (name, _) in enumerate(decision.ranking) if name == grade.label), None)
    if right is None:
        return None
    scores = [math.log(max(_LEAST_PROBABILITY, p)) * decision.temperature for _, p in decision.ranking]
    return CalibrationRow(scores, right, 1 / grade.audit if grade.audit else 1.0, grade.audit > 0)


def temperature(rows: Sequence[CalibrationRow]) -> float:
    """Return the temperature with the least weighted log loss on the newest rows, drawn towards 1; 1 without an audited row.

    The weights are scaled to the effective number of rows (Kish 1965), so that few audits move the temperature little.

    Args:
        rows: Oldest first.
    """
    rows = rows[-NEWEST:]
    if not any(row.audited for row in rows):
        return 1.0
    scores = np.full((len(rows), max(len(row.scores) for row in rows)), _NO_ROUTE)
    for line, row in zip(scores, rows, strict=True):
        line[: len(row.scores)] = row.scores
    scores -= scores.max(axis=1, keepdims=True)
    weights = np.array([row.weight for row in rows])
    weights *= weights.sum() / (weights**2).sum()
    right = float(weights @ scores[np.arange(len(rows)), [row.right for row in rows]])
    losses = [float(weights @ np.log(np.exp(scores / t).sum(axis=1))) - right / t for t in _CANDIDATES.tolist()]
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
