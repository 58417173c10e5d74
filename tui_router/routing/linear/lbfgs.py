"""Minimise a smooth function by L-BFGS (Liu and Nocedal 1989, "On the limited memory BFGS method").

SciPy has the same; importing it would cost the dashboard 40 MB. A test compares the two.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tui_router.routing.arrays import Float32s

Objective = Callable[[Float32s], tuple[float, Float32s]]
"""A point -> (value, gradient)."""

_ARMIJO = 1e-4
"""A step must gain this share of what the slope promises (Nocedal and Wright 2006, section 3.1)."""
_MOST_HALVINGS = 25
_LEAST_CURVATURE = 1e-10
"""A step along which the gradient changes less than this would spoil the estimate of the curvature: it is not kept."""
_QUIET_STEPS = 3
"""Steps in a row below the tolerance after which the search ends."""


class _Step(NamedTuple):
    """A step that was taken."""

    change: Float32s
    gradient_change: Float32s
    curvature: float
    """Their product."""


def minimise(
    objective: Objective, start: Float32s, *, max_steps: int = 120, tolerance: float = 1e-4, memory: int = 8
) -> Float32s:
    """Return the point at which a smooth convex function is least.

    Args:
        objective: A point -> (value, gradient).
        start: Where the search begins. Shape (n,).
        max_steps: Steps after which the search ends.
        tolerance: The search ends when `_QUIET_STEPS` steps in a row each gain less than this share of the value.
        memory: Steps from which the curvature is estimated.
    """
    point = start.copy()
    value, gradient = objective(point)
    steps: deque[_Step] = deque(maxlen=memory)
    quiet = 0
    for _ in range(max_steps):
        direction = _direction(gradient, steps)
        slope = float(gradient @ direction)
        if slope > -1e-12:
            break
        length = 1.0 if steps else min(1.0, 1.0 / float(np.abs(gradient).sum()))
        for _ in range(_MOST_HALVINGS):
            new_point = point + np.float32(length) * direction
            new_value, new_gradient = objective(new_point)
            if new_value <= value + _ARMIJO * length * slope:
                break
            length /= 2
        else:
            break
        change, gradient_change = new_point - point, new_gradient - gradient
        curvature = float(change @ gradient_change)
        if curvature > _LEAST_CURVATURE:
            steps.append(_Step(change, gradient_change, curvature))
        quiet = quiet + 1 if value - new_value < tolerance * abs(value) else 0
        point, value, gradient = new_point, new_value, new_gradient
        if quiet == _QUIET_STEPS:
            break
    return point


def _direction(gradient: Float32s, steps: deque[_Step]) -> Float32s:
    """Return the search direction: the two-loop recursion (Nocedal and Wright 2006, algorithm 7.4)."""
    direction = -gradient
    shares = []
    for step in reversed(steps):
        share = float(step.change @ direction) / step.curvature
        shares.append(share)
        direction = direction - np.float32(share) * step.gradient_change
    if steps:
        last = steps[-1]
        direction = direction * np.float32(last.curvature / float(last.gradient_change @ last.gradient_change))
    for step, share in zip(steps, reversed(shares), strict=True):
        correction = share - float(step.gradient_change @ direction) / step.curvature
        direction = direction + np.float32(correction) * step.change
    return direction
