"""What the keys mean: typing, rating, browsing, choosing. No widget, no clock of its own, no store.

`KeyboardState.press` takes a key and returns what is to be done about it. Typing must never become a label: in rating, a y, n,
c or u that another printable key follows within half a second was typing. It is taken back and both characters go to
the prompt; nothing is written before that half second is over, or a choice is confirmed.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from tui_router.ui.widgets.typed_text import is_text

TYPING_S = 0.5
"""A mark followed by a printable key within this time was typing."""

Mode = Literal["writing", "rating", "browse"]
Overlay = Literal["", "picker", "chooser", "note"]
Mark = Literal["y", "n", "c", "u"]


class Insert(Struct, frozen=True):
    """Put text into the prompt and go on writing."""

    text: str


class PreviewMark(Struct, frozen=True):
    """Show a mark on a turn, not saved yet; an empty one takes it back."""

    turn: str
    mark: str


class Commit(Struct, frozen=True):
    """Write a verdict. `right` and `undo` need nothing more."""

    turn: str
    what: Literal["right", "undo"]


class Open(Struct, frozen=True):
    """Open the picker of routes, the chooser of what a comment is about, or the note."""

    overlay: Overlay
    turn: str


class Close(Struct, frozen=True):
    """Close what is open."""


class OverlayKey(Struct, frozen=True):
    """A key for the open picker or chooser: `up`, `down`, `enter`, `backspace`, a digit or a character."""

    key: str


class AnswerAsk(Struct, frozen=True):
    """Answer to a turn that asks: a digit picks a route, 0 accepts, -1 cancels."""

    turn: str
    choice: int


class Command(Struct, frozen=True):
    """Anything else, by name: `next`, `browse`, `write`, `stop`, `select`, ..."""

    what: str
    value: str = ""


Action = Insert | PreviewMark | Commit | Open | Close | OverlayKey | AnswerAsk | Command

_SELECT = {
    "j": "next",
    "down": "next",
    "k": "previous",
    "up": "previous",
    "g": "first",
    "G": "last",
    "home": "first",
    "end": "last",
}
_BROWSE = {
    "i": "write",
    "/": "find",
    "z": "enlarge",
    "?": "help",
    "t": "thoughts",
    "r": "retry",
    "x": "copy answer",
    "X": "copy request",
    "b": "copy block",
    "e": "edit",
    "s": "sessions",
}


class KeyboardState:
    """The state of the keyboard."""

    def __init__(self, *, feedback: bool = True) -> None:
        self.feedback = feedback
        self.mode: Mode = "writing"
        self.target = ""
        """The turn that is rated: the newest in rating, the selected one in browse."""
        self.rated = False
        """Whether the target has a verdict that can be taken back."""
        self.asking = ""
        """A turn that waits for its route to be accepted or chosen."""
        self.overlay: Overlay = ""
        self.pending: Mark | None = None
        self._since = 0.0
        self._typed_over = False
        """Typing has left rating; when the prompt is empty again, rating goes on."""
        self._fresh = False
        """The overlay was opened by a letter that may still turn out to be typing."""

    # -- what happens outside the keyboard -----------------------------------------------------------------------
    def routed(self, turn: str, asking: bool) -> None:
        """A request of this person was routed: the prompt is empty, and it can be rated."""
        self.asking, self._typed_over = turn if asking else "", False
        if self.feedback or asking:
            self.mode, self.target, self.rated = "rating", turn, False

    def answered_ask(self) -> None:
        """The question was answered."""
        self.asking = ""
        if self.mode == "rating" and not self.feedback:
            self.mode = "writing"

    def selected(self, turn: str, rated: bool) -> None:
        """Another turn is selected in browse."""
        self.target, self.rated = turn, rated

    def tick(self, now: float) -> list[Action]:
        """The half second may be over."""
        if self.pending is None or now - self._since < TYPING_S:
            return []
        return self._commit()

    def flush(self) -> list[Action]:
        """Confirm a pending mark at once."""
        return self._commit() if self.pending else []

    # -- keys -----------------------------------------------------------------------------------------------------
    def press(self, key: str, character: str | None, now: float, empty: bool) -> list[Action] | None:
        """What a key does; None when the keyboard's state has no use for it and it goes to the widget that has the focus.

        Args:
            key: Textual's name of the key.
            character: What it types, if anything.
            now: Monotonic seconds.
            empty: Whether the prompt is empty.
        """
        typed = character if is_text(character) else None
        if self.overlay in ("picker", "chooser"):
            return self._in_overlay(key, typed, now)
        if self.overlay == "note":
            return self._leave_note() if key == "escape" else None
        if self.pending is not None:
            settled = self._settle(key, typed, now)
            if settled is not None:
                return settled
        if self._typed_over and empty and self.mode == "writing":
            self.mode, self._typed_over = "rating", False
        if self.mode == "rating" and empty:
            return self._rating(key, typed, now)
        if self.mode == "browse":
            return self._browse(key, typed, now)
        if key == "escape":
            self.mode = "browse"
            return [Command("browse")]
        if typed is not None and self.mode == "rating":
            self._type_over()
        return None

    def _type_over(self) -> None:
        self.mode, self._typed_over = "writing", True

    def _settle(self, key: str, typed: str | None, now: float) -> list[Action] | None:
        """A key after a mark that is not written yet."""
        mark = self.pending or ""
        if typed is not None and now - self._since < TYPING_S:
            self.pending = None
            self._type_over()
            return [PreviewMark(self.target, ""), Insert(mark + typed)]
        if key == "escape":
            self.pending = None
            return [PreviewMark(self.target, "")]
        if key == "enter":
            return [*self._commit(), *self._next()]
        if typed is not None:
            return [*self._commit(), *(self._rating(key, typed, now) or [Insert(typed)])]
        return None

    def _rating(self, key: str, typed: str | None, now: float) -> list[Action] | None:
        if self.asking:
            return self._ask(key, typed)
        if key == "enter":
            return self._next()
        if key == "escape":
            self.mode = "browse"
            return [Command("browse")]
        if typed in ("y", "u") and (typed == "y" or self.rated):
            self.pending, self._since = ("y" if typed == "y" else "u"), now
            return [PreviewMark(self.target, typed), Command("wait")]
        if typed in ("n", "c"):
            self._since = now
            return self._open("picker" if typed == "n" else "chooser", fresh=True)
        if typed is not None:
            self._type_over()
            return [Command("refresh"), Insert(typed)]
        return None

    def _ask(self, key: str, typed: str | None) -> list[Action] | None:
        turn = self.asking
        if key == "enter":
            return [AnswerAsk(turn, 0)]
        if key == "escape":
            return [AnswerAsk(turn, -1)]
        if typed is not None and typed in "123456789":
            return [AnswerAsk(turn, int(typed))]
        if typed is not None:
            self._type_over()
            return [Command("refresh"), Insert(typed)]
        return None

    def _next(self) -> list[Action]:
        self.mode, self._typed_over = "writing", False
        return [Command("next")]

    def _browse(self, key: str, typed: str | None, now: float) -> list[Action] | None:
        word = typed or key
        if word in _SELECT:
            return [Command("select", _SELECT[word])]
        if key == "escape":
            return [Command("stop")]
        if word in _BROWSE:
            if word == "i":
                self.mode = "writing"
            return [Command(_BROWSE[word])]
        if typed is not None and typed in "123456789" and self.asking == self.target and self.asking:
            return [AnswerAsk(self.asking, int(typed))]
        if key == "enter":
            return [AnswerAsk(self.asking, 0)] if self.asking and self.asking == self.target else self._write()
        if typed is not None and typed in "12345":
            return [Command("pane", typed)]
        if self.feedback and self.target:
            if typed == "y":
                return [Commit(self.target, "right")]
            if typed == "u" and self.rated:
                return [Commit(self.target, "undo")]
            if typed in ("n", "c"):
                self._since = now
                return self._open("picker" if typed == "n" else "chooser", fresh=False)
        return [] if typed is not None else None

    def _write(self) -> list[Action]:
        self.mode = "writing"
        return [Command("write")]

    def rate_newest(self, mark: Mark, turn: str) -> list[Action]:
        """Alt with a letter, from anywhere: no typing, so no half second."""
        if not self.feedback or not turn or self.overlay:
            return []
        self.target, self.pending = turn, None
        if mark == "y":
            return [Commit(turn, "right")]
        return self._open("picker" if mark == "n" else "chooser", fresh=False)

    # -- overlays -------------------------------------------------------------------------------------------------
    def open_picker(self) -> list[Action]:
        """The picker, from the chooser's first line."""
        return self._open("picker", fresh=False)

    def open_note(self) -> list[Action]:
        """The note, in the prompt's place."""
        return self._open("note", fresh=False)

    def _open(self, overlay: Overlay, fresh: bool) -> list[Action]:
        self.overlay, self._fresh = overlay, fresh
        return [Open(overlay, self.target)]

    def close(self) -> list[Action]:
        """Close what is open."""
        if not self.overlay:
            return []
        self.overlay = ""
        return [Close()]

    def _leave_note(self) -> list[Action]:
        return [*self.close(), Command("note", "cancelled")]

    def _in_overlay(self, key: str, typed: str | None, now: float) -> list[Action] | None:
        picker = self.overlay == "picker"
        choice = typed is not None and typed.isdigit() and picker
        if self._fresh and typed is not None and not choice and now - self._since < TYPING_S:
            self.mode = "writing"
            return [*self.close(), Insert(("n" if picker else "c") + typed)]
        if key == "escape":
            return self.close()
        if key in ("up", "down", "enter", "backspace"):
            return [OverlayKey(key)]
        if typed is not None:
            return [OverlayKey(typed)]
        return None if key.startswith(("ctrl+", "f")) else []

    def _commit(self) -> list[Action]:
        mark, self.pending = self.pending, None
        return [Commit(self.target, "undo" if mark == "u" else "right")]
