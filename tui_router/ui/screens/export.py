"""F6: datasets and trained routers, written to files. Each is checked before it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.content import Content
from textual.widget import Widget

from tui_router.config.folders import from_home
from tui_router.core.text import one_line
from tui_router.ui.screens.dataset_export import DatasetExportForm
from tui_router.ui.screens.panel_screen import LinesPane, PanelScreen
from tui_router.ui.screens.router_export import RouterExportForm
from tui_router.ui.widgets.lines import line

if TYPE_CHECKING:
    from tui_router.app.engine import Engine
    from tui_router.ui.screens.export_form import ExportForm


class ExportScreen(PanelScreen):
    """Two tabs, a form each: a dataset, a trained router."""

    BINDINGS: ClassVar = [
        Binding("m", "tab", "dataset, model", id="export_tab", tooltip="Switch between dataset and trained router"),
        # With priority: where the screen scrolls as a whole, its scrolling would take the arrows.
        Binding(
            "up,k", "move(-1)", "field", show=False, id="export_up", tooltip="Select the field above", priority=True
        ),
        Binding(
            "down,j", "move(1)", "field", show=False, id="export_down", tooltip="Select the field below", priority=True
        ),
        Binding(
            "left,h",
            "change(-1)",
            "change",
            show=False,
            id="export_less",
            tooltip="The field's previous value",
            priority=True,
        ),
        Binding(
            "right,l,space",
            "change(1)",
            "change",
            show=False,
            id="export_more",
            tooltip="The field's next value",
            priority=True,
        ),
        Binding("d", "destination", "folder", id="export_folder", tooltip="Name the folder to write to"),
        Binding("x,enter", "export", "export", id="export_now", tooltip="Write the export"),
        Binding("c", "copy", "copy command", id="export_copy", tooltip="Copy the command that serves the export"),
        Binding("r", "run_command", "run command", id="export_run", tooltip="Run the command that serves the export"),
        Binding(
            "o",
            "promote",
            "promote",
            id="export_promote",
            tooltip="Make the trained router champion, if it passes its gate",
        ),
    ]
    screen_name = "F6 Export"

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.dataset, self.router = DatasetExportForm(engine, self.all_turns), RouterExportForm(engine)
        self._forms: tuple[ExportForm, ExportForm] = (self.dataset, self.router)
        self._tab = 0
        self._fields_at = [0, 0]
        """The selected field of each form."""
        self._folder: Path | None = None
        """Where to, when the person named it."""
        self._busy = False
        self.fields, self.where = LinesPane("Dataset", "export-fields"), LinesPane("Folder", "export-where")
        self.preview, self.result = LinesPane("Preview", "export-preview"), LinesPane("Result", "export-result")

    def left(self) -> Iterable[Widget]:
        return self.fields, self.where

    def right(self) -> Iterable[Widget]:
        return self.preview, self.result

    def on_mount(self) -> None:
        super().on_mount()
        self._show()
        self.run_worker(self.read(), group="export-read", exclusive=True, exit_on_error=False)

    @property
    def form(self) -> ExportForm:
        """The form of the open tab."""
        return self._forms[self._tab]

    async def read(self) -> None:
        """Read what can be exported, and show it."""
        from tui_router.store.store_errors import StoreError

        for form in (self.router, self.dataset):  # the store takes longer than the runs
            try:
                await asyncio.to_thread(form.read)
            except (StoreError, RuntimeError):  # RuntimeError: the store's thread has ended
                self.set_status("the store cannot be read")
                return
            self._show()

    # -- showing -------------------------------------------------------------------------------------------------
    def _show(self) -> None:
        form = self.form
        tabs = [(f" {one.title} ", "$accent bold underline" if one is form else "$muted") for one in self._forms]
        self.set_status(f"{len(self.dataset.examples):,} examples, {len(self.router.finished)} trained routers", *tabs)
        model = [("o", "promote"), ("c", "copy command"), ("r", "run it")] if form is self.router else []
        self.keys_bar.set_keys(
            [("x", "export"), ("↑↓←→", "choose"), ("d", "folder"), *model, ("m", "dataset / model"), ("esc", "chat")]
        )
        self.fields.head.set_title(form.title)
        rows: list[Content] = []
        for place, field in enumerate(form.fields()):
            here = place == self._fields_at[self._tab]
            mark, style = ("› ", "$accent bold") if here else ("  ", "$text")
            rows.append(line((mark, style), (f"{field.name:<14}", "$muted"), (field.value, style)))
            rows.append(line(f"{'':<16}", (one_line(field.meaning, 60), "$muted")))
        self.fields.rows.set_lines(*rows)
        folder = self._folder or form.default_folder()
        self.where.rows.set_lines(line(from_home(folder)) if folder else line(("nothing to write yet", "$muted")))
        preview = form.preview()
        self.preview.head.set_title(preview.title)
        self.preview.head.set_status(preview.status)
        self.preview.rows.set_lines(*preview.lines)

    def _report(self, rows: Sequence[Content]) -> None:
        self.result.rows.set_lines(*rows)
        self.call_after_refresh(self.result.scroll_visible, animate=False)  # narrow, it lies below the fields

    # -- choosing ------------------------------------------------------------------------------------------------
    def action_tab(self) -> None:
        """Dataset or model."""
        self._tab, self._folder = 1 - self._tab, None
        self.result.rows.set_lines(line(""))
        self._show()

    def action_move(self, by: int) -> None:
        """Another field."""
        self._fields_at[self._tab] = (self._fields_at[self._tab] + by) % len(self.form.fields())
        self._show()

    def action_change(self, by: int) -> None:
        """The next or previous value of the field."""
        self.form.change(self._fields_at[self._tab], by)
        self._show()

    def action_destination(self) -> None:
        """Name the folder."""
        from tui_router.ui.screens.text_dialog import TextDialog

        def named(text: str | None) -> None:
            try:
                self._folder = Path(text).expanduser() if text else self._folder
            except RuntimeError:  # `~nobody`: there is no such user
                self.notify(f"there is no folder {one_line(text or '', 60)}", severity="warning", markup=False)
            self._show()

        folder = self._folder or self.form.default_folder()
        self.app.push_screen(TextDialog("Write it into this folder", str(folder or "")), named)

    # -- writing -------------------------------------------------------------------------------------------------
    def action_export(self) -> None:
        """Write what the open tab shows."""
        if self._busy:
            return
        default = self.form.default_folder()
        if default is None:
            nothing = "no trained router yet (F5)" if self.form is self.router else "there is nothing to write"
            self._report([line((nothing, "$muted"))])
            return
        self.run_worker(self._export(self._folder or default), group="export", exclusive=True, exit_on_error=False)

    async def _export(self, folder: Path) -> None:
        form = self.form

        def report(rows: Sequence[Content]) -> None:
            self.app.call_from_thread(self._report, rows)

        self._busy = True
        try:
            rows = await asyncio.to_thread(form.export, folder, report)
        finally:
            self._busy = False
        self._folder = None
        self._report(rows)

    # -- a trained router ----------------------------------------------------------------------------------------
    def action_copy(self) -> None:
        """Copy the command that serves what was written."""
        if command := self.router.command:
            self.app.copy_to_clipboard(command)
            self.notify(command, title="copied", markup=False)

    def action_run_command(self) -> None:
        """Run the command that hands the export to its server, where that ends by itself (Ollama, LM Studio)."""
        if not self.router.command_ends:
            self.notify("this form is served by a command of its own; press c to copy it", markup=False)
            return
        self.run_worker(self._run_command(), group="export", exclusive=True, exit_on_error=False)

    async def _run_command(self) -> None:
        self._report([line((f"… {one_line(self.router.command, 50)}", "$accent"))])
        self._report(await self.router.run_command())

    def action_promote(self) -> None:
        """Make the chosen run champion, if it passes its gate."""
        if self.form is self.router and self.router.run is not None:
            self.run_worker(self._promote(), group="export", exclusive=True, exit_on_error=False)

    async def _promote(self) -> None:
        self._report([line(("… running the gate", "$accent"))])
        self._report(await self.router.promote())
