"""Requests that are nearly the same, found among a hundred thousand without comparing all with all.

Each request has a sketch (`routers.memory`): what is spelled alike and means the same lies close. Random hyperplanes give
requests that lie close the same bits (Charikar 2002, "Similarity estimation techniques from rounding algorithms"); only
those that share all bits of one of several tables are compared. The sketches lie in a temporary file while they are
compared, so what is held in memory is a few numbers for each request.
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

ALIKE = 0.84
"""Likeness from which on two requests are nearly the same."""
_TABLES, _BITS = 24, 14
_LARGEST = 400
"""Most requests of one bucket that are compared with one another; a larger one is cut into such pieces."""
_TEXTS, _AT_ONCE = 500, 4000
"""Requests that are sketched, and sketches that are read from the file, at a time."""


class StoppedError(Exception):
    """Whoever asked wants no answer any more."""


def clusters(
    examples: Iterable[Example], projection: RandomProjectionEncoder, going: Callable[[], bool] = lambda: True
) -> NDArray[np.intp]:
    """For each example the place of the example that stands for it: itself, or an earlier one that is nearly the same.

    In their order, each example either joins the first one that stands for others and is nearly the same, or stands for
    itself. So no two that stand for others are nearly the same, and examples that come later change nothing before them.
    Shape: (examples,).

    Args:
        examples: In their order.
        sketcher: Compares requests.
        going: Whether somebody still wants to know; asked some times a second.

    Raises:
        OSError: there is no room for the temporary file.
        StoppedError: nobody wants to know.
    """
    first: dict[bytes, int] = {}
    standing, fresh, images = [], [], []
    with tempfile.TemporaryFile() as file:
        waiting: list[TokenSet] = []
        for place, example in enumerate(examples):
            standing.append(first.setdefault(_name(example), place))
            if standing[-1] != place:
                continue
            fresh.append(place)
            images.append(example.has_image)
            waiting.append(tokenize(example.text))
            if len(waiting) == _TEXTS:
                if not going():
                    raise StoppedError
                file.write(projection.embeddings(waiting).tobytes())
                waiting.clear()
        file.write(projection.embeddings(waiting).tobytes())
        file.flush()
        stands_for, places, seen = np.array(standing, np.intp), np.array(fresh, np.intp), np.array(images, bool)
        del first, standing, fresh, images
        later, earlier = np.zeros(0, np.intp), np.zeros(0, np.intp)
        if len(places) > 1:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held:
                later, earlier = _near(held, projection.dimensions, going)
            alike = seen[later] == seen[earlier]
            later, earlier = places[later[alike]], places[earlier[alike]]
    for place, other in zip(later.tolist(), earlier.tolist(), strict=True):
        if stands_for[place] == place and stands_for[other] == other:
            stands_for[place] = other
    found: NDArray[np.intp] = stands_for[stands_for]
    return found


def _name(example: Example) -> bytes:
    """What tells examples apart that are not the same to the letter."""
    text = normal(example.text).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=8, salt=bytes([example.has_image])).digest()


def _near(held: mmap.mmap, dimensions: int, going: Callable[[], bool]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs (later row, earlier row) whose likeness is at least `ALIKE`, in the order of the later one, then the earlier."""
    rows = len(held) // (4 * dimensions)
    rng = np.random.default_rng(0)
    planes = rng.standard_normal((dimensions, _TABLES * _BITS)).astype(np.float32)
    powers = (1 << np.arange(_BITS)).astype(np.int32)
    names = np.empty((_TABLES, rows), np.int32)
    for start in range(0, rows, _AT_ONCE):
        end = min(rows, start + _AT_ONCE)
        signs = _read(held, dimensions, slice(start, end)) @ planes > 0
        names[:, start:end] = (signs.reshape(-1, _TABLES, _BITS) @ powers).T
    pairs = np.zeros(0, np.int64)
    for table in names:
        if not going():
            raise StoppedError
        found = [pairs]
        order = np.argsort(table, kind="stable")
        starts = np.flatnonzero(np.diff(table[order], prepend=-1))
        cuts = _cut(starts, np.append(starts[1:], rows))
        sizes = cuts[:, 1] - cuts[:, 0]
        for size in np.unique(sizes[sizes > 1]):
            buckets = cuts[sizes == size, 0]
            several = max(1, _AT_ONCE // int(size))
            for at in range(0, len(buckets), several):
                found.append(_alike(held, dimensions, order[buckets[at : at + several, None] + np.arange(size)]))
        pairs = np.unique(np.concatenate(found))
    return pairs // rows, pairs % rows


def _cut(starts: NDArray[np.intp], ends: NDArray[np.intp]) -> NDArray[np.intp]:
    """Buckets of more than one, the large ones cut, as rows of where they start and end."""
    some = ends - starts > 1
    cuts = [
        (at, min(at + _LARGEST, end))
        for start, end in zip(starts[some].tolist(), ends[some].tolist(), strict=True)
        for at in range(start, end, _LARGEST)
    ]
    return np.array(cuts, np.intp).reshape(-1, 2)


def _alike(held: mmap.mmap, dimensions: int, buckets: NDArray[np.intp]) -> NDArray[np.int64]:
    """The pairs within buckets of one size, each as one number: later row * all rows + earlier row.

    Shape of `buckets`: (buckets, size), ascending.
    """
    part = _read(held, dimensions, buckets.ravel()).reshape(*buckets.shape, dimensions)
    bucket, row, column = np.nonzero(np.triu(part @ part.transpose(0, 2, 1), 1) >= ALIKE)
    rows = len(held) // (4 * dimensions)
    return buckets[bucket, column].astype(np.int64) * rows + buckets[bucket, row]


def _read(held: mmap.mmap, dimensions: int, rows: slice | NDArray[np.intp]) -> NDArray[np.float32]:
    """A copy of some rows."""
    found: NDArray[np.float32] = np.array(np.frombuffer(held, np.float32).reshape(-1, dimensions)[rows])
    return found
