"""The linear model over text that the learned router stands on: its weights, and scoring a request in microseconds.

A request's features are three blocks: words and pairs, letter groups (both tf-idf-like, each of length 1), and dense
ones: the mean word vector, which of the rules' triggers matched, and the rules' score of each route. What a word adds
to the scores does not depend on its neighbours, so it is worked out once and kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui_router.routing.linear.ngrams import TokenSet, groups, name_of
from tui_router.routing.linear.sparse import sums
from tui_router.routing.linear.word_vectors import WordVectors

Floats = NDArray[np.float32]

MOST_KEPT, MOST_UNKNOWN = 60_000, 20_000
"""Words and pairs whose share is kept, and pairs of which is kept that they are unknown; beyond that, they are forgotten."""
_AT_A_TIME = 128
"""Words of the vocabulary that are worked out together: many more would need much memory for a moment."""
_MARKS = 1 << 20
RULE_FLOOR, RULE_CEILING = -5.0, 12.0
"""A route's score by the rules is held within these before it becomes a feature."""


class KnownShare(NamedTuple):
    """How much of a text is known, counted by the text model."""

    words: int
    """Words of letters."""
    known_words: int
    """Of these, words that stood in an example."""
    pairs: int
    known_pairs: int
    groups: float
    """Share of the letter groups that stood in an example."""
    length: int
    """Characters."""


class Features(NamedTuple):
    """What the model looks at in one request."""

    pieces: TokenSet
    triggers: tuple[str, ...]
    """Names of the rules' triggers that matched, `route.trigger`."""
    rules: Mapping[str, float]
    """The rules' score of each route."""


class ManyFeatures(NamedTuple):
    """What the model looks at in n requests."""

    pieces: Sequence[TokenSet]
    vectors: Floats
    """The mean word vector of each. Shape (n, dimensions)."""
    triggers: Sequence[str]
    """Names of all of the rules' triggers."""
    matched: Floats
    """1 where a trigger matched, else 0. Shape (n, triggers)."""
    routes: Sequence[str]
    """Names of the routes that the rules score."""
    rules: Floats
    """The rules' score of each route. Shape (n, routes)."""


class Scales(NamedTuple):
    """How loud each block is. Strong dense features make a fit lean on the writer's habits, so they are turned down."""

    vector: float = 1.0
    trigger: float = 1.0
    rule: float = 0.1
    bayes: float = 0.5
    """Share of naive Bayes in the weights of the two text blocks."""
    late: float = 0.1
    """Weight of the rules' scores that is set, not fitted: rules and seeds are written by the same hand and fail on the
    same things, so a fit on seeds cannot find it."""


class Weights(NamedTuple):
    """A fitted model. `k` routes, `n` known pieces and groups, `t` triggers, `d` dimensions of the word vectors."""

    routes: tuple[str, ...]
    triggers: tuple[str, ...]
    keys: NDArray[np.uint32]
    """Shape (n,), ascending: the hashes of the pieces and groups."""
    rarity: Floats
    """Shape (n,): inverse document frequency."""
    text: NDArray[np.floating]
    """Shape (n, k). 16 bits when it was read from a file."""
    vector: Floats
    """Shape (d, k)."""
    trigger: Floats
    """Shape (t, k)."""
    rule: Floats
    """Shape (k, k): from the rules' score of each route to the score of each route."""
    bias: Floats
    """Shape (k,)."""
    scales: Scales
    vocabulary: tuple[str, ...] = ()
    """Words that are met often: what they bring is worked out once, at the first request."""


class Scored(NamedTuple):
    """What the model makes of a request."""

    scores: Floats
    """One of each of the model's routes. Shape (k,)."""
    known: KnownShare
    shares: Floats
    """What each word and pair brought, as the model keeps it; for `TextModel.because`."""


class ManyScored(NamedTuple):
    """What the model makes of n requests."""

    scores: Floats
    """Shape (n, k)."""
    sums: Floats
    """What all words, and all pairs, of each brought; for `TextModel.known`. Shape (n, 2, 2 k + 7)."""


