"""What the person has said about single requests: remembered at once, and lent to requests like them.

A kernel method beside the linear model. Each lesson keeps a sketch of its request and how far the scores must move for
that request to come out right; a new request gets the share of it that its likeness earns. Likeness is the cosine of two
halves: words that are rare, spelled alike (a random projection, Achlioptas 2003), and what the words mean.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui_router.routing.linear.ngrams import TokenSet
from tui_router.routing.linear.sparse import sums
from tui_router.routing.linear.word_vectors import WordVectors

Floats = NDArray[np.float32]

SPELLING = 256
"""Dimensions of the half that compares spelling."""
MOST_WORDS = 16_384
"""Words whose share is kept, 0.6 kB each; then it is begun anew."""
_STEM = 4
_STEM_WEIGHT = 0.7
ALIKE = 0.42
"""Likeness from which on a lesson speaks."""
MARGIN = 4.0
"""How far beyond the decision a lesson moves the scores of its own request. One that was decided more clearly than that
moves nothing; it only mutes lessons that are farther away."""
MUTING = 0.1
"""How much likeness a lesson may lack against the nearest before its share falls to a third."""
STRONGEST = 14.0
MOST_LESSONS = 2000
"""Lessons that are kept at hand, newest first; older ones live on in the fitted model."""


MOST_NEAR = 64
"""Lessons that speak at a time: the likest. More of the same say nothing new."""


class RandomProjectionEncoder:
    """Turns texts into sketches: vectors of length 1 whose product is their likeness."""

    def __init__(self, words: WordVectors, rarity: Callable[[str], float]) -> None:
        self._words, self._rarity = words, rarity
        self.dimensions = SPELLING + words.dimensions
        self._begin()

    def _begin(self) -> None:
        self._rows: dict[str, int] = {}
        self._table = np.zeros((512, self.dimensions), np.float16)
        """What each word adds, in the order of `_rows`."""

    def _rows_of(self, words: Collection[str]) -> Floats:
        """What each of these words adds. Shape (words, dimensions)."""
        new = [word for word in words if word not in self._rows]
        if len(self._rows) + len(new) > MOST_WORDS:
            self._begin()
            new = list(words)
        rows = self._rows
        for word in new:
            if len(rows) == len(self._table):
                self._table = np.concatenate([self._table, np.zeros_like(self._table)])
            self._table[len(rows)] = self._of_word(word)
            rows[word] = len(rows)
        return self._table.take([rows[word] for word in words], axis=0).astype(np.float32)

    def _of_word(self, word: str) -> Floats:
        weight = max(0.15, self._rarity(word) - 3.0)
        spelling = _signs(word) + _STEM_WEIGHT * _signs("~" + word[:_STEM])
        return np.concatenate([weight * spelling, weight * self._words.mean_of(word)])

    def embedding(self, pieces: TokenSet) -> Floats:
        """The sketch of a text; zeros for an empty one. Shape: (dimensions,)."""
        one: Floats = self.sketches([pieces])[0]
        return one

    def sketches(self, texts: Sequence[TokenSet]) -> Floats:
        """The sketches of several texts. Shape: (texts, dimensions)."""
        words = {word: place for place, word in enumerate(dict.fromkeys(w for text in texts for w in text.words))}
        total = sums(self._rows_of(words), [[words[word] for word in text.words] for text in texts])
        for half in (slice(SPELLING), slice(SPELLING, None)):
            norms = np.linalg.norm(total[:, half], axis=1, keepdims=True)
            total[:, half] /= np.where(norms > 0, norms, 1.0)
        return total * np.float32(0.5**0.5)


@lru_cache
def _sign_table() -> NDArray[np.int8]:
    """Random but fixed rows of +1 and -1, from which the vector of a token is put together. Shape (4096, SPELLING)."""
    bits = np.unpackbits(np.frombuffer(hashlib.shake_256(b"tui-router").digest(4096 * SPELLING // 8), np.uint8))
    return bits.reshape(4096, SPELLING).astype(np.int8) * 2 - 1


def _signs(token: str) -> Floats:
    """A random but fixed vector of a token, of length about 1."""
    table, name = _sign_table(), zlib.crc32(token.encode("utf-8", "surrogatepass"))
    result: Floats = (table[name & 4095] + table[name >> 12 & 4095]) * np.float32((2 * SPELLING) ** -0.5)
    return result


class StoredLabel(NamedTuple):
    """A lesson in memory."""

    key: int
    """Number of the turn that it was learned from."""
    text: str
    route: str
    strength: float
    """How far the score of its route moves for the same request; below 0 for negative evidence."""
    context: str
    """The route of the conversation that it stood in; empty for a request that speaks for itself."""


class Neighbour(NamedTuple):
    """A lesson that a request is like."""

    lesson: StoredLabel
    likeness: float
    share: float
    """Of the lesson's strength, 0 to 1."""


