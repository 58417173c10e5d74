"""Assigns examples to train, validation or test, so that the assignment never changes.

The part of an example follows from a hash of its conversation (or of its own text, if it stood in none). So a test example
never moves into the training part as data grows. Near-duplicates take the part of their representative
(`near_duplicates.representatives`): a reworded test example is never trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

from tui_router.core.example import Example

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
VALIDATION_SHARE, TEST_SHARE = 0.10, 0.10
"""Shares of the conversations, 0 to 1. Chosen by hand. Only the gate of a fine-tuned router reads `test`."""


def split(examples: Sequence[Example], representatives: Sequence[int]) -> list[Part]:
    """Return the part of each example.

    Args:
        examples: All of them.
        representatives: For each the index of its representative, as `near_duplicates.representatives` returns it.
    """
    return [part_of(examples[index]) for index in representatives]


def part_of(example: Example) -> Part:
    """Return the part of an example that represents itself."""
    name = example.session or example.key
    share = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") / 2**64
    if share < TEST_SHARE:
        return "test"
    return "validation" if share < TEST_SHARE + VALIDATION_SHARE else "train"
