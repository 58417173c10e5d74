"""Quitting while a training runs: it can go on by itself."""

from __future__ import annotations

from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen

from tui_router.ui.widgets.lines import Lines, keys, line

QuitChoice = Literal["keep", "pause", "stay"]


class QuitDialog(ModalScreen[QuitChoice]):
    """Asks what becomes of a running training."""

    BINDINGS: ClassVar = [
        Binding("k,enter", "answer('keep')", "keep training", id="leaving_keep"),
        Binding("p", "answer('pause')", "pause it", id="leaving_pause"),
        Binding("escape", "answer('stay')", "stay", id="leaving_stay"),
    ]

    def __init__(self, run: str) -> None:
        super().__init__(classes="dialog")
        self.run_id = run

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Lines(
                line((f"Run {self.run_id} is training", "$strong bold")), line(""),
                line("It needs no screen: it goes on by itself, and the next"),
                line("start shows it with its whole curve."), line(""),
                keys(("k", "keep training"), ("p", "pause it, resume later"), ("esc", "stay")),
            )  # fmt: skip

    def action_answer(self, answer: QuitChoice) -> None:
        """Close with an answer."""
        self.dismiss(answer)
