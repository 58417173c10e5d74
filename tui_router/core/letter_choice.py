"""A question with lettered answers, put to a model: what routers ask for, and what backends answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from tui_router.core.types import Message


class LetterChoice(Struct, frozen=True):
    """What came back of a question with lettered answers."""

    letter: str
    probabilities: Mapping[str, float] | None = None
    """Letter -> probability, when the server tells them. Need not sum to 1."""


class LetterChooser(Protocol):
    """Has a model choose one of some letters."""

    async def choose(self, messages: tuple[Message, ...], letters: str, deadline_s: float) -> LetterChoice | None:
        """Return the choice; None when the model is not there, does not answer in time, or answers something else."""
        ...
