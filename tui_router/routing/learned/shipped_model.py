"""The shipped model: what the learned router knows before anybody's verdict, fitted to the seeds.

`make prior` fits it (`train/prior.py`) and writes `data/prior.npz`; a test checks that it was made from the seeds of today.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from tui_router.core import assets
from tui_router.routing.linear.text_model import TextWeights, pack, unpack

FORMAT = 1
"""Of the file."""


class ShippedModel(NamedTuple):
    """The shipped model, and what was measured of it on folds of the seeds."""

    weights: TextWeights
    temperature: float
    """Divides the scores; fitted on folds, so that no seed was judged by a model that knew it."""
    context: NDArray[np.float64]
    """Weights of `conversation_gate.carry_share`. Shape (GATE_FEATURES,)."""
    scope: NDArray[np.float64]
    """Weights of `out_of_scope.in_scope_probability`. Shape (SCOPE_FEATURES,)."""
    accuracy: dict[str, tuple[int, int]]
    """Router -> (right, all) on the seeds, each judged by a model that had not seen it."""
    made_from: str
    """A hash of the seeds, the shipped rules and the word vectors."""


UNREADABLE = (OSError, KeyError, ValueError, EOFError, BadZipFile, zlib.error)
"""What reading a file of arrays may raise when it is damaged or another kind of file."""


def save(model: ShippedModel, path: Path, seed_keys: Sequence[str], probabilities: NDArray[np.float64]) -> None:
    """Write a model. No pickle: arrays of numbers and short texts.

    Args:
        model: The model.
        path: The file.
        seed_keys: The keys (`Example.key`) of the seeds on the folds.
        probabilities: Of each seed's routes, by a model that was not fitted to the seed. Shape (seeds, routes).
    """
    names = sorted(model.accuracy)
    arrays: dict[str, Any] = {
        "format": FORMAT,
        "temperature": model.temperature,
        "context": model.context,
        "scope": model.scope,
        "accuracy_of": np.array(names),
        "accuracy": np.array([model.accuracy[name] for name in names]),
        "made_from": np.array(model.made_from),
        "judged": np.array(seed_keys, "S16"),
        "chances": probabilities.astype(np.float16),
        **pack(model.weights),
    }
    np.savez_compressed(path, **arrays)


def load(path: Path) -> ShippedModel:
    """Read a model. Raises ValueError, with a sentence, when the file holds none."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return _read(file)
    except UNREADABLE as error:
        raise ValueError(
            f"{path} is not a model of the learned router ({error}); `make prior` makes a new one"
        ) from error


def _read(file: Mapping[str, NDArray[Any]]) -> ShippedModel:
    if int(file["format"]) != FORMAT:
        raise ValueError(f"format {int(file['format'])}, this version reads {FORMAT}")
    accuracy = {str(n): (int(a[0]), int(a[1])) for n, a in zip(file["accuracy_of"], file["accuracy"], strict=True)}
    return ShippedModel(
        weights=unpack(file),
        temperature=float(file["temperature"]),
        context=file["context"],
        scope=file["scope"],
        accuracy=accuracy,
        made_from=str(file["made_from"]),
    )


@lru_cache
def shipped() -> ShippedModel:
    """Return the model in `data/prior.npz`."""
    return load(assets.data("prior.npz"))


def held_out() -> dict[str, dict[str, float]]:
    """Return seed (`Example.key`) -> route -> probability, by a model that was not fitted to this seed."""
    with np.load(assets.data("prior.npz"), allow_pickle=False) as file:
        routes = [str(name) for name in shipped().weights.routes]
        return {
            key.decode(): dict(zip(routes, row, strict=True))
            for key, row in zip(file["judged"], file["chances"].astype(float).tolist(), strict=True)
        }
