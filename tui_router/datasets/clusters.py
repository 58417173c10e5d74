"""Requests that are nearly the same, found among a hundred thousand without comparing all with all.

Each request has a sketch (`routers.memory`): what is spelled alike and means the same lies close. Random hyperplanes give
requests that lie close the same bits (Charikar 2002, "Similarity estimation techniques from rounding algorithms"); only
those that share all bits of one of several tables are compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tui_router.core.example import Example, normal
from tui_router.routers.grams import pieces
from tui_router.routers.memory import Sketcher

ALIKE = 0.84
"""Likeness from which on two requests are nearly the same."""
_TABLES, _BITS = 24, 14
_LARGEST = 400
"""Most requests of one bucket that are compared with one another; a larger one is cut into such pieces."""


def clusters(examples: Sequence[Example], sketcher: Sketcher) -> NDArray[np.intp]:
    """For each example the place of the example that stands for it: itself, or an earlier one that is nearly the same.

    In their order, each example either joins the first one that stands for others and is nearly the same, or stands for
    itself. So no two that stand for others are nearly the same, and examples that come later change nothing before them.
    Shape: (examples,).
    """
    sketches = np.zeros((len(examples), sketcher.dimensions), np.float32)
    first: dict[tuple[str, bool], int] = {}
    stands_for = np.arange(len(examples))
    fresh: list[int] = []
    for place, example in enumerate(examples):
        name = (normal(example.text), example.has_image)
        stands_for[place] = first.setdefault(name, place)
        if stands_for[place] == place:
            fresh.append(place)
            sketches[place] = sketcher.sketch(pieces(example.text))
    earlier: defaultdict[int, set[int]] = defaultdict(set)
    for a, b in _near(sketches, np.array(fresh, np.intp)):
        if examples[a].has_image == examples[b].has_image:
            earlier[b].add(a)
    for place in sorted(earlier):
        standing = [a for a in earlier[place] if stands_for[a] == a]
        if standing:
            stands_for[place] = min(standing)
    return stands_for[stands_for]


def _near(sketches: NDArray[np.float32], places: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """Pairs of places whose likeness is at least `ALIKE`."""
    if not len(places):
        return
    rng = np.random.default_rng(0)
    powers = 1 << np.arange(_BITS)
    for _ in range(_TABLES):
        planes = rng.standard_normal((sketches.shape[1], _BITS)).astype(np.float32)
        names = ((sketches[places] @ planes) > 0) @ powers
        order = np.argsort(names, kind="stable")
        starts = np.flatnonzero(np.diff(names[order], prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
            for cut in range(start, end, _LARGEST):
                bucket = places[order[cut : min(end, cut + _LARGEST)]]
                if len(bucket) > 1:
                    part = sketches[bucket]
                    rows, columns = np.nonzero(np.triu(part @ part.T, 1) >= ALIKE)
                    yield from zip(bucket[rows].tolist(), bucket[columns].tolist(), strict=True)