class TextModel:
    """Scores requests with fitted weights."""

    def __init__(self, weights: Weights, words: WordVectors) -> None:
        self.weights, self.words = weights, words
        self.routes = weights.routes
        self._k = len(weights.routes)
        self._trigger = {name: row for row, name in enumerate(weights.triggers)}
        self._rule = weights.rule + weights.scales.late * np.eye(self._k, dtype=np.float32)
        marks = np.zeros(_MARKS, np.bool_)
        marks[weights.keys & (_MARKS - 1)] = True
        self._marks = np.packbits(marks, bitorder="little").tobytes()
        """A bit for each hash that may be known: most pairs of a new text are unknown, and this tells it at once."""
        self._begin()

    def _begin(self) -> None:
        self._rows: dict[str, int] = {"": 0}
        self._shares = np.zeros((6144, 2 * self._k + 7), np.float32)
        """What a word or pair brings as itself, then what its groups bring, as in `_brought`; how many groups it has, whether
        it is a sign, and its letters (a pair has none of the last three)."""
        self._kept = 1
        """Rows of `_shares` that are in use; the first stays empty, for what is unknown."""
        known = self.weights.vocabulary
        for first in range(0, len(known), _AT_A_TIME):
            self._add(TokenSet(known[first : first + _AT_A_TIME], ()))

    def score(self, features: Features) -> Scored:
        """The scores of a request; their softmax, tempered, is the decision."""
        w, k = self.weights, self._k
        found = features.pieces
        shares = self._shares_of(found)
        total, of_words = shares.sum(axis=0), shares[: len(found.words)].sum(axis=0)
        scores = w.bias + total[:k] * _inverse(total[k]) + total[k + 2 : 2 * k + 2] * _inverse(total[2 * k + 2])
        rows_of = self.words.rows
        mean = self.words.mean([row for word in found.words for row in rows_of(word)])
        scores += mean @ w.vector
        hits = [row for name in features.triggers if (row := self._trigger.get(name)) is not None]
        if hits:
            scores += w.trigger.take(hits, axis=0).sum(axis=0)
        by_rules = (features.rules.get(route, 0.0) for route in self.routes)
        rules = np.array([min(RULE_CEILING, max(RULE_FLOOR, score)) for score in by_rules], np.float32)
        known = self._known(found, of_words.tolist(), float(total[k + 1]))
        return Scored(scores + rules @ self._rule, known, shares)

    def score_many(self, features: ManyFeatures) -> ManyScored:
        """The scores of n requests, as `score` gives them but for the last digits."""
        w, k = self.weights, self._k
        sums = self._sums(features.pieces)
        total = sums.sum(axis=1)
        own, grouped = _inverses(total[:, k]), _inverses(total[:, 2 * k + 2])
        scores = w.bias + total[:, :k] * own[:, None] + total[:, k + 2 : 2 * k + 2] * grouped[:, None]
        scores += features.vectors @ w.vector
        columns, rows = _common(features.triggers, self._trigger)
        scores += features.matched[:, columns] @ w.trigger[rows]
        columns, rows = _common(features.routes, {route: row for row, route in enumerate(self.routes)})
        scores += features.rules[:, columns].clip(RULE_FLOOR, RULE_CEILING) @ self._rule[rows]
        return ManyScored(scores, sums)

    def known(self, found: Sequence[TokenSet], scored: ManyScored) -> list[KnownShare]:
        """How much of each request is known."""
        pieces = scored.sums[:, :, self._k + 1].sum(axis=1).tolist()
        return [self._known(*one) for one in zip(found, scored.sums[:, 0].tolist(), pieces, strict=True)]

    def _sums(self, found: Sequence[TokenSet]) -> Floats:
        """What all words, and all pairs, of each text bring. Shape (texts, 2, 2 k + 7)."""
        unknown = set(chain.from_iterable(chain.from_iterable(found))).difference(self._rows)
        if unknown and self._make_room(len(unknown)):
            unknown = set(chain.from_iterable(chain.from_iterable(found))).difference(self._rows)
        self._add(TokenSet(tuple(n for n in unknown if " " not in n), tuple(n for n in unknown if " " in n)))
        row = self._rows.__getitem__
        return sums(self._shares, [[*map(row, part)] for part in chain.from_iterable(found)]).reshape(len(found), 2, -1)

    def _known(self, found: TokenSet, of_words: list[float], pieces: float) -> KnownShare:
        """How much of a text is known, from what its words bring and how many of its pieces are known."""
        k = self._k
        known_words, signs = of_words[k + 1], int(of_words[2 * k + 5])
        return KnownShare(
            words=len(found.words) - signs, known_words=max(0, int(known_words) - signs), pairs=len(found.pairs),
            known_pairs=int(pieces - known_words), groups=of_words[2 * k + 3] / max(1.0, of_words[2 * k + 4]),
            length=int(of_words[2 * k + 6]),
        )  # fmt: skip

    def rarity(self, word: str) -> float:
        """Inverse document frequency of a word in the examples; that of a word seen once for an unknown one."""
        w = self.weights
        wanted = np.uint32(name_of(word))
        place = int(np.searchsorted(w.keys, wanted))
        return float(w.rarity[place]) if place < len(w.keys) and w.keys[place] == wanted else 9.0

    def because(self, features: Features, scored: Scored, route: str, most: int) -> list[tuple[str, float]]:
        """The words and pairs that speak most for a route against the mean of all: (piece, share of the score)."""
        k, column = self._k, self.routes.index(route)
        shares = scored.shares
        total = shares.sum(axis=0)
        lifted = shares[:, :k] * _inverse(total[k]) + shares[:, k + 2 : 2 * k + 2] * _inverse(total[2 * k + 2])
        gains = lifted[:, column] - lifted.sum(axis=1) / k
        names = (*features.pieces.words, *features.pieces.pairs)
        order = [i for i in (-gains).argsort()[: most * 4].tolist() if gains[i] > 0.05]
        return _distinct([(names[i], float(gains[i])) for i in order], most)

    def _shares_of(self, found: TokenSet) -> Floats:
        """What each word and pair brings. Shape (words + pairs, 2 k + 7)."""
        names = (*found.words, *found.pairs)
        try:
            known = [self._rows[name] for name in names]
        except KeyError:
            self._make_room(len(names))
            self._add(found)
            known = [self._rows[name] for name in names]
        result: Floats = self._shares.take(known, axis=0)
        return result

    def _make_room(self, new: int) -> bool:
        """Forget something where so many new pieces would be too many; returns whether anything was forgotten."""
        known = self._kept
        if known + new > MOST_KEPT:
            self._begin()
            return True
        if len(self._rows) - known > MOST_UNKNOWN:
            self._rows = {name: row for name, row in self._rows.items() if row or not name}
            return True
        return False

    def _add(self, found: TokenSet) -> None:
        """Work out what new pieces bring and keep it."""
        k, first, kept = self._k, self._kept, self._rows
        words = list(dict.fromkeys(word for word in found.words if word not in kept))
        new = words + self._unseen_pairs(found.pairs)
        if not new:
            return
        while first + len(new) > len(self._shares):
            self._shares = np.concatenate([self._shares, np.zeros_like(self._shares)])
        hashes = [*map(name_of, new)]
        sizes = []
        for word in words:
            spelled = groups(word)
            sizes.append(len(spelled))
            hashes += spelled
        brought = self._brought(hashes)
        rows = self._shares[first : first + len(new)]
        rows[:, : k + 2] = brought[: len(new)]
        if words:
            starts = [len(new)]
            for size in sizes[:-1]:
                starts.append(starts[-1] + size)
            rows[: len(words), k + 2 : 2 * k + 4] = np.add.reduceat(brought, starts)
            rows[: len(words), 2 * k + 4] = sizes
            rows[: len(words), 2 * k + 5] = [not word[0].isalpha() for word in words]
            rows[: len(words), 2 * k + 6] = [len(word) for word in words]
        kept.update(zip(new, range(first, first + len(new)), strict=True))
        self._kept = first + len(new)

    def _unseen_pairs(self, pairs: tuple[str, ...]) -> list[str]:
        """The pairs that are not kept yet and may be known; those that cannot be get the empty row."""
        kept, marks, found = self._rows, self._marks, []
        for pair in dict.fromkeys(pairs):
            if pair not in kept:
                name = name_of(pair) & (_MARKS - 1)
                if marks[name >> 3] >> (name & 7) & 1:
                    found.append(pair)
                else:
                    kept[pair] = 0
        return found

    def _brought(self, hashes: list[int]) -> Floats:
        """What pieces and groups bring: a score of each route, the squared length, 1; zeros for an unknown one."""
        keys, wanted = self.weights.keys, np.array(hashes, np.uint32)
        places = keys.searchsorted(wanted)
        known = keys.take(places, mode="clip") == wanted
        rarity = np.where(known, self.weights.rarity.take(places, mode="clip"), 0)
        brought = np.empty((len(hashes), self._k + 2), np.float32)
        np.multiply(self.weights.text.take(places, axis=0, mode="clip"), rarity[:, None], out=brought[:, : self._k])
        brought[:, -2] = rarity**2
        brought[:, -1] = known
        return brought


