"""The report of a period, as Markdown, and how it is kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.widget import Widget
from textual.widgets import Markdown

from tui_router.core.text import clean
from tui_router.ui.screens.room import Room

if TYPE_CHECKING:
    from tui_router.engine import Engine
    from tui_router.insight.report import Report


class ReportScreen(Room):
    """What happened, what goes wrong, what to do next."""

    BINDINGS: ClassVar = [
        Binding("r", "leave", "back", show=False, id="leave_report"),
        Binding("s", "save", "save", id="save_report"),
    ]
    name_shown = "Report"
    keys_shown = (("↑↓", "scroll"), ("s", "save"), ("esc", "back"))

    def __init__(self, engine: Engine, days: int) -> None:
        super().__init__(engine)
        self.days = days
        self.report: Report | None = None
        self.text = Markdown("Replaying the proposals …", id="report-text", open_links=False)

    def left(self) -> Iterable[Widget]:
        return (self.text,)

    def on_mount(self) -> None:
        super().on_mount()
        self.run_worker(self._make(), group="report", exit_on_error=False)

    async def _make(self) -> None:
        from tui_router.insight.report import markdown, report

        turns = await self.turns_since(2 * self.days)
        if turns is None:
            await self.text.update("The store cannot be read.")
            return
        config = self.engine.config
        self.report = await asyncio.to_thread(report, turns, config.fleet, self.engine.threshold, self.days)
        await self.text.update(clean(markdown(self.report)))
        self.say(f"{self.report.first} to {self.report.last}")

    async def action_save(self) -> None:
        """Write the report into the data folder, as Markdown and as JSON."""
        from tui_router.insight.report import markdown

        if self.report is None:
            return
        made = self.report
        name = made.last if made.first == made.last else f"{made.first}_{made.last}"
        folder = self.engine.folder / "reports"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.md").write_text(markdown(made), encoding="utf-8")
            (folder / f"{name}.json").write_text(json.dumps(made.to_dict(), indent=1), encoding="utf-8")
        except OSError as error:
            self.notify(f"{folder} cannot be written: {error.strerror}", severity="error", markup=False)
            return
        self.notify(f"{name}.md and {name}.json in {folder}", title="report saved", markup=False)
