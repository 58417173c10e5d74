"""The empty conversation: what to try first, or which servers were checked when none answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content

from tui_router.core.text import one_line
from tui_router.ui.widgets.lines import Lines, Paragraph, Part, keys, line

if TYPE_CHECKING:
    from tui_router.backends.health import BackendStatus

_STARTS = {"LM Studio": "lms server start", "Ollama": "ollama serve", "llama-server": "llama-server -m MODEL"}


class Welcome(Vertical):
    """Shown until the conversation has a turn."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self._title, self._text = Lines(), Paragraph()
        self._servers, self._keys = Lines(classes="gap"), Lines(classes="gap")

    def compose(self) -> ComposeResult:
        with Vertical():
            yield from (self._title, self._text, self._servers, self._keys)

    def on_mount(self) -> None:
        self.ready()

    def ready(self, note: str = "") -> None:
        """Invite to ask; a note says what is in the way."""
        self._title.set_lines(line(("Ask anything.", "$strong bold")))
        text: list[Part] = [
            (
                "Each request goes to the model that fits it best. You see which one and why; one key rates the route.",
                "$muted",
            )
        ]
        if note:
            text = [(note, "$caution")]
        self._text.update(line(*text))
        self._servers.set_lines(
            line(("goto amazon.com", "$text"), ("                → tool_use", "$muted")),
            line(("write a python function", "$text"), ("        → code", "$muted")),
            line(("explain transformers", "$text"), ("           → reasoning", "$muted")),
            line(("@image photo.jpg what is it?", "$text"), ("   → vision", "$muted")),
        )
        self._keys.set_lines(keys(("F1", "help"), ("^O", "sessions"), ("^P", "all actions")))

    def no_server(self, backends: Sequence[BackendStatus]) -> None:
        """No server answered: which were checked, and three ways on."""
        self._title.set_lines(line(("No model server answered.", "$strong bold")))
        self._text.update(
            line(
                (
                    "tui-router sends requests to models that you run. Start one of these, or look around first.",
                    "$muted",
                )
            )
        )
        rows: list[Content] = []
        for backend in backends:
            why = "refused" if "refused" in backend.error else one_line(backend.error, 40)
            where = backend.url.removeprefix("http://")
            start = _STARTS.get(backend.name, "")
            rows.append(
                line(
                    ("○ ", "$wrong"),
                    (f"{backend.name:<13}", "$text"),
                    (f"{where:<17} ", "$muted"),
                    (f"{why}   ", "$wrong"),
                    (start, "$text"),
                )
            )
        self._servers.set_lines(*rows)
        self._keys.set_lines(
            line(("^R   ", "$accent bold"), "check again", ("  also every 5 s", "$muted")),
            line(("^T   ", "$accent bold"), "try the demo", ("  six pretend models, nothing kept", "$muted")),
            line(("esc  ", "$accent bold"), "go on without answers", ("  routing and rating work", "$muted")),
        )
