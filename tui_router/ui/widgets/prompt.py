"""The prompt: several lines, a history, pastes of any size. The keys go through the screen's desk first."""

from __future__ import annotations

import re
from typing import Any

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Static, TextArea

from tui_router.ui.glyphs import shown

PASTE_LINES, PASTE_CHARACTERS = 30, 3000
"""A longer paste is shown as one line that stands for it."""
_PLACE = re.compile(r"\[pasted text (\d+): [\d,]+ lines?, [\d,]+ characters\]")
HINT = "Ask anything.  @image adds a picture, / finds, ↑ brings back."


class PromptText(TextArea):
    """The text area itself."""

    class Submitted(Message):
        """Enter was pressed on this text; long pastes stand in it whole."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, **more: Any) -> None:
        super().__init__(soft_wrap=True, tab_behavior="focus", compact=True, highlight_cursor_line=False, **more)
        self.cursor_blink = False
        self.placeholder = shown(HINT)
        self.earlier: list[str] = []
        self.seen: events.Key | None = None
        """The newest key that came here; one that only the screen has seen was typed before the prompt had the focus."""
        self._place: int | None = None
        self._draft = ""
        self._pastes: dict[str, str] = {}

    async def _on_key(self, event: events.Key) -> None:
        self.seen = event
        press = getattr(self.screen, "press", None)
        if press is not None and press(event):
            event.stop()
            event.prevent_default()
            return
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self.submit()
            return
        if event.key in ("shift+enter", "ctrl+j", "alt+enter"):
            event.stop()
            event.prevent_default()
            self.insert("\n")
            return
        if event.key == "up" and self._at_top() and self._earlier():
            event.stop()
            event.prevent_default()
            return
        if event.key == "down" and self._place is not None and self._at_bottom() and self._later():
            event.stop()
            event.prevent_default()
            return
        await super()._on_key(event)

    def submit(self) -> None:
        """Hand the text over and empty the prompt."""
        text = self.whole()
        self.post_message(self.Submitted(text))

    def whole(self) -> str:
        """The text with what was pasted in its place."""
        return _PLACE.sub(lambda m: self._pastes.get(m[0], m[0]), self.text)

    def sent(self, text: str) -> None:
        """The text was taken: remember it and start afresh."""
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
        if self.read_only:
            return
        wants = getattr(self.screen, "pasted", None)
        text = event.text
        if wants is not None:
            text = wants(text)
        self._insert_long(text)

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
    """The mark and the text area."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.mark, self.area = Static(shown("› "), markup=False), PromptText(id="prompt-text")

    def compose(self) -> ComposeResult:
        yield self.mark
        yield self.area
