"""Finds near-duplicate requests among a hundred thousand without comparing each with all others.

Each request has an embedding (`routing.learned.knn_memory`): requests with similar spelling and meaning have a high cosine.
Random hyperplanes give similar embeddings the same bits (Charikar 2002, "Similarity estimation techniques from rounding
algorithms"). Only requests that agree in all bits of at least one table are compared. The embeddings are in a temporary
file meanwhile, so memory holds a few numbers for each request.
"""

from __future__ import annotations

import hashlib
import mmap
import tempfile
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from tui_router.core.example import Example, normal
from tui_router.routing.learned.knn_memory import RandomProjectionEncoder
from tui_router.routing.linear.ngrams import TokenSet, tokenize

MIN_SIMILARITY = 0.84
"""Cosine from which two requests are near-duplicates, 0 to 1. tests/datasets/test_export.py holds the recall and precision
(at least 0.95 each) that it reaches on changed case, punctuation and added words."""
_TABLES, _BITS = 24, 14
"""Hash tables, and bits of each. More tables find more pairs; more bits compare fewer. Held by the same test."""
_MAX_BUCKET = 400
"""Most requests of one bucket that are compared with each other; a larger bucket is cut into pieces of this size.
It bounds the time on data of which a large share is nearly the same. Chosen by hand, not measured."""
_TEXTS_PER_BATCH, _ROWS_PER_BATCH = 500, 4000
"""Texts embedded, and embeddings read from the file, at a time. They bound the memory. Chosen by hand, not measured."""


class StoppedError(Exception):
    """The caller no longer wants the result."""


def representatives(
    examples: Iterable[Example], encoder: RandomProjectionEncoder, should_continue: Callable[[], bool] = lambda: True
) -> NDArray[np.intp]:
    """Return for each example the index of its representative: itself, or an earlier near-duplicate.

    In their order, each example either joins the first representative that it is a near-duplicate of, or becomes one
    itself. So no two representatives are near-duplicates, and later examples change nothing for earlier ones.

    Args:
        examples: In their order; read once.
        encoder: Embeds requests.
        should_continue: Returns False once the result is no longer wanted; called several times a second.

    Returns:
        Indices. Shape: (examples,).

    Raises:
        OSError: the temporary file cannot be written.
        StoppedError: `should_continue` returned False.
    """
    first_of_text: dict[bytes, int] = {}
    first_same, distinct, with_image = [], [], []
    with tempfile.TemporaryFile() as file:
        batch: list[TokenSet] = []
        for index, example in enumerate(examples):
            first_same.append(first_of_text.setdefault(_text_hash(example), index))
            if first_same[-1] != index:
                continue
            distinct.append(index)
            with_image.append(example.has_image)
            batch.append(tokenize(example.text))
            if len(batch) == _TEXTS_PER_BATCH:
                if not should_continue():
                    raise StoppedError
                file.write(encoder.embeddings(batch).tobytes())
                batch.clear()
        file.write(encoder.embeddings(batch).tobytes())
        file.flush()
        result = np.array(first_same, np.intp)
        indices, images = np.array(distinct, np.intp), np.array(with_image, bool)
        del first_of_text, first_same, distinct, with_image
        later, earlier = np.zeros(0, np.intp), np.zeros(0, np.intp)
        if len(indices) > 1:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as embeddings:
                later, earlier = _similar_pairs(embeddings, encoder.dimensions, should_continue)
            same_kind = images[later] == images[earlier]
            later, earlier = indices[later[same_kind]], indices[earlier[same_kind]]
    for index, other in zip(later.tolist(), earlier.tolist(), strict=True):
        if result[index] == index and result[other] == other:
            result[index] = other
    final: NDArray[np.intp] = result[result]
    return final


def _text_hash(example: Example) -> bytes:
    """Hash a request so that spellings which differ in case and spaces alone are equal."""
    text = normal(example.text).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=8, salt=bytes([example.has_image])).digest()


def _similar_pairs(
    embeddings: mmap.mmap, dimensions: int, should_continue: Callable[[], bool]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pairs (later row, earlier row) with a cosine of at least `MIN_SIMILARITY`.

    Sorted by the later row, then by the earlier one. Shape of both: (pairs,).
    """
    rows = len(embeddings) // (4 * dimensions)
    rng = np.random.default_rng(0)
    hyperplanes = rng.standard_normal((dimensions, _TABLES * _BITS)).astype(np.float32)
    powers = (1 << np.arange(_BITS)).astype(np.int32)
    hashes = np.empty((_TABLES, rows), np.int32)
    for start in range(0, rows, _ROWS_PER_BATCH):
        end = min(rows, start + _ROWS_PER_BATCH)
        signs = _read(embeddings, dimensions, slice(start, end)) @ hyperplanes > 0
        hashes[:, start:end] = (signs.reshape(-1, _TABLES, _BITS) @ powers).T
    pairs = np.zeros(0, np.int64)
    for table in hashes:
        if not should_continue():
            raise StoppedError
        found = [pairs]
        order = np.argsort(table, kind="stable")
        starts = np.flatnonzero(np.diff(table[order], prepend=-1))
        buckets = _buckets(starts, np.append(starts[1:], rows))
        sizes = buckets[:, 1] - buckets[:, 0]
        for size in np.unique(sizes[sizes > 1]):
            firsts = buckets[sizes == size, 0]
            at_a_time = max(1, _ROWS_PER_BATCH // int(size))
            for at in range(0, len(firsts), at_a_time):
                members = order[firsts[at : at + at_a_time, None] + np.arange(size)]
                found.append(_pairs_in_buckets(embeddings, dimensions, members))
        pairs = np.unique(np.concatenate(found))
    return pairs // rows, pairs % rows


def _buckets(starts: NDArray[np.intp], ends: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return start and end of each bucket with more than one member; large ones are cut. Shape: (buckets, 2)."""
    shared = ends - starts > 1
    pieces = [
        (at, min(at + _MAX_BUCKET, end))
        for start, end in zip(starts[shared].tolist(), ends[shared].tolist(), strict=True)
        for at in range(start, end, _MAX_BUCKET)
    ]
    return np.array(pieces, np.intp).reshape(-1, 2)


def _pairs_in_buckets(embeddings: mmap.mmap, dimensions: int, members: NDArray[np.intp]) -> NDArray[np.int64]:
    """Return the similar pairs within buckets of one size, each as one number: later row * all rows + earlier row.

    Shape of `members`: (buckets, size), rows ascending within each bucket. Shape of the result: (pairs,).
    """
    vectors = _read(embeddings, dimensions, members.ravel()).reshape(*members.shape, dimensions)
    similar = np.triu(vectors @ vectors.transpose(0, 2, 1), 1) >= MIN_SIMILARITY
    bucket, row, column = np.nonzero(similar)
    rows = len(embeddings) // (4 * dimensions)
    return members[bucket, column].astype(np.int64) * rows + members[bucket, row]


def _read(embeddings: mmap.mmap, dimensions: int, rows: slice | NDArray[np.intp]) -> NDArray[np.float32]:
    """Return a copy of some embeddings. Shape: (rows, dimensions)."""
    found: NDArray[np.float32] = np.array(np.frombuffer(embeddings, np.float32).reshape(-1, dimensions)[rows])
    return found
