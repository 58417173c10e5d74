"""What words mean: a table of static vectors that is shipped with the program (`train/word_vectors.py` makes it)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tui_router.core import assets
from tui_router.routing.linear.sparse import sums

Vector = NDArray[np.float32]


_LONGEST_WORD = 24
_MOST_KEPT = 20_000
_NEXT = "##"
"""Marks a piece that goes on a word: the vocabulary and the way of cutting are those of WordPiece (Wu et al. 2016)."""


class WordVectors:
    """Words and their vectors; words of like meaning point the same way. What is no entry is put together of pieces.

    Attributes:
        table: Shape (entries, dimensions), 8 bits.
    """

    def __init__(self, entries: list[str], table: NDArray[np.int8]) -> None:
        self._entries = {entry: row for row, entry in enumerate(entries)}
        self.table = table
        self.dimensions = int(table.shape[1])
        self.rows = lru_cache(_MOST_KEPT)(self._rows)
        """The rows of a word's pieces, longest first; empty when it cannot be put together. Kept, as words come again."""

    def _rows(self, word: str) -> tuple[int, ...]:
        entries, word = self._entries, word[:_LONGEST_WORD]
        whole = entries.get(word)
        if whole is not None:
            return (whole,)
        rows, start = [], 0
        while start < len(word):
            prefix = _NEXT if start else ""
            for end in range(len(word), start, -1):
                row = entries.get(prefix + word[start:end])
                if row is not None:
                    break
            else:
                return ()
            rows.append(row)
            start = end
        return tuple(rows)

    def knows(self, word: str) -> bool:
        """Whether a word is an entry by itself."""
        return word in self._entries

    def mean_of(self, word: str) -> Vector:
        """The mean vector of a word's pieces, at its own length; zeros when it cannot be put together."""
        rows = self.rows(word)
        if not rows:
            return np.zeros(self.dimensions, np.float32)
        mean: Vector = self.table[list(rows)].sum(axis=0, dtype=np.float32) / np.float32(len(rows))
        return mean

    def mean(self, rows: Sequence[int]) -> Vector:
        """The mean of these rows, of length 1; zeros for none."""
        if not rows:
            return np.zeros(self.dimensions, np.float32)
        total = self.table.take(rows, axis=0).sum(axis=0, dtype=np.float32)
        square = float(total @ total)
        mean: Vector = total * np.float32(square**-0.5) if square else total
        return mean

    def means(self, texts: Sequence[Sequence[int]]) -> Vector:
        """The mean of each of these lists of rows, as `mean` gives it. Shape (texts, dimensions)."""
        total = sums(self.table, texts)
        total /= np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9)
        return total

    def of(self, words: Iterable[str]) -> Vector:
        """The mean vector of words, of length 1."""
        return self.mean([row for word in words for row in self.rows(word)])


@lru_cache
def shipped() -> WordVectors:
    """The table of `data/word_vectors.npz`."""
    with np.load(assets.data("word_vectors.npz"), allow_pickle=False) as file:
        words = file["words"].tobytes().decode().split("\n")
        return WordVectors(words, file["vectors"])
