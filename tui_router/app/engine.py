"""The commands of a running program, without a face: the screen, the command line and the gateway call them.

All methods run in one event loop; the store works in a thread of its own. A turn is written when it is routed and again
when its answer has ended, and a verdict is reported only when it is on the disk. The engine only joins its services:

    AppContext        settings, events, background tasks, the store's queue
    TurnWriter        the only writer of turns
    AnswerService     a routed turn, sent and answered
    RouterService     decisions, and what verdicts teach the routers
    InsightService    counts, the observer, the daily report
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import to_builtins
from msgspec.structs import replace

from tui_router.app.answering import AnswerService, LiveTurn
from tui_router.app.audits import QUESTIONS_FROM, AuditDraw
from tui_router.app.context import AppContext
from tui_router.app.events import EngineEvent, HealthEvent, StoreEvent
from tui_router.app.insight_service import InsightService
from tui_router.app.router_service import RouterService
from tui_router.app.turn_writer import UNSAVED_SESSION, Change, TurnWriter
from tui_router.backends.dispatch import Dispatcher
from tui_router.backends.health import Health
from tui_router.config.settings import Config
from tui_router.core.clock import now
from tui_router.core.conversation import messages_of
from tui_router.core.types import AskReason, Message, Request, Turn, Verdict
from tui_router.routing.llm.llm_router import LLMRouter
from tui_router.store import routing_log
from tui_router.store.store import Store
from tui_router.store.store_errors import StoreError

if TYPE_CHECKING:
    from tui_router.routing.ensemble.ensemble import EnsembleDecision

T = TypeVar("T")
HISTORY_TURNS = 40
"""Turns of a session that go along with a request: more than the context of a small model holds."""


class Engine:
    """The running program without its face.

    Args:
        config: Fleet and settings.
        folder: The data folder; its store is opened by `open`.
        health_checks: Whether servers are checked before they are asked.
        interactive: Somebody is there to be asked and told.
        feedback: Whether that person wants to rate, and to be asked for labels.
    """

    def __init__(
        self,
        config: Config,
        folder: Path,
        *,
        health_checks: bool = True,
        interactive: bool = False,
        feedback: bool = True,
    ) -> None:
        self.health = Health(config.fleet, config.backends, checked=health_checks)
        self.context = AppContext(config, folder, self.health, interactive=interactive, feedback=feedback)
        self.config, self.folder = config, folder
        self.turns = TurnWriter(self.context)
        dispatcher = Dispatcher(config.fleet, self.health, config.settings)
        self.insights = InsightService(self.context, lambda: bool(self.live))
        self.audits = AuditDraw(self.context, self.insights.turns_a_day)
        self.answers = AnswerService(self.context, self.turns, dispatcher, self.audits, self._answered)
        self.router_service = RouterService(self.context, self.answers.all_idle)
        self._turns_before = 0
        """Turns in the store."""
        self.health.on_change = self._health_changed
        self.health.on_event = self.context.notice

    # -- what the services share ---------------------------------------------------------------------------------
    @property
    def store(self) -> Store | None:
        """The store, while it is open."""
        return self.context.store_queue.store

    @property
    def live(self) -> dict[str, LiveTurn]:
        """Turns that wait for the person or for their answer."""
        return self.answers.live

    @property
    def unsaved(self) -> str:
        """Why the newest turn or verdict is not on the disk; empty when all is well."""
        return self.context.store_queue.unsaved

    @property
    def interactive(self) -> bool:
        """Whether somebody is there to be asked and told."""
        return self.context.interactive

    @property
    def threshold(self) -> float:
        """Below this confidence a decision asks before anything is sent."""
        return self.context.threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        self.context.threshold = value

    def listen(self, listener: Callable[[EngineEvent], None]) -> Callable[[], None]:
        """Call this function with every event, in order; returns how to stop it."""
        return self.context.listen(listener)

    def start_task(self, work: Coroutine[Any, Any, None], what: str, turn_id: str = "") -> None:
        """See `AppContext.start_task`."""
        self.context.start_task(work, what, turn_id)

    def opened(self) -> Store:
        """Return the store. Raises StoreError when it is not open."""
        return self.context.store_queue.opened()

    async def in_store(self, job: Callable[[], T]) -> T:
        """Run something that uses the store in the store's thread."""
        return await self.context.store_queue.call(job)

    def at_store(self, job: Callable[[], T]) -> T:
        """Run a job in the store's thread from another thread, and wait for it."""
        return self.context.store_queue.call_from_thread(job)

    def _health_changed(self) -> None:
        self.context.emit(HealthEvent())
        self.router_service.look_for_embeddings()

    def _answered(self) -> None:
        self.insights.turn_ended()

    # -- start, poll, end ----------------------------------------------------------------------------------------
    async def open(self, *, learn: bool = True) -> Store:
        """Open the store, repairing it if it must be, and (with `learn`) load the routers. Raises StoreError."""
        queue = self.context.store_queue
        store = await queue.open()
        if store.repaired:
            self.context.notice("caution", "store_repaired", store.repaired)
        if store.migrated:
            self.context.notice("info", "store_migrated", store.migrated)
        self._turns_before = await queue.run(lambda store: store.counters().turns)
        in_force = to_builtins(self.config.settings)
        await queue.save(lambda store: store.keep_settings(in_force), "the settings' history")
        if learn:
            await self.router_service.load(store)
        return store

    def start_health(self) -> None:
        """Begin to check the servers at intervals."""
        self.health.start(self.config.settings.health_interval_s)

    async def poll(self) -> None:
        """Look for what other processes wrote, learn from it and publish it. Raises StoreError."""
        await self.router_service.check_runs()
        change = await self.context.store_queue.run(lambda store: store.poll())
        if change is None:
            return
        if change.turns:
            await self.router_service.learn_foreign_verdicts(change.turns)
        if change.promotions and self.router_service.learner is not None:
            await self.router_service.reload_promotions()
        self.context.emit(StoreEvent(change))

    async def write_logs(self) -> list[Path]:
        """Write the routing logs of the days whose turns this program wrote or rated."""
        fleet, folder, written = self.config.fleet, self.folder / "logs", frozenset(self.turns.written)
        if not written or self.store is None:
            return []
        return await self.context.store_queue.run(
            lambda store: routing_log.write_days_of(store, fleet, folder, written)
        )

    async def close(self) -> None:
        """Stop everything that runs, write the logs and a backup if one is due, and close the store."""
        await self.answers.stop_all()
        await self.router_service.stop()
        await self.insights.stop()
        await self.context.finish_tasks()
        await self.health.close()
        if self.store is not None:
            await self.router_service.save()
            with suppress(StoreError, OSError):
                await self.write_logs()
            with suppress(StoreError, OSError):
                await self.context.store_queue.run(lambda store: store.backup_if_due())
            await self.context.store_queue.close()

    # -- a turn --------------------------------------------------------------------------------------------------
    async def begin(
        self,
        request: Request,
        *,
        session: str = "",
        source: str = "screen",
        route: str = "",
        model: str = "",
        ask: bool = True,
        history: tuple[Message, ...] | None = None,
    ) -> Turn:
        """Decide a request and record the turn; nothing is sent yet.

        With `ask`, a decision below the threshold leaves the turn in state `asking`: the person is asked before anything is
        sent. A sure decision is never held up; when its label would teach much, `turn.asked` says so, and the question
        comes after the answer has begun. `route` and `model` pin what the person insists on. The conversation before the
        request is `history`, else the request's own, else that of its session; an empty `history` is none.
        """
        self.insights.make_way()
        if history is None:
            history = request.history or await self.conversation(session)
        whole = replace(request, history=history)
        decided = await self.router_service.decide(whole)
        decision = decided.decision
        may_ask = ask and not route and not model
        asked = self._reason_to_ask(request, decided) if may_ask else ""
        turn = await self.turns.record(
            Turn(
                id="",
                session=session,
                at=now(),
                request=request,
                decision=decision,
                route=route or decision.route,
                state="asking" if asked == "unsure" else "routed",
                source=source,
                pinned_model=model,
                pinned_route=bool(route),
                asked=asked,
                shadows=decided.shadows,
            )
        )
        self._turns_before += 1
        self.answers.expect(turn, history)
        for router in self.router_service.llm_routers.values():
            if router.name != decision.router and router.model != decision.model:
                self.start_task(self._add_shadow(turn.id, router, whole), f"asking the router {router.name}", turn.id)
        return turn

    def _reason_to_ask(self, request: Request, decided: EnsembleDecision) -> AskReason:
        """Return why the person is asked about this request: before it is sent (`unsure`) or after it (`worth`)."""
        context = self.context
        if decided.decision.confidence < context.threshold:
            return "unsure"
        wants_labels = context.interactive and context.feedback and context.threshold > 0
        if not wants_labels or self._turns_before < QUESTIONS_FROM:
            return ""
        return "worth" if self.router_service.is_worth_asking(request, decided) else ""

    async def _add_shadow(self, turn_id: str, router: LLMRouter, request: Request) -> None:
        """Have a model decide too, and add its decision to the turn, whatever has become of the turn meanwhile."""
        shadow = await self.router_service.decide_deferred(router, request)
        if shadow is None:
            return
        turn = await self.turns.change(
            turn_id, lambda turn: replace(turn, shadows=(*turn.shadows, shadow)), "the shadow's decision"
        )
        if turn.verdict is not None:
            await self.router_service.learn(turn_id)

    async def conversation(self, session: str) -> tuple[Message, ...]:
        """Return the messages of a session so far: what was asked and what was answered, oldest first."""
        if not session or session == UNSAVED_SESSION:
            return ()
        turns = await self.context.store_queue.run(lambda store: store.conversation(session, HISTORY_TURNS))
        return messages_of(turns)

    async def choose(self, turn_id: str, route: str) -> Turn:
        """Answer the question of a turn in state `asking`: send it to this route. The answer is a verdict too."""
        turn = self.live[turn_id].turn
        accepted = route == turn.decision.route
        verdict = Verdict(
            kind="accepted" if accepted else "chosen",
            at=now(),
            rating="right" if accepted else "wrong",
            route=route,
            source="ask",
        )
        await self._rate(turn_id, verdict, lambda turn: replace(turn, route=route, state="routed"))
        return self.live[turn_id].turn

    async def cancel(self, turn_id: str) -> None:
        """Cancel a turn that asks and was not sent."""
        if turn_id in self.live:
            await self.answers.end(turn_id, "cancelled")

    async def leave_unanswered(self, turn_id: str) -> Turn:
        """End a turn without sending it to any model."""
        return await self.answers.end(turn_id, "unanswered")

    def send(self, turn_id: str) -> asyncio.Task[Turn]:
        """Have a routed turn answered; see `AnswerService.send`."""
        return self.answers.send(turn_id)

    async def stop(self, turn_id: str) -> None:
        """Stop a running answer; see `AnswerService.stop`."""
        await self.answers.stop(turn_id)

    def switch_model(self, turn_id: str) -> None:
        """Leave a model that has not answered yet for the next one of the chain."""
        self.answers.switch_model(turn_id)

    # -- verdicts ------------------------------------------------------------------------------------------------
    async def rate(self, turn_id: str, verdict: Verdict | None) -> bool:
        """Store a verdict, or take the latest one back (None); True when it is on the disk.

        Raises:
            UnknownTurnError: there is no such turn, or no verdict to take back.
        """
        return await self._rate(turn_id, verdict, None)

    async def _rate(self, turn_id: str, verdict: Verdict | None, change: Change | None) -> bool:
        turn = await self.turns.rate(turn_id, verdict, change)
        if turn is None:
            return False
        self.start_task(self.router_service.learn(turn_id), "learning the verdict", turn_id)
        return True
