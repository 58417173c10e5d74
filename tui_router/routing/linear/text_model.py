"""The linear model over text that the learned router stands on: its weights, and scoring a request in microseconds.

A request's features are three blocks: words and pairs, letter n-grams (both tf-idf, each of length 1), and dense ones: the
mean word vector, which of the rules' triggers matched, and the rules' score of each route. What a word adds to the scores
does not depend on its neighbours, so it is worked out once and cached.

`score` and `score_many` give the same but for the last digits. They are two, because a decision of one would take twice
as long through the matrices of many (`python -m benchmarks learned`); a test holds that they agree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui_router.routing.arrays import Float32s, Floats
from tui_router.routing.linear.ngrams import TokenSet, ngram_hashes, token_hash
from tui_router.routing.linear.sparse import row_sums
from tui_router.routing.linear.word_vectors import WordVectors

MAX_KNOWN, MAX_UNKNOWN = 60_000, 20_000
"""Words and pairs whose contributions are cached, 80 bytes each, and pairs that are remembered to be unknown; beyond that,
they are forgotten."""
_FIRST_ROWS = 6144
"""Rows that the cache begins with: the vocabulary of a fitted model and what a day brings."""
_VOCABULARY_CHUNK = 128
"""Words of the vocabulary that are worked out together: many more would need much memory for a moment."""
_FILTER_BITS = 1 << 20
"""Bits of the filter that tells at once that a pair is unknown; about 5 % of them are set in the shipped model."""
RULE_FLOOR, RULE_CEILING = -5.0, 12.0
"""A route's score by the rules is held within these before it becomes a feature."""
_UNKNOWN_IDF = 9.0
"""The idf of an unknown word: that of a word seen once in the shipped seeds."""
_LEAST_GAIN = 0.05
"""A word that adds less than this to a route's score is no reason. Natural-log units."""
_STOP_WORDS = frozenset(
    re.findall(
        r"\S+",
        """
        a an the and or but if so as at by for from in into of off on out over to up with about than then that this these those
        it its i me my we us our you your he she him her his they them their is am are was were be been being do does did have
        has had can could will would shall should may might must not no what s t re ll ve d m ? ! : ^
        """,
    )
)
"""Words that say nothing to a person as the reason of a decision; they still count in its score."""


class KnownShare(NamedTuple):
    """How much of a text the model has seen in its examples."""

    words: int
    """Words of letters."""
    known_words: int
    """Of these, words that stood in an example."""
    pairs: int
    known_pairs: int
    ngrams: float
    """Share of the letter n-grams that stood in an example, 0 to 1."""
    length: int
    """Characters of the words."""


class TextFeatures(NamedTuple):
    """What the model looks at in one request."""

    tokens: TokenSet
    triggers: tuple[str, ...]
    """Names of the rules' triggers that matched, `route.trigger`."""
    rules: Mapping[str, float]
    """The rules' score of each route."""


class TextFeatureTable(NamedTuple):
    """What the model looks at in n requests."""

    tokens: Sequence[TokenSet]
    vectors: Float32s
    """The mean word vector of each. Shape (n, dimensions)."""
    triggers: Sequence[str]
    """Names of all of the rules' triggers."""
    matched: Float32s
    """1 where a trigger matched, else 0. Shape (n, triggers)."""
    routes: Sequence[str]
    """Names of the routes that the rules score."""
    rules: Float32s
    """The rules' score of each route. Shape (n, routes)."""


class BlockScales(NamedTuple):
    """The scale of each block of features. Strong dense features make a fit lean on the writer's habits, so the rules' scores
    are scaled down. Chosen on folds of the seeds (`make prior` prints the accuracy)."""

    vector: float = 1.0
    trigger: float = 1.0
    rule: float = 0.1
    bayes: float = 0.5
    """Share of naive Bayes in the weights of the two text blocks."""
    fixed_rule: float = 0.1
    """Weight of the rules' scores that is set, not fitted: rules and seeds are written by the same hand and fail on the
    same things, so a fit on seeds cannot find it."""


