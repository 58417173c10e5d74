"""The temperature of each router, so that its confidence is its chance of being right.

Temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks"), fitted to graded decisions. Each was
made before its verdict was known, so no router is ever judged on what it has learned; and an invented stock of decisions
that were calibrated already keeps a handful of verdicts from throwing it about.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from tui_router.core.types import Decision, Ranking
from tui_router.routing.ensemble.grading import Grade

STOCK = 60.0
"""How much the temperature of 1 is held by, in graded decisions' worth."""
NEWEST = 400
"""Graded decisions that are looked at: older ones were made by another model."""
LEAST, MOST = 0.5, 3.0
_STEPS = np.geomspace(LEAST, MOST, 31)
_LEAST_P = 1e-6
_NOWHERE = -1e9


class CalibrationRow(NamedTuple):
    """A graded decision of one router."""

    scores: list[float]
    """Of all routes, as they were before any temperature."""
    right: int
    """Place of the right route's."""


def row_of(grade: Grade, router: str) -> CalibrationRow | None:
    """The row of a grade; None when the router did not decide, or did not know the right route."""
    decision = grade.decisions.get(router)
    if decision is None:
        return None
    place = next((i for i, (name, _) in enumerate(decision.ranking) if name == grade.label), None)
    if place is None:
        return None
    return CalibrationRow([math.log(max(_LEAST_P, p)) * decision.temperature for _, p in decision.ranking], place)


def temperature(rows: Sequence[CalibrationRow]) -> float:
    """The temperature with the least log loss on the newest of a router's graded decisions; 1 when there are none.

    Args:
        rows: Oldest first.
    """
    rows = rows[-NEWEST:]
    if not rows:
        return 1.0
    table = np.full((len(rows), max(len(row.scores) for row in rows)), _NOWHERE)
    for line, row in zip(table, rows, strict=True):
        line[: len(row.scores)] = row.scores
    table -= table.max(axis=1, keepdims=True)
    right = float(table[np.arange(len(rows)), [row.right for row in rows]].sum())
    losses = [float(np.log(np.exp(table / t).sum(axis=1)).sum()) - right / t for t in _STEPS.tolist()]
    return float(_STEPS[int(np.argmin(np.array(losses) + STOCK * 0.5 * np.log(_STEPS) ** 2))])


def rescale(decision: Decision, t: float) -> Decision:
    """The decision at a temperature: the same order, more or less sure."""
    return decision if t == 1.0 else replace(decision, ranking=rescale_ranking(decision.ranking, t), temperature=t)


def rescale_ranking(ranking: Ranking, t: float) -> Ranking:
    """A ranking at a temperature."""
    if t == 1.0:
        return ranking
    powers = [max(_LEAST_P, p) ** (1 / t) for _, p in ranking]
    total = sum(powers)
    return tuple((name, p / total) for (name, _), p in zip(ranking, powers, strict=True))
