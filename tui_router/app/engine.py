"""One turn, from request to record. Free of any face: the screen, the command line and whatever comes later use it.

All methods run in one event loop; the store works in a thread of its own. A turn's state lives here (`live`) while it
runs and in the store always: a turn is written when it is routed, again when its answer has ended, and a verdict is
reported only when it is on the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from msgspec import to_builtins
from msgspec.structs import replace

from tui_router.app.events import EngineEvent, HealthEvent, NoticeEvent, PhaseEvent, StoreEvent, TextEvent, TurnEvent
from tui_router.app.insight_service import InsightService
from tui_router.app.router_service import RouterService
from tui_router.backends.dispatch import Dispatcher, DispatchEvent, DispatchOrder, DispatchOutcome, Hopped, Slow, Trying
from tui_router.backends.health import Health
from tui_router.backends.stream import Delta, Progress
from tui_router.config.settings import Config
from tui_router.core.clock import now
from tui_router.core.conversation import messages_of
from tui_router.core.text import one_line
from tui_router.core.types import (
    Answer,
    AskReason,
    Dispatch,
    Message,
    Observation,
    Request,
    Turn,
    TurnState,
    Verdict,
)
from tui_router.routing.llm.llm_router import LLMRouter
from tui_router.store import routing_log
from tui_router.store.store import Store
from tui_router.store.store_errors import StoreError

T = TypeVar("T")
HISTORY_TURNS = 40
_UNSAVED = "unsaved"
"""The session of turns that could not be written."""


class LiveTurn:
    """A turn that is being answered."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.phase = ""
        self.model = turn.decision.model
        self.switch = asyncio.Event()
        self.task: asyncio.Task[Turn] | None = None


