"""Answering turns: sending a routed turn to a model, following the stream, and recording how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from msgspec.structs import replace

from tui_router.app.audits import AuditDraw
from tui_router.app.context import AppContext
from tui_router.app.events import PhaseEvent, TextEvent, TextReset, TurnEvent
from tui_router.app.turn_writer import TurnWriter
from tui_router.backends.dispatch import (
    Dispatcher,
    DispatchEvent,
    DispatchOrder,
    DispatchOutcome,
    Hopped,
    Slow,
    Trying,
)
from tui_router.backends.stream import Delta, Progress
from tui_router.core.text import one_line
from tui_router.core.types import Answer, Dispatch, Message, Turn, TurnState


class LiveTurn:
    """A turn from its decision to the end of its answer.

    Attributes:
        turn: The newest stored copy; the turn writer alone replaces it, through the events.
        history: The conversation that the decision was made in, oldest message first. The answer is asked for with it too.
        text: Pieces of the answer so far.
        reasoning: Pieces of the reasoning so far.
        model: The model that is asked now.
    """

    def __init__(self, turn: Turn, history: tuple[Message, ...]) -> None:
        self.turn, self.history = turn, history
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.phase = ""
        self.model = turn.decision.model
        self.switch = asyncio.Event()
        """Set when the person leaves a slow model for the next one."""
        self.task: asyncio.Task[Turn] | None = None


class AnswerService:
    """Has turns answered.

    Args:
        context: Settings, events and tasks.
        turns: Writes what became of the turns.
        dispatcher: Finds a model and streams its answer.
        audits: Draws the turns that the person is asked about.
        answered: Called after each answer that has ended.
    """

    def __init__(
        self,
        context: AppContext,
        turns: TurnWriter,
        dispatcher: Dispatcher,
        audits: AuditDraw,
        answered: Callable[[], None],
    ) -> None:
        self._context, self._turns, self.dispatcher = context, turns, dispatcher
        self._audits, self._answered = audits, answered
        self.live: dict[str, LiveTurn] = {}
        """Turns that wait for the person or for their answer."""
        context.listen(self._follow)

    def _follow(self, event: object) -> None:
        """Keep the live copy the newest one, whoever changed the turn."""
        if isinstance(event, TurnEvent) and (live := self.live.get(event.turn.id)) is not None:
            live.turn = event.turn

    def expect(self, turn: Turn, history: tuple[Message, ...]) -> None:
        """Remember a turn that was decided, with the conversation it was decided in."""
        self.live[turn.id] = LiveTurn(turn, history)

    def send(self, turn_id: str) -> asyncio.Task[Turn]:
        """Have a routed turn answered. The task's result is the finished turn; `stop` ends it early."""
        live = self.live[turn_id]
        live.task = asyncio.create_task(self._answer_or_fail(live), name=f"turn {turn_id}")
        live.task.add_done_callback(lambda _: self._answered())
        return live.task

    async def stop(self, turn_id: str) -> None:
        """Stop a running answer: the connection closes; what has come is kept and marked."""
        live = self.live.get(turn_id)
        if live is not None and live.task is not None and not live.task.done():
            live.task.cancel()
            with suppress(asyncio.CancelledError):
                await live.task

    async def stop_all(self) -> None:
        """Stop every running answer."""
        await asyncio.gather(*(self.stop(turn_id) for turn_id in list(self.live)), return_exceptions=True)

    def switch_model(self, turn_id: str) -> None:
        """Leave a model that has not answered yet for the next one of the chain."""
        if live := self.live.get(turn_id):
            live.switch.set()

    async def all_idle(self) -> None:
        """Wait until no answer is running."""
        while running := [live.task for live in self.live.values() if live.task is not None]:
            await asyncio.wait(running)

    async def end(
        self, turn_id: str, state: TurnState, answer: Answer | None = None, dispatch: Dispatch | None = None
    ) -> Turn:
        """Record the end of a turn, draw it for an audit or not, and forget it here."""
        audit = self._audits.draw(self.live[turn_id].turn) if state != "cancelled" else 0.0
        try:
            return await self._turns.change(
                turn_id,
                lambda turn: replace(turn, state=state, answer=answer, dispatch=dispatch, audit=audit),
                "the answer",
            )
        finally:
            self.live.pop(turn_id, None)

    async def _answer_or_fail(self, live: LiveTurn) -> Turn:
        """`_answer`; a fault of this program ends the turn with a sentence, and the event loop's handler is called."""
        try:
            return await self._answer(live)
        except Exception as error:
            context = {"message": f"turn {live.turn.id} failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
            problem = f"a fault of tui-router itself: {type(error).__name__}: {one_line(str(error), 200)}"
            return await self.end(live.turn.id, "failed", Answer(text="".join(live.text), error=problem))

    async def _answer(self, live: LiveTurn) -> Turn:
        turn = live.turn
        message = Message("user", turn.request.text, turn.request.attachments)
        order = DispatchOrder(
            route=self._context.config.fleet.route(turn.route),
            messages=(*live.history, message),
            pinned=turn.pinned_model,
        )
        self._turns.show_as_answering(turn)
        switch = live.switch if self._context.interactive else None
        try:
            outcome = await self.dispatcher.serve(order, lambda event: self._follow_stream(live, event), switch)
        except asyncio.CancelledError:
            answer = Answer(text="".join(live.text), reasoning="".join(live.reasoning), error="stopped by you")
            served = live.model if live.text or live.reasoning else None
            dispatch = Dispatch(intended=turn.decision.model, served=served)
            return await self.end(turn.id, "stopped", answer, dispatch)
        state: TurnState = "interrupted" if outcome.interrupted else "failed" if outcome.failed else "done"
        ended = await self.end(turn.id, state, outcome.answer, outcome.dispatch)
        self._report_fallback(ended, outcome)
        return ended

    def _follow_stream(self, live: LiveTurn, event: DispatchEvent) -> None:
        turn_id = live.turn.id
        match event:
            case Delta():
                if event.retracted:
                    live.reasoning += live.text
                    live.text.clear()
                live.text.append(event.text)
                live.reasoning.append(event.reasoning)
                if live.phase != "streaming":
                    self._set_phase(live, "streaming")
                reset: TextReset = "retracted" if event.retracted else ""
                self._context.emit(TextEvent(turn_id, event.text, event.reasoning, reset))
            case Progress():
                self._set_phase(live, event.what, event.fraction)
            case Trying():
                live.model = event.model
                self._set_phase(live, "waiting")
            case Slow():
                live.phase = "slow"
                self._context.emit(PhaseEvent(turn_id, "slow", event.next))
            case Hopped():
                if event.discard:
                    live.text.clear()
                    live.reasoning.clear()
                    self._context.emit(TextEvent(turn_id, reset="discarded"))
                self._context.emit(PhaseEvent(turn_id, f"{event.hop.model}: {event.hop.reason}", event.hop.model))

    def _set_phase(self, live: LiveTurn, phase: str, fraction: float | None = None) -> None:
        live.phase = phase
        self._context.emit(PhaseEvent(live.turn.id, phase, live.model, fraction))

    def _report_fallback(self, turn: Turn, outcome: DispatchOutcome) -> None:
        """Say in the feed that another model served, that none did, or that a server answered with another one."""
        dispatch, notice = outcome.dispatch, self._context.notice
        if dispatch.served and dispatch.served != dispatch.intended:
            why = next((h.reason for h in dispatch.hops if h.model == dispatch.intended), "another was asked for")
            notice("caution", "fallback", f"{dispatch.served} served instead of {dispatch.intended}: {why}", (turn.id,))
        elif outcome.failed:
            notice("wrong", "no_answer", outcome.answer.error, (turn.id,))
        if dispatch.note:
            notice("caution", "other_model", dispatch.note, (turn.id,))
