"""Has a served model write training data in batches; each batch is saved before the next one is requested."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from tui_router.core.types import Message

Batch = TypeVar("Batch")
Item = TypeVar("Item")
MAX_EMPTY_BATCHES = 6
"""Batches in a row of which nothing is kept, after which generation ends. Chosen by hand, not measured."""


class WriterReply(Protocol):
    """The reply of the writing model."""

    @property
    def text(self) -> str:
        """The reply, unchanged."""
        ...

    @property
    def tokens(self) -> int:
        """Tokens of prompt and reply."""
        ...


WriterCall = Callable[[Sequence[Message]], Awaitable[WriterReply]]
"""Sends messages to the writing model and returns its reply."""


class GenerationTask(Protocol[Batch, Item]):
    """What is to be written, and which of it is kept."""

    schema: dict[str, Any]
    """JSON schema of a reply, for servers that can enforce one."""

    def batches(self, rng: random.Random) -> Iterator[Batch]:
        """Yield what to request next, without end."""
        ...

    def prompt(self, batch: Batch, rng: random.Random) -> tuple[Message, ...]:
        """Return the messages that request a batch."""
        ...

    def parse(self, text: str) -> list[Any] | None:
        """Return the pieces of a reply; None if the reply cannot be read."""
        ...

    def accept(self, piece: Any, batch: Batch) -> Item | str:
        """Return the item to keep, or the reason why the piece is refused."""
        ...

    def finish(self, batch: Batch, kept: Sequence[Item]) -> None:
        """Note what was kept of a batch."""
        ...


class GenerationTally(Struct):
    """Counts of a generation."""

    wanted: int
    kept: int = 0
    written: int = 0
    tokens: int = 0
    refused: dict[str, int] = {}  # msgspec gives each instance a copy
    """Reason -> pieces."""


async def generate(
    write: WriterCall,
    task: GenerationTask[Batch, Item],
    wanted: int,
    save: Callable[[list[Item]], Awaitable[None]],
    progress: Callable[[GenerationTally], bool],
    seed: str = "",
) -> GenerationTally:
    """Request batches until enough items are kept, or `MAX_EMPTY_BATCHES` in a row bring nothing.

    Args:
        write: Calls the writing model. Its exceptions end the generation and are raised; saved batches stay.
        task: What to request, and what to keep.
        wanted: Items to keep.
        save: Stores the kept items of a batch.
        progress: Called before each batch and at the end; returns False to stop.
        seed: Of the random numbers that vary the prompts.
    """
    tally, empty_batches, rng = GenerationTally(wanted=wanted), 0, random.Random(seed)
    for batch in task.batches(rng):
        if tally.kept >= wanted or empty_batches >= MAX_EMPTY_BATCHES or not progress(tally):
            break
        reply = await write(task.prompt(batch, rng))
        tally.tokens += reply.tokens
        kept: list[Item] = []
        pieces = task.parse(reply.text)
        if pieces is None:
            tally.refused["no JSON"] = tally.refused.get("no JSON", 0) + 1
        for piece in pieces or ():
            tally.written += 1
            accepted = task.accept(piece, batch) if tally.kept + len(kept) < wanted else "more than wanted"
            if isinstance(accepted, str):
                tally.refused[accepted] = tally.refused.get(accepted, 0) + 1
            else:
                kept.append(accepted)
        empty_batches = 0 if kept else empty_batches + 1
        task.finish(batch, kept)
        if kept:
            await save(kept)
            tally.kept += len(kept)
    progress(tally)
    return tally
