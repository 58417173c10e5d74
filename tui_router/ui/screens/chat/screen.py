"""The main screen: conversation, rating strip, prompt; decision, accuracy, models and events at the side.

What the keys mean is decided by `ui.rating.KeyboardState`; this module does what it says. The layers below it, each a class
that builds on the one before: `chat_base` (widgets), `chat_turns` (the engine), `chat_browse`, `chat_rating`,
`chat_commands`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from textual import events

from tui_router.core.clock import now
from tui_router.core.types import Verdict
from tui_router.ui import keyboard
from tui_router.ui.widgets.overlays import NONE, CommentMenu, Menu
from tui_router.ui.widgets.panes import Pane
from tui_router.ui.widgets.prompt import PromptText

if TYPE_CHECKING:
    pass

from tui_router.ui.screens.chat.slash import ChatCommands


class ChatScreen(ChatCommands):
    """The conversation and everything beside it."""

    def leaving(self) -> None:
        """The program is about to end."""
        self._act(self.desk.flush())
        self.prompt.area.read_only = True

    def press(self, event: events.Key) -> bool:
        """A key, before any widget has it; True when it is used up."""
        area, self.typed_at = self.prompt.area, time.monotonic()
        if (
            event.key == "escape"
            and not self.cards
            and not self._went_on
            and self._no_server()
            and self.desk.mode == "writing"
        ):
            self._went_on = True
            self.welcome.ready()
            self.refresh_keys()
            return True
        character = event.character if event.is_printable else None
        actions = self.desk.press(event.key, character, event.time, not area.text)
        if actions is None:
            return False
        self._act(actions)
        return True

    def action_escape(self) -> None:
        """Escape where no widget used it: out of an enlarged pane, else browse."""
        if self.maximized is not None:
            self.minimize()
        elif self.desk.overlay:
            self._act(self.desk.close())
        elif self.desk.mode == "browse":
            self._stop()
        else:
            self.desk.mode = "browse"
            self._browse()

    def _act(self, actions: list[keyboard.Action]) -> None:
        for action in actions:
            match action:
                case keyboard.Insert():
                    self.prompt.area.focus()
                    self.prompt.area.insert(action.text)
                    self.refresh_strips()
                case keyboard.PreviewMark():
                    self._mark(action.turn, action.mark)
                case keyboard.Commit():
                    self._commit(action.turn, action.what)
                case keyboard.Open():
                    self._open(action.overlay, action.turn)
                case keyboard.Close():
                    self._close_overlay()
                case keyboard.OverlayKey():
                    (self.picker if self.desk.overlay == "picker" else self.chooser).press(action.key)
                case keyboard.AnswerAsk():
                    self._answer_ask(action.turn, action.choice)
                case keyboard.Command():
                    self._do(action.what, action.value)

    def _do(self, what: str, value: str) -> None:
        match what:
            case "wait":
                self.set_timer(keyboard.TYPING_S, self._half_second_over)
            case "next" | "write":
                if what == "next":
                    self.desk.target = ""
                self.write()
            case "refresh":
                self.refresh_strips()
            case "browse":
                self._browse()
            case "stop":
                self._stop()
            case "select":
                self._select(value)
            case "pane":
                self._choose_tab(int(value))
            case "enlarge":
                self._enlarge()
            case "thoughts":
                if card := self.cards.get(self.selected):
                    card.toggle_thoughts()
            case "find":
                self.desk.mode = "writing"
                self.write()
                self.prompt.area.fill("/find ")
            case "note":
                self._end_note()
            case "help" | "sessions":
                self.app.call_later(self.app.run_action, what)
            case "retry":
                self.retry()

    def _half_second_over(self) -> None:
        """Behind the keys that were typed before this moment but are not handled yet: through the same queues."""
        pending = self.desk.pending
        self.app.call_later(lambda: self.prompt.area.call_later(lambda: self._settle(pending)))

    def _settle(self, pending: str | None) -> None:
        if pending is not None and self.desk.pending == pending:
            self._act(self.desk.flush())

    def pasted(self, text: str) -> str:
        """A paste: the path of a picture becomes an attachment."""
        from tui_router.backends.images import pasted_path, quoted

        self._act(self.desk.close() if self.desk.overlay in ("picker", "chooser") else [])
        if self.desk.pending:
            self._mark(self.desk.target, "")
            letter, self.desk.pending = self.desk.pending, None
            self.prompt.area.insert(letter)
        self.desk.mode = "writing"
        self.refresh_strips()
        path = pasted_path(text)
        return f"@image {quoted(path)} " if path else text

    async def on_prompt_text_submitted(self, event: PromptText.Submitted) -> None:
        event.stop()
        text = event.text
        if self._note is not None:
            self._save_note(text.strip())
            return
        if not text.strip():
            return
        self.prompt.area.sent(text)
        if text.startswith("/") and not text.startswith("//"):
            self._command(text)
            return
        text = text.removeprefix("/") if text.startswith("//") else text
        if self.engine is None or self.engine.store is None:
            self._queued.append(text)
            if self._trouble:
                self.notify(self._trouble, title="not sent", severity="error", markup=False)
            return
        await self.send(text)

    def on_key(self, event: events.Key) -> None:
        """Keys of the panes, and those that were typed before anything had the focus."""
        if isinstance(self.focused, Pane):
            if self.press(event):
                event.stop()
        elif self.focused in (None, self.prompt.area) and self.prompt.area.seen is not event and not self.press(event):
            if event.key == "enter":
                self.prompt.area.submit()
            elif event.is_printable and event.character:
                self.prompt.area.insert(event.character)

    def _stop(self) -> None:
        self.stop_newest()

    def rate_newest(self, mark: str) -> None:
        """Alt with y, n or c."""
        if mark in ("y", "n", "c"):
            self._act(self.desk.rate_newest(mark, self.newest))  # type: ignore[arg-type]

    def on_menu_chosen(self, event: Menu.Chosen) -> None:
        """A line of the picker or the chooser was chosen."""
        event.stop()
        turn_id = self.desk.target
        card = self.cards.get(turn_id)
        self._act(self.desk.close())
        if card is None:
            return
        if isinstance(event.menu, CommentMenu):
            if event.value == "route":
                self._act(self.desk.open_picker())
            else:
                self._begin_note(turn_id, event.value)
        elif event.value == NONE:
            self._begin_note(turn_id, "none")
        else:
            decided = card.turn.decision.route
            rating_ = "right" if event.value == decided else "wrong"
            self._rate(turn_id, Verdict(kind="route", at=now(), rating=rating_, route=event.value))  # type: ignore[arg-type]
