"""A question that is answered with yes or no."""

from __future__ import annotations

from textwrap import wrap
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen

from tui_router.core.text import one_line
from tui_router.ui.widgets.lines import Lines, keys, line

_WIDTH, _LONGEST = 66, 2000


class ConfirmDialog(ModalScreen[bool]):
    """Dismisses with True only when the person agreed.

    Args:
        question: In a few words.
        detail: What it is about, whole; a text of others.
        agree: What enter does, in a word.
    """

    BINDINGS: ClassVar = [
        Binding("enter", "answer(True)", "agree", id="confirm_yes", tooltip="Agree"),
        Binding("escape", "answer(False)", "cancel", id="confirm_no", tooltip="Do nothing"),
    ]

    def __init__(self, question: str, detail: str, agree: str) -> None:
        super().__init__(classes="dialog")
        self.question, self.detail, self.agree = question, detail, agree

    def compose(self) -> ComposeResult:
        detail = wrap(one_line(self.detail, _LONGEST), _WIDTH, break_on_hyphens=False)
        with Vertical(classes="box"):
            yield Lines(line((self.question, "$strong bold")), line(""), *detail, line(""))
            yield Lines(keys(("⏎", self.agree), ("esc", "cancel")))

    def action_answer(self, agreed: bool) -> None:
        """Close with the answer."""
        self.dismiss(agreed)