class TextWeights(NamedTuple):
    """A fitted model of k routes, n known tokens and n-grams, t triggers and word vectors of d dimensions.

    The names are those of the arrays in the stored files.
    """

    routes: tuple[str, ...]
    triggers: tuple[str, ...]
    keys: NDArray[np.uint32]
    """The hashes of the tokens and n-grams, ascending. Shape (n,)."""
    rarity: Float32s
    """Inverse document frequency of each. Shape (n,)."""
    text: Floats
    """Shape (n, k). 16 bits when it was read from a file."""
    vector: Float32s
    """Shape (d, k)."""
    trigger: Float32s
    """Shape (t, k)."""
    rule: Float32s
    """From the rules' score of each route to the score of each route. Shape (k, k)."""
    bias: Float32s
    """Shape (k,)."""
    scales: BlockScales
    vocabulary: tuple[str, ...] = ()
    """Frequent words: their contributions are worked out once, when the model is made."""


class TextScores(NamedTuple):
    """The scores of a request."""

    scores: Float32s
    """Of each of the model's routes; their softmax at a temperature is the decision. Shape (k,)."""
    known: KnownShare
    contributions: Float32s
    """What each word and pair brought, as `_Layout` says; for `TextModel.explain`. Shape (tokens, 2 k + 7)."""


class TextScoreTable(NamedTuple):
    """The scores of n requests."""

    scores: Float32s
    """Shape (n, k)."""
    sums: Float32s
    """What all words, and all pairs, of each brought; for `TextModel.known_shares`. Shape (n, 2, 2 k + 7)."""


class _Layout:
    """Where the contributions of a word or pair stand in their row of the cache, for k routes.

    First the word or pair as itself: a score of each route, the squared length (idf squared), 1 where it is known. Then its
    letter n-grams: a score of each route, the squared length, how many are known, how many there are. Last, whether it is
    punctuation, and how many letters it has. A pair has only the first part.
    """

    def __init__(self, k: int) -> None:
        self.token_scores = slice(k)
        self.token_square, self.token_known = k, k + 1
        self.ngram_scores = slice(k + 2, 2 * k + 2)
        self.ngram_square, self.known_ngrams, self.ngrams = 2 * k + 2, 2 * k + 3, 2 * k + 4
        self.punctuation, self.letters = 2 * k + 5, 2 * k + 6
        self.width = 2 * k + 7


