"""Exporting a trained router: as an adapter, a merged model or a GGUF file, compared with the trained model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from textual.content import Content

from tui_router.config.folders import from_home
from tui_router.ui.screens.export_form import ExportField, Preview, folded
from tui_router.ui.widgets.lines import line

if TYPE_CHECKING:
    from tui_router.app.engine import Engine
    from tui_router.training.export.forms import ExportedRouter
    from tui_router.training.runs import Run

_CHECKED = (
    "Held-out requests are sent through it as it will be served. Unless 99% get the route that the trained model chose, "
    "it is refused, and the stage is named: template, tokenizer, quantisation, adapter."
)


class RouterExportForm:
    """Choices of a trained router's export.

    Args:
        engine: Has the data folder with the runs.
    """

    title = "Model"

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._run = self._form = self._quant = 0
        self.finished: list[Run] = []
        """Runs that left a model, newest first."""
        self.made: ExportedRouter | None = None
        """What was written last."""

    def read(self) -> None:
        """Read which runs are finished. Waits for the disk."""
        from tui_router.training.runs import all_runs

        self.finished = [run for run in all_runs(self._engine.folder) if run.finished]

    @property
    def run(self) -> Run | None:
        """The chosen run."""
        return self.finished[self._run] if self._run < len(self.finished) else None

    # -- choices -------------------------------------------------------------------------------------------------
    def fields(self) -> list[ExportField]:
        """The choices as they are now."""
        from tui_router.training.export.forms import DESCRIPTIONS, FORMS, QUANTS

        run, form = self.run, FORMS[self._form]
        return [
            ExportField("run", run.id if run else "no trained router yet (F5)", run.record.recipe.base if run else ""),
            ExportField("form", form, DESCRIPTIONS[form]),
            ExportField("size", QUANTS[self._quant], "f16 is exact, q8_0 half of it, q4_0 a quarter"),
        ]

    def change(self, place: int, by: int) -> None:
        """The next (1) or previous (-1) value of a field."""
        from tui_router.training.export.forms import FORMS, QUANTS

        if place == 0 and self.finished:
            self._run = (self._run + by) % len(self.finished)
        elif place == 1:
            self._form = (self._form + by) % len(FORMS)
        elif place == 2:
            self._quant = (self._quant + by) % len(QUANTS)

    def preview(self) -> Preview:
        """How the export will be checked."""
        return Preview("How it is checked", "99% needed", folded(_CHECKED))

    def default_folder(self) -> Path | None:
        """Where it would be written; None when no run is finished."""
        from tui_router.training.export.forms import FORMS, QUANTS

        run = self.run
        return run.folder / "exports" / f"{FORMS[self._form]}-{QUANTS[self._quant]}" if run else None

    # -- writing -------------------------------------------------------------------------------------------------
    def export(self, folder: Path, report: Callable[[Sequence[Content]], None]) -> list[Content]:
        """Write it and return what became of it, as lines. Takes long; `report` may be called from any thread."""
        from tui_router.training.export.forms import FORMS, QUANTS, export
        from tui_router.training.training_error import TrainingError

        run = self.run
        assert run is not None
        form, llama = FORMS[self._form], self._engine.config.settings.llama_cpp_dir
        try:
            self.made = made = export(
                run,
                form,
                QUANTS[self._quant],
                folder,
                llama_cpp=llama,
                on_progress=lambda stage: report(_working(stage)),
            )
        except TrainingError as error:
            return folded(str(error), "✗ ", "$wrong")
        rows = [line(("✓ ", "$right"), f"{form}, {made.size_bytes / 1e6:,.1f} MB")]
        if made.parity is not None:
            parity = made.parity
            rows.append(
                line(
                    ("✓ ", "$right"), f"{parity.same_route} of {parity.n} the same, within {parity.max_difference:.3f}"
                )
            )
        else:
            rows += folded(f"not compared: {made.unchecked}", "! ", "$caution")
        rows += [*folded(from_home(made.folder)), line("")]
        return rows + [part for command in made.commands for part in folded(command, text_style="$accent")]

    @property
    def command(self) -> str:
        """The command that serves what was written last, or hands it to its server; empty before."""
        return self.made.commands[0] if self.made is not None and self.made.commands else ""

    @property
    def command_ends(self) -> bool:
        """Whether that command ends by itself (Ollama, LM Studio), so that it can be run from here."""
        return self.made is not None and self.made.form in ("ollama", "lmstudio")

    async def run_command(self) -> list[Content]:
        """Run the command and return its last words, as lines."""
        import asyncio

        from tui_router.core.text import one_line

        command = self.command
        running = await asyncio.create_subprocess_shell(
            command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await running.communicate()
        last = one_line(output.decode("utf-8", "replace").strip().rpartition("\n")[2], 200)
        sign, style = ("✓ ", "$right") if running.returncode == 0 else ("✗ ", "$wrong")
        return folded(last or command, sign, style)

    async def promote(self) -> list[Content]:
        """Make the chosen run champion, if it passes its gate; returns what became of it, as lines."""
        from tui_router.store.store_errors import StoreError
        from tui_router.training.training_error import TrainingError

        run = self.run
        assert run is not None
        try:
            promotion = await self._engine.router_service.promote(run)
        except (TrainingError, StoreError, OSError) as error:
            return folded(str(error), "✗ ", "$wrong")
        return folded(promotion.reason, "✓ ", "$right")


def _working(stage: str) -> list[Content]:
    return folded(stage, "… ", "$accent", "$accent")