class Engine:
    """The running program without its face.

    Args:
        config: Fleet and settings.
        folder: The data folder; its store is opened by `open`.
        health_checks: Whether servers are looked at before they are asked.
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
        self.config, self.folder, self.interactive, self.feedback = config, folder, interactive, feedback
        self.health = Health(config.fleet, config.backends, checked=health_checks)
        self.dispatcher = Dispatcher(config.fleet, self.health, config.settings)
        self.threshold = config.settings.confidence_threshold
        self.live: dict[str, LiveTurn] = {}
        self.store: Store | None = None
        self.unsaved = ""
        """Why the newest turn or verdict is not on the disk; empty when all is well."""
        self._listeners: list[Callable[[EngineEvent], None]] = []
        self._writer = ThreadPoolExecutor(1, "store")
        self._own: set[int] = set()
        self._first_written: int | None = None
        self._unsaved_number = 0
        self._memory: dict[str, Turn] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.router_service = RouterService(self)
        self.insights = InsightService(self)
        self.health.on_change = self._health_changed
        self.health.on_event = self.notice

    # -- events --------------------------------------------------------------------------------------------------
    def _health_changed(self) -> None:
        self.emit(HealthEvent())
        self.router_service.look_for_embeddings()

    def listen(self, listener: Callable[[EngineEvent], None]) -> Callable[[], None]:
        """Be told of every event, in order; returns how to stop it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def emit(self, event: EngineEvent) -> None:
        """Tell every listener."""
        for listener in list(self._listeners):
            listener(event)

    def notice(self, level: str, tag: str, text: str, turns: tuple[str, ...] = ()) -> None:
        """Tell and keep something beside the turns."""
        self.observed(Observation(at=now(), tag=tag, text=text, level=level, turns=turns))  # type: ignore[arg-type]

    def observed(self, observation: Observation) -> None:
        """Tell and keep something beside the turns."""
        self.emit(NoticeEvent(observation))
        if self.store is not None:
            self.begin_task(self._keep_notice(observation))

    def begin_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have something done beside the turns; `close` waits for it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def quiet(self) -> None:
        """Wait until no answer is running."""
        while running := [live.task for live in self.live.values() if live.task is not None]:
            await asyncio.wait(running)

    async def _keep_notice(self, observation: Observation) -> None:
        with suppress(StoreError):
            store = self.opened()
            await self.in_store(lambda: store.observe(observation))

    # -- the store -----------------------------------------------------------------------------------------------
    async def open(self, *, learn: bool = True) -> Store:
        """Open the store, repairing it if it must be, and (with `learn`) load the routers. Raises StoreError."""
        loop = asyncio.get_running_loop()
        self.store = store = await loop.run_in_executor(self._writer, Store, self.folder)
        if store.repaired:
            self.notice("caution", "store_repaired", store.repaired)
        in_force = to_builtins(self.config.settings)
        await self._saved(lambda store: store.keep_settings(in_force), "the settings' history")
        if learn:
            await self.router_service.load(store)
        return store

    async def in_store(self, work: Callable[[], T]) -> T:
        """Run something that talks to the store in the store's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    def at_store(self, work: Callable[[], T]) -> T:
        """The same for a thread of its own, which waits for it."""
        return self._writer.submit(work).result()

    def opened(self) -> Store:
        """The store; StoreError when it is not open."""
        if self.store is None:
            raise StoreError("the store is not open")
        return self.store

    async def poll(self) -> None:
        """Look for what other processes wrote; own turns are not reported again."""
        store = self.opened()
        await self.router_service.notice_runs()
        change = await self.in_store(store.poll)
        if change is not None:
            others = change.turns - self._own
            self._own -= change.turns
            if others:
                await self.router_service.learn_foreign_verdicts(others)
            if change.promotions and self.router_service.learner is not None:
                await self.router_service.reload_promotions()
            if others or change.reload or change.sessions or change.observations:
                self.emit(StoreEvent(replace(change, turns=others)))

    async def _saved(self, work: Callable[[Store], T], what: str) -> T | None:
        """Write; on failure the program goes on without writing and says so. None when it was not written."""
        store = self.opened()
        try:
            done = await self.in_store(lambda: work(store))
        except StoreError as error:
            first = not self.unsaved
            self.unsaved = f"{what} is not saved: {one_line(str(error), 160)}"
            if first:
                self.notice(
                    "wrong",
                    "not_saved",
                    f"{self.unsaved}. What was saved before is safe; free some space and go on.",
                )
            return None
        if self.unsaved:
            self.unsaved = ""
            self.notice("good", "saving_again", "the store can be written again")
        return done

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
    ) -> Turn:
        """Decide a request and record the turn; nothing is sent yet.

        With `ask`, a decision below the threshold leaves the turn in state `asking`. `route` and `model` pin what the
        person insists on. A request without a history of its own gets that of its session.
        """
        self.insights.turn_begins()
        whole = replace(request, history=request.history or await self.conversation(session))
        decided = await self.router_service.decide(whole)
        decision = decided.decision
        may_ask = ask and not route and not model
        asked: AskReason = "" if not may_ask else "unsure" if decision.confidence < self.threshold else ""
        wants_labels = self.interactive and self.feedback and self.threshold > 0
        if may_ask and not asked and wants_labels and self.router_service.is_worth_asking(request, decided):
            asked = "worth"
        turn = Turn(
            id="", session=session, at=now(), request=request, decision=decision, route=route or decision.route,
            state="asking" if asked else "routed", source=source, pinned_model=model, pinned_route=bool(route),
            asked=asked, shadows=decided.shadows,
        )  # fmt: skip
        recorded = await self._saved(lambda store: store.record(turn), "the turn")
        if recorded is None:
            self._unsaved_number -= 1
            recorded = replace(turn, id=f"unsaved{self._unsaved_number}", session=session or _UNSAVED)
            self._memory[recorded.id] = recorded
        else:
            self._wrote(recorded)
        self.live[recorded.id] = LiveTurn(recorded)
        self.emit(TurnEvent(recorded, new=True))
        for late in self.router_service.llm_routers.values():
            if late.name != decision.router and late.model != decision.model:
                self.begin_task(self._late_shadow(recorded.id, late, whole))
        return recorded

    async def _late_shadow(self, turn_id: str, late: LLMRouter, request: Request) -> None:
        """Have a model decide too, and add its decision to the turn, whatever has become of that meanwhile."""
        shadow = await self.router_service.decide_late(late, request)
        if shadow is None:
            return
        live = self.live.get(turn_id)
        if live is not None:
            turn = replace(live.turn, shadows=(*live.turn.shadows, shadow))
            await self._change(live, turn)
        else:
            try:
                found = await self.in_store(lambda: self.opened().find(turn_id))
            except StoreError:
                return
            if found is None:
                return
            turn = replace(found, shadows=(*found.shadows, shadow))
            await self._saved(lambda store: store.update(turn), "the shadow's decision")
            self._wrote(turn)
            self.emit(TurnEvent(turn))
        if turn.verdict is not None:
            await self.router_service.learn(turn)

    async def conversation(self, session: str) -> tuple[Message, ...]:
        """The messages of a session so far: what was asked and what was answered, oldest first."""
        if not session or session == _UNSAVED:
            return ()
        store = self.opened()
        return messages_of(await self.in_store(lambda: store.conversation(session, HISTORY_TURNS)))

    async def choose(self, turn_id: str, route: str) -> Turn:
        """Answer to the question of an unsure decision: the route to send to. It is kept as a verdict of its own kind."""
        live = self.live[turn_id]
        decided = live.turn.decision.route
        accepted = route == decided
        verdict = Verdict(
            kind="accepted" if accepted else "chosen",
            at=now(),
            rating="right" if accepted else "wrong",
            route=route,
            source="ask",
        )
        await self._change(live, replace(live.turn, route=route, state="routed"))
        await self.rate(turn_id, verdict)
        return live.turn

    async def cancel(self, turn_id: str) -> None:
        """Call off a turn that asks and was not sent."""
        live = self.live.pop(turn_id, None)
        if live is not None:
            await self._change(live, replace(live.turn, state="cancelled"))

    async def leave_unanswered(self, turn_id: str) -> Turn:
        """End a turn without sending it to any model."""
        live = self.live.pop(turn_id)
        await self._change(live, replace(live.turn, state="unanswered"))
        return live.turn

    def send(self, turn_id: str) -> asyncio.Task[Turn]:
        """Have a routed turn answered; the task's result is the finished turn. Cancel it with `stop`."""
        live = self.live[turn_id]
        live.task = asyncio.create_task(self._answer_or_fail(live), name=f"turn {turn_id}")
        return live.task

    async def _answer_or_fail(self, live: LiveTurn) -> Turn:
        """`_answer`; a fault of this program ends the turn with a sentence, and is told to the event loop's handler."""
        try:
            return await self._answer(live)
        except Exception as error:
            context = {"message": f"turn {live.turn.id} failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
            said = f"a fault of tui-router itself: {type(error).__name__}: {one_line(str(error), 200)}"
            await self._end(
                live, replace(live.turn, state="failed", answer=Answer(text="".join(live.text), error=said))
            )
            return live.turn

    async def _answer(self, live: LiveTurn) -> Turn:
        turn = live.turn
        history = turn.request.history or await self.conversation(turn.session)
        message = Message("user", turn.request.text, turn.request.attachments)
        order = DispatchOrder(
            route=self.config.fleet.route(turn.route), messages=(*history, message), pinned=turn.pinned_model
        )
        live.turn = turn = replace(turn, state="answering")
        self.emit(TurnEvent(turn))
        try:
            outcome = await self.dispatcher.serve(
                order, lambda event: self._progress(live, event), live.switch if self.interactive else None
            )
        except asyncio.CancelledError:
            turn = live.turn
            answer = Answer(text="".join(live.text), reasoning="".join(live.reasoning), error="stopped by you")
            await asyncio.shield(
                self._end(live, replace(turn, state="stopped", answer=answer, dispatch=self._partial(live)))
            )
            return live.turn
        turn = live.turn
        state: TurnState = "interrupted" if outcome.interrupted else "failed" if outcome.failed else "done"
        await self._end(live, replace(turn, state=state, answer=outcome.answer, dispatch=outcome.dispatch))
        self._tell_fallbacks(live.turn, outcome)
        return live.turn

    def _partial(self, live: LiveTurn) -> Dispatch:
        """What is known of the dispatch of a turn that was stopped."""
        return Dispatch(intended=live.turn.decision.model, served=live.model if live.text or live.reasoning else None)

    def _progress(self, live: LiveTurn, event: DispatchEvent) -> None:
        turn_id = live.turn.id
        match event:
            case Delta():
                if event.retracted:
                    live.reasoning += live.text
                    live.text.clear()
                live.text.append(event.text)
                live.reasoning.append(event.reasoning)
                if live.phase != "streaming":
                    self._phase(live, "streaming")
                self.emit(TextEvent(turn_id, event.text, event.reasoning, "retracted" if event.retracted else ""))
            case Progress():
                self._phase(live, event.what, event.fraction)
            case Trying():
                live.model = event.model
                self._phase(live, "waiting")
            case Slow():
                live.phase = "slow"
                self.emit(PhaseEvent(turn_id, "slow", event.next))
            case Hopped():
                if event.discard:
                    live.text.clear()
                    live.reasoning.clear()
                    self.emit(TextEvent(turn_id, reset="discarded"))
                self.emit(PhaseEvent(turn_id, f"{event.hop.model}: {event.hop.reason}", event.hop.model))

    def _phase(self, live: LiveTurn, phase: str, fraction: float | None = None) -> None:
        live.phase = phase
        self.emit(PhaseEvent(live.turn.id, phase, live.model, fraction))

    def _tell_fallbacks(self, turn: Turn, outcome: DispatchOutcome) -> None:
        dispatch = outcome.dispatch
        if dispatch.served and dispatch.served != dispatch.intended:
            why = next((h.reason for h in dispatch.hops if h.model == dispatch.intended), "another was asked for")
            self.notice(
                "caution",
                "fallback",
                f"{dispatch.served} served instead of {dispatch.intended}: {why}",
                (turn.id,),
            )
        elif outcome.failed:
            self.notice("wrong", "no_answer", outcome.answer.error, (turn.id,))
        if dispatch.note:
            self.notice("caution", "other_model", dispatch.note, (turn.id,))

    async def _end(self, live: LiveTurn, turn: Turn) -> None:
        await self._change(live, turn)
        self.live.pop(turn.id, None)
        self.insights.turn_ended()

    async def _change(self, live: LiveTurn, turn: Turn) -> None:
        """Write what became of a turn, then tell."""
        if turn.id in self._memory:
            self._memory[turn.id] = turn
        else:
            await self._saved(lambda store: store.update(turn), "the answer")
            self._wrote(turn)
        live.turn = turn = replace(turn, verdict=live.turn.verdict)  # one may have come meanwhile
        self.emit(TurnEvent(turn))

    def _wrote(self, turn: Turn) -> None:
        self._own.add(turn.number)
        self._first_written = min(self._first_written or turn.number, turn.number)

    async def stop(self, turn_id: str) -> None:
        """Stop a running answer: the connection closes, what has come is kept and marked."""
        live = self.live.get(turn_id)
        if live is not None and live.task is not None and not live.task.done():
            live.task.cancel()
            with suppress(asyncio.CancelledError):
                await live.task

    def switch_model(self, turn_id: str) -> None:
        """Leave a model that has not answered yet for the next one of the chain."""
        if live := self.live.get(turn_id):
            live.switch.set()

    # -- verdicts ------------------------------------------------------------------------------------------------
    async def rate(self, turn_id: str, verdict: Verdict | None) -> bool:
        """Keep a verdict, or take the latest one back (None); True when it is on the disk.

        Raises:
            UnknownTurnError: there is no such turn, or no verdict to take back.
        """
        store = self.opened()
        if turn_id in self._memory:
            self.notice(
                "wrong",
                "not_saved",
                "the turn itself could not be saved, so its verdict cannot be kept either",
            )
            return False
        latest: list[Verdict | None] = []

        def work(store: Store) -> bool:
            latest.append(store.rate(turn_id, verdict))
            return True

        saved = await self._saved(work, "the verdict")
        if not saved:
            return False
        turn = await self.in_store(lambda: store.find(turn_id))
        if turn is not None:
            self._wrote(turn)
            if live := self.live.get(turn.id):
                live.turn = turn = replace(live.turn, verdict=turn.verdict)
            self.emit(TurnEvent(turn))
            self.begin_task(self.router_service.learn(turn))
        return True

    # -- start and end -------------------------------------------------------------------------------------------
    def start_health(self) -> None:
        """Begin to look at the servers."""
        self.health.start(self.config.settings.health_interval_s)

    async def write_logs(self) -> list[Path]:
        """Write the routing logs of the days in which this program wrote."""
        store, first = self.store, self._first_written
        if store is None or first is None:
            return []
        return await self.in_store(
            lambda: routing_log.write_since(store, self.config.fleet, self.folder / "logs", first)
        )

    async def close(self) -> None:
        """Stop everything that runs, write the logs and a backup if one is due, and close the store."""
        waits: list[Awaitable[Any]] = [self.stop(turn_id) for turn_id in list(self.live)]
        await asyncio.gather(*waits, return_exceptions=True)
        await self.router_service.stop()
        await self.insights.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.health.close()
        if store := self.store:
            await self.router_service.save()
            with suppress(StoreError, OSError):
                await self.write_logs()
            with suppress(StoreError, OSError):
                await self.in_store(store.backup_if_due)
            await self.in_store(store.close)
            self.store = None
        self._writer.shutdown(wait=True)
