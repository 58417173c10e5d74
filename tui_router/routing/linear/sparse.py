"""The part of sparse matrices that the learned router needs: sums of a table's rows, and products with a dense matrix.

SciPy has all of this and more; importing it costs the dashboard 40 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tui_router.routing.arrays import Float32s, Ints


def row_sums(table: NDArray[Any], lists: Sequence[Sequence[int]]) -> Float32s:
    """Sum the rows of a table that each list names. Shapes: table (rows, columns) -> (lists, columns).

    The first rows of all lists are added at once, then the second ones, and so on: six times as fast as
    `np.add.reduceat` here, and the same to the last bit (`python -m benchmarks replay` shows the whole).
    """
    lengths = np.array([len(one) for one in lists], np.intp)
    rows = np.fromiter(chain.from_iterable(lists), np.intp, int(lengths.sum()))
    order = np.argsort(-lengths, kind="stable")
    starts = (lengths.cumsum() - lengths)[order]
    longer = len(lists) - np.bincount(lengths).cumsum()
    total = np.zeros((len(lists), table.shape[1]), np.float32)
    for position, n in enumerate(longer[:-1].tolist()):
        total[:n] += table.take(rows[starts[:n] + position], axis=0)
    result = np.empty_like(total)
    result[order] = total
    return result


class SparseMatrix:
    """A matrix of which most entries are 0.

    Args:
        rows: Row of each entry, ascending. Shape (entries,).
        columns: Column of each entry. Shape (entries,).
        values: The entries. Shape (entries,).
        shape: (rows, columns).
    """

    def __init__(self, rows: Ints, columns: Ints, values: Float32s, shape: tuple[int, int]) -> None:
        self.shape = shape
        self._by_row = _SortedEntries(rows, columns, values, shape[0])
        order = np.argsort(columns, kind="stable")
        self._by_column = _SortedEntries(columns[order], rows[order], values[order], shape[1])

    def times(self, dense: Float32s) -> Float32s:
        """Multiply with a dense matrix. Shapes: (columns, k) -> (rows, k)."""
        return self._by_row.times(dense)

    def transposed_times(self, dense: Float32s) -> Float32s:
        """Multiply the transpose with a dense matrix. Shapes: (rows, k) -> (columns, k)."""
        return self._by_column.times(dense)


class _SortedEntries:
    """The entries, sorted by the index of the product that they are added to."""

    def __init__(self, targets: Ints, sources: Ints, values: Float32s, size: int) -> None:
        self._sources, self._values, self._size = sources, values[:, None], size
        self._targets, self._starts = np.unique(targets, return_index=True)

    def times(self, dense: Float32s) -> Float32s:
        result = np.zeros((self._size, dense.shape[1]), np.float32)
        if len(self._targets):
            result[self._targets] = np.add.reduceat(dense[self._sources] * self._values, self._starts, axis=0)
        return result
