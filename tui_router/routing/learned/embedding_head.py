"""What a served embedding model knows, for the learned router: a head on the vectors of the seeds.

A sentence encoder sees what words mean together, which word counts do not. Where a server has one, its vector of a request
is scored by a linear head fitted to the vectors of the seeds, and the two models are pooled (log-linear, a fixed share:
the head was not there when anything else was fitted).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui_router.routing.learned.shipped_model import UNREADABLE
from tui_router.routing.linear.lbfgs import minimise, softmax

Floats = NDArray[np.float32]

SHARE = 0.35
"""The head's share in the pool of log probabilities."""
_STRENGTH = 30.0
"""Weight of the examples against that of small weights."""
_TEMPERATURE = 1.3


class EmbeddingHead(NamedTuple):
    """A linear model over the vectors of one encoder."""

    encoder: str
    """Name of the embedding model, as its server calls it."""
    made_from: str
    """The seeds' fingerprint."""
    routes: tuple[str, ...]
    weights: Floats
    """Shape (dimensions, routes)."""
    bias: Floats

    def chances(self, vector: Floats) -> NDArray[np.floating]:
        """Probability of each of the head's routes."""
        return softmax((unit(vector) @ self.weights + self.bias) / _TEMPERATURE)


def unit(vectors: Floats) -> Floats:
    """Vectors at length 1."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    result: Floats = (vectors / np.maximum(length, 1e-9)).astype(np.float32)
    return result


def fit_head(
    encoder: str, made_from: str, vectors: Floats, labels: Sequence[str], routes: Sequence[str]
) -> EmbeddingHead:
    """Multinomial logistic regression on vectors of length 1.

    Args:
        encoder: Name of the embedding model.
        made_from: The seeds' fingerprint.
        vectors: Shape (examples, dimensions).
        labels: The route of each example.
        routes: All routes.
    """
    places = {route: i for i, route in enumerate(routes)}
    x, y = unit(vectors), np.array([places[label] for label in labels])
    n, d, k = len(y), x.shape[1], len(routes)
    target = np.eye(k, dtype=np.float32)[y]

    def objective(flat: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
        w, b = flat[: d * k].reshape(d, k), flat[d * k :]
        p = softmax(x @ w + b)
        loss = -float(np.log(p[np.arange(n), y] + 1e-12).sum()) * _STRENGTH + float((w * w).sum()) / 2
        miss = (p - target).astype(np.float32)
        return loss, np.concatenate([(x.T @ miss * _STRENGTH + w).ravel(), miss.sum(axis=0) * _STRENGTH])

    flat = minimise(objective, np.zeros(d * k + k, np.float32))
    return EmbeddingHead(encoder, made_from, tuple(routes), flat[: d * k].reshape(d, k), flat[d * k :])


def pack_head(head: EmbeddingHead) -> dict[str, Any]:
    """The arrays of a head as they are stored."""
    return {
        "encoder": np.array(head.encoder), "made_from": np.array(head.made_from), "routes": np.array(head.routes),
        "weights": head.weights, "bias": head.bias,
    }  # fmt: skip


def load_head(path: Path) -> EmbeddingHead | None:
    """A stored head; None when there is none that can be read."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return _read(file)
    except UNREADABLE:
        return None


def _read(file: Mapping[str, NDArray[Any]]) -> EmbeddingHead:
    routes = tuple(str(name) for name in file["routes"])
    return EmbeddingHead(str(file["encoder"]), str(file["made_from"]), routes, file["weights"], file["bias"])
