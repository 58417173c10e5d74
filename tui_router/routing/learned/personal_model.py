"""A model fitted to the person's own verdicts, on top of the seeds, and how far it is to be trusted.

Verdicts come from few kinds of requests; a fit to them gets better on those and worse on all others. So where it differs
from the seeds' model, it is believed only if the request is more like one of the person's own rows than like any seed. How
a person types (case, length, punctuation) is fitted to their rows alone: the seeds' forms are those of whoever wrote
them (features of one domain: Daumé 2007, "Frustratingly Easy Domain Adaptation").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui_router.routing.linear.text_model import Weights, pack, unpack

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


class PersonalModel(NamedTuple):
    """The fitted model."""

    name: str
    """Eight hex digits of what it was fitted to."""
    weights: Weights
    form_weights: Floats
    """Shape (FORM_FEATURES, k)."""
    temperature: float
    mine: RowIndex
    """The person's rows that it was fitted to."""
    mine_routes: NDArray[np.intp]
    """The route of each of them, as its column in the weights."""
    seeds: RowIndex
    labels: int
    """How many labels there were when it was fitted, those included that it was not fitted to."""

    def vote(self, alike: Floats) -> NDArray[np.floating]:
        """The share of each of the model's routes among the person's rows likest to each of n requests.

        Args:
            alike: `mine.alike` of the requests. Shape (n, rows).
        """
        voters = min(VOTERS, alike.shape[1])
        first = np.argpartition(-alike, voters - 1, axis=1)[:, :voters]
        likeness = np.take_along_axis(alike, first, axis=1)
        weight = np.exp((likeness - likeness.max(axis=1, keepdims=True)) / VOTE_SOFTNESS)
        shares = np.full((len(alike), len(self.weights.routes)), _UNHEARD)
        np.add.at(shares, (np.arange(len(alike))[:, None], self.mine_routes[first]), weight)
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    def trust(self, alike: Floats, sketches: Floats, forms: Floats, sure: NDArray[np.floating]) -> NDArray[np.floating]:
        """How much the model is to be believed where it differs from the seeds' model, 0 to 1. Shape (n,).

        Args:
            alike: `mine.alike` of the requests. Shape (n, rows).
            sketches: Of the requests. Shape (n, dimensions).
            forms: Of the requests. Shape (n, FORM_FEATURES).
            sure: The model's own confidence. Shape (n,).
        """
        nearer = alike.max(axis=1) - self.seeds.likest(sketches, forms) + SURENESS * (sure - USUAL)
        return np.asarray(1 / (1 + np.exp(np.clip((NEARER - nearer) / SOFTNESS, -50, 50))))


class RowIndex(NamedTuple):
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
    def of(cls, sketches: Floats, forms: Floats, middle: Floats, spread: Floats) -> RowIndex:
        """A library of these requests."""
        scales = (np.maximum(np.abs(sketches).max(axis=1), 1e-9) / 127).astype(np.float32)
        forms = ((forms - middle) / spread).astype(np.float32)
        return cls(np.rint(sketches / scales[:, None]).astype(np.int8), scales, forms, middle, spread)

    def alike(self, sketches: Floats, forms: Floats) -> Floats:
        """The likeness of each of its requests to each of n others, 0 to 1. Shape (n, rows).

        Args:
            sketches: Of the others. Shape (n, dimensions).
            forms: Of the others. Shape (n, FORM_FEATURES).
        """
        return np.concatenate([*self._blocks(sketches, forms)], axis=1)

    def likest(self, sketches: Floats, forms: Floats) -> Floats:
        """The greatest likeness to each of n others. Shape (n,)."""
        found: Floats = np.max([block.max(axis=1) for block in self._blocks(sketches, forms)], axis=0)
        return found

    def _blocks(self, sketches: Floats, forms: Floats) -> Iterator[Floats]:
        """`alike`, some columns at a time: all of them would need much memory for a moment."""
        forms = (forms - self.middle) / self.spread
        squares = (forms**2).sum(axis=1)[:, None]
        for start in range(0, len(self.sketches), _BLOCK):
            here = slice(start, start + _BLOCK)
            apart = squares + (self.forms[here] ** 2).sum(axis=1) - 2 * (forms @ self.forms[here].T)
            said = (sketches @ self.sketches[here].astype(np.float32).T) * self.scales[here]
            yield FORM_SHARE * np.exp(-apart / FORM_FEATURES) + (1 - FORM_SHARE) * said


def form_features(text: str) -> Floats:
    """How a text is typed. Shape (FORM_FEATURES,)."""
    stripped, n = text.strip(), max(1, len(text))
    letters = "".join(filter(str.isalpha, text))
    words = text.split()
    capitals = sum(map(str.isupper, letters)) / max(1, len(letters))
    names = sum([w[0].isupper() for w in words[1:]]) / max(1, len(words) - 1)
    beyond_ascii = len(text) - len(text.encode("ascii", "ignore"))
    return np.array(
        [
            np.log1p(len(text)) / 3 - 1.2, np.log1p(len(words)) / 2 - 1, stripped.endswith("?"), stripped.endswith("."),
            stripped[-1:].isalnum(), stripped[:1].isupper(), stripped[:1].islower(), "\n" in text, "\n\n" in text,
            capitals * 3, names * 2, sum(map(str.isdigit, text)) / n * 5, ":" in text, '"' in text, "'" in text, "," in text,
            beyond_ascii / n * 5, n > 80, n > 200, n > 500,
        ],
        np.float32,
    )  # fmt: skip


def pack_personal_model(own: PersonalModel) -> dict[str, NDArray[Any]]:
    """The arrays of an own model as they are stored."""
    return {
        "own_name": np.array(own.name), "own_form": own.form_weights, "own_temperature": np.array(own.temperature),
        "own_labels": np.array(own.labels), "own_middle": own.mine.middle, "own_spread": own.mine.spread,
        "own_mine": own.mine.sketches, "own_mine_scales": own.mine.scales, "own_mine_routes": own.mine_routes,
        "own_mine_forms": own.mine.forms, "own_seeds": own.seeds.sketches, "own_seeds_scales": own.seeds.scales,
        "own_seeds_forms": own.seeds.forms, **{f"own_{name}": array for name, array in pack(own.weights).items()},
    }  # fmt: skip


def unpack_personal_model(file: Mapping[str, NDArray[Any]]) -> PersonalModel | None:
    """The model of `pack_personal_model`; None when there is none in the file, or one in the form of an earlier version."""
    if "own_name" not in file or "own_seeds_scales" not in file:
        return None
    middle, spread = file["own_middle"], file["own_spread"]
    return PersonalModel(
        name=str(file["own_name"]), form_weights=file["own_form"], temperature=float(file["own_temperature"]),
        labels=int(file["own_labels"]),
        mine_routes=file["own_mine_routes"],
        mine=RowIndex(file["own_mine"], file["own_mine_scales"], file["own_mine_forms"], middle, spread),
        seeds=RowIndex(file["own_seeds"], file["own_seeds_scales"], file["own_seeds_forms"], middle, spread),
        weights=unpack({name: file[f"own_{name}"] for name in Weights._fields}),
    )  # fmt: skip
