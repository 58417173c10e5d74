"""Which examples are trained on, and which are kept for testing: fixed by what they say, for ever.

The part of an example follows from a hash of its conversation (of its own text, when it stood in none), so data that grows
never carries a test example over into training. Requests that are nearly the same go with the first of them
(`clusters`): a paraphrase of a test example is never trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

from tui_router.core.example import Example

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
VALIDATION, TEST = 0.10, 0.10
"""Shares of the conversations. `test` is sealed: only the gate of a fine-tuned router looks at it."""


def split(examples: Sequence[Example], clusters: Sequence[int]) -> list[Part]:
    """The part of each example.

    Args:
        examples: All of them.
        clusters: For each the place of the example that stands for it, `clusters.clusters`.
    """
    return [part_of(examples[first]) for first in clusters]


def part_of(example: Example) -> Part:
    """The part of an example that stands for itself."""
    name = example.session or example.key
    share = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") / 2**64
    return "test" if share < TEST else "validation" if share < TEST + VALIDATION else "train"
