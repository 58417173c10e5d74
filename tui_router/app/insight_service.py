"""Insight while the program runs: counts kept current, the observer's remarks, findings and drift in the feed.

Nothing here may slow a turn. Counting runs in the store's thread and in others. The observer is asked only when no answer is
running and its model is loaded already, and it is stopped when a request comes.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from tui_router.app.context import AppContext
from tui_router.backends.backend_errors import BackendError
from tui_router.backends.json_writer import Writer
from tui_router.core.clock import local_day, now
from tui_router.core.types import Observation, Turn
from tui_router.insight.metrics_cache import FILE, MetricsCache
from tui_router.store.store import Store
from tui_router.store.store_errors import StoreError

if TYPE_CHECKING:
    from tui_router.insight.drift import Drift
    from tui_router.insight.findings import Finding

ObserverMode = Literal["off", "passive", "active"]
EVERY: dict[ObserverMode, int] = {"passive": 5, "active": 1}
"""Mode -> turns from one look to the next."""
DEADLINE_S = 20.0
"""Of a remark, from asking to its last word."""
TOKENS_A_DAY = 60_000
"""What the observer may take, questions included."""
_REMARK_TOKENS, _TEMPERATURE = 160, 0.3
_QUIET_S = 0.7
"""How long nothing must have happened before it is asked: the person may be typing a follow-up."""
_FEED = 400
"""Events that are looked through for what was told already."""
_WINDOW = 500
"""Turns in which findings are looked for."""
_AT_A_TIME = 10
"""Pieces that are counted before others may use the store again: some 20 ms."""
_FIRST_S = 2.0
"""After the start, before anything is counted: the first picture and the first key come first."""


class InsightService:
    """Keeps counts current, asks the observer and writes the daily report.

    Args:
        context: Settings, events, tasks and the store.
        is_busy: Returns whether a turn is being answered.
    """

    def __init__(self, context: AppContext, is_busy: Callable[[], bool]) -> None:
        self._context, self._is_busy = context, is_busy
        self.mode: ObserverMode = context.config.settings.observer if context.interactive else "off"
        self.model = context.config.settings.observer_model
        self.counted = MetricsCache(context.config.fleet, context.folder / FILE)
        self.cost = (0, 0.0, 0)
        """(remarks, milliseconds, tokens) of the observer since the start."""
        self.dropped: dict[str, int] = {}
        """Why -> how many of its remarks were not shown."""
        self.trouble = ""
        """Why the model says nothing; empty while it does, or is off."""
        self._writer = Writer(context.health, self.model)
        self._counting = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._since = 0
        self._told: set[str] = set()
        self._spent: tuple[str, int] = ("", 0)

    # -- start and end -------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Start to count, a moment after the first picture."""
        self._begin(self._first())

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._context.start_task(work, "insight")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _first(self) -> None:
        await asyncio.sleep(_FIRST_S)
        with suppress(StoreError, OSError):
            await self.count()
            await self._daily()

    async def _daily(self) -> None:
        """Write the report of the last day with turns, unless it is written."""
        from tui_router.insight.report_files import Reports, prepare_report
        from tui_router.learning.changed_fleet import champion_from

        context, reports = self._context, Reports(self._context.folder)
        today = local_day(now())
        day = next((day for day in reversed(self.counted.by_day()) if day < today), "")
        if not day or reports.has(day):
            return
        fleet, threshold = context.config.fleet, context.threshold
        champion = champion_from(context.config, context.folder)
        made = await context.store_queue.run(
            lambda store: prepare_report(store, fleet, threshold, 1, day, self.counted, champion)
        )
        await asyncio.to_thread(lambda: reports.save(made()))

    async def stop(self) -> None:
        """Stop what runs and save the counts."""
        for task in list(self._tasks):
            task.cancel()
        with suppress(OSError, RuntimeError):  # RuntimeError: the store's thread has ended
            await self._context.store_queue.call(self.counted.save)

    # -- counting ------------------------------------------------------------------------------------------------
    async def count(self, tell: Callable[[float], None] = lambda share: None) -> None:
        """Count what changed since the last time. `tell` is called with the share that is done. Raises StoreError."""
        store = self._context.store_queue.opened()
        async with self._counting:
            steps = self.counted.refresh_steps(store)
            while (share := await self._context.store_queue.call(lambda: _some(steps))) is not None:
                tell(share)

    def turns_a_day(self) -> list[int]:
        """Return the turns of each day with any, oldest first, as far as they are counted."""
        return list(self.counted.turns_by_day().values())

    # -- turns that come and go ----------------------------------------------------------------------------------
    def set_mode(self, mode: ObserverMode) -> None:
        """Have the observer look at every turn, at every fifth, or not at all."""
        self.mode, self._since, self.trouble = mode, 0, ""
        if mode == "off":
            self.make_way()

    def make_way(self) -> None:
        """Stop the observer: a request came."""
        if self._looking is not None:
            self._looking.cancel()

    def turn_ended(self) -> None:
        """Count a finished turn; the observer may look now."""
        if self.mode == "off":
            return
        self._since += 1
        if self._since >= EVERY[self.mode] and self._looking is None:
            self._looking = self._begin(self._look())
            self._looking.add_done_callback(self._looked)

    def _looked(self, _: asyncio.Task[None]) -> None:
        self._looking = None

    async def _look(self) -> None:
        await asyncio.sleep(_QUIET_S)
        if self._is_busy():
            return
        try:
            await self.count()
            turns, findings, drift = await self._seen()
        except (StoreError, RuntimeError):  # RuntimeError: the store's thread has ended
            return
        self._since = 0
        for one in drift:
            self._tell_once("model_drift", one.text, one.turns)
        for found in findings:
            self._tell_once("pattern_detected", found.text, found.turns[:6])
        await self._ask(turns, findings)

    async def _seen(self) -> tuple[list[Turn], list[Finding], list[Drift]]:
        """Return the newest turns, the findings and the drifts in them."""
        from tui_router.insight.drift import find_drifts, first_monitored
        from tui_router.insight.findings import find_findings

        context = self._context

        def read(store: Store) -> list[Turn]:
            newest = store.newest_number()
            return store.between(first_monitored(newest), newest)

        turns = await context.store_queue.run(read)
        if not self._told:  # what was told before this start
            told = await context.store_queue.run(lambda store: store.observations(_FEED))
            self._told = {"", *(_name(one.text) for one in told if one.by == "counts")}
        fleet, threshold = context.config.fleet, context.threshold
        return await asyncio.to_thread(
            lambda: (
                turns,
                find_findings(turns[-_WINDOW:], fleet, threshold, effects=False),
                find_drifts(turns, fleet, threshold),
            )
        )

    def _tell_once(self, tag: str, says: str, turns: tuple[str, ...]) -> None:
        """Put a finding into the feed unless it stands there already, with whatever counts."""
        if _name(says) not in self._told:
            self._told.add(_name(says))
            self._context.observe(Observation(at=now(), tag=tag, text=says, level="caution", turns=turns, by="counts"))

    # -- the model -----------------------------------------------------------------------------------------------
    async def _ask(self, turns: list[Turn], findings: list[Finding]) -> None:
        """Ask the model for a remark. Whatever goes wrong, nothing unchecked reaches the feed."""
        from tui_router.insight import observer

        self.trouble = self._cannot()
        if self.trouble or not turns:
            return
        seen = observer.build_prompt(turns, self.counted.total(local_day(now())), findings)
        start = time.monotonic()
        try:
            async with asyncio.timeout(DEADLINE_S):
                written = await self._writer.write(
                    seen.messages,
                    observer.SCHEMA,
                    max_tokens=_REMARK_TOKENS,
                    temperature=_TEMPERATURE,
                    deadline_s=DEADLINE_S,
                )
        except TimeoutError:
            self._drop("not within its deadline")
            return
        except BackendError as error:
            self.trouble = str(error)
            self._drop("no reply")
            return
        elapsed_ms = (time.monotonic() - start) * 1000
        remarks, ms, tokens = self.cost
        self.cost = (remarks + 1, ms + elapsed_ms, tokens + written.tokens)
        self._spent = (self._spent[0], self._spent[1] + written.tokens)
        made = observer.parse_reply(written.text, seen)
        if isinstance(made, str):
            self._drop(made)
            return
        self._context.observe(
            Observation(
                at=now(),
                tag=made.tag,
                text=made.text,
                level=made.level,
                turns=made.turns,
                by=self.model,
                elapsed_ms=elapsed_ms,
                tokens=written.tokens,
            )
        )

    def _cannot(self) -> str:
        """Why the model cannot be asked now; empty when it can."""
        today = local_day(now())
        if self._spent[0] != today:
            self._spent = (today, 0)
        if self._spent[1] >= TOKENS_A_DAY:
            return f"the observer has had its {TOKENS_A_DAY:,} tokens of today"
        status = self._context.health.models.get(self.model)
        if status is None:
            return f"the fleet has no model {self.model!r} to observe"
        if status.state != "loaded":
            return f"{self.model} is not loaded, so the feed is written from the counts alone"
        return ""

    def _drop(self, why: str) -> None:
        self.dropped[why] = self.dropped.get(why, 0) + 1


def _name(says: str) -> str:
    """Return a finding without its counts; a drift with the turn at which it began."""
    began = re.search(r"since turn (\d+)", says)
    return f"{re.sub(r'[0-9.,%]+', '', says)}{began[1] if began else ''}"


def _some(steps: Iterator[float]) -> float | None:
    """Return a few steps; the share that is done, or None at the end."""
    share = None
    for _ in range(_AT_A_TIME):
        if (step := next(steps, None)) is None:
            break
        share = step
    return share
