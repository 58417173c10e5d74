"""A question that a line of text answers."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from tui_router.ui.widgets.lines import Lines, keys, line


class TextDialog(ModalScreen[str | None]):
    """Dismisses with the text, or None when it was cancelled."""

    BINDINGS: ClassVar = [Binding("escape", "cancel", "cancel", id="cancel_text", tooltip="Close without a text")]

    def __init__(self, title: str, text: str = "") -> None:
        super().__init__(classes="dialog")
        self.question, self.text = title, text

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Lines(line((self.question, "$strong bold")), line(""))
            yield Input(self.text, compact=True)
            yield Lines(line(""), keys(("⏎", "ok"), ("esc", "cancel")))

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip())

    def action_cancel(self) -> None:
        """Close without a text."""
        self.dismiss(None)
