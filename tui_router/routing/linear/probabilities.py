"""Softmax, logarithms that never meet zero, and pooling: the arithmetic of probabilities that the routers share."""

from __future__ import annotations

import numpy as np

from tui_router.routing.arrays import Floats

LEAST_PROBABILITY = 1e-9
"""A probability below this counts as this, so that its logarithm is finite."""


def softmax(scores: Floats) -> Floats:
    """Turn scores into probabilities along the last axis.

    Args:
        scores: Natural-log units. Shape (..., k).
    """
    if scores.ndim == 1:  # one decision: Python's own max and sum are faster than numpy's on a handful of numbers
        powers = np.exp(scores - max(scores.tolist()))
        one: Floats = powers / sum(powers.tolist())
        return one
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    result: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return result


def log(probabilities: Floats) -> Floats:
    """Return the natural logarithms; none is below log(LEAST_PROBABILITY). Shape as given."""
    return np.asarray(np.log(np.maximum(probabilities, LEAST_PROBABILITY)))


def log_linear_pool(first: Floats, second: Floats, share: float | Floats) -> Floats:
    """Combine two opinions into one (Genest and Zidek 1986, "Combining Probability Distributions").

    Args:
        first: Probabilities. Shape (..., k).
        second: Probabilities. Shape (..., k).
        share: Weight of the second opinion, 0 to 1; one number, or shape (..., 1).
    """
    return softmax((1 - share) * log(first) + share * log(second))
