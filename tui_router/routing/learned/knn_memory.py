"""The memory of single labels: applied at once, to the same request in the same place, and to similar requests.

The same request in the same place (`place.py`) gets the route of its newest label. For similar requests it is a kernel
k-nearest-neighbour method beside the linear model. Each label has an embedding of its request and how far the scores must
move for that request to come out right; a new request gets the share of that move which its similarity earns. Where newer
labels contradict older ones of similar requests, the newer count: a taste may change.
Similarity is the cosine of two halves: rare words, spelled alike (a random projection, Achlioptas 2003, "Database-friendly
random projections"), and what the words mean (word vectors).

The constants were chosen by hand on benchmarks/sets/corrections.jsonl: `python scripts/sim.py corrections` shows how many
paraphrases a correction moves, and how many unrelated requests.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui_router.routing.arrays import Float32s, Floats, Ints
from tui_router.routing.linear.ngrams import TokenSet
from tui_router.routing.linear.sparse import row_sums
from tui_router.routing.linear.word_vectors import WordVectors

SPELLING_DIMENSIONS = 256
"""Dimensions of the half of an embedding that compares spelling."""
MAX_CACHED_WORDS = 16_384
"""Words whose part of an embedding is cached, 0.6 kB each; beyond that the cache is emptied."""
_FIRST_WORDS = 512
_STEM_LETTERS = 4
_STEM_WEIGHT = 0.7
"""Weight of a word's first letters against the whole word: forms of one word are similar."""
_COMMON_IDF, _LEAST_WORD_WEIGHT = 3.0, 0.15
"""A word weighs by how much its idf exceeds the first, at least the second."""
MIN_SIMILARITY = 0.42
"""Cosine from which on a label counts for a request."""
MARGIN = 4.0
"""How far beyond the second route a label moves the score of its own request, in natural-log units. A request that was decided
more clearly than that is not moved; its label only weakens labels that are farther away."""
NEAREST_SOFTNESS = 0.1
"""Similarity that a label may lack against the nearest one before its share falls to 1 / e."""
_SHARE_EXPONENT = 0.7
_OTHER_CONTEXT = 0.3
"""Share of a label in another conversation than its own: there the same words may mean something else."""
_NEGATIVE_EXPONENT = 3
"""Power of a negative label's share: it is weak evidence about a request that is only similar."""
MAX_STRENGTH = 14.0
"""Natural-log units. More than the linear model's scores ever differ by."""
MAX_LABELS = 2000
"""Labels that are held in memory, the newest; older ones live on in the personal model."""
MAX_NEIGHBOURS = 64
"""Most similar labels that count for one request: more of the same add nothing."""


class RandomProjectionEncoder:
    """Turns texts into embeddings: vectors of length 1 whose product is their similarity.

    Args:
        words: Word vectors.
        idf: A word -> its inverse document frequency.
    """

    def __init__(self, words: WordVectors, idf: Callable[[str], float]) -> None:
        self._words, self._idf = words, idf
        self.dimensions = SPELLING_DIMENSIONS + words.dimensions
        self._clear_cache()

    def _clear_cache(self) -> None:
        self._rows: dict[str, int] = {}
        self._cache = np.zeros((_FIRST_WORDS, self.dimensions), np.float16)
        """What each word adds, in the order of `_rows`."""

    def embedding(self, tokens: TokenSet) -> Float32s:
        """Return the embedding of a text; zeros for an empty one. Shape (dimensions,)."""
        one: Float32s = self.embeddings([tokens])[0]
        return one

    def embeddings(self, texts: Sequence[TokenSet]) -> Float32s:
        """Return the embeddings of several texts. Shape (texts, dimensions)."""
        words = {word: i for i, word in enumerate(dict.fromkeys(w for text in texts for w in text.words))}
        total = row_sums(self._word_parts(words), [[words[word] for word in text.words] for text in texts])
        for half in (slice(SPELLING_DIMENSIONS), slice(SPELLING_DIMENSIONS, None)):
            norms = np.linalg.norm(total[:, half], axis=1, keepdims=True)
            total[:, half] /= np.where(norms > 0, norms, 1.0)
        return total * np.float32(0.5**0.5)

    def _word_parts(self, words: Collection[str]) -> Float32s:
        """Return what each of these words adds. Shape (words, dimensions)."""
        new = [word for word in words if word not in self._rows]
        if len(self._rows) + len(new) > MAX_CACHED_WORDS:
            self._clear_cache()
            new = list(words)
        rows = self._rows
        for word in new:
            if len(rows) == len(self._cache):
                self._cache = np.concatenate([self._cache, np.zeros_like(self._cache)])
            self._cache[len(rows)] = self._part_of(word)
            rows[word] = len(rows)
        return self._cache.take([rows[word] for word in words], axis=0).astype(np.float32)

    def _part_of(self, word: str) -> Float32s:
        weight = max(_LEAST_WORD_WEIGHT, self._idf(word) - _COMMON_IDF)
        spelling = _random_vector(word) + _STEM_WEIGHT * _random_vector("~" + word[:_STEM_LETTERS])
        return np.concatenate([weight * spelling, weight * self._words.mean_of(word)])


