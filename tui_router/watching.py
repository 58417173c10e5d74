"""What the running program does with insight: keeps the counts of the store up to date."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tui_router.config import Config
from tui_router.insight.counted import FILE, Counted
from tui_router.store.errors import StoreError
from tui_router.store.store import Store

T = TypeVar("T")
_AT_A_TIME = 4
"""Pieces that are counted before others may use the store again: some 20 ms."""
_FIRST_S = 2.0
"""After the start, before anything is counted: the first picture and the first key come first."""


class Host(Protocol):
    """What is needed of the engine."""

    config: Config
    folder: Path

    def begin_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have something done beside the turns."""
        ...

    async def in_store(self, work: Callable[[], T]) -> T:
        """Run something that talks to the store in the store's thread."""
        ...

    def opened(self) -> Store:
        """The store; StoreError when it is not open."""
        ...


class Watching:
    """Insight beside the turns."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.counted = Counted(host.config.fleet, host.folder / FILE)
        self.observed = (0, 0.0, 0)
        """(remarks, milliseconds, tokens) of the observer since the start."""
        self._counting = asyncio.Lock()
        self._background: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, a moment after the start."""
        self._background = self._host.begin_task(self._begin())

    async def _begin(self) -> None:
        await asyncio.sleep(_FIRST_S)
        with suppress(StoreError):
            await self.count()

    async def count(self, tell: Callable[[float], None] = lambda share: None) -> None:
        """Count what changed since the last time; `tell` hears the share that is done. Raises StoreError."""
        store = self._host.opened()
        async with self._counting:
            steps = self.counted.steps(store)
            while (share := await self._host.in_store(lambda: _some(steps))) is not None:
                tell(share)

    async def stop(self) -> None:
        """End what runs, and remember what was counted."""
        if self._background is not None:
            self._background.cancel()
        with suppress(OSError):
            await self._host.in_store(self.counted.save)


def _some(steps: Any) -> float | None:
    """A few steps; the share that is done, or None at the end."""
    share = None
    for _ in range(_AT_A_TIME):
        if (step := next(steps, None)) is None:
            break
        share = step
    return share
