"""Multinomial logistic regression, fitted by L-BFGS (Liu and Nocedal 1989, "On the limited memory BFGS method")."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
Objective = Callable[[Vector], tuple[float, Vector]]


def minimise(
    objective: Objective, start: Vector, *, most: int = 120, tolerance: float = 1e-4, memory: int = 8
) -> Vector:
    """Where a smooth convex function is least.

    Args:
        objective: A point -> (value, gradient).
        start: Where to begin.
        most: Most iterations.
        tolerance: Ends when an iteration gains less than this share of the value.
        memory: Pairs of steps and gradient changes that are remembered.
    """
    point = start.copy()
    value, gradient = objective(point)
    pairs: deque[tuple[Vector, Vector, float]] = deque(maxlen=memory)
    quiet = 0
    for _ in range(most):
        direction = _direction(gradient, pairs)
        slope = float(gradient @ direction)
        if slope > -1e-12:
            break
        step = 1.0 if pairs else min(1.0, 1.0 / float(np.abs(gradient).sum()))
        for _ in range(25):  # Armijo: a step must gain a fair share of what its slope promises
            after = point + np.float32(step) * direction
            new_value, new_gradient = objective(after)
            if new_value <= value + 1e-4 * step * slope:
                break
            step /= 2
        else:
            break
        change, bend = after - point, new_gradient - gradient
        curvature = float(change @ bend)
        if curvature > 1e-10:
            pairs.append((change, bend, curvature))
        quiet = quiet + 1 if value - new_value < tolerance * abs(value) else 0
        point, value, gradient = after, new_value, new_gradient
        if quiet == 3:
            break
    return point


def _direction(gradient: Vector, pairs: deque[tuple[Vector, Vector, float]]) -> Vector:
    """The two-loop recursion."""
    direction = -gradient
    shares = []
    for change, bend, curvature in reversed(pairs):
        share = float(change @ direction) / curvature
        shares.append(share)
        direction = direction - np.float32(share) * bend
    if pairs:
        change, bend, curvature = pairs[-1]
        direction = direction * np.float32(curvature / float(bend @ bend))
    for (change, bend, curvature), share in zip(pairs, reversed(shares), strict=True):
        direction = direction + np.float32(share - float(bend @ direction) / curvature) * change
    return direction


def softmax(scores: NDArray[np.floating]) -> NDArray[np.floating]:
    """Probabilities along the last axis."""
    if scores.ndim == 1:  # the usual case of a decision, without the cost of the general one
        lifted = np.exp(scores - max(scores.tolist()))
        one: NDArray[np.floating] = lifted / sum(lifted.tolist())
        return one
    lifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    result: NDArray[np.floating] = lifted / lifted.sum(axis=-1, keepdims=True)
    return result


def logs(chances: NDArray[np.floating]) -> NDArray[np.floating]:
    """Their logarithms, none of them of nothing."""
    return np.asarray(np.log(np.maximum(chances, 1e-9)))


def pooled(
    chances: NDArray[np.floating], others: NDArray[np.floating], share: float | NDArray[np.floating]
) -> NDArray[np.floating]:
    """Two opinions in one: their log-linear pool (Genest and Zidek 1986), in which the second has this share."""
    return softmax((1 - share) * logs(chances) + share * logs(others))
