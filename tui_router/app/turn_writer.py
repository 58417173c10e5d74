"""The only place of a running program that writes turns.

A change of a turn is a function that is applied to the newest copy of the turn in the store's thread. Nothing reads a
turn, waits, and writes what it read: so a shadow's decision, an answer, a choice and a verdict that meet do not undo
each other, whichever comes first. What a change made is published in the order in which the store made it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from msgspec.structs import replace

from tui_router.app.context import AppContext
from tui_router.app.events import TurnEvent
from tui_router.core.types import Turn, Verdict
from tui_router.store.store import Store
from tui_router.store.store_errors import StoreError, UnknownTurnError

T = TypeVar("T")
Change = Callable[[Turn], Turn]
UNSAVED_SESSION = "unsaved"
"""The session of turns that could not be written."""


class TurnWriter:
    """Records turns, changes them, and publishes what they have become.

    Turns that the disk did not take live in memory until the program ends. A change that the disk did not take is
    applied again before the next change of its turn.

    Args:
        context: The store's queue and the events: each change is followed by a `TurnEvent`.
    """

    def __init__(self, context: AppContext) -> None:
        self._context, self._queue, self._emit = context, context.store_queue, context.emit
        self._in_memory: dict[str, Turn] = {}
        self._running: set[asyncio.Task[Any]] = set()
        self._pending: dict[str, list[Change]] = {}
        """Turn -> changes that the disk did not take. Used in the store's thread only."""
        self._answering: set[str] = set()
        self.written: set[int] = set()
        """Numbers of the turns that this process wrote or rated."""

    def is_unsaved(self, turn_id: str) -> bool:
        """Whether a turn could not be written when it was recorded."""
        return turn_id in self._in_memory

    async def record(self, turn: Turn) -> Turn:
        """Store a new turn and return it with its id. When the disk does not take it, it is kept in memory."""
        return await self._unbroken(self._record(turn))

    async def _record(self, turn: Turn) -> Turn:
        recorded = await self._queue.save(lambda store: store.record(turn), "the turn")
        if recorded is None:
            name = f"unsaved-{len(self._in_memory) + 1}"
            recorded = self._in_memory[name] = replace(turn, id=name, session=turn.session or UNSAVED_SESSION)
        self._publish(recorded, new=True)
        return recorded

    async def change(self, turn_id: str, change: Change, what: str) -> Turn:
        """Apply a change to the newest copy of a turn, publish the result and return it.

        Args:
            turn_id: The turn.
            change: From the newest copy to the new one; it runs in the store's thread and must not wait for anything.
            what: What is changed, for the notice when the disk does not take it: "the answer".

        Raises:
            UnknownTurnError: there is no such turn.
        """
        return await self._unbroken(self._change(turn_id, change, what))

    async def _change(self, turn_id: str, change: Change, what: str) -> Turn:
        if turn_id in self._in_memory:
            turn = self._in_memory[turn_id] = change(self._in_memory[turn_id])
        else:
            saved = await self._queue.save(lambda store: self._apply(store, turn_id, change), what)
            turn = saved if saved is not None else await self._queue.run(lambda store: self._newest(store, turn_id))
        self._publish(turn)
        return turn

    async def rate(self, turn_id: str, verdict: Verdict | None, change: Change | None = None) -> Turn | None:
        """Store a verdict, or take the latest one back (None). Returns None, and a notice says so, when it is not stored.

        Args:
            turn_id: The turn.
            verdict: The verdict.
            change: A change of the turn that belongs to the verdict. It takes effect even when the disk takes neither.

        Raises:
            UnknownTurnError: there is no such turn, or no verdict to take back.
        """
        return await self._unbroken(self._rate(turn_id, verdict, change))

    async def _rate(self, turn_id: str, verdict: Verdict | None, change: Change | None) -> Turn | None:
        if turn_id in self._in_memory:
            if change is not None:
                await self._change(turn_id, change, "the choice")
            lost = "the turn itself could not be saved, so its verdict cannot be kept either"
            self._context.notice("wrong", "not_saved", lost)
            return None
        rated = await self._queue.save(
            lambda store: self._apply(store, turn_id, change, lambda: store.rate(turn_id, verdict)), "the verdict"
        )
        if rated is not None or change is not None:
            newest = rated if rated is not None else await self._queue.run(lambda store: self._newest(store, turn_id))
            self._publish(newest)
        return rated

    async def _unbroken(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it to its end, publishing included, even when whoever asked for it is cancelled meanwhile."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    def _apply(self, store: Store, turn_id: str, change: Change | None, then: Callable[[], Turn] | None = None) -> Turn:
        """Apply what is pending, this change, and what follows it; all or nothing. Runs in the store's thread."""
        changes = [*self._pending.get(turn_id, ()), *([change] if change is not None else ())]
        try:
            with store.db.transaction():
                turn = store.change(turn_id, lambda turn: _all(turn, changes)) if changes or then is None else None
                turn = then() if then is not None else turn
        except UnknownTurnError:
            raise
        except StoreError:
            if changes:
                self._pending[turn_id] = changes
            raise
        self._pending.pop(turn_id, None)
        for other, waiting in list(self._pending.items()):  # there is room again
            store.change(other, partial(_all, changes=waiting))
            del self._pending[other]
        assert turn is not None
        return turn

    def _newest(self, store: Store, turn_id: str) -> Turn:
        """Return the stored turn with the changes that the disk did not take."""
        stored = store.find(turn_id)
        if stored is None:
            raise UnknownTurnError(f"there is no turn {turn_id!r}")
        return _all(stored, self._pending.get(turn_id, []))

    def show_as_answering(self, turn: Turn) -> None:
        """From now on show a routed turn as `answering`. That is not stored: it ends with this process."""
        self._answering.add(turn.id)
        self._emit(TurnEvent(self._shown(turn)))

    def _publish(self, turn: Turn, *, new: bool = False) -> None:
        if turn.id not in self._in_memory:
            self.written.add(turn.number)
        if turn.state not in ("asking", "routed"):
            self._answering.discard(turn.id)
        self._emit(TurnEvent(self._shown(turn), new=new))

    def _shown(self, turn: Turn) -> Turn:
        answering = turn.state == "routed" and turn.id in self._answering
        return replace(turn, state="answering") if answering else turn


def _all(turn: Turn, changes: list[Change]) -> Turn:
    for change in changes:
        turn = change(turn)
    return turn
