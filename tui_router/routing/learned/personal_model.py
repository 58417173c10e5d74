"""The personal model: fitted to the person's own verdicts on top of the seeds, and how far it is to be trusted.

Verdicts come from few kinds of requests; a fit to them gets better on those and worse on all others. So where it differs
from the shipped model, it is believed only if the request is more similar to one of the person's own requests than to any
seed. How a person types (case, length, punctuation) is fitted to their rows alone: the seeds' form is that of whoever wrote
them (features of one domain: Daumé 2007, "Frustratingly Easy Domain Adaptation").

The constants of trust were chosen on 2,402 labelled requests of 13 public sources, each source left out in turn:
`tui-router eval FILE --leave-out source` must not fall below the shipped model, `--folds 5` shows the gain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui_router.routing.arrays import Float32s, Floats, Ints
from tui_router.routing.linear.text_model import TextWeights, pack, unpack

FORM_FEATURES = 20
PERSONAL_ROW_WEIGHT = 3.0
"""Weight of one of the person's rows against that of a seed."""
FORM_SHARE = 0.3
"""Share of the form in the similarity of two requests; the rest is what they say."""
TRUST_MARGIN = 0.03
"""How much more similar a request must be to one of the person's rows than to any seed for both models to count the same."""
TRUST_SOFTNESS = 0.015
"""Similarity over which the trust rises from a half to three quarters, about."""
CONFIDENCE_GAIN, USUAL_CONFIDENCE = 0.4, 0.7
"""Similarity that the model's own confidence is worth, against its usual one where the two models differ."""
TRUST_WHEN_AGREED = 0.7
"""Trust where both models name the same route."""
VOTERS = 12
"""How many of the person's most similar rows vote on a request on which the models differ."""
VOTE_SOFTNESS = 0.05
"""Similarity by which a vote falls to 1 / e."""
VOTE_SHARE = 0.2
"""Weight of the vote against the model's log probabilities."""
_NO_VOTE = 0.15
"""Votes of a route that none of the voters has."""
MAX_ROWS = 2000
"""Newest of the person's rows that requests are compared with."""
_BLOCK_ROWS = 1024
"""Rows that are compared at a time: all of them at once would need much memory for a moment."""


class PersonalModel(NamedTuple):
    """The fitted model of k routes."""

    name: str
    """A hash of what it was fitted to, eight hex digits."""
    weights: TextWeights
    form_weights: Float32s
    """Shape (FORM_FEATURES, k)."""
    temperature: float
    personal_rows: RowIndex
    """The person's rows that it was fitted to."""
    row_routes: Ints
    """The route of each of them, as its column in the weights. Shape (rows,)."""
    seed_rows: RowIndex
    labels: int
    """How many labels there were when it was fitted, those included that it was not fitted to."""

    def vote(self, similarity: Float32s) -> Floats:
        """Return the share of each of the model's routes among the most similar of the person's rows. Shape (n, k).

        A kernel-weighted vote of the `VOTERS` nearest neighbours (Dudani 1976, distance-weighted k-nearest neighbours).

        Args:
            similarity: `personal_rows.similarity` of n requests. Shape (n, rows).
        """
        voters = min(VOTERS, similarity.shape[1])
        shares = np.full((len(similarity), len(self.weights.routes)), _NO_VOTE)
        if voters:
            nearest = np.argpartition(-similarity, voters - 1, axis=1)[:, :voters]
            nearness = np.take_along_axis(similarity, nearest, axis=1)
            weight = np.exp((nearness - nearness.max(axis=1, keepdims=True)) / VOTE_SOFTNESS)
            np.add.at(shares, (np.arange(len(similarity))[:, None], self.row_routes[nearest]), weight)
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    def trust(self, similarity: Float32s, embeddings: Float32s, forms: Float32s, confidence: Floats) -> Floats:
        """Return how much the model is to be believed where it differs from the shipped one, 0 to 1. Shape (n,).

        Args:
            similarity: `personal_rows.similarity` of n requests. Shape (n, rows).
            embeddings: Of the requests. Shape (n, dimensions).
            forms: Of the requests. Shape (n, FORM_FEATURES).
            confidence: The model's own. Shape (n,).
        """
        nearer = similarity.max(axis=1, initial=0.0) - self.seed_rows.max_similarity(embeddings, forms)
        nearer = nearer + CONFIDENCE_GAIN * (confidence - USUAL_CONFIDENCE)
        return np.asarray(1 / (1 + np.exp(np.clip((TRUST_MARGIN - nearer) / TRUST_SOFTNESS, -50, 50))))


