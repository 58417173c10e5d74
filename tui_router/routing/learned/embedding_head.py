"""The embedding head: what a served embedding model adds to the learned router.

A sentence encoder sees what words mean together, which word counts do not. Where a server has one, its vector of a request
is scored by a linear head (multinomial logistic regression) fitted to the vectors of the seeds, and the two models are
pooled (log-linear, with a fixed share: the head was not there when anything else was fitted).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui_router.routing.arrays import Float32s, Floats
from tui_router.routing.learned.shipped_model import UNREADABLE
from tui_router.routing.linear.lbfgs import minimise
from tui_router.routing.linear.probabilities import softmax

HEAD_SHARE = 0.35
"""The head's share in the pool of log probabilities. Found with all-MiniLM-L6-v2: `python -m benchmarks learned` with the extra
`peer` shows the gain. A share fitted on the seeds would trust the head far more, because it was fitted to them too."""
_FIT_STRENGTH = 30.0
"""Weight of the examples against that of small weights. Chosen by hand, not measured."""
_TEMPERATURE = 1.3
"""Divides the head's scores: a head is too sure of the seeds that it was fitted to. Chosen by hand, not measured."""


class EmbeddingHead(NamedTuple):
    """A linear model over the vectors of one encoder."""

    encoder: str
    """Name of the embedding model, as its server calls it."""
    made_from: str
    """The seeds' fingerprint."""
    routes: tuple[str, ...]
    weights: Float32s
    """Shape (dimensions, routes)."""
    bias: Float32s
    """Shape (routes,)."""

    def probabilities(self, vector: Float32s) -> Floats:
        """Return the probability of each of the head's routes. Shapes: (dimensions,) -> (routes,)."""
        return softmax((_normalised(vector) @ self.weights + self.bias) / _TEMPERATURE)


def _normalised(vectors: Float32s) -> Float32s:
    """Return the vectors at length 1. Shape (..., dimensions)."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    result: Float32s = (vectors / np.maximum(length, 1e-9)).astype(np.float32)
    return result


def fit_head(
    encoder: str, made_from: str, vectors: Float32s, labels: Sequence[str], routes: Sequence[str]
) -> EmbeddingHead:
    """Fit a head to the vectors of labelled examples, at length 1.

    Args:
        encoder: Name of the embedding model.
        made_from: The seeds' fingerprint.
        vectors: Shape (examples, dimensions).
        labels: The route of each example.
        routes: All routes.
    """
    column = {route: i for i, route in enumerate(routes)}
    x, y = _normalised(vectors), np.array([column[label] for label in labels])
    n, d, k = len(y), x.shape[1], len(routes)
    one_hot = np.eye(k, dtype=np.float32)[y]

    def objective(flat: Float32s) -> tuple[float, Float32s]:
        w, b = flat[: d * k].reshape(d, k), flat[d * k :]
        p = softmax(x @ w + b)
        loss = -float(np.log(p[np.arange(n), y] + 1e-12).sum()) * _FIT_STRENGTH + float((w * w).sum()) / 2
        error = (p - one_hot).astype(np.float32)
        return loss, np.concatenate([(x.T @ error * _FIT_STRENGTH + w).ravel(), error.sum(axis=0) * _FIT_STRENGTH])

    flat = minimise(objective, np.zeros(d * k + k, np.float32))
    return EmbeddingHead(encoder, made_from, tuple(routes), flat[: d * k].reshape(d, k), flat[d * k :])


def pack_head(head: EmbeddingHead) -> dict[str, Any]:
    """Return the arrays of a head as they are stored."""
    return {
        "encoder": np.array(head.encoder),
        "made_from": np.array(head.made_from),
        "routes": np.array(head.routes),
        "weights": head.weights,
        "bias": head.bias,
    }


def load_head(path: Path) -> EmbeddingHead | None:
    """Return a stored head; None when there is none that can be read."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return _read(file)
    except UNREADABLE:
        return None


def _read(file: Mapping[str, NDArray[Any]]) -> EmbeddingHead:
    routes = tuple(str(name) for name in file["routes"])
    return EmbeddingHead(str(file["encoder"]), str(file["made_from"]), routes, file["weights"], file["bias"])