class TextModel:
    """Scores requests with fitted weights."""

    def __init__(self, weights: TextWeights, words: WordVectors) -> None:
        self.weights, self.words = weights, words
        self.routes = weights.routes
        self._k = len(weights.routes)
        self._layout = _Layout(self._k)
        self._trigger_row = {name: row for row, name in enumerate(weights.triggers)}
        self._rule_weights = weights.rule + weights.scales.fixed_rule * np.eye(self._k, dtype=np.float32)
        bits = np.zeros(_FILTER_BITS, np.bool_)
        bits[weights.keys & (_FILTER_BITS - 1)] = True
        self._filter = np.packbits(bits, bitorder="little").tobytes()
        """A bit for each hash that may be known (a Bloom filter of one hash): most pairs of a new text are unknown."""
        self._clear_cache()

    def _clear_cache(self) -> None:
        self._rows: dict[str, int] = {"": 0}
        """A word or pair -> its row in `_cache`."""
        self._cache = np.zeros((_FIRST_ROWS, self._layout.width), np.float32)
        self._used = 1
        """Rows of `_cache` that are in use; the first stays zero, for what is unknown."""
        vocabulary = self.weights.vocabulary
        for start in range(0, len(vocabulary), _VOCABULARY_CHUNK):
            self._add_to_cache(TokenSet(vocabulary[start : start + _VOCABULARY_CHUNK], ()))

    @property
    def cached(self) -> int:
        """How many words and pairs are cached."""
        return len(self._rows)

    def score(self, features: TextFeatures) -> TextScores:
        """Score one request."""
        w, at = self.weights, self._layout
        tokens = features.tokens
        rows = self._contributions(tokens)
        total, of_words = rows.sum(axis=0), rows[: len(tokens.words)].sum(axis=0)
        scores = (
            w.bias
            + total[at.token_scores] * _inverse_root(total[at.token_square])
            + total[at.ngram_scores] * _inverse_root(total[at.ngram_square])
        )
        rows_of = self.words.rows
        mean = self.words.mean([row for word in tokens.words for row in rows_of(word)])
        scores += mean @ w.vector
        hits = [row for name in features.triggers if (row := self._trigger_row.get(name)) is not None]
        if hits:
            scores += w.trigger.take(hits, axis=0).sum(axis=0)
        rule_scores = (features.rules.get(route, 0.0) for route in self.routes)
        clipped = np.array([min(RULE_CEILING, max(RULE_FLOOR, score)) for score in rule_scores], np.float32)
        known = self._known_share(tokens, of_words.tolist(), float(total[at.token_known]))
        return TextScores(scores + clipped @ self._rule_weights, known, rows)

    def score_many(self, features: TextFeatureTable) -> TextScoreTable:
        """Score n requests, as `score` does but for the last digits."""
        w, at = self.weights, self._layout
        sums = self._contribution_sums(features.tokens)
        total = sums.sum(axis=1)
        scores = (
            w.bias
            + total[:, at.token_scores] * _inverse_roots(total[:, at.token_square])[:, None]
            + total[:, at.ngram_scores] * _inverse_roots(total[:, at.ngram_square])[:, None]
        )
        scores += features.vectors @ w.vector
        columns, rows = _common(features.triggers, self._trigger_row)
        scores += features.matched[:, columns] @ w.trigger[rows]
        columns, rows = _common(features.routes, {route: row for row, route in enumerate(self.routes)})
        scores += features.rules[:, columns].clip(RULE_FLOOR, RULE_CEILING) @ self._rule_weights[rows]
        return TextScoreTable(scores, sums)

    def known_shares(self, texts: Sequence[TokenSet], scored: TextScoreTable) -> list[KnownShare]:
        """Return how much of each request is known."""
        known_tokens = scored.sums[:, :, self._layout.token_known].sum(axis=1).tolist()
        return [self._known_share(*one) for one in zip(texts, scored.sums[:, 0].tolist(), known_tokens, strict=True)]

    def _contribution_sums(self, texts: Sequence[TokenSet]) -> Float32s:
        """Return what all words, and all pairs, of each text bring. Shape (texts, 2, 2 k + 7)."""
        unknown = set(chain.from_iterable(chain.from_iterable(texts))).difference(self._rows)
        if unknown and self._make_room(len(unknown)):
            unknown = set(chain.from_iterable(chain.from_iterable(texts))).difference(self._rows)
        self._add_to_cache(TokenSet(tuple(t for t in unknown if " " not in t), tuple(t for t in unknown if " " in t)))
        row = self._rows.__getitem__
        lists = [[*map(row, part)] for part in chain.from_iterable(texts)]
        return row_sums(self._cache, lists).reshape(len(texts), 2, -1)

    def _known_share(self, tokens: TokenSet, of_words: list[float], known_tokens: float) -> KnownShare:
        """Return how much of a text is known.

        Args:
            tokens: Of the text.
            of_words: What its words bring, summed. Length 2 k + 7.
            known_tokens: How many of its words and pairs are known.
        """
        at = self._layout
        known_words, punctuation = of_words[at.token_known], int(of_words[at.punctuation])
        return KnownShare(
            words=len(tokens.words) - punctuation,
            known_words=max(0, int(known_words) - punctuation),
            pairs=len(tokens.pairs),
            known_pairs=int(known_tokens - known_words),
            ngrams=of_words[at.known_ngrams] / max(1.0, of_words[at.ngrams]),
            length=int(of_words[at.letters]),
        )

    def idf(self, word: str) -> float:
        """Return the inverse document frequency of a word in the examples; that of a word seen once for an unknown one."""
        w = self.weights
        wanted = np.uint32(token_hash(word))
        place = int(np.searchsorted(w.keys, wanted))
        return float(w.rarity[place]) if place < len(w.keys) and w.keys[place] == wanted else _UNKNOWN_IDF

    def explain(self, features: TextFeatures, scored: TextScores, route: str, limit: int) -> list[tuple[str, float]]:
        """Return the words and pairs that raise a route most above the mean of all: (text, gain in score), largest first.

        Words that tell a person nothing ("the", "of") are left out.
        """
        k, at, column = self._k, self._layout, self.routes.index(route)
        rows = scored.contributions
        total = rows.sum(axis=0)
        scores = rows[:, at.token_scores] * _inverse_root(total[at.token_square])
        scores += rows[:, at.ngram_scores] * _inverse_root(total[at.ngram_square])
        gains = scores[:, column] - scores.sum(axis=1) / k
        names = (*features.tokens.words, *features.tokens.pairs)
        found: list[tuple[str, float]] = []
        for i in (-gains).argsort().tolist():
            if gains[i] <= _LEAST_GAIN or len(found) == limit * 4:
                break
            if not _STOP_WORDS.issuperset(names[i].split()):
                found.append((names[i], float(gains[i])))
        return _without_overlaps(found, limit)

    def _contributions(self, tokens: TokenSet) -> Float32s:
        """Return what each word and pair brings. Shape (words + pairs, 2 k + 7)."""
        names = (*tokens.words, *tokens.pairs)
        try:
            rows = [self._rows[name] for name in names]
        except KeyError:
            self._make_room(len(names))
            self._add_to_cache(tokens)
            rows = [self._rows[name] for name in names]
        result: Float32s = self._cache.take(rows, axis=0)
        return result

    def _make_room(self, new: int) -> bool:
        """Forget something if `new` more would be too many; returns whether anything was forgotten."""
        known = self._used
        if known + new > MAX_KNOWN:
            self._clear_cache()
            return True
        if len(self._rows) - known > MAX_UNKNOWN:
            self._rows = {name: row for name, row in self._rows.items() if row or not name}
            return True
        return False

    def _add_to_cache(self, tokens: TokenSet) -> None:
        """Work out what new words and pairs bring, and cache it."""
        k, at, first, cached = self._k, self._layout, self._used, self._rows
        words = list(dict.fromkeys(word for word in tokens.words if word not in cached))
        new = words + self._possibly_known(tokens.pairs)
        if not new:
            return
        while first + len(new) > len(self._cache):
            self._cache = np.concatenate([self._cache, np.zeros_like(self._cache)])
        hashes = [*map(token_hash, new)]
        sizes = []
        for word in words:
            ngrams = ngram_hashes(word)
            sizes.append(len(ngrams))
            hashes += ngrams
        weighted = self._weighted(hashes)
        rows = self._cache[first : first + len(new)]
        rows[:, : k + 2] = weighted[: len(new)]
        if words:
            starts = [len(new)]
            for size in sizes[:-1]:
                starts.append(starts[-1] + size)
            rows[: len(words), k + 2 : 2 * k + 4] = np.add.reduceat(weighted, starts)
            rows[: len(words), at.ngrams] = sizes
            rows[: len(words), at.punctuation] = [not word[0].isalpha() for word in words]
            rows[: len(words), at.letters] = [len(word) for word in words]
        cached.update(zip(new, range(first, first + len(new)), strict=True))
        self._used = first + len(new)

    def _possibly_known(self, pairs: tuple[str, ...]) -> list[str]:
        """Return the pairs that are not cached and may be known; those that cannot be get the row of the unknown."""
        cached, bits, found = self._rows, self._filter, []
        for pair in dict.fromkeys(pairs):
            if pair not in cached:
                bit = token_hash(pair) & (_FILTER_BITS - 1)
                if bits[bit >> 3] >> (bit & 7) & 1:
                    found.append(pair)
                else:
                    cached[pair] = 0
        return found

    def _weighted(self, hashes: list[int]) -> Float32s:
        """Return idf x weights of each hash, then idf squared, then 1; zeros for an unknown one. Shape (hashes, k + 2)."""
        keys, wanted = self.weights.keys, np.array(hashes, np.uint32)
        places = keys.searchsorted(wanted)
        known = keys.take(places, mode="clip") == wanted
        idf = np.where(known, self.weights.rarity.take(places, mode="clip"), 0)
        weighted = np.empty((len(hashes), self._k + 2), np.float32)
        np.multiply(self.weights.text.take(places, axis=0, mode="clip"), idf[:, None], out=weighted[:, : self._k])
        weighted[:, -2] = idf**2
        weighted[:, -1] = known
        return weighted


