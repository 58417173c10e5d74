"""A page of Markdown from a file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.widget import Widget
from textual.widgets import Markdown

from tui_router.core.text import clean
from tui_router.ui.screens.panel_screen import PanelScreen

if TYPE_CHECKING:
    from tui_router.app.engine import Engine


class MarkdownPage(PanelScreen):
    """Shows the file until it is closed."""

    BINDINGS: ClassVar = [Binding("g,q", "leave", "back", show=False, id="leave_page", tooltip="Close the page")]
    shown_keys = (("↑↓", "scroll"), ("esc", "back"))

    def __init__(self, engine: Engine, title: str, path: Path) -> None:
        super().__init__(engine)
        self.screen_name, self.path = title, path
        self.text = Markdown("", open_links=False)

    def left(self) -> Iterable[Widget]:
        return (self.text,)

    def on_mount(self) -> None:
        super().on_mount()
        self.run_worker(self._read(), group="page", exit_on_error=False)

    async def _read(self) -> None:
        try:
            text = await asyncio.to_thread(self.path.read_text, encoding="utf-8")
        except OSError as error:
            text = f"{self.path} cannot be read: {error.strerror}"
        await self.text.update(clean(text))
        self.set_status(str(self.path))
