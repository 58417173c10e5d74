"""The prompt: several lines, a history, pastes of any size. Each key goes through the screen first."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Static, TextArea

from tui_router.ui.widgets.glyphs import shown
from tui_router.ui.widgets.lines import line
from tui_router.ui.widgets.typed_text import is_text

PASTE_LINES, PASTE_CHARACTERS = 30, 3000
"""A longer paste is shown as one line that stands for it. Chosen by hand, not measured."""
_PLACE = re.compile(r"\[pasted text (\d+): [\d,]+ lines?, [\d,]+ characters\]")
HINT = "Ask anything.  @image adds a picture, / commands, ↑ history"


class PromptText(TextArea):
    """The text area.

    Args:
        on_key: Gets each key first; True when the key is used up.
        on_paste: Gets each pasted text and returns what is to stand in the prompt.
    """

    class Submitted(Message):
        """Enter was pressed on this text; long pastes stand in it whole."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, on_key: Callable[[events.Key], bool], on_paste: Callable[[str], str], **more: Any) -> None:
        super().__init__(soft_wrap=True, tab_behavior="focus", compact=True, highlight_cursor_line=False, **more)
        self._press, self._accept_paste = on_key, on_paste
        self.cursor_blink = False
        self.placeholder = shown(HINT)
        self.earlier: list[str] = []
        """Sent requests, oldest first."""
        self.seen: events.Key | None = None
        """The newest key that came here; one that only the screen has seen was typed before the prompt had the focus."""
        self._place: int | None = None
        self._draft = ""
        self._pastes: dict[str, str] = {}

    async def _on_key(self, event: events.Key) -> None:
        self.seen = event
        if self._press(event) or self._own_key(event.key) or self._insert_joiner(event.character):
            event.stop()
            event.prevent_default()
        else:
            await super()._on_key(event)

    def _own_key(self, key: str) -> bool:
        """Handle a key that does something else here than in a text area; returns whether it was one."""
        if key == "enter":
            self.submit()
        elif key in ("shift+enter", "ctrl+j", "alt+enter"):
            self.insert("\n")
        elif key == "up":
            return self._at_top() and self._earlier()
        elif key == "down":
            return self._place is not None and self._at_bottom() and self._later()
        else:
            return False
        return True

    def _insert_joiner(self, character: str | None) -> bool:
        """Insert a typed character that belongs into words and that Textual's text area does not count as printable."""
        if character is None or character.isprintable() or not is_text(character):
            return False
        self.insert(character)
        return True

    def submit(self) -> None:
        """Hand the text over."""
        self.post_message(self.Submitted(self.whole()))

    def whole(self) -> str:
        """The text with what was pasted in its place."""
        return _PLACE.sub(lambda m: self._pastes.get(m[0], m[0]), self.text)

    def set_history(self, texts: Iterable[str]) -> None:
        """Replace the requests that the up key brings back, oldest first; what was typed since the start stays behind them."""
        older = dict.fromkeys(text for text in texts if text.strip())
        self.earlier = [*(text for text in older if text not in self.earlier), *self.earlier]

    def sent(self, text: str) -> None:
        """The text was accepted: remember it and empty the prompt."""
        if text.strip() and (not self.earlier or self.earlier[-1] != text):
            self.earlier.append(text)
        self._place, self._draft = None, ""
        self._pastes.clear()
        self.clear()

    def fill(self, text: str) -> None:
        """Replace the text, the cursor at its end."""
        self.text = ""
        self._insert_long(text)
        self.move_cursor(self.document.end)

    async def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        if not self.read_only:
            self._insert_long(self._accept_paste(event.text))

    def _insert_long(self, text: str) -> None:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        lines = text.count("\n") + 1
        if lines > PASTE_LINES or len(text) > PASTE_CHARACTERS:
            word = "line" if lines == 1 else "lines"
            place = f"[pasted text {len(self._pastes) + 1}: {lines:,} {word}, {len(text):,} characters]"
            self._pastes[place] = text
            text = place
        self.insert(text)

    def _at_top(self) -> bool:
        return self.cursor_location[0] == 0 and (not self.text or self._place is not None)

    def _at_bottom(self) -> bool:
        return self.cursor_location[0] == self.document.line_count - 1

    def _earlier(self) -> bool:
        if not self.earlier or self._place == 0:
            return self._place == 0
        if self._place is None:
            self._draft, self._place = self.text, len(self.earlier)
        self._place -= 1
        self.fill(self.earlier[self._place])
        return True

    def _later(self) -> bool:
        if self._place is None:
            return False
        self._place += 1
        if self._place >= len(self.earlier):
            self._place = None
            self.fill(self._draft)
        else:
            self.fill(self.earlier[self._place])
        return True


class Prompt(Horizontal):
    """The mark and the text area.

    Args:
        on_key: As of PromptText.
        on_paste: As of PromptText.
    """

    def __init__(self, on_key: Callable[[events.Key], bool], on_paste: Callable[[str], str], **more: Any) -> None:
        super().__init__(**more)
        self._mark = Static(shown("› "), markup=False)
        self.area = PromptText(on_key, on_paste, id="prompt-text")
        self._hint = HINT

    def compose(self) -> ComposeResult:
        yield self._mark
        yield self.area

    def set_hint(self, hint: str) -> None:
        """Show a hint while the prompt is empty; an empty one is the usual one."""
        self._hint = hint or HINT
        self.area.placeholder = shown(self._hint)

    def begin_note(self, hint: str) -> None:
        """Take a note instead of a request."""
        self.area.clear()
        self.add_class("-note")
        self._mark.update(line("note  › "))
        self.area.placeholder = shown(hint)
        self.area.focus()

    def end_note(self, draft: str) -> None:
        """Take requests again, beginning with this draft."""
        self.remove_class("-note")
        self._mark.update(line("› "))
        self.area.placeholder = shown(self._hint)
        if draft:
            self.area.fill(draft)
        else:
            self.area.clear()
        self.area.focus()