class KnnMemory:
    """The lessons at hand."""

    def __init__(self, projection: RandomProjectionEncoder) -> None:
        self.projection = projection
        self._lessons: list[StoredLabel] = []
        self._keys: set[int] = set()
        self._sketches = np.zeros((64, projection.dimensions), np.float32)

    def __len__(self) -> int:
        return len(self._lessons)

    def keep(self, lesson: StoredLabel, embedding: Floats) -> None:
        """Remember a lesson; one with the same key is replaced, and beyond `MOST_LESSONS` the oldest goes.

        Lessons with keys below 0 were not given by a verdict: they stay, and are not counted.
        """
        self.forget(lesson.key)
        if len(self._keys) == MOST_LESSONS and lesson.key >= 0:
            self._drop(next(place for place, one in enumerate(self._lessons) if one.key >= 0))
        n = len(self._lessons)
        if n == len(self._sketches):
            self._sketches = np.concatenate([self._sketches, np.zeros_like(self._sketches)])
        self._sketches[n] = embedding
        self._lessons.append(lesson)
        if lesson.key >= 0:
            self._keys.add(lesson.key)

    def forget(self, key: int) -> None:
        """Forget the lesson of a turn, if there is one."""
        if key in self._keys:
            self._drop(next(i for i, lesson in enumerate(self._lessons) if lesson.key == key))

    def user_items(self) -> list[tuple[StoredLabel, Floats]]:
        """The lessons that a verdict gave, oldest first, each with its sketch; descriptions of routes are none."""
        return [(one, self._sketches[place]) for place, one in enumerate(self._lessons) if one.key >= 0]

    def _drop(self, place: int) -> None:
        n = len(self._lessons)
        self._sketches[place : n - 1] = self._sketches[place + 1 : n].copy()
        self._keys.discard(self._lessons.pop(place).key)

    def likeness(self, sketches: Floats) -> Floats:
        """Of every lesson to each of these requests. Shapes: (n, dimensions) -> (n, lessons)."""
        result: Floats = sketches @ self._sketches[: len(self._lessons)].T
        return result

    def near(self, likeness: Floats, context: str = "") -> list[Neighbour]:
        """The lessons that speak, the likest first.

        Args:
            likeness: Of every lesson to the request.
            context: The route of its conversation; empty when it speaks for itself.
        """
        if not len(likeness):
            return []
        places = np.flatnonzero(likeness > ALIKE)
        if len(places) > MOST_NEAR:
            places = places[np.argsort(-likeness[places], kind="stable")[:MOST_NEAR]]
        alike = np.minimum(1.0, likeness[places].astype(np.float64))
        nearest = min(1.0, float(likeness.max()))
        shares = ((alike - ALIKE) / (1 - ALIKE)) ** 0.7 * np.exp((alike - nearest) / MUTING)
        found = []
        for place, like, full in zip(places.tolist(), alike.tolist(), shares.tolist(), strict=True):
            lesson = self._lessons[place]
            share = (
                full if lesson.context == context else 0.3 * full
            )  # elsewhere the same words may mean something else
            if lesson.strength < 0:
                share **= 3  # negative evidence says little about what is only alike
            found.append(Neighbour(lesson, like, share))
        return sorted(found, key=lambda near: -near.share)


def evidence(near: list[Neighbour]) -> dict[str, float]:
    """What lessons add to the score of each route: the strongest voice for it, and all voices against it."""
    moves: dict[str, float] = {}
    against: dict[str, float] = {}
    for one in near:
        move, route = one.share * one.lesson.strength, one.lesson.route
        if move >= 0:
            moves[route] = max(moves.get(route, 0.0), move)
        else:
            against[route] = max(-STRONGEST, against.get(route, 0.0) + move)
    for route, move in against.items():
        moves[route] = moves.get(route, 0.0) + move
    return moves
