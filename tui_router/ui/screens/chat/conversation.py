"""The conversation: the engine's turns as cards, and the person's requests on their way to the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.screen import Screen

from tui_router.core.types import Message, Turn
from tui_router.ui.screens.chat.chat_widgets import ChatWidgets
from tui_router.ui.screens.chat.store_reading import read_store
from tui_router.ui.widgets.card import Card

if TYPE_CHECKING:
    from tui_router.app.engine import Engine
    from tui_router.app.events import PhaseEvent, TextEvent

MOST_CARDS = 60
"""Turns that are shown; older ones leave the screen and stay in the store."""


class ConversationController:
    """Owns the cards and the session; is the only one that sends, stops and chooses a turn's route.

    Args:
        screen: Runs the workers and shows notifications.
        widgets: Of the main screen.
        redraw: Called when something changed that the strips or panes show.
        last_key_at: When the newest key was pressed, monotonic seconds: a stream is drawn less often while keys come.
    """

    def __init__(
        self,
        screen: Screen[None],
        widgets: ChatWidgets,
        redraw: Callable[[], None],
        last_key_at: Callable[[], float],
    ) -> None:
        self._screen, self._widgets, self._redraw, self._last_key_at = screen, widgets, redraw, last_key_at
        self.engine: Engine | None = None
        self.session = ""
        self.newest = ""
        """The id of the turn that was shown last."""
        self.cards: dict[str, Card] = {}
        """Turn id -> its card, oldest first."""
        self.pinned_model = self.pinned_route = ""
        self._held: list[str] = []
        """Turns that wait until the servers were checked for the first time."""

    # -- the engine's coming and going ---------------------------------------------------------------------------
    def use_engine(self, engine: Engine) -> None:
        """Show this engine's turns from now on."""
        self.engine = engine

    async def forget(self) -> None:
        """The engine is leaving: remove what it showed."""
        self.engine, self.session = None, ""
        self._held.clear()
        await self._clear()

    async def show_session(self, session: str) -> bool:
        """Show a stored conversation, to go on with it; an empty name begins a new one.

        Returns False when the store cannot be read; then nothing has changed.
        """
        turns = await read_store(self.engine, lambda store: store.conversation(session, MOST_CARDS)) if session else []
        if turns is None:
            return False
        self.session = session if turns else ""
        await self._clear()
        for turn in turns:
            self.show_turn(turn)
        return True

    async def _clear(self) -> None:
        self.newest = ""
        self.cards.clear()
        await self._widgets.cards.remove_children()
        self._screen.set_class(False, "-talking")

    # -- what the engine reports ---------------------------------------------------------------------------------
    def show_text(self, event: TextEvent) -> None:
        """Show a piece of an answer."""
        card = self.cards.get(event.turn_id)
        if card is None:
            return
        if event.reset:
            card.reset(event.reset == "retracted")
        card.feed(event.text, event.reasoning)

    def show_phase(self, event: PhaseEvent) -> None:
        """Show what a turn waits for."""
        if card := self.cards.get(event.turn_id):
            card.answering(event.phase, event.model, event.fraction)

    def show_turn(self, turn: Turn) -> None:
        """Show a turn as it is now; a new one gets a card at the end."""
        engine = self.engine
        if engine is None and not self.cards:
            return
        card = self.cards.get(turn.id)
        if card is None:
            assert engine is not None
            if self.cards and self._is_older(turn):
                return
            card = Card(turn, engine.config.fleet, engine.threshold, self._last_key_at)
            self.cards[turn.id] = card
            self._screen.set_class(True, "-talking")
            self._widgets.cards.mount(card)
            self.newest = turn.id
            self._drop_old()
            self._screen.call_after_refresh(self._widgets.conversation.follow_end)
        if card.live and turn.state not in ("asking", "routed", "answering"):
            card.end_live(turn)
        else:
            card.show(turn)
        self._redraw()

    def _is_older(self, turn: Turn) -> bool:
        """Whether a turn lies before everything that is shown: a verdict on it changes numbers only."""
        first = next(iter(self.cards.values())).turn
        return not turn.id.startswith("unsaved") and not first.id.startswith("unsaved") and turn.number < first.number

    def _drop_old(self) -> None:
        while len(self.cards) > MOST_CARDS:
            oldest = next(iter(self.cards))
            self.cards.pop(oldest).remove()

    def show_mark(self, turn_id: str, mark: str) -> None:
        """Show a verdict that is not saved yet on a turn's card; an empty mark removes it."""
        if card := self.cards.get(turn_id):
            card.show_mark(mark)

    def tick(self) -> None:
        """A second has passed: count on what is running."""
        for card in self.cards.values():
            if card.live:
                card.refresh_lines()

    # -- asking the engine to act --------------------------------------------------------------------------------
    async def begin(self, text: str, *, before: str = "") -> Turn:
        """Have a request routed and recorded; nothing is sent yet.

        Args:
            text: As it was typed.
            before: The request sees the conversation before this turn instead of all of it.
        """
        from tui_router.backends.images import find
        from tui_router.core.types import Request

        assert self.engine is not None
        found, earlier = find(text), self._messages_before(before) if before else None
        for note in found.notes:
            self._screen.notify(note, title="no picture", severity="warning", markup=False)
        request = Request(
            text=found.text,
            typed=text if found.text != text else "",
            attachments=found.attachments,
            has_image=bool(found.attachments),
            history=earlier or (),
        )
        turn = await self.engine.begin(
            request, session=self.session, route=self.pinned_route, model=self.pinned_model, history=earlier
        )
        self.session = turn.session if turn.session != "unsaved" else self.session
        return turn

    def _messages_before(self, turn_id: str) -> tuple[Message, ...]:
        """The messages of its session before this turn, as far as they are shown; none when it is the first, or not shown.

        Turns of other programs stand between the cards too: they are another conversation.
        """
        from tui_router.core.conversation import messages_of

        order = list(self.cards)
        earlier = order[: order.index(turn_id)] if turn_id in self.cards else []
        turns = [self.cards[one].turn for one in earlier]
        return messages_of(turn for turn in turns if turn.session == self.cards[turn_id].turn.session)

    def send(self, turn_id: str) -> None:
        """Have a routed turn answered; before the first check of the servers is over, as soon as its model is found."""
        assert self.engine is not None
        card = self.cards.get(turn_id)
        if card is not None:
            card.begin_live()
        if self._can_be_served(turn_id):
            self.engine.send(turn_id)
            return
        self._held.append(turn_id)
        if card is not None:
            card.answering("searching", "", None)

    def _can_be_served(self, turn_id: str) -> bool:
        """Whether the turn's model is ready, or every server was checked: then its fallbacks are known too."""
        engine = self.engine
        assert engine is not None
        health, turn = engine.health, engine.live[turn_id].turn
        model = health.models.get(turn.pinned_model or engine.config.fleet.route(turn.route).model)
        found = model is not None and model.ready
        return found or not health.checked or all(b.status.reachable is not None for b in health.backends)

    def send_held(self) -> None:
        """Send the turns that waited for the first check of the servers, where that is over."""
        engine = self.engine
        if engine is None:
            return
        for turn_id in [held for held in self._held if held not in engine.live or self._can_be_served(held)]:
            self._held.remove(turn_id)
            if turn_id in engine.live:
                engine.send(turn_id)

    async def release_held(self) -> None:
        """Send no turn that still waits for servers; they are kept as not sent."""
        held, self._held = self._held, []
        for turn_id in held:
            if self.engine is not None and turn_id in self.engine.live:
                await self.engine.leave_unanswered(turn_id)

    def answer_ask(self, turn_id: str, choice: int) -> bool:
        """Answer a turn that asks: a digit chooses a route, 0 accepts the decided one, -1 cancels.

        Returns False when there is no such route.
        """
        engine = self.engine
        if engine is None or choice > len(engine.config.fleet.routes):
            return False
        self._screen.run_worker(self._resolve_ask(turn_id, choice), group="ask", exit_on_error=False)
        return True

    async def _resolve_ask(self, turn_id: str, choice: int) -> None:
        engine = self.engine
        live = engine.live.get(turn_id) if engine else None
        if engine is None or live is None:
            return
        if choice < 0:
            await engine.cancel(turn_id)
        else:
            route = engine.config.fleet.routes[choice - 1].name if choice else live.turn.decision.route
            await engine.choose(turn_id, route)
            self.send(turn_id)
        self._redraw()

    def waits_for_answer(self, turn_id: str) -> bool:
        """Whether a turn asks for its route, and this process can still send it."""
        card = self.cards.get(turn_id)
        asks = card is not None and card.turn.state == "asking"
        return asks and self.engine is not None and turn_id in self.engine.live

    @property
    def is_answering(self) -> bool:
        """Whether the newest turn is being answered by this process, or waits for servers."""
        live = self.engine.live.get(self.newest) if self.engine is not None else None
        return self.newest in self._held or (live is not None and live.task is not None)

    def stop(self, preferred: str = "") -> None:
        """Stop a running answer: this turn's if it runs, else the newest one's."""
        if self._held:
            self._screen.run_worker(self.release_held(), group="stop", exit_on_error=False)
            return
        engine = self.engine
        running = [turn for turn, live in engine.live.items() if live.task is not None] if engine is not None else []
        if engine is not None and running:
            chosen = preferred if preferred in running else running[-1]
            self._screen.run_worker(engine.stop(chosen), group="stop", exit_on_error=False)

    def use_next_model(self) -> None:
        """Leave a model that does not answer for the next one of its route."""
        if self.engine is not None:
            self.engine.switch_model(self.newest)

    def pin(self, kind: str, name: str) -> str:
        """Pin a model or a route for the following requests; an empty name unpins. Returns why it cannot be done."""
        engine = self.engine
        known: list[str] = []
        if engine is not None:
            fleet = engine.config.fleet
            known = list(fleet.models if kind == "model" else fleet.by_route)
        if name and name not in known:
            return f"there is no {kind} {name!r}; known: {', '.join(known)}"
        if kind == "model":
            self.pinned_model = name
        else:
            self.pinned_route = name
        return ""

    # -- questions -----------------------------------------------------------------------------------------------
    def turn(self, turn_id: str) -> Turn | None:
        """A turn that is shown."""
        card = self.cards.get(turn_id)
        return card.turn if card is not None else None

    def holding(self, text: str) -> list[str]:
        """The ids of the shown turns whose request or answer holds a text, oldest first; upper and lower case are one."""
        wanted = text.lower()
        return [
            turn_id
            for turn_id, card in self.cards.items()
            if wanted
            and wanted in f"{card.turn.request.text} {card.turn.answer.text if card.turn.answer else ''}".lower()
        ]
