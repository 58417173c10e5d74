"""Static word vectors, shipped with the program: words of like meaning point the same way. `train/word_vectors.py` makes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tui_router.core import assets
from tui_router.routing.arrays import Float32s
from tui_router.routing.linear.sparse import row_sums

_LONGEST_WORD = 24
"""Letters of a word that are looked at."""
_CACHE_SIZE = 20_000
"""Words whose rows are cached, about 0.2 kB each."""
_CONTINUES = "##"
"""Marks a vocabulary entry that continues a word: the vocabulary and the greedy segmentation are those of WordPiece
(Wu et al. 2016, "Google's Neural Machine Translation System")."""


class WordVectors:
    """A vocabulary with a vector for each entry. A word that is no entry is segmented into entries.

    Attributes:
        table: Shape (entries, dimensions), 8 bits.
    """

    def __init__(self, entries: list[str], table: NDArray[np.int8]) -> None:
        self._entries = {entry: row for row, entry in enumerate(entries)}
        self.table = table
        self.dimensions = int(table.shape[1])
        self.rows = lru_cache(_CACHE_SIZE)(self._rows)
        """A word -> the table rows of its segments; empty when it cannot be segmented. Cached, as words come again."""

    def _rows(self, word: str) -> tuple[int, ...]:
        entries, word = self._entries, word[:_LONGEST_WORD]
        whole = entries.get(word)
        if whole is not None:
            return (whole,)
        rows, start = [], 0
        while start < len(word):
            prefix = _CONTINUES if start else ""
            for end in range(len(word), start, -1):
                row = entries.get(prefix + word[start:end])
                if row is not None:
                    break
            else:
                return ()
            rows.append(row)
            start = end
        return tuple(rows)

    @property
    def vocabulary(self) -> Iterable[str]:
        """The entries, in the order of the table's rows."""
        return self._entries

    def mean_of(self, word: str) -> Float32s:
        """Return the mean vector of a word's segments, not normalised; zeros for a word without any. Shape (dimensions,)."""
        rows = self.rows(word)
        if not rows:
            return np.zeros(self.dimensions, np.float32)
        mean: Float32s = self.table[list(rows)].sum(axis=0, dtype=np.float32) / np.float32(len(rows))
        return mean

    def mean(self, rows: Sequence[int]) -> Float32s:
        """Return the mean of these rows, normalised to length 1; zeros for none. Shape (dimensions,)."""
        if not rows:
            return np.zeros(self.dimensions, np.float32)
        total = self.table.take(rows, axis=0).sum(axis=0, dtype=np.float32)
        square = float(total @ total)
        mean: Float32s = total * np.float32(square**-0.5) if square else total
        return mean

    def means(self, texts: Sequence[Sequence[int]]) -> Float32s:
        """Return `mean` of each of these lists of rows. Shape (texts, dimensions)."""
        total = row_sums(self.table, texts)
        total /= np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9)
        return total

    def of(self, words: Iterable[str]) -> Float32s:
        """Return the mean vector of these words, normalised to length 1. Shape (dimensions,)."""
        return self.mean([row for word in words for row in self.rows(word)])


@lru_cache
def shipped() -> WordVectors:
    """Return the vectors of `data/word_vectors.npz`."""
    with np.load(assets.data("word_vectors.npz"), allow_pickle=False) as file:
        words = file["words"].tobytes().decode().split("\n")
        return WordVectors(words, file["vectors"])
