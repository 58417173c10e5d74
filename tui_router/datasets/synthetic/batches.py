"""Having a served model write training data: batch after batch, each kept before the next is asked for."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from tui_router.core.types import Message

A = TypeVar("A")
K = TypeVar("K")
MOST_BARREN = 6
"""Batches in a row of which nothing is kept; then the writer has nothing more to say."""


class WriterReply(Protocol):
    """What a writer gives back."""

    @property
    def text(self) -> str:
        """As it came."""
        ...

    @property
    def tokens(self) -> int:
        """That it took."""
        ...


Write = Callable[[Sequence[Message]], Awaitable[WriterReply]]


class Work(Protocol[A, K]):
    """What is to be written, and what of it is kept."""

    schema: dict[str, Any]
    """Of a reply, for servers that can hold a model to one."""

    def asks(self, dice: random.Random) -> Iterator[A]:
        """What to ask for, without end."""
        ...

    def prompt(self, ask: A, dice: random.Random) -> tuple[Message, ...]:
        """The question."""
        ...

    def parse(self, text: str) -> list[Any] | None:
        """The pieces in a reply; None when it cannot be read."""
        ...

    def take(self, piece: Any, ask: A) -> K | str:
        """What is kept of a piece, or why nothing is."""
        ...

    def done(self, ask: A, kept: Sequence[K]) -> None:
        """A batch is over."""
        ...


class GenerationTally(Struct):
    """How it goes."""

    wanted: int
    kept: int = 0
    written: int = 0
    tokens: int = 0
    refused: dict[str, int] = {}  # msgspec copies it
    """Why -> how many."""


async def generate(
    write: Write, work: Work[A, K], wanted: int, keep: Callable[[list[K]], Awaitable[None]],
    tell: Callable[[GenerationTally], bool], seed: str = "",
) -> GenerationTally:  # fmt: skip
    """Have pieces written until there are enough, or the writer has nothing more to say.

    Args:
        write: Asks the writer; what it raises ends this.
        work: What is asked for, and what is let through.
        wanted: How many are to be kept.
        keep: Puts them where they stay.
        tell: Hears how it goes; returns whether to go on.
        seed: Of the dice that vary the questions.
    """
    tally, barren, dice = GenerationTally(wanted=wanted), 0, random.Random(seed)
    for ask in work.asks(dice):
        if tally.kept >= wanted or barren >= MOST_BARREN or not tell(tally):
            break
        reply = await write(work.prompt(ask, dice))
        tally.tokens += reply.tokens
        kept: list[K] = []
        pieces = work.parse(reply.text)
        if pieces is None:
            tally.refused["no JSON"] = tally.refused.get("no JSON", 0) + 1
        for piece in pieces or ():
            tally.written += 1
            taken = work.take(piece, ask) if tally.kept + len(kept) < wanted else "more than wanted"
            if isinstance(taken, str):
                tally.refused[taken] = tally.refused.get(taken, 0) + 1
            else:
                kept.append(taken)
        barren = 0 if kept else barren + 1
        work.done(ask, kept)
        if kept:
            await keep(kept)
            tally.kept += len(kept)
    tell(tally)
    return tally
