"""The main screen: conversation, rating strip, prompt; decision, accuracy, models and observer at the side.

`ChatScreen` composes the widgets and hands keys and engine events to its controllers. Each controller owns its state;
a change that concerns several of them is put together here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import Screen
from textual.worker import Worker

from tui_router.ui.screens.chat import keyboard
from tui_router.ui.screens.chat.chat_widgets import ChatWidgets
from tui_router.ui.screens.chat.conversation import ConversationController
from tui_router.ui.screens.chat.navigation import NavigationController
from tui_router.ui.screens.chat.slash import SlashCommands
from tui_router.ui.screens.chat.status import StatusController
from tui_router.ui.screens.chat.store_reading import read_store
from tui_router.ui.screens.chat.verdicts import VerdictController
from tui_router.ui.widgets import bars
from tui_router.ui.widgets.card import Card
from tui_router.ui.widgets.lines import line
from tui_router.ui.widgets.overlays import Menu
from tui_router.ui.widgets.panes import Pane
from tui_router.ui.widgets.prompt import PromptText
from tui_router.ui.widgets.typed_text import is_text
from tui_router.ui.widgets.worker_faults import report_fault

if TYPE_CHECKING:
    from tui_router.app.engine import Engine
    from tui_router.app.events import EngineEvent
    from tui_router.store.store import StoreChange

_HISTORY = 100
"""Newest stored turns whose requests the prompt's up key brings back."""
SMALLEST = (60, 15)
"""Columns and rows below which the screen only asks for more room."""


