"""Verdicts: what the keys mean, the picker, comments, undo, and the strip that asks whether the route was right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from textual.screen import Screen

from tui_router.core.clock import now
from tui_router.core.types import Turn, Verdict
from tui_router.core.verdicts import confirm, correct, judge
from tui_router.ui.screens.chat import keyboard
from tui_router.ui.screens.chat.chat_widgets import ChatWidgets
from tui_router.ui.screens.chat.conversation import ConversationController
from tui_router.ui.screens.chat.keyboard import KeyboardState
from tui_router.ui.widgets.card import rating_strip
from tui_router.ui.widgets.lines import Version, key_versions, line
from tui_router.ui.widgets.overlays import NONE, CommentMenu, Menu

if TYPE_CHECKING:
    pass

_ABOUT = {"note": "your note", "answer": "what was bad about the answer", "none": "which route is missing"}


class VerdictController:
    """Owns the keyboard's state, the open menu, a note that is being written, and what became of the newest verdict.

    Args:
        screen: Runs the workers.
        widgets: Of the main screen.
        conversation: Has the turns that are rated.
        redraw: Called when something changed that the strips show.
        feedback: Whether this person rates at all.
    """

    def __init__(
        self,
        screen: Screen[None],
        widgets: ChatWidgets,
        conversation: ConversationController,
        redraw: Callable[[], None],
        *,
        feedback: bool,
    ) -> None:
        self._screen, self._widgets, self._conversation, self._redraw = screen, widgets, conversation, redraw
        self.feedback = feedback
        self.keyboard = KeyboardState(feedback=feedback)
        self._saved_turn = ""
        """The turn whose verdict is on the disk, shown until something else is done."""
        self._error = ""
        """Why the newest verdict is not on the disk."""
        self._note: tuple[str, str] | None = None
        """(turn, what it is about) of a note that is being written."""
        self._draft = ""
        """What stood in the prompt before the note."""

    # -- what happens around it ----------------------------------------------------------------------------------
    def reset(self) -> None:
        """Another conversation: nothing is to be rated."""
        self.keyboard = KeyboardState(feedback=self.feedback)

    def turn_routed(self, turn: Turn) -> None:
        """A request was routed: it can be rated from now on, or asks for its route."""
        self.forget_saved()
        self.keyboard.routed(turn.id, turn.state == "asking")

    def turn_changed(self, turn: Turn) -> None:
        """A turn has another verdict, or none any more."""
        if turn.id == self.keyboard.target:
            self.keyboard.rated = turn.verdict is not None

    def turn_selected(self, turn_id: str) -> None:
        """Another turn is selected in browse."""
        turn = self._conversation.turn(turn_id)
        self.keyboard.selected(turn_id, turn is not None and turn.verdict is not None)
        if self._conversation.waits_for_answer(turn_id):
            self.keyboard.asking = turn_id

    def forget_saved(self) -> None:
        """What became of the newest verdict is no longer shown."""
        self._saved_turn = self._error = ""

    def write_mode(self) -> None:
        """The prompt has the keys."""
        if self.keyboard.mode == "browse":
            self.keyboard.mode = "writing"

    def browse_mode(self) -> None:
        """The conversation or a pane has the keys."""
        self.keyboard.mode = "browse"

    def next_turn(self) -> None:
        """The person goes on without rating."""
        self.keyboard.target = ""

    def ask_answered(self, cancelled: bool) -> None:
        """A turn's question was answered by a key."""
        self.keyboard.answered_ask()
        if cancelled:
            self.keyboard.mode = "writing"

    @property
    def browsing(self) -> bool:
        """Whether the keys move between turns."""
        return self.keyboard.mode == "browse"

    @property
    def menu_open(self) -> bool:
        """Whether the picker or the chooser has the keys."""
        return self.keyboard.overlay in ("picker", "chooser")

    @property
    def mode_word(self) -> str:
        """What a key does now, in a word: it writes, rates, or moves between turns."""
        if self.writing_note:
            return "NOTE"
        return {"writing": "WRITE", "rating": "RATE", "browse": "BROWSE"}[self.keyboard.mode]

    # -- keys ----------------------------------------------------------------------------------------------------
    def perform(self, actions: Sequence[keyboard.Action]) -> None:
        """Do what the keyboard's state decided about verdicts; everything else is the screen's."""
        for action in actions:
            match action:
                case keyboard.PreviewMark():
                    self._conversation.show_mark(action.turn, action.mark)
                    self._redraw()
                case keyboard.Commit():
                    self._commit(action.turn, action.what)
                case keyboard.Open():
                    self._open(action.overlay, action.turn)
                case keyboard.Close():
                    self._close_menus()
                case keyboard.OverlayKey():
                    widgets = self._widgets
                    menu = widgets.route_menu if self.keyboard.overlay == "picker" else widgets.comment_menu
                    menu.press(action.key)
                case _:
                    pass

    def wait_for_typing(self) -> None:
        """A mark is written after half a second without another key."""
        self._screen.set_timer(keyboard.TYPING_S, self._half_second_over)

    def _half_second_over(self) -> None:
        # Behind the keys that were typed before this moment and are not handled yet: through the same two queues.
        pending, area = self.keyboard.pending, self._widgets.prompt.area
        self._screen.app.call_later(lambda: area.call_later(lambda: self._commit_pending(pending)))

    def _commit_pending(self, pending: str | None) -> None:
        if pending is not None and self.keyboard.pending == pending:
            self.perform(self.keyboard.flush())

    def commit_now(self) -> None:
        """Write a mark that waits for its half second: the program is about to end."""
        self.perform(self.keyboard.flush())

    def take_back_for_paste(self) -> str:
        """A paste is typing: close a menu, take a pending mark back; returns its letter for the prompt."""
        if self.menu_open:
            self.perform(self.keyboard.close())
        letter, self.keyboard.pending = self.keyboard.pending, None
        if letter:
            self._conversation.show_mark(self.keyboard.target, "")
        self.keyboard.mode = "writing"
        return letter or ""

    def rate_newest(self, mark: str) -> None:
        """Rate the newest turn: `y`, `n` or `c`, from any state."""
        if mark in ("y", "n", "c"):
            self.perform(self.keyboard.rate_newest(mark, self._conversation.newest))  # type: ignore[arg-type]

    def undo_newest(self) -> None:
        """Undo the newest turn's verdict, if it has one."""
        turn = self._conversation.turn(self._conversation.newest)
        if turn is not None and turn.verdict is not None:
            self._rate(turn.id, None)

    # -- verdicts ------------------------------------------------------------------------------------------------
    def _commit(self, turn_id: str, what: str) -> None:
        turn = self._conversation.turn(turn_id)
        if turn is None:
            return
        if what == "undo":
            self._rate(turn_id, None)
            return
        self._conversation.show_mark(turn_id, "y")
        self._rate(turn_id, confirm(turn))

    def _rate(self, turn_id: str, verdict: Verdict | None) -> None:
        work = self._write(turn_id, verdict)
        self._screen.run_worker(work, group="rate", description=f"rate {turn_id}", exit_on_error=False)

    async def _write(self, turn_id: str, verdict: Verdict | None) -> None:
        """Write a verdict; the word `saved` appears when it is on the disk."""
        from tui_router.store.store_errors import StoreError

        engine = self._conversation.engine
        assert engine is not None
        self._error = ""
        try:
            if await engine.rate(turn_id, verdict):
                self._saved_turn = turn_id
            else:
                self._error = engine.unsaved or "the store did not accept the verdict"
        except StoreError as error:
            self._error = str(error)
        self._conversation.show_mark(turn_id, "")
        self._redraw()

    # -- menus ---------------------------------------------------------------------------------------------------
    def _open(self, overlay: keyboard.Overlay, turn_id: str) -> None:
        turn, engine = self._conversation.turn(turn_id), self._conversation.engine
        if turn is None or engine is None:
            self.keyboard.overlay = ""
            return
        if overlay == "note":
            return
        if overlay == "picker":
            self._widgets.route_menu.ask(turn, engine.config.fleet)
        else:
            self._widgets.comment_menu.ask(turn)
        self._screen.add_class("-floating")
        self._redraw()

    def _close_menus(self) -> None:
        self._widgets.route_menu.close()
        self._widgets.comment_menu.close()
        self._screen.remove_class("-floating")
        self._redraw()

    def close_menus(self) -> bool:
        """Close an open menu; returns whether there was one."""
        if not self.keyboard.overlay:
            return False
        self.perform(self.keyboard.close())
        return True

    def chosen(self, menu: Menu, value: str) -> None:
        """A line of the picker or of the chooser was chosen."""
        turn_id = self.keyboard.target
        turn = self._conversation.turn(turn_id)
        self.perform(self.keyboard.close())
        if turn is None:
            return
        if isinstance(menu, CommentMenu):
            if value == "route":
                self.perform(self.keyboard.open_picker())
            else:
                self._begin_note(turn_id, value)
        elif value == NONE:
            self._begin_note(turn_id, "none")
        else:
            self._rate(turn_id, judge(turn, value))

    # -- notes ---------------------------------------------------------------------------------------------------
    @property
    def writing_note(self) -> bool:
        """Whether the prompt takes a note."""
        return self._note is not None

    def _begin_note(self, turn_id: str, about: str) -> None:
        """The prompt takes a note; a draft in it is kept aside."""
        prompt = self._widgets.prompt
        self._note, self._draft = (turn_id, about), prompt.area.whole()
        self.keyboard.open_note()
        prompt.begin_note("your note" if about == "note" else "optional")
        self._redraw()

    def save_note(self, text: str) -> None:
        """Keep the note that was written, as part of a verdict."""
        assert self._note is not None
        turn_id, about = self._note
        turn = self._conversation.turn(turn_id)
        self.leave_note()
        if turn is None or (about == "note" and not text):
            return
        old = turn.verdict
        if about == "answer":
            verdict = Verdict(kind="answer", at=now(), rating="wrong", comment=text)
        elif about == "none":
            verdict = correct(turn, None, comment=text)
        elif old is not None and old.kind != "note":
            verdict = Verdict(
                kind=old.kind, at=now(), rating=old.rating, route=old.route, comment=text, source=old.source
            )
        else:
            verdict = Verdict(kind="note", at=now(), comment=text)
        self._rate(turn_id, verdict)

    def leave_note(self) -> None:
        """The prompt is the prompt again, with its draft."""
        self._note, draft, self._draft = None, self._draft, ""
        self.keyboard.overlay = ""
        self._widgets.prompt.end_note(draft)
        self._redraw()

    # -- the strip -----------------------------------------------------------------------------------------------
    def draw_strip(self, turn: Turn | None) -> None:
        """Draw the line above the prompt: a question, the keys that answer it, or what became of the verdict."""
        strip = self._widgets.rating_strip
        shown = self._strip(turn) if turn is not None and self._conversation.engine is not None else []
        strip.display = bool(shown)
        if shown:
            strip.set_versions(shown)

    def _strip(self, turn: Turn) -> list[Version]:
        number = line((f"turn {turn.id.partition('-')[0]}", "$muted"))
        state = self.keyboard
        if self._note is not None:
            asked = line((f"Write {_ABOUT[self._note[1]]}", "$caution bold"))
            return key_versions(asked, (("⏎", "save"), ("esc", "cancel")), line())
        if turn.id == state.asking:
            engine = self._conversation.engine
            routes = len(engine.config.fleet.routes) if engine is not None else 0
            pairs = (("⏎", "send"), (f"1-{routes}", "other route"), ("esc", "cancel"))
            return key_versions(line(("Not sent yet", "$caution bold")), pairs, number)
        if not self.feedback or turn.state == "cancelled" or (state.mode != "browse" and state.target != turn.id):
            return []
        if state.mode == "writing":
            rates = (("alt+y", "right"), ("alt+n", "wrong"), ("alt+c", "comment"))
            return [] if turn.verdict is not None else key_versions(line(("Right route?", "$muted")), rates, number)
        card = self._conversation.cards.get(turn.id)
        saved = self._saved_turn == turn.id
        return rating_strip(turn, mark=card.mark if card else "", saved=saved, error=self._error)