def _common(names: Sequence[str], places: Mapping[str, int]) -> tuple[list[int], list[int]]:
    """(where in `names`, where in `places`) every name stands that both have."""
    return [i for i, name in enumerate(names) if name in places], [places[name] for name in names if name in places]


def _inverse(square: float) -> float:
    """1 over the length of a vector; 0 for none."""
    return float(square**-0.5) if square > 0 else 0.0


def _inverses(squares: Floats) -> Floats:
    """`_inverse` of each."""
    result: Floats = np.where(squares > 0, np.maximum(squares, 1e-30) ** -0.5, 0.0).astype(np.float32)
    return result


def _distinct(found: list[tuple[str, float]], most: int) -> list[tuple[str, float]]:
    """The strongest pieces, none of whose words stood in a stronger one already."""
    kept: list[tuple[str, float]] = []
    said: set[str] = set()
    for piece, gain in found:
        words = set(piece.removeprefix("^ ").split())
        if words.isdisjoint(said) and len(kept) < most:
            kept.append((piece.removeprefix("^ "), gain))
            said |= words
    return kept


def pack(weights: Weights) -> dict[str, NDArray[Any]]:
    """The arrays of a model as they are stored; text weights in 16 bits."""
    return {
        "routes": np.array(weights.routes), "triggers": np.array(weights.triggers or [""])[: len(weights.triggers)],
        "keys": weights.keys, "rarity": weights.rarity.astype(np.float16), "text": weights.text.astype(np.float16),
        "vector": weights.vector, "trigger": weights.trigger, "rule": weights.rule, "bias": weights.bias,
        "scales": np.array(weights.scales, np.float32),
        "vocabulary": np.frombuffer("\n".join(weights.vocabulary).encode(), np.uint8),
    }  # fmt: skip


def unpack(file: Mapping[str, NDArray[Any]]) -> Weights:
    """The model of `pack`. Raises KeyError or ValueError when something is missing or does not fit together."""

    def floats(name: str) -> Floats:
        return file[name].astype(np.float32)

    return Weights(
        routes=tuple(map(str, file["routes"])), triggers=tuple(map(str, file["triggers"])), keys=file["keys"],
        rarity=floats("rarity"), text=file["text"], vector=floats("vector"), trigger=floats("trigger"),
        rule=floats("rule"), bias=floats("bias"), scales=Scales(*map(float, file["scales"])),
        vocabulary=tuple(file["vocabulary"].tobytes().decode().split("\n")) if len(file["vocabulary"]) else (),
    )  # fmt: skip
