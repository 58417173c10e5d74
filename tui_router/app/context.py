"""What all services of a running program share: its settings, the store's queue, the events and the background tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from tui_router.app.events import EngineEvent, NoticeEvent
from tui_router.app.store_queue import StoreQueue
from tui_router.backends.health import Health
from tui_router.config.settings import Config
from tui_router.core.clock import now
from tui_router.core.text import one_line
from tui_router.core.types import NoticeLevel, Observation
from tui_router.store.store_errors import StoreError


class AppContext:
    """The shared part of a running program. It lives in one event loop.

    Args:
        config: Fleet and settings.
        folder: The data folder.
        health: The servers and their models.
        interactive: Somebody is there to be asked and told.
        feedback: Whether that person wants to rate, and to be asked for labels.
    """

    def __init__(
        self, config: Config, folder: Path, health: Health, *, interactive: bool = False, feedback: bool = True
    ) -> None:
        self.config, self.folder, self.health = config, folder, health
        self.interactive, self.feedback = interactive, feedback
        self.threshold = config.settings.confidence_threshold
        """Below this confidence a decision asks before anything is sent."""
        self.store_queue = StoreQueue(folder, self.notice)
        self._listeners: list[Callable[[EngineEvent], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    # -- events --------------------------------------------------------------------------------------------------
    def listen(self, listener: Callable[[EngineEvent], None]) -> Callable[[], None]:
        """Call this function with every event, in order; returns how to stop it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def emit(self, event: EngineEvent) -> None:
        """Send an event to every listener."""
        for listener in list(self._listeners):
            listener(event)

    def notice(self, level: NoticeLevel, tag: str, text: str, turns: tuple[str, ...] = ()) -> None:
        """Show and store something that happened beside the turns."""
        self.observe(Observation(at=now(), tag=tag, text=text, level=level, turns=turns))

    def observe(self, observation: Observation) -> None:
        """Show and store an observation."""
        self.emit(NoticeEvent(observation))
        if self.store_queue.is_open:
            self.start_task(self._store_observation(observation), "storing an observation")

    async def _store_observation(self, observation: Observation) -> None:
        with suppress(StoreError):
            await self.store_queue.run(lambda store: store.observe(observation))

    # -- background tasks ----------------------------------------------------------------------------------------
    def start_task(self, work: Coroutine[Any, Any, None], what: str, turn_id: str = "") -> asyncio.Task[None]:
        """Run something beside the turns. A fault in it becomes a notice; `finish_tasks` waits for it.

        Args:
            work: What to run.
            what: What it is, for the notice: "learning a verdict".
            turn_id: The turn that it belongs to, if any.
        """
        task = asyncio.create_task(work, name=what)
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._task_ended(done, what, turn_id))
        return task

    def _task_ended(self, task: asyncio.Task[None], what: str, turn_id: str) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            asyncio.get_running_loop().call_exception_handler({"message": f"{what} failed", "exception": error})
            cause = f"{type(error).__name__}: {one_line(str(error), 160)}"
            self.notice(
                "wrong", "fault", f"{what} failed, a fault of tui-router itself: {cause}", (turn_id,) * bool(turn_id)
            )

    async def finish_tasks(self) -> None:
        """Wait until no background task is left, those that others start meanwhile included."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
