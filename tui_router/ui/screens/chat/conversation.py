"""The main screen's turns: from the engine to the cards, and from the prompt to the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_router.core.types import Turn
from tui_router.ui.keyboard import KeyboardState
from tui_router.ui.widgets.card import Card

if TYPE_CHECKING:
    from tui_router.app.engine import Engine
    from tui_router.app.events import EngineEvent

from tui_router.ui.screens.chat.base import MOST_CARDS, ChatBase


class ChatTurns(ChatBase):
    """Shows what the engine tells, and asks the engine to act."""

    async def attach(self, engine: Engine, *, demo: bool, session: str = "") -> None:
        """The engine is there: show what the store holds, go on with a conversation, and send what was typed meanwhile."""
        self.engine, self.demo, self._trouble = engine, demo, ""
        store = engine.store
        assert store is not None
        if store.repaired:
            self.notify(store.repaired, title="the store", severity="warning", markup=False, timeout=30)
        self.observer.fill(await self.read_store(lambda store: store.observations(30)) or [])
        self.models.put(engine.health.models, engine.config.fleet, engine.health.checked)
        await self.refresh_numbers()
        await (self.open_session(session) if session else self.refresh_sessions())
        self.refresh_keys()
        queued, self._queued = self._queued, []
        for text in queued:
            await self.send(text)

    async def detach(self) -> None:
        """The engine is leaving: forget what it showed."""
        self.engine, self.session, self.newest, self.selected = None, "", "", ""
        self.cards.clear()
        await self.column.remove_children()
        self.desk = KeyboardState(feedback=self.feedback)
        self._show_talk(False)
        self.welcome.ready()
        self.observer.fill([])
        self.refresh_strips()

    async def open_session(self, session: str) -> None:
        """Show a conversation and go on with it; an empty name: a new one."""
        turns = await self.read_store(lambda store: store.conversation(session, MOST_CARDS)) if session else []
        if turns is None:
            return
        self.session, self.newest, self.selected = session if turns else "", "", ""
        self.desk = KeyboardState(feedback=self.feedback)
        self.cards.clear()
        await self.column.remove_children()
        self._show_talk(bool(turns))
        for turn in turns:
            self._show_turn(turn)
        await self.refresh_sessions()

    def trouble(self, message: str) -> None:
        """Something that stops the work: shown until it is over."""
        self._trouble = message
        self.welcome.ready(message)
        self.notify(message, title="the store", severity="error", markup=False, timeout=30)
        self.refresh_top()

    def on_engine(self, event: EngineEvent) -> None:
        """Everything that the engine tells."""
        from tui_router.app import events

        match event:
            case events.TextEvent():
                card = self.cards.get(event.turn_id)
                if card is None:
                    return
                if event.reset:
                    card.reset(event.reset == "retracted")
                card.feed(event.text, event.reasoning)
            case events.PhaseEvent():
                if card := self.cards.get(event.turn_id):
                    card.answering(event.phase, event.model, event.fraction)
            case events.TurnEvent():
                self._show_turn(event.turn)
            case events.NoticeEvent():
                self.observer.add(event.observation)
            case events.EffectEvent():
                self.decision.show_effect(event.effect)
            case events.ChampionEvent():
                self._refresh_numbers_soon()
            case events.HealthEvent():
                if not self._health_due:
                    self._health_due = True
                    self.set_timer(0.1, self._refresh_health)
            case events.StoreEvent():
                self.run_worker(self._show_others(event.change), group="others", exit_on_error=False)

    async def _show_others(self, change: object) -> None:
        """Another process wrote: show its turns and verdicts."""
        from tui_router.store.store import StoreChange

        if not isinstance(change, StoreChange):
            return
        newest = sorted(change.turns)[-20:]
        for turn in await self.read_store(lambda store: [store.find(str(number)) for number in newest]) or ():
            if turn is not None:
                self._show_turn(turn)
        if change.observations or change.reload:
            self.observer.fill(await self.read_store(lambda store: store.observations(30)) or [])
        await self.refresh_numbers()
        if change.sessions or change.reload:
            await self.refresh_sessions()

    def _show_turn(self, turn: Turn) -> None:
        engine = self.engine
        if engine is None and not self.cards:
            return
        card = self.cards.get(turn.id)
        if card is None:
            assert engine is not None
            if self.cards and self._is_older(turn):
                return
            card = Card(turn, engine.config.fleet, engine.threshold)
            self.cards[turn.id] = card
            self._show_talk(True)
            self.column.mount(card)
            self.newest = turn.id
            self._drop_old()
            self.call_after_refresh(self._to_end)
        ended = card.live and turn.state not in ("asking", "routed", "answering")
        if ended:
            card.end_live(turn)
        else:
            card.show(turn)
        if turn.id == self.desk.target:
            self.desk.rated = turn.verdict is not None
        if turn.id in (self.newest, self.selected):
            self.refresh_strips()
        self._refresh_numbers_soon()

    def _refresh_numbers_soon(self) -> None:
        if not self._numbers_due:
            self._numbers_due = True
            self.set_timer(0.05, self.refresh_numbers)

    def _is_older(self, turn: Turn) -> bool:
        """Whether a turn lies before everything that is shown: a verdict on it changes numbers only."""
        first = next(iter(self.cards.values())).turn
        return not turn.id.startswith("unsaved") and not first.id.startswith("unsaved") and turn.number < first.number

    def _drop_old(self) -> None:
        while len(self.cards) > MOST_CARDS:
            oldest = next(iter(self.cards))
            self.cards.pop(oldest).remove()

    def _show_talk(self, there: bool) -> None:
        self.set_class(there, "-talking")

    def _to_end(self) -> None:
        self.talk.anchor()
        self.talk.scroll_end(animate=False)

    async def send(self, text: str) -> None:
        """Route a request and have it answered, or ask first."""
        from tui_router.backends.images import find
        from tui_router.core.types import Request

        engine = self.engine
        assert engine is not None
        found = find(text)
        for note in found.notes:
            self.notify(note, title="no picture", severity="warning", markup=False)
        request = Request(
            text=found.text, typed=text if found.text != text else "", attachments=found.attachments,
            has_image=bool(found.attachments),
        )  # fmt: skip
        turn = await engine.begin(request, session=self.session, route=self.pinned_route, model=self.pinned_model)
        self.session = turn.session if turn.session != "unsaved" else self.session
        self._saved = self._error = ""
        asking = turn.state == "asking"
        self.desk.routed(turn.id, asking)
        self.selected = turn.id
        if not asking:
            self._send(turn.id)
        self.refresh_strips()
        self.run_worker(self.refresh_sessions(), group="sessions", exit_on_error=False)

    def _send(self, turn_id: str) -> None:
        engine = self.engine
        assert engine is not None
        if card := self.cards.get(turn_id):
            card.begin_live()
        engine.send(turn_id)

    def _answer_ask(self, turn_id: str, choice: int) -> None:
        engine = self.engine
        assert engine is not None
        routes = engine.config.fleet.routes
        if choice > len(routes):
            return
        self.desk.answered_ask()
        self.run_worker(self._resolve_ask(turn_id, choice), group="ask", exit_on_error=False)

    async def _resolve_ask(self, turn_id: str, choice: int) -> None:
        engine = self.engine
        live = engine.live.get(turn_id) if engine else None
        if engine is None or live is None:
            return
        if choice < 0:
            await engine.cancel(turn_id)
            self.desk.mode = "writing"
        else:
            route = engine.config.fleet.routes[choice - 1].name if choice else live.turn.decision.route
            await engine.choose(turn_id, route)
            self._send(turn_id)
        self.refresh_strips()

    def stop_newest(self) -> None:
        """Stop the running answer: the selected one, else the newest that runs."""
        engine = self.engine
        if engine is None:
            return
        running = [t for t, live in engine.live.items() if live.task is not None]
        if running:
            chosen = self.selected if self.selected in running else running[-1]
            self.run_worker(engine.stop(chosen), group="stop", exit_on_error=False)

    def use_next_model(self) -> None:
        """Leave a model that does not answer for the next one."""
        if self.engine is not None:
            self.engine.switch_model(self.newest)
