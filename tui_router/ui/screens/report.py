"""The report of a period: its text, its findings with what each proposal would change, and past reports."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from textwrap import wrap
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Markdown

from tui_router.config.folders import from_home
from tui_router.core.text import clean, one_line, plural
from tui_router.ui.screens.panel_screen import LinesPane, PanelScreen
from tui_router.ui.widgets.lines import line

if TYPE_CHECKING:
    from tui_router.app.engine import Engine
    from tui_router.insight.findings import Finding
    from tui_router.insight.report import Report


class ReportScreen(PanelScreen):
    """A report and its findings."""

    BINDINGS: ClassVar = [
        Binding("r", "leave", "back", show=False, id="leave_report", tooltip="Go back"),
        Binding("j", "move(1)", "next finding", id="report_next", tooltip="Select the next finding"),
        Binding("k", "move(-1)", "finding before", id="report_before", tooltip="Select the previous finding"),
        Binding("enter", "open", "show turns", id="report_open", tooltip="Show the turns behind the finding"),
        Binding("t", "try", "try it", id="report_try", tooltip="Show what the proposed change would do"),
        Binding("u", "undo", "undo a change", id="report_undo", tooltip="Undo the newest change of fleet.toml"),
        Binding(
            "left,h",
            "kept(-1)",
            "older report",
            show=False,
            id="report_older",
            tooltip="Show an older report",
            priority=True,
        ),
        Binding(
            "right,l",
            "kept(1)",
            "newer report",
            show=False,
            id="report_newer",
            tooltip="Show a newer report",
            priority=True,
        ),
        Binding("s", "save", "save", id="save_report", tooltip="Save this report in the data folder"),
    ]
    screen_name = "Report"
    shown_keys = (
        ("jk", "finding"),
        ("⏎", "show turns"),
        ("t", "try it"),
        ("u", "undo"),
        ("← →", "past reports"),
        ("s", "save"),
        ("esc", "back"),
    )

    def __init__(self, engine: Engine, days: int) -> None:
        super().__init__(engine)
        self.days = days
        self.report: Report | None = None
        self.at = 0
        self.names: list[str] = []
        self.place = 0
        """Which past report is shown, 0 the oldest; after the last one comes the report of now."""
        self.text = Markdown("Counting, and trying the proposals …", id="report-text", open_links=False)
        self.found = LinesPane("Findings", "report-findings")

    def left(self) -> Iterable[Widget]:
        return (self.text,)

    def right(self) -> Iterable[Widget]:
        return (self.found,)

    def on_mount(self) -> None:
        super().on_mount()
        self.run_worker(self._make(), group="report", exclusive=True, exit_on_error=False)

    async def _make(self) -> None:
        from tui_router.insight.report import to_markdown
        from tui_router.insight.report_files import Reports, prepare_report
        from tui_router.learning.changed_fleet import champion_for
        from tui_router.store.store_errors import StoreError

        engine = self.engine
        try:
            await engine.insights.count()
            store, fleet, counts = engine.opened(), engine.config.fleet, engine.insights.counted
            champion = champion_for(engine.router_service.loaded())
            make = await engine.in_store(
                lambda: prepare_report(store, fleet, engine.threshold, self.days, counts=counts, router_for=champion)
            )
        except (StoreError, RuntimeError):  # RuntimeError: the store's thread has ended
            await self.text.update("The store cannot be read.")
            return
        made, self.names = await asyncio.to_thread(lambda: (make(), Reports(engine.folder).names()))
        self.report, self.place = made, len(self.names)
        await self.text.update(clean(to_markdown(made)))
        self._show()

    # -- findings ------------------------------------------------------------------------------------------------
    def _show(self) -> None:
        if self.report is None:
            return
        kept = f", {plural(len(self.names), 'past report')}" if self.names else ""
        of = f"{self.report.first} to {self.report.last}{kept}"
        if self.place < len(self.names):
            of = f"{self.names[self.place]}, past report {self.place + 1} of {len(self.names)}"
        findings = self.report.findings
        self.set_status(f"{of}; {plural(len(findings), 'finding')}" if findings else of)
        self.at = max(0, min(self.at, len(findings) - 1))
        self.found.head.set_status(f"{len(findings)} now")
        rows: list[Content] = []
        width = max(30, self.found.size.width - 4)
        for place, one in enumerate(findings):
            rows += self._entry(one, width, here=place == self.at)
        self.found.rows.set_lines(*(rows or [line(("no significant findings", "$muted"))]))

    def _entry(self, one: Finding, width: int, *, here: bool) -> list[Content]:
        parts = wrap(one_line(one.text, 300), width)
        rows = [
            line(("› " if here and i == 0 else "  ", "$accent bold"), (part, "$strong" if here else "$text"))
            for i, part in enumerate(parts)
        ]
        rows += [
            line((f"  → {part}" if i == 0 else f"    {part}", "$muted"))
            for i, part in enumerate(wrap(one.proposal, width - 4))
        ]
        if one.effect is not None:
            effect = one.effect
            if not (effect.fixes or effect.breaks or effect.unrated):
                return [*rows, line(("    would change no turn", "$muted")), line("")]
            rows.append(
                line(
                    "    ",
                    (f"fixes {effect.fixes}", "$right"),
                    ", ",
                    (f"breaks {effect.breaks}", "$wrong" if effect.breaks else "$muted"),
                    (f", {effect.unrated} unrated would change route", "$muted"),
                )
            )
        return [*rows, line("")]

    def _selected(self) -> Finding | None:
        findings = self.report.findings if self.report is not None else ()
        return findings[self.at] if self.at < len(findings) else None

    def action_move(self, by: int) -> None:
        """Another finding."""
        self.at += by
        self._show()
        self.found.scroll_visible(animate=False)  # narrow, it lies below the report

    def action_open(self) -> None:
        """Show the turns behind the finding."""
        if (one := self._selected()) is not None:
            from tui_router.ui.screens.turns import TurnsScreen

            self.app.push_screen(TurnsScreen(self.engine, one_line(one.text, 60), ids=one.turns))

    def action_try(self) -> None:
        """Show what the proposal would change, turn by turn."""
        one = self._selected()
        if one is None or not one.toml:
            self.notify("this finding proposes no change of fleet.toml", markup=False)
            return
        from tui_router.ui.screens.fleet_change import FleetChangeScreen

        self.app.push_screen(FleetChangeScreen(self.engine, one))

    def action_undo(self) -> None:
        """Undo the newest change of fleet.toml."""
        from tui_router.config.fleet_edit import EditError, FleetEdits

        try:
            edit = FleetEdits(self.engine.folder).undo()
        except EditError as error:
            self.notify(one_line(str(error), 200), severity="warning", markup=False)
            return
        self.notify(f"undone: {one_line(edit.summary, 100)}", markup=False)
        self.app.call_later(self.app.run_action, "reload")

    # -- past reports -----------------------------------------------------------------------------------------------
    async def action_kept(self, by: int) -> None:
        """A past report, or the one of now."""
        from tui_router.insight.report import to_markdown
        from tui_router.insight.report_files import Reports

        if self.report is None:
            return
        self.place = max(0, min(len(self.names), self.place + by))
        text = to_markdown(self.report)
        if self.place < len(self.names):
            try:
                text = Reports(self.engine.folder).read(self.names[self.place])
            except OSError as error:
                text = f"This report cannot be read: {error.strerror}"
        await self.text.update(clean(text))
        self._show()

    async def action_save(self) -> None:
        """Keep the report in the data folder, as Markdown and as JSON."""
        from tui_router.insight.report_files import Reports

        if self.report is None:
            return
        made, reports = self.report, Reports(self.engine.folder)
        try:
            name = await asyncio.to_thread(lambda: reports.save(made))
        except OSError as error:
            self.notify(f"{reports.folder} cannot be written: {error.strerror}", severity="error", markup=False)
            return
        self.notify(f"{name}.md and {name}.json in {from_home(reports.folder)}", title="report saved", markup=False)
        self.names = await asyncio.to_thread(reports.names)
        self.place = len(self.names)
        self._show()