def _common(names: Sequence[str], places: Mapping[str, int]) -> tuple[list[int], list[int]]:
    """Return (index in `names`, value in `places`) of every name that both have."""
    return [i for i, name in enumerate(names) if name in places], [places[name] for name in names if name in places]


def _inverse_root(square: float) -> float:
    """Return 1 / sqrt(square); 0 for 0."""
    return float(square**-0.5) if square > 0 else 0.0


def _inverse_roots(squares: Float32s) -> Float32s:
    """Return `_inverse_root` of each. Shape as given."""
    result: Float32s = np.where(squares > 0, np.maximum(squares, 1e-30) ** -0.5, 0.0).astype(np.float32)
    return result


def _without_overlaps(found: list[tuple[str, float]], limit: int) -> list[tuple[str, float]]:
    """Return the first words and pairs of which none has a word in common with one before it, at most `limit`."""
    kept: list[tuple[str, float]] = []
    used: set[str] = set()
    for text, gain in found:
        words = set(text.removeprefix("^ ").split())
        if words.isdisjoint(used) and len(kept) < limit:
            kept.append((text.removeprefix("^ "), gain))
            used |= words
    return kept


def pack(weights: TextWeights) -> dict[str, NDArray[Any]]:
    """Return the arrays of a model as they are stored; text weights in 16 bits."""
    return {
        "routes": np.array(weights.routes),
        "triggers": np.array(weights.triggers or [""])[: len(weights.triggers)],
        "keys": weights.keys,
        "rarity": weights.rarity.astype(np.float16),
        "text": weights.text.astype(np.float16),
        "vector": weights.vector,
        "trigger": weights.trigger,
        "rule": weights.rule,
        "bias": weights.bias,
        "scales": np.array(weights.scales, np.float32),
        "vocabulary": np.frombuffer("\n".join(weights.vocabulary).encode(), np.uint8),
    }


def unpack(file: Mapping[str, NDArray[Any]]) -> TextWeights:
    """Read the model of `pack`. Raises KeyError or ValueError when something is missing or does not fit together."""

    def floats(name: str) -> Float32s:
        return file[name].astype(np.float32)

    return TextWeights(
        routes=tuple(map(str, file["routes"])),
        triggers=tuple(map(str, file["triggers"])),
        keys=file["keys"],
        rarity=floats("rarity"),
        text=file["text"],
        vector=floats("vector"),
        trigger=floats("trigger"),
        rule=floats("rule"),
        bias=floats("bias"),
        scales=BlockScales(*map(float, file["scales"])),
        vocabulary=tuple(file["vocabulary"].tobytes().decode().split("\n")) if len(file["vocabulary"]) else (),
    )
