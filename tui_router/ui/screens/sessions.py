"""Earlier conversations: open one and go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tui_router.core.clock import local
from tui_router.core.text import one_line, plural
from tui_router.core.types import Session
from tui_router.ui.widgets.lines import Lines, SplitLine, keys, line

NEW = "new"


class SessionsScreen(ModalScreen[str]):
    """Dismisses with a session's id, `new`, or an empty string."""

    BINDINGS: ClassVar = [
        Binding("escape,ctrl+o", "leave", "close", id="close_sessions", tooltip="Close without opening a conversation"),
        Binding("n", "new", "new", id="new_session", tooltip="Start a new conversation"),
    ]

    def __init__(self, sessions: Sequence[Session], current: str) -> None:
        super().__init__(classes="dialog")
        self.sessions, self.current = sessions, current

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield SplitLine(line(("Sessions", "$strong bold")), line((f"newest {len(self.sessions)}", "$muted")))
            options = [Option(session_line(s, self.current, 46), id=s.id) for s in self.sessions]
            if options:
                yield OptionList(*options, markup=False)
            else:
                yield Lines(line(""), line(("No conversation yet. The first request starts one.", "$muted")), line(""))
            yield Lines(keys(("⏎", "open"), ("n", "new"), ("↑↓", "move"), ("esc", "close")))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id or "")

    def action_leave(self) -> None:
        """Close without opening anything."""
        self.dismiss("")

    def action_new(self) -> None:
        """Start a new conversation."""
        self.dismiss(NEW)


def session_line(session: Session, current: str, width: int) -> Content:
    """A session in one line: title, turns, rated."""
    title = one_line(session.title, width) or "(no text)"
    when = local(session.last or session.started)
    return line(
        ("● " if session.id == current else "  ", "$accent"),
        (f"{title:<{width}}", "$text"),
        (f"{plural(session.turns, 'turn'):>10}, {session.rated} rated  {when:%d %b %H:%M}", "$muted"),
    )
