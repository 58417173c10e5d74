"""The one thread in which this process uses its store. Jobs run in the order in which they are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from tui_router.core.text import one_line
from tui_router.core.types import NoticeLevel
from tui_router.store.store import Store
from tui_router.store.store_errors import StoreError

T = TypeVar("T")


class StoreQueue:
    """A store and the thread that uses it.

    Args:
        folder: The data folder.
        notice: Called with (level, tag, text) when writing begins to fail and when it works again.
        executor: Where the jobs run, one after the other; by default a thread of its own.
    """

    def __init__(
        self, folder: Path, notice: Callable[[NoticeLevel, str, str], None], executor: Executor | None = None
    ) -> None:
        self._folder, self._notice = folder, notice
        self._executor = executor or ThreadPoolExecutor(1, "store")
        self.store: Store | None = None
        self.unsaved = ""
        """Why the newest turn or verdict is not on the disk; empty when all is well."""

    @property
    def is_open(self) -> bool:
        """Whether the store can be used."""
        return self.store is not None

    def opened(self) -> Store:
        """Return the store. Raises StoreError when it is not open."""
        if self.store is None:
            raise StoreError("the store is not open")
        return self.store

    async def open(self) -> Store:
        """Open the store, and repair it if it must be. Raises StoreError."""
        self.store = await self.call(lambda: Store(self._folder))
        return self.store

    async def call(self, job: Callable[[], T]) -> T:
        """Run a job in the store's thread. A job that was asked for runs, even when its caller is cancelled."""
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._executor, job))

    async def run(self, job: Callable[[Store], T]) -> T:
        """Run a job that uses the store. Raises StoreError."""
        store = self.opened()
        return await self.call(lambda: job(store))

    def call_from_thread(self, job: Callable[[], T]) -> T:
        """Run a job in the store's thread and wait for it: for other threads, never for the event loop."""
        return self._executor.submit(job).result()

    async def save(self, job: Callable[[Store], T], what: str) -> T | None:
        """Run a job that writes. When the disk does not take it, the program goes on, says so, and None is returned.

        Args:
            job: What to write.
            what: What it is, for the notice: "the turn".

        Raises:
            UnknownTurnError: passed on; it is no trouble with the disk.
        """
        from tui_router.store.store_errors import UnknownTurnError

        try:
            done = await self.run(job)
        except UnknownTurnError:
            raise
        except StoreError as error:
            first = not self.unsaved
            self.unsaved = f"{what} is not saved: {one_line(str(error), 160)}"
            if first:
                hint = "What was saved before is safe; free some space and go on."
                self._notice("wrong", "not_saved", f"{self.unsaved}. {hint}")
            return None
        if self.unsaved:
            self.unsaved = ""
            self._notice("good", "saving_again", "the store can be written again")
        return done

    async def close(self) -> None:
        """Close the store. Harmless when it is not open."""
        store, self.store = self.store, None
        if store is not None:
            await self.call(store.close)