@lru_cache
def _random_signs() -> NDArray[np.int8]:
    """Return fixed pseudo-random rows of +1 and -1. Shape (4096, SPELLING_DIMENSIONS)."""
    size = 4096 * SPELLING_DIMENSIONS // 8
    bits = np.unpackbits(np.frombuffer(hashlib.shake_256(b"tui-router").digest(size), np.uint8))
    return bits.reshape(4096, SPELLING_DIMENSIONS).astype(np.int8) * 2 - 1


def _random_vector(token: str) -> Float32s:
    """Return the fixed pseudo-random vector of a token, of length about 1. Shape (SPELLING_DIMENSIONS,)."""
    signs, name = _random_signs(), zlib.crc32(token.encode("utf-8", "surrogatepass"))
    result: Float32s = (signs[name & 4095] + signs[name >> 12 & 4095]) * np.float32((2 * SPELLING_DIMENSIONS) ** -0.5)
    return result


class StoredLabel(NamedTuple):
    """A label in memory. The fields are a stored format."""

    key: int
    """Number of the turn that it came from; below 0 for the description of a new route."""
    text: str
    """The beginning of its request."""
    route: str
    negative: bool = False
    """The route is known to be wrong; the right one is not known."""
    strength: float = 0.0
    """How far the score of its route moves for a request that is as good as the same, in natural-log units; not above 0 for a
    negative label."""
    weight: float = 1.0
    """Against that of a full verdict, 0 to 1."""
    context: str = ""
    """The route of the conversation that its request followed up; empty for a request that stands for itself."""
    place: str = ""
    """Of its request, as `place_of` gives it; empty for the description of a route."""


class Neighbour(NamedTuple):
    """A label whose request is similar."""

    label: StoredLabel
    similarity: float
    """Cosine, up to 1."""
    share: float
    """Of the label's strength that counts here, 0 to 1."""