class ChatScreen(Screen[None]):
    """The conversation and everything beside it.

    Args:
        feedback: Whether this person rates; without it no key and no strip asks for a verdict.
    """

    AUTO_FOCUS = "#prompt-text"
    ALLOW_IN_MAXIMIZED_VIEW = "#top, #keys"
    BINDINGS: ClassVar = [
        Binding("escape", "escape", "browse", show=False, id="browse", tooltip="Browse the conversation")
    ]

    def __init__(self, *, feedback: bool = True) -> None:
        super().__init__()
        self.widgets = widgets = ChatWidgets(self.press, self._pasted)
        self.conversation = ConversationController(self, widgets, self.redraw, lambda: self._last_key_at)
        self.verdicts = VerdictController(self, widgets, self.conversation, self.redraw, feedback=feedback)
        self.navigation = NavigationController(self, widgets, self.conversation, self.verdicts, self.redraw)
        self.status = StatusController(self, widgets, self.redraw)
        self.slash = SlashCommands(self, widgets, self.conversation, self.navigation)
        self._last_key_at = 0.0
        self._queued: list[str] = []
        """Requests that were sent before the engine was there."""
        self._draw_due = False

    def compose(self) -> ComposeResult:
        yield from self.widgets.compose()

    def on_mount(self) -> None:
        self.widgets.tabs.set_tab(1)
        self.widgets.prompt.area.focus()
        self.redraw()

    # -- drawing -------------------------------------------------------------------------------------------------
    def redraw(self) -> None:
        """Draw strips, decision, top line and keys again, once for all that changes until then."""
        if not self._draw_due:
            self._draw_due = True
            self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        self._draw_due = False
        widgets, turn, engine = self.widgets, self.navigation.current(), self.conversation.engine
        widgets.decision_strip.display = turn is not None and self.has_class("-narrow")
        if turn is not None and engine is not None:
            fleet, threshold = engine.config.fleet, engine.threshold
            widgets.decision.show_turn(turn, fleet, threshold)
            widgets.decision_strip.set_versions(bars.decision_strip(turn, fleet, threshold))
        self.verdicts.draw_strip(turn)
        shown = turn.id if turn is not None else ""
        for turn_id, card in self.conversation.cards.items():
            card.set_class(turn_id == shown, "-now")
            card.show_keys(turn_id == shown and self.verdicts.browsing)
        widgets.top.set_summary(self.status.summary())
        widgets.keys_bar.set_keys(self._keys(), self.verdicts.mode_word)

    def on_resize(self, event: events.Resize) -> None:
        width, height = event.size
        small = width < SMALLEST[0] or height < SMALLEST[1]
        self.set_class(small, "-small")
        if small:
            size = f"make me larger (now {width}x{height}, need {SMALLEST[0]}x{SMALLEST[1]})"
            self.widgets.too_small.set_lines(line((size, "$strong")))
        self.redraw()

    def tick(self) -> None:
        """A second has passed."""
        self.conversation.tick()
        self.status.tick()

    def _keys(self) -> list[tuple[str, str]]:
        """The keys that work now, most used first."""
        state, running = self.verdicts.keyboard, self.conversation.is_answering
        ends = [("F1", "help"), ("^P", "all actions")]
        if self.verdicts.menu_open:
            return [("⏎", "confirm"), ("esc", "close"), *ends]
        if state.mode == "browse":
            pairs = [("esc", "stop answer")] if running else []
            if self.verdicts.feedback:
                pairs += [("y n c", "rate"), *([("u", "undo")] if state.rated else [])]
            return [*pairs, ("j k", "turns"), ("i", "write"), ("z", "enlarge"), ("?", "help"), ("^P", "all actions")]
        if not self.conversation.cards and self.status.offers_demo:
            return [("^R", "look again"), ("^T", "try the demo"), ("esc", "go on"), *ends]
        if state.asking and state.mode == "rating":
            return [("⏎", "send"), ("1-6", "other route"), ("esc", "cancel"), *ends]
        goes_on = state.mode == "rating" and not self.widgets.prompt.area.text
        pairs = [("⏎", "next" if goes_on else "send"), ("esc", "browse, stop" if running else "browse")]
        return [*pairs, ("^O", "sessions"), *ends]

    # -- the engine ----------------------------------------------------------------------------------------------
    async def attach(self, engine: Engine, *, demo: bool, session: str = "") -> None:
        """Show what the engine's store holds, go on with a conversation, and send what was typed before it was there."""
        self.conversation.use_engine(engine)
        if (repaired := engine.opened().repaired) != "":
            self.notify(repaired, title="the store", severity="warning", markup=False, timeout=30)
        await self.status.use_engine(engine, demo=demo)
        await self._read_history()
        await (self.open_session(session) if session else self.status.show_sessions(""))
        self.redraw()
        queued, self._queued = self._queued, []
        for text in queued:
            await self.send(text)

    async def _read_history(self) -> None:
        """Bring the requests of earlier runs back to the prompt's up key."""
        turns = await read_store(self.conversation.engine, lambda store: store.recent(_HISTORY))
        typed = [turn.request.typed or turn.request.text for turn in reversed(turns or ()) if turn.source == "screen"]
        self.widgets.prompt.area.set_history(typed)

    async def detach(self) -> None:
        """The engine is leaving: forget what it showed."""
        await self.conversation.forget()
        self.verdicts.reset()
        self.status.forget()
        self.redraw()

    def on_engine(self, event: EngineEvent) -> None:
        """Show what the engine reports."""
        from tui_router.app import events

        match event:
            case events.TextEvent():
                self.conversation.show_text(event)
            case events.PhaseEvent():
                self.conversation.show_phase(event)
            case events.TurnEvent():
                self.conversation.show_turn(event.turn)
                self.verdicts.turn_changed(event.turn)
                self.status.numbers_changed()
            case events.NoticeEvent():
                self.status.add_observation(event.observation)
            case events.EffectEvent():
                self.widgets.decision.show_effect(event.effect)
            case events.ChampionEvent():
                self.status.numbers_changed()
            case events.HealthEvent():
                self.conversation.send_held()
                self.status.health_changed()
            case events.StoreEvent():
                self.run_worker(self._show_others(event.change), group="others", exit_on_error=False)

    async def _show_others(self, change: StoreChange) -> None:
        """Show the turns and verdicts that another process wrote."""
        numbers = sorted(change.turns)[-20:]
        found = await read_store(
            self.conversation.engine, lambda store: [store.find(str(number)) for number in numbers]
        )
        for turn in found or ():
            if turn is not None:
                self.conversation.show_turn(turn)
                self.verdicts.turn_changed(turn)
        await self.status.store_changed(
            observations=bool(change.observations or change.reload),
            sessions=bool(change.sessions or change.reload),
            current_session=self.conversation.session,
        )

    # -- requests ------------------------------------------------------------------------------------------------
    async def on_prompt_text_submitted(self, event: PromptText.Submitted) -> None:
        event.stop()
        text = event.text
        if self.verdicts.writing_note:
            self.verdicts.save_note(text.strip())
            return
        if not text.strip():
            return
        self.widgets.prompt.area.sent(text)
        if text.startswith("/") and not text.startswith("//"):
            self.slash.run(text)
            return
        text = text.removeprefix("/") if text.startswith("//") else text
        engine = self.conversation.engine
        if engine is None or engine.store is None:
            self._queued.append(text)
            if self.status.trouble:
                self.notify(self.status.trouble, title="not sent", severity="error", markup=False)
            return
        await self.send(text, before=self.navigation.edited())

    async def send(self, text: str, *, before: str = "") -> None:
        """Route a request; have it answered, or ask first when the decision is unsure.

        Args:
            text: As it was typed.
            before: A turn that is asked again: the request sees the conversation before it, not its answer.
        """
        turn = await self.conversation.begin(text, before=before)
        self.verdicts.turn_routed(turn)
        self.navigation.remember(turn.id)
        if turn.state != "asking":
            self.conversation.send(turn.id)
        self.redraw()
        self.run_worker(self.status.show_sessions(self.conversation.session), group="sessions", exit_on_error=False)

    def retry(self) -> None:
        """Send the request of the shown turn once more, as a turn of its own."""
        turn = self.navigation.current()
        if turn is not None and self.conversation.engine is not None:
            self.navigation.write()
            work = self.send(turn.request.typed or turn.request.text, before=turn.id)
            self.run_worker(work, group="send", exit_on_error=False)

    def stop_answer(self) -> None:
        """Stop the running answer of the selected turn, else of the newest that runs."""
        self.conversation.stop(self.navigation.selected)

    # -- sessions ------------------------------------------------------------------------------------------------
    async def open_session(self, session: str) -> None:
        """Show a conversation and go on with it; an empty name begins a new one."""
        if await self.conversation.show_session(session):
            self.verdicts.reset()
            await self.status.show_sessions(self.conversation.session)
            self.redraw()

    def new_session(self) -> None:
        """Begin a new conversation: later requests do not see the earlier ones."""
        self.run_worker(self._go_on(""), group="session", exit_on_error=False)

    @work(group="session", exit_on_error=False)
    async def open_sessions(self) -> None:
        """Choose an earlier conversation and go on with it."""
        from tui_router.ui.screens.sessions import NEW, SessionsScreen

        sessions = await read_store(self.conversation.engine, lambda store: store.sessions(200))
        if sessions is None:
            return
        chosen = await self.app.push_screen_wait(SessionsScreen(sessions, self.conversation.session))
        if chosen:
            await self._go_on("" if chosen == NEW else chosen)

    async def _go_on(self, session: str) -> None:
        await self.open_session(session)
        self.navigation.write()

    # -- keys ----------------------------------------------------------------------------------------------------
    def press(self, event: events.Key) -> bool:
        """Handle a key before the focused widget does; True when it is used up."""
        self._last_key_at = time.monotonic()
        if self.slash.press(event.key):
            return True
        state = self.verdicts.keyboard
        if (
            event.key == "escape"
            and state.mode == "writing"
            and not self.conversation.cards
            and self.status.offers_demo
        ):
            self.status.continue_without_server()
            return True
        character = event.character if is_text(event.character) else None
        actions = state.press(event.key, character, event.time, not self.widgets.prompt.area.text)
        if actions is None:
            return False
        for action in actions:
            self._perform(action)
        return True

    def _perform(self, action: keyboard.Action) -> None:
        match action:
            case keyboard.Insert():
                self.widgets.prompt.area.focus()
                self.widgets.prompt.area.insert(action.text)
                self.redraw()
            case keyboard.AnswerAsk():
                if self.conversation.answer_ask(action.turn, action.choice):
                    self.verdicts.ask_answered(cancelled=action.choice < 0)
            case keyboard.Command():
                self._run_command(action.what, action.value)
            case _:
                self.verdicts.perform([action])

    def _run_command(self, name: str, value: str) -> None:
        match name:
            case "wait":
                self.verdicts.wait_for_typing()
            case "next":
                self.verdicts.next_turn()
                self.navigation.write()
            case "write":
                self.navigation.write()
            case "refresh":
                self.redraw()
            case "browse":
                self.navigation.browse()
            case "stop":
                self.stop_answer()
            case "select":
                self.navigation.move(value)
            case "pane":
                self.navigation.choose_tab(int(value))
            case "enlarge":
                self.navigation.toggle_enlarged()
            case "thoughts":
                self.navigation.toggle_thoughts()
            case "find":
                self.navigation.write()
                self.widgets.prompt.area.fill("/find ")
            case "note":
                self.verdicts.leave_note()
            case "retry":
                self.retry()
            case "edit":
                self.navigation.edit()
            case "copy answer" | "copy request" | "copy block":
                self.navigation.copy(name.removeprefix("copy "))
            case "help" | "sessions":
                self.app.call_later(self.app.run_action, name)

    def commands(self) -> Iterator[tuple[str, str, Callable[[], object]]]:
        """The actions of this screen for the palette: title, what it does, and how."""
        copy, prompt = self.navigation.copy, self.widgets.prompt.area
        yield "Copy the answer", "Of the selected turn, else the newest", partial(copy, "answer")
        yield "Copy a code block", "Of the answer; again: the next one", partial(copy, "block")
        yield "Copy the request", "As it was typed", partial(copy, "request")
        yield "Edit and send again", "The request sees the conversation before it", self.navigation.edit
        yield "Retry", "Send the selected request once more", self.retry
        yield "Stop the answer", "What came so far is kept", self.stop_answer
        yield "Show or fold the reasoning", "Of the selected turn", self.navigation.toggle_thoughts
        yield "Find in the conversation", "/find TEXT", partial(prompt.fill, "/find ")
        yield "Attach a picture", "@image PATH", partial(prompt.insert, "@image ")
        yield "Browse the conversation", "Select turns, rate and copy them", self.navigation.browse
        yield (
            "Enlarge the pane",
            "The one that has the focus; again: give it its place back",
            self.navigation.toggle_enlarged,
        )
        if self.verdicts.feedback:
            yield "Undo the verdict", "Of the newest turn", self.verdicts.undo_newest
        engine = self.conversation.engine
        if engine is not None:
            for route in engine.config.fleet.routes:
                yield f"Pin route {route.name}", route.description, partial(self.slash.run, f"/route {route.name}")
            for model in engine.config.fleet.models:
                yield f"Pin model {model}", "Every request goes to it", partial(self.slash.run, f"/model {model}")
            yield "Unpin the route", "The router decides again", partial(self.slash.run, "/route")
            yield "Unpin the model", "The route's own model answers again", partial(self.slash.run, "/model")

    def action_escape(self) -> None:
        """Escape where no widget used it: out of an enlarged pane, out of a menu, else browse; in browse, stop."""
        if self.maximized is not None:
            self.minimize()
        elif self.verdicts.close_menus():
            pass
        elif self.verdicts.browsing:
            self.stop_answer()
        else:
            self.navigation.browse()

    def minimize(self) -> None:
        """Give an enlarged pane its place back, and the keys to the prompt if it had them."""
        super().minimize()
        self.navigation.minimized()

    def _pasted(self, text: str) -> str:
        """What a pasted text puts into the prompt: the path of a picture becomes an attachment."""
        from tui_router.backends.images import pasted_path, quoted

        if letter := self.verdicts.take_back_for_paste():
            self.widgets.prompt.area.insert(letter)
        self.redraw()
        path = pasted_path(text)
        return f"@image {quoted(path)} " if path else text

    def on_key(self, event: events.Key) -> None:
        """Keys of the panes, and those that were typed before anything had the focus."""
        area = self.widgets.prompt.area
        if isinstance(self.focused, Pane):
            if self.press(event):
                event.stop()
        elif self.focused in (None, area) and area.seen is not event and not self.press(event):
            if event.key == "enter":
                area.submit()
            elif event.character and is_text(event.character):
                area.insert(event.character)

    async def before_quit(self) -> None:
        """The program is about to end: write a mark that waits, release what waits for servers, take no more keys."""
        self.verdicts.commit_now()
        await self.conversation.release_held()
        self.widgets.prompt.area.read_only = True

    # -- messages of the widgets ---------------------------------------------------------------------------------
    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        report_fault(self, event)

    def on_text_area_changed(self) -> None:
        """The keys that work depend on whether the prompt is empty, the completion on what stands in it."""
        text = self.widgets.prompt.area.text
        if not text:
            self.navigation.forget_edit()
        self.slash.complete("" if self.verdicts.writing_note else text)
        self.redraw()

    def on_card_chosen(self, event: Card.Chosen) -> None:
        self.navigation.clicked(event.turn_id)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self.navigation.focus_moved(event.widget)

    def on_menu_chosen(self, event: Menu.Chosen) -> None:
        event.stop()
        self.verdicts.chosen(event.menu, event.value)
