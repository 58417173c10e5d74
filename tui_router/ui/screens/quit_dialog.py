"""Quitting while a training runs: it can go on in the background."""

from __future__ import annotations

from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen

from tui_router.ui.widgets.lines import Lines, keys, line

QuitChoice = Literal["keep", "pause", "stay"]


class QuitDialog(ModalScreen[QuitChoice]):
    """Asks what happens to a running training."""

    BINDINGS: ClassVar = [
        Binding(
            "k,enter", "answer('keep')", "keep training", id="quit_keep", tooltip="Quit and let the training go on"
        ),
        Binding("p", "answer('pause')", "pause it", id="quit_pause", tooltip="Quit and pause the training"),
        Binding("escape", "answer('stay')", "stay", id="quit_stay", tooltip="Do not quit"),
    ]

    def __init__(self, run: str) -> None:
        super().__init__(classes="dialog")
        self.run_id = run

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Lines(
                line((f"Run {self.run_id} is training", "$strong bold")),
                line(""),
                line("It can go on in the background; the next start shows"),
                line("it with its whole curve."),
                line(""),
                keys(("k", "keep training"), ("p", "pause it, resume later"), ("esc", "stay")),
            )

    def action_answer(self, answer: QuitChoice) -> None:
        """Close with an answer."""
        self.dismiss(answer)
