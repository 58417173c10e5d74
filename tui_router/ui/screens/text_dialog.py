"""A question that is answered with a line of text."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from tui_router.ui.widgets.lines import Lines, keys, line


class TextDialog(ModalScreen[str | None]):
    """Dismisses with the text, or None when it was left."""

    BINDINGS: ClassVar = [Binding("escape", "leave", "close", id="leave_typed")]

    def __init__(self, title: str, text: str = "") -> None:
        super().__init__(classes="dialog")
        self.asked, self.text = title, text

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Lines(line((self.asked, "$strong bold")), line(""))
            yield Input(self.text, compact=True)
            yield Lines(line(""), keys(("⏎", "keep"), ("esc", "leave")))

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip())

    def action_leave(self) -> None:
        """Close without a text."""
        self.dismiss(None)
