"""A model fitted to the person's own verdicts, on top of the seeds, and how far it is to be trusted.

Verdicts come from few kinds of requests; a fit to them gets better on those and worse on all others. So where it differs
from the seeds' model, it is believed only if the request is more like one of the person's own rows than like any seed. How
a person types (case, length, punctuation) is fitted to their rows alone: the seeds' forms are those of whoever wrote
them (features of one domain: Daumé 2007, "Frustratingly Easy Domain Adaptation").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui_router.routers.textmodel import Weights, pack, unpack

Floats = NDArray[np.float32]

FORM_FEATURES = 20
ROW_WEIGHT = 3.0
"""Weight of one of the person's rows against that of a seed."""
FORM_SHARE = 0.3
"""Share of the form in the likeness of two requests; the rest is what they say."""
NEARER = 0.03
"""How much more a request must be like one of the person's rows than like any seed for both models to count the same."""
SOFTNESS = 0.015
SURENESS, USUAL = 0.4, 0.7
"""How much likeness the model's own confidence is worth, against its usual one where the two differ."""
VOTERS, VOTE_SOFTNESS, VOTE_SHARE = 12, 0.05, 0.2
"""How many of the person's likest rows vote on a request on which the models differ, how much likeness halves a vote (nearly),
and the vote's weight against the model's log probabilities."""
_UNHEARD = 0.15
AGREED = 0.7
"""Trust where both models name the same route."""
MOST_ROWS = 2000
_BLOCK = 1024


class Own(NamedTuple):
    """The fitted model."""

    name: str
    """Eight hex digits of what it was fitted to."""
    weights: Weights
    form_weights: Floats
    """Shape (FORM_FEATURES, k)."""
    temperature: float
    mine: Library
    """The person's rows that it was fitted to."""
    mine_routes: NDArray[np.intp]
    """The route of each of them, as its column in the weights."""
    seeds: Library
    labels: int
    """How many labels there were when it was fitted, those included that it was not fitted to."""

    def vote(self, alike: Floats) -> NDArray[np.floating]:
        """The share of each of the model's routes among the person's likest rows, the likest counting most.

        Args:
            alike: `mine.alike` of the request.
        """
        first = np.argsort(-alike)[:VOTERS]
        weight = np.exp((alike[first] - alike[first[0]]) / VOTE_SOFTNESS)
        shares = np.bincount(self.mine_routes[first], weight, minlength=len(self.weights.routes)) + _UNHEARD
        return np.asarray(shares / shares.sum())

    def trust(self, alike: Floats, sketch: Floats, form: Floats, sure: float) -> float:
        """How much the model is to be believed where it differs from the seeds' model, 0 to 1.

        Args:
            alike: `mine.alike` of the request.
            sketch: Of the request.
            form: Of the request.
            sure: The model's own confidence.
        """
        nearer = float(alike.max()) - float(self.seeds.alike(sketch, form).max()) + SURENESS * (sure - USUAL)
        return float(1 / (1 + np.exp(np.clip((NEARER - nearer) / SOFTNESS, -50, 50))))


class Library(NamedTuple):
    """Requests as they are compared."""

    sketches: NDArray[np.int8]
    """Each of them at a scale of its own, so that its greatest number is 127. Shape (rows, dimensions)."""
    scales: Floats
    """Shape (rows,)."""
    forms: Floats
    """Form features, each of the mean and spread that it has over all requests taken away. Shape (rows, FORM_FEATURES)."""
    middle: Floats
    spread: Floats

    @classmethod
    def of(cls, sketches: Floats, forms: Floats, middle: Floats, spread: Floats) -> Library:
        """A library of these requests."""
        scales = (np.maximum(np.abs(sketches).max(axis=1), 1e-9) / 127).astype(np.float32)
        forms = ((forms - middle) / spread).astype(np.float32)
        return cls(np.rint(sketches / scales[:, None]).astype(np.int8), scales, forms, middle, spread)

    def alike(self, sketch: Floats, form: Floats) -> Floats:
        """The likeness of each request, 0 to 1. Shape (rows,)."""
        apart = (((form - self.middle) / self.spread - self.forms) ** 2).mean(axis=1)
        alike: Floats = FORM_SHARE * np.exp(-apart)
        for start in range(0, len(alike), _BLOCK):
            part = self.sketches[start : start + _BLOCK].astype(np.float32)
            alike[start : start + _BLOCK] += (1 - FORM_SHARE) * (part @ sketch) * self.scales[start : start + _BLOCK]
        return alike


def form_features(text: str) -> Floats:
    """How a text is typed. Shape (FORM_FEATURES,)."""
    stripped, n = text.strip(), max(1, len(text))
    letters = [c for c in text if c.isalpha()]
    words = text.split()
    capitals = sum(map(str.isupper, letters)) / max(1, len(letters))
    names = sum(w[0].isupper() for w in words[1:]) / max(1, len(words) - 1)
    return np.array(
        [
            np.log1p(len(text)) / 3 - 1.2, np.log1p(len(words)) / 2 - 1, stripped.endswith("?"), stripped.endswith("."),
            stripped[-1:].isalnum(), stripped[:1].isupper(), stripped[:1].islower(), "\n" in text, "\n\n" in text,
            capitals * 3, names * 2, sum(map(str.isdigit, text)) / n * 5, ":" in text, '"' in text, "'" in text, "," in text,
            sum(ord(c) > 127 for c in text) / n * 5, n > 80, n > 200, n > 500,
        ],
        np.float32,
    )  # fmt: skip


def pack_own(own: Own) -> dict[str, NDArray[Any]]:
    """The arrays of an own model as they are stored."""
    return {
        "own_name": np.array(own.name), "own_form": own.form_weights, "own_temperature": np.array(own.temperature),
        "own_labels": np.array(own.labels), "own_middle": own.mine.middle, "own_spread": own.mine.spread,
        "own_mine": own.mine.sketches, "own_mine_scales": own.mine.scales, "own_mine_routes": own.mine_routes,
        "own_mine_forms": own.mine.forms, "own_seeds": own.seeds.sketches, "own_seeds_scales": own.seeds.scales,
        "own_seeds_forms": own.seeds.forms, **{f"own_{name}": array for name, array in pack(own.weights).items()},
    }  # fmt: skip


def unpack_own(file: Mapping[str, NDArray[Any]]) -> Own | None:
    """The model of `pack_own`; None when there is none in the file, or one in the form of an earlier version."""
    if "own_name" not in file or "own_seeds_scales" not in file:
        return None
    middle, spread = file["own_middle"], file["own_spread"]
    return Own(
        name=str(file["own_name"]), form_weights=file["own_form"], temperature=float(file["own_temperature"]),
        labels=int(file["own_labels"]),
        mine_routes=file["own_mine_routes"],
        mine=Library(file["own_mine"], file["own_mine_scales"], file["own_mine_forms"], middle, spread),
        seeds=Library(file["own_seeds"], file["own_seeds_scales"], file["own_seeds_forms"], middle, spread),
        weights=unpack({name: file[f"own_{name}"] for name in Weights._fields}),
    )  # fmt: skip
