"""What the learned router knows before it has seen anybody's verdict: the shipped model of the seeds.

`make prior` fits it (`train/prior.py`) and writes `data/prior.npz`; a test holds that it belongs to the seeds.
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
from tui_router.routing.linear.text_model import Weights, pack, unpack

FORMAT = 1


class ShippedModel(NamedTuple):
    """The shipped model, and what was measured of it on folds of the seeds."""

    weights: Weights
    temperature: float
    """Divides the scores; fitted on folds, so that no seed was judged by a model that knew it."""
    context: NDArray[np.float64]
    """Weights of `context.gate`."""
    scope: NDArray[np.float64]
    """Weights of `scope.judge`."""
    accuracy: dict[str, tuple[int, int]]
    """Router -> (right, all) on the seeds, each judged by a model that had not seen it."""
    made_from: str
    """A hash of the seeds, the shipped rules and the word vectors."""


UNREADABLE = (OSError, KeyError, ValueError, EOFError, BadZipFile, zlib.error)
"""What reading a file of arrays may raise when it is damaged or something else."""


def save(prior: ShippedModel, path: Path, judged: Sequence[str], chances: NDArray[np.float64]) -> None:
    """Write a prior. No pickle: arrays of numbers and short texts.

    Args:
        prior: The model.
        path: Where to.
        judged: The keys (`Example.key`) of the seeds on the folds.
        chances: (seeds, routes) What a model that did not know the seed made of it.
    """
    names = sorted(prior.accuracy)
    arrays: dict[str, Any] = {
        "format": FORMAT, "temperature": prior.temperature, "context": prior.context, "scope": prior.scope,
        "accuracy_of": np.array(names), "accuracy": np.array([prior.accuracy[name] for name in names]),
        "made_from": np.array(prior.made_from), "judged": np.array(judged, "S16"), "chances": chances.astype(np.float16),
        **pack(prior.weights),
    }  # fmt: skip
    np.savez_compressed(path, **arrays)


def load(path: Path) -> ShippedModel:
    """Read a prior. Raises ValueError, with a sentence, when it is not one."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return _read(file)
    except UNREADABLE as error:
        raise ValueError(
            f"{path}: is no model of the learned router ({error}); `make prior` makes a new one"
        ) from error


def _read(file: Mapping[str, NDArray[Any]]) -> ShippedModel:
    if int(file["format"]) != FORMAT:
        raise ValueError(f"format {int(file['format'])}, this version reads {FORMAT}")
    accuracy = {str(n): (int(a[0]), int(a[1])) for n, a in zip(file["accuracy_of"], file["accuracy"], strict=True)}
    return ShippedModel(
        weights=unpack(file), temperature=float(file["temperature"]), context=file["context"], scope=file["scope"],
        accuracy=accuracy, made_from=str(file["made_from"]),
    )  # fmt: skip


@lru_cache
def shipped() -> ShippedModel:
    """The model in `data/prior.npz`."""
    return load(assets.data("prior.npz"))


def held_out() -> dict[str, dict[str, float]]:
    """Seed (`Example.key`) -> route -> probability, by a model that was not fitted to this seed."""
    with np.load(assets.data("prior.npz"), allow_pickle=False) as file:
        routes = [str(name) for name in shipped().weights.routes]
        return {
            key.decode(): dict(zip(routes, row, strict=True))
            for key, row in zip(file["judged"], file["chances"].astype(float).tolist(), strict=True)
        }
