"""The slash commands that fit what was typed so far, above the prompt; one of them is highlighted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tui_router.ui.widgets.lines import Lines, line

_ROWS = 8
"""Commands that are shown at once."""


class CommandList(Lines):
    """A list without the focus: the prompt keeps the keys."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self._commands: Sequence[tuple[str, str]] = ()
        self._at = 0

    def on_mount(self) -> None:
        self.display = False

    @property
    def is_open(self) -> bool:
        """Whether there is anything to choose from."""
        return bool(self._commands)

    @property
    def highlighted(self) -> str:
        """The highlighted command with the name of its argument, such as `/image PATH`."""
        return self._commands[self._at][0]

    def show_commands(self, commands: Sequence[tuple[str, str]]) -> None:
        """Show these, as (command with its argument, what it does); none closes the list."""
        if list(commands) != list(self._commands):
            self._commands, self._at = tuple(commands), 0
            self._draw()

    def move(self, by: int) -> None:
        """Highlight another command; behind the last comes the first."""
        self._at = (self._at + by) % len(self._commands)
        self._draw()

    def _draw(self) -> None:
        self.display = self.is_open
        first = max(0, min(self._at - _ROWS + 1, len(self._commands) - _ROWS))
        rows = []
        for place, (command, meaning) in enumerate(self._commands[first : first + _ROWS], first):
            here = place == self._at
            mark, style = ("› ", "$accent bold") if here else ("  ", "$text")
            rows.append(line((mark, "$accent bold"), (f"{command:<16}", style), (meaning, "$muted")))
        self.set_lines(*rows)