class KnnMemory:
    """The labels at hand."""

    def __init__(self, projection: RandomProjectionEncoder) -> None:
        self._labels: list[StoredLabel] = []
        self._keys: set[int] = set()
        self._embeddings = np.zeros((64, projection.dimensions), np.float32)
        """Row i belongs to label i; rows beyond the labels are free."""
        self._by_place: dict[str, list[StoredLabel]] = {}
        """Place -> its labels, oldest first."""

    def __len__(self) -> int:
        return len(self._labels)

    def add(self, label: StoredLabel, embedding: Float32s) -> None:
        """Remember a label; one with the same key is replaced, and beyond `MAX_LABELS` the oldest goes.

        Descriptions of routes (keys below 0) stay, and are not counted.

        Args:
            label: The label.
            embedding: Of its request. Shape (dimensions,).
        """
        self.remove(label.key)
        if len(self._keys) == MAX_LABELS and label.key >= 0:
            self._remove_at(next(i for i, one in enumerate(self._labels) if one.key >= 0))
        n = len(self._labels)
        if n == len(self._embeddings):
            self._embeddings = np.concatenate([self._embeddings, np.zeros_like(self._embeddings)])
        self._embeddings[n] = embedding
        self._labels.append(label)
        if label.place:
            self._by_place.setdefault(label.place, []).append(label)
        if label.key >= 0:
            self._keys.add(label.key)

    def remove(self, key: int) -> None:
        """Forget the label of a turn, if there is one."""
        if key in self._keys:
            self._remove_at(next(i for i, label in enumerate(self._labels) if label.key == key))

    def _remove_at(self, index: int) -> None:
        n = len(self._labels)
        self._embeddings[index : n - 1] = self._embeddings[index + 1 : n].copy()
        label = self._labels.pop(index)
        self._keys.discard(label.key)
        if label.place:
            self._by_place[label.place].remove(label)
            if not self._by_place[label.place]:
                del self._by_place[label.place]

    @property
    def has_places(self) -> bool:
        """Whether any label has a place."""
        return bool(self._by_place)

    def at_place(self, place: str) -> StoredLabel | None:
        """Return the label that decides a place: the newest whose route no newer label there rules out; None without one."""
        ruled_out = set()
        for label in reversed(self._by_place.get(place, ())):
            if label.negative:
                ruled_out.add(label.route)
            elif label.route not in ruled_out:
                return label
        return None

    def user_items(self) -> list[tuple[StoredLabel, Float32s]]:
        """Return the labels that verdicts gave, oldest first, each with its embedding (dimensions,)."""
        return [(one, self._embeddings[i]) for i, one in enumerate(self._labels) if one.key >= 0]

    def similarity(self, embeddings: Float32s) -> Float32s:
        """Return the cosine of every label to each of these requests. Shapes: (n, dimensions) -> (n, labels)."""
        result: Float32s = embeddings @ self._embeddings[: len(self._labels)].T
        return result

    def _standing(self, indices: Ints) -> Floats:
        """Return the standing of some labels among themselves; that of a route's description is 1. Shape (indices,)."""
        result = np.ones(len(indices))
        labels = [self._labels[i] for i in indices]
        if len({(label.route, label.negative) for label in labels if label.key >= 0}) < 2:
            return result
        order = np.argsort(indices)
        order = order[[labels[i].key >= 0 for i in order]]
        embeddings = self._embeddings[indices[order]]
        result[order] = standing([labels[i] for i in order], embeddings @ embeddings.T)
        return result

    def neighbours(self, similarity: Float32s, context: str = "") -> list[Neighbour]:
        """Return the labels whose similarity exceeds `MIN_SIMILARITY`, the largest share first, at most MAX_NEIGHBOURS.

        Args:
            similarity: Of every label to the request. Shape (labels,).
            context: The route of its conversation; empty when it stands for itself.
        """
        if not len(similarity):
            return []
        indices = np.flatnonzero(similarity > MIN_SIMILARITY)
        if len(indices) > MAX_NEIGHBOURS:
            indices = indices[np.argsort(-similarity[indices], kind="stable")[:MAX_NEIGHBOURS]]
        cosines = np.minimum(1.0, similarity[indices].astype(np.float64))
        nearest = min(1.0, float(similarity.max()))
        shares = _kernel(cosines) * np.exp((cosines - nearest) / NEAREST_SOFTNESS)
        shares = shares * self._standing(indices)
        found = []
        for index, cosine, full_share in zip(indices.tolist(), cosines.tolist(), shares.tolist(), strict=True):
            label = self._labels[index]
            share = full_share if label.context == context else _OTHER_CONTEXT * full_share
            if label.negative:
                share **= _NEGATIVE_EXPONENT
            found.append(Neighbour(label, cosine, share))
        return sorted(found, key=lambda one: -one.share)


def _kernel(cosines: Floats) -> Floats:
    """Return how much a label counts for a request of this similarity, 0 to 1. Shape as given."""
    nearness = np.clip((cosines - MIN_SIMILARITY) / (1 - MIN_SIMILARITY), 0.0, 1.0)
    return np.asarray(nearness**_SHARE_EXPONENT)


def standing(labels: Sequence[StoredLabel], similarity: Floats) -> Floats:
    """Return what newer labels that contradict it have left of each label, 0 to 1. Shape (labels,).

    Each newer label takes away a share of what it contradicts: all of it for the same request, nothing below
    `MIN_SIMILARITY`. So after a change of taste a few new labels outweigh many old ones.

    Args:
        labels: Oldest first.
        similarity: Cosine of each to each. Shape (labels, labels).
    """
    routes = np.array([label.route for label in labels])
    negative = np.array([label.negative for label in labels])
    contexts = np.array([label.context for label in labels])
    same_route = routes[:, None] == routes
    both_positive = ~negative[:, None] & ~negative
    contradict = np.where(same_route, negative[:, None] != negative, both_positive)
    taken = _kernel(similarity) ** np.where(negative, _NEGATIVE_EXPONENT, 1)
    taken = taken * np.where(contexts[:, None] == contexts, 1.0, _OTHER_CONTEXT)
    newer = np.triu(np.ones_like(contradict), 1)
    return np.asarray(np.prod(1 - np.where(contradict & newer, taken, 0.0), axis=1))


def score_moves(neighbours: list[Neighbour]) -> dict[str, float]:
    """Return how far labels move the score of each route: the strongest label for it, and all labels against it."""
    moves: dict[str, float] = {}
    negative: dict[str, float] = {}
    for one in neighbours:
        move, route = one.share * one.label.strength, one.label.route
        if move >= 0:
            moves[route] = max(moves.get(route, 0.0), move)
        else:
            negative[route] = max(-MAX_STRENGTH, negative.get(route, 0.0) + move)
    for route, move in negative.items():
        moves[route] = moves.get(route, 0.0) + move
    return moves