class RowIndex(NamedTuple):
    """Requests, as others are compared with them. It may be empty: a fleet without shipped routes has no seeds."""

    embeddings: NDArray[np.int8]
    """Each at a scale of its own, so that its greatest number is 127. Shape (rows, dimensions)."""
    scales: Float32s
    """Shape (rows,)."""
    forms: Float32s
    """Form features, standardised by mean and spread. Shape (rows, FORM_FEATURES)."""
    mean: Float32s
    """Of each form feature over all requests. Shape (FORM_FEATURES,)."""
    spread: Float32s
    """Standard deviation of each, and 0.1. Shape (FORM_FEATURES,)."""

    @classmethod
    def of(cls, embeddings: Float32s, forms: Float32s, mean: Float32s, spread: Float32s) -> RowIndex:
        """Make an index of requests.

        Args:
            embeddings: Shape (rows, dimensions).
            forms: Not standardised. Shape (rows, FORM_FEATURES).
            mean: Shape (FORM_FEATURES,).
            spread: Shape (FORM_FEATURES,).
        """
        scales = (np.maximum(np.abs(embeddings).max(axis=1), 1e-9) / 127).astype(np.float32)
        forms = ((forms - mean) / spread).astype(np.float32)
        return cls(np.rint(embeddings / scales[:, None]).astype(np.int8), scales, forms, mean, spread)

    def similarity(self, embeddings: Float32s, forms: Float32s) -> Float32s:
        """Return the similarity of each of the rows to each of n requests, 0 to 1. Shape (n, rows).

        Args:
            embeddings: Of the requests. Shape (n, dimensions).
            forms: Of the requests. Shape (n, FORM_FEATURES).
        """
        empty = np.zeros((len(embeddings), 0), np.float32)
        return np.concatenate([empty, *self._blocks(embeddings, forms)], axis=1)

    def max_similarity(self, embeddings: Float32s, forms: Float32s) -> Float32s:
        """Return the greatest similarity of a row to each of n requests; 0 without rows. Arguments as above, shape (n,)."""
        greatest = np.zeros(len(embeddings), np.float32)
        for block in self._blocks(embeddings, forms):
            greatest = np.maximum(greatest, block.max(axis=1))
        return greatest

    def _blocks(self, embeddings: Float32s, forms: Float32s) -> Iterator[Float32s]:
        """Yield `similarity`, some rows at a time."""
        forms = (forms - self.mean) / self.spread
        squares = (forms**2).sum(axis=1)[:, None]
        for start in range(0, len(self.embeddings), _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            distance = squares + (self.forms[rows] ** 2).sum(axis=1) - 2 * (forms @ self.forms[rows].T)
            cosine = (embeddings @ self.embeddings[rows].astype(np.float32).T) * self.scales[rows]
            yield FORM_SHARE * np.exp(-distance / FORM_FEATURES) + (1 - FORM_SHARE) * cosine


def form_features(text: str) -> Float32s:
    """Return how a text is typed: length, case, punctuation. Shape (FORM_FEATURES,)."""
    stripped, n = text.strip(), max(1, len(text))
    letters = "".join(filter(str.isalpha, text))
    words = text.split()
    capitals = sum(map(str.isupper, letters)) / max(1, len(letters))
    names = sum([w[0].isupper() for w in words[1:]]) / max(1, len(words) - 1)
    beyond_ascii = len(text) - len(text.encode("ascii", "ignore"))
    return np.array(
        [
            np.log1p(len(text)) / 3 - 1.2,
            np.log1p(len(words)) / 2 - 1,
            stripped.endswith("?"),
            stripped.endswith("."),
            stripped[-1:].isalnum(),
            stripped[:1].isupper(),
            stripped[:1].islower(),
            "\n" in text,
            "\n\n" in text,
            capitals * 3,
            names * 2,
            sum(map(str.isdigit, text)) / n * 5,
            ":" in text,
            '"' in text,
            "'" in text,
            "," in text,
            beyond_ascii / n * 5,
            n > 80,
            n > 200,
            n > 500,
        ],
        np.float32,
    )


def pack_personal_model(model: PersonalModel) -> dict[str, NDArray[Any]]:
    """Return the arrays of a personal model as they are stored. The names are a stored format: do not change them."""
    return {
        "own_name": np.array(model.name),
        "own_form": model.form_weights,
        "own_temperature": np.array(model.temperature),
        "own_labels": np.array(model.labels),
        "own_middle": model.personal_rows.mean,
        "own_spread": model.personal_rows.spread,
        "own_mine": model.personal_rows.embeddings,
        "own_mine_scales": model.personal_rows.scales,
        "own_mine_routes": model.row_routes,
        "own_mine_forms": model.personal_rows.forms,
        "own_seeds": model.seed_rows.embeddings,
        "own_seeds_scales": model.seed_rows.scales,
        "own_seeds_forms": model.seed_rows.forms,
        **{f"own_{name}": array for name, array in pack(model.weights).items()},
    }


def unpack_personal_model(file: Mapping[str, NDArray[Any]]) -> PersonalModel | None:
    """Read the model of `pack_personal_model`; None when the file has none, or one in the form of an earlier version."""
    if "own_name" not in file or "own_seeds_scales" not in file:
        return None
    mean, spread = file["own_middle"], file["own_spread"]
    return PersonalModel(
        name=str(file["own_name"]),
        weights=unpack({name: file[f"own_{name}"] for name in TextWeights._fields}),
        form_weights=file["own_form"],
        temperature=float(file["own_temperature"]),
        personal_rows=RowIndex(file["own_mine"], file["own_mine_scales"], file["own_mine_forms"], mean, spread),
        row_routes=file["own_mine_routes"],
        seed_rows=RowIndex(file["own_seeds"], file["own_seeds_scales"], file["own_seeds_forms"], mean, spread),
        labels=int(file["own_labels"]),
    )
