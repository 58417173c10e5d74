"""The temperature of each router, so that its confidence is its chance of being right.

Temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks"), fitted to graded decisions. Each was
made before its verdict was known, so no router is ever judged on what it has learned; and an invented stock of decisions
that were calibrated already keeps a handful of verdicts from throwing it about.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from msgspec.structs import replace

from tui_router.core.types import Decision
from tui_router.routers.grading import Grade

STOCK = 60.0
"""How much the temperature of 1 is held by, in graded decisions' worth."""
NEWEST = 400
"""Graded decisions that are looked at: older ones were made by another model."""
LEAST, MOST = 0.5, 3.0
_STEPS = np.geomspace(LEAST, MOST, 61)
_LEAST_P = 1e-6
_NOWHERE = -1e9


def temperature(grades: Sequence[Grade], router: str) -> float:
    """The temperature with the least log loss on a router's graded decisions; 1 when it has none.

    Args:
        grades: Rated turns, oldest first.
        router: Its name.
    """
    found = [(scores, place) for grade in grades[-NEWEST:] for scores, place in _scores(grade, router)]
    if not found:
        return 1.0
    table = np.full((len(found), max(len(scores) for scores, _ in found)), _NOWHERE)
    for row, (scores, _) in zip(table, found, strict=True):
        row[: len(scores)] = scores
    table -= table.max(axis=1, keepdims=True)
    right = table[np.arange(len(found)), [place for _, place in found]]
    losses = [np.log(np.exp(table / t).sum(axis=1)).sum() - right.sum() / t for t in _STEPS]
    return float(_STEPS[int(np.argmin(np.array(losses) + STOCK * 0.5 * np.log(_STEPS) ** 2))])


def _scores(grade: Grade, router: str) -> Iterator[tuple[list[float], int]]:
    """(all scores as they were before any temperature, place of the right route's), if there are any."""
    decision = grade.decisions.get(router)
    if decision is None:
        return
    place = next((i for i, (name, _) in enumerate(decision.ranking) if name == grade.label), None)
    if place is not None:
        yield [math.log(max(_LEAST_P, p)) * decision.temperature for _, p in decision.ranking], place


def tempered(decision: Decision, t: float) -> Decision:
    """The decision at a temperature: the same order, more or less sure."""
    if t == 1.0:
        return decision
    lifted = [max(_LEAST_P, p) ** (1 / t) for _, p in decision.ranking]
    total = sum(lifted)
    ranking = tuple((name, p / total) for (name, _), p in zip(decision.ranking, lifted, strict=True))
    return replace(decision, ranking=ranking, temperature=t)
