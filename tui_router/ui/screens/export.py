"""F6: what leaves the program. A dataset in any format, a trained router in any form; each is checked before it is there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding
from textual.content import Content
from textual.widget import Widget

from tui_router.config.folders import from_home
from tui_router.core.clock import local, now
from tui_router.core.example import SOURCES
from tui_router.core.text import one_line
from tui_router.ui.screens.panel_screen import LinesPane, PanelScreen
from tui_router.ui.widgets.lines import bar, line

if TYPE_CHECKING:
    from tui_router.app.engine import Engine
    from tui_router.core.example import Example, Source
    from tui_router.core.tool_dialogue import ToolDialogue
    from tui_router.datasets.export import ExportOptions
    from tui_router.datasets.exported_dataset import PiiPolicy
    from tui_router.datasets.formats import Format
    from tui_router.training.export.forms import ExportedRouter
    from tui_router.training.runs import Run

_FROM: tuple[tuple[Source, ...], ...] = (SOURCES, ("verdict", "imported", "generated"), ("verdict",))
_PRIVATE: tuple[PiiPolicy, ...] = ("mask", "drop", "keep")
_PREVIEW = 3
_NONE = ("no example fits", "none yet: on F4, G has a served model write some")
_WIDE = 62
_TEXT = 60


class ExportScreen(PanelScreen):
    """Two tabs: a dataset, a model."""

    BINDINGS: ClassVar = [
        Binding("f6", "leave", "chat", show=False, id="leave_export"),
        Binding("m", "tab", "dataset, model", id="export_tab"),
        # With priority: where the room scrolls as a whole, its scrolling would take the arrows.
        Binding("up,k", "move(-1)", "field", show=False, id="export_up", priority=True),
        Binding("down,j", "move(1)", "field", show=False, id="export_down", priority=True),
        Binding("left,h", "change(-1)", "change", show=False, id="export_less", priority=True),
        Binding("right,l,space", "change(1)", "change", show=False, id="export_more", priority=True),
        Binding("d", "destination", "folder", id="export_folder"),
        Binding("x,enter", "export", "export", id="export_now"),
        Binding("c", "copy", "copy command", id="export_copy"),
        Binding("r", "run_command", "run command", id="export_run"),
        Binding("o", "promote", "promote", id="export_promote"),
    ]
    name_shown = "F6 Export"

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        from tui_router.datasets.export import ExportOptions

        self.tab = 0
        self.at = [0, 0]
        self.choice: ExportOptions = ExportOptions(sources=_FROM[0])
        self.routes: tuple[str, ...] = ("", *(r.name for r in engine.config.fleet.routes))
        self.with_tools = False
        """Conversations with tools instead of requests with their routes."""
        self.tools_form: Format = "messages"
        self.tools_private: PiiPolicy = "keep"
        self.dialogues: list[ToolDialogue] = []
        self.examples: list[Example] = []
        self.finished: list[Run] = []
        self.run_at = self.form_at = self.quant_at = 0
        self.folder: Path | None = None
        """Where to, when the person named it."""
        self.made: ExportedRouter | None = None
        self.busy = False
        self.fields, self.where = LinesPane("Dataset", "export-fields"), LinesPane("Folder", "export-where")
        self.preview, self.result = LinesPane("Preview", "export-preview"), LinesPane("Result", "export-result")

    def left(self) -> Iterable[Widget]:
        return self.fields, self.where

    def right(self) -> Iterable[Widget]:
        return self.preview, self.result

    def on_mount(self) -> None:
        super().on_mount()
        self._show()
        self.run_worker(self._read(), group="export-read", exclusive=True, exit_on_error=False)

    async def _read(self) -> None:
        from tui_router.datasets.sources import all_examples
        from tui_router.store.store_errors import StoreError
        from tui_router.training.runs import all_runs

        self.finished = await asyncio.to_thread(lambda: [run for run in all_runs(self.engine.folder) if run.finished])
        self._show()

        def read() -> None:
            store = self.engine.opened()
            kept, rulings = self.engine.at_store(lambda: (list(store.training.examples()), store.training.edits()))
            self.dialogues = self.engine.at_store(lambda: list(store.training.dialogues()))
            self.examples = all_examples(self.all_turns(), kept, self.engine.config.fleet, rulings)

        try:
            await asyncio.to_thread(read)
        except (StoreError, RuntimeError):  # RuntimeError: the store's thread has ended
            self.set_status("the store cannot be read")
            return
        self._show()

    # -- showing -------------------------------------------------------------------------------------------------
    def _values(self) -> list[tuple[str, str, str]]:
        """(field, value, what it means) of the open tab."""
        if self.tab == 0:
            c = self.choice
            chosen = c.routes[0] if c.routes else "all"
            if self.with_tools:
                return [
                    ("content", "conversations with tools", "calls, their results, and the last words"),
                    ("format", self.tools_form, "OpenAI's tool calls, or ShareGPT's function_call"),
                    ("private data", self.tools_private, "a model made the people up"),
                ]
            return [
                ("content", "requests", "each with the route it belongs to"),
                ("format", c.form, "how a row looks"),
                ("target", c.target, "what the model is to say"),
                ("sources", ", ".join(c.sources), "where the labels come from"),
                ("route", chosen, "one lane of work, or all"),
                ("private data", c.private, "e-mail, phone, keys, cards, paths"),
                ("repetitions", "keep" if c.duplicates else "one of each", "requests that are nearly the same"),
            ]
        from tui_router.training.export.forms import DESCRIPTIONS, FORMS, QUANTS

        run = self._run()
        form = FORMS[self.form_at]
        return [
            ("run", run.id if run else "none finished yet: F5 trains one", run.record.recipe.base if run else ""),
            ("form", form, DESCRIPTIONS[form]),
            ("size", QUANTS[self.quant_at], "f16 is exact, q8_0 half of it, q4_0 a quarter"),
        ]

    def _run(self) -> Run | None:
        return self.finished[self.run_at] if self.run_at < len(self.finished) else None

    def _show(self) -> None:
        tabs = [
            (f" {name} ", "$accent bold underline" if place == self.tab else "$muted")
            for place, name in enumerate(("Dataset", "Model"))
        ]
        self.set_status(f"{len(self.examples):,} examples, {len(self.finished)} trained", *tabs)
        model = [("o", "promote"), ("c", "copy command"), ("r", "run it")] if self.tab else []
        self.keys_bar.set_keys(
            [("x", "export"), ("↑↓←→", "choose"), ("d", "folder"), *model, ("m", "dataset / model"), ("esc", "chat")]
        )
        self.fields.head.set_title(("Dataset", "Model")[self.tab])
        rows: list[Content] = []
        values = self._values()
        for place, (name, value, says) in enumerate(values):
            here = place == self.at[self.tab]
            rows.append(
                line(
                    ("› " if here else "  ", "$accent bold"),
                    (f"{name:<14}", "$muted"),
                    (value, "$accent bold" if here else "$text"),
                )
            )
            rows.append(line(f"{'':<16}", (one_line(says, 60), "$muted")))
        self.fields.rows.set_lines(*rows)
        self.where.rows.set_lines(line(from_home(self._destination() or "")))
        self._show_preview()

    def _show_preview(self) -> None:
        if self.tab == 1:
            self.preview.head.set_title("How it is checked")
            self.preview.head.set_status("99% needed")
            self.preview.rows.set_lines(
                line("Held-out requests are sent through it as it will"),
                line("be served. Unless 99% get the route that the"),
                line("trained model chose, it is refused, and the stage"),
                line("named: template, tokenizer, quantisation, adapter."),
            )
            return
        self.preview.head.set_title("Preview")
        self.preview.head.set_status(f"{_PREVIEW} rows")
        rows: list[Content] = []
        for row in self._first_rows():
            rows += [*(line((part, "$text")) for part in _shown(row)), line("")]
        self.preview.rows.set_lines(*(rows or [line((_NONE[self.with_tools], "$muted"))]))

    def _first_rows(self) -> Iterator[dict[str, Any]]:
        """What the first rows of the dataset would be."""
        from tui_router.datasets.formats import row_of
        from tui_router.datasets.synthetic import tool_dialogues, tool_export

        fleet = self.engine.config.fleet
        if self.with_tools:
            for one in self.dialogues[:_PREVIEW]:
                clean = one if self.tools_private == "keep" else tool_export.masked_dialogue(one)
                yield tool_dialogues.row_of(clean, fleet, self.tools_form)
            return
        fitting = [
            e
            for e in self.examples
            if e.source in self.choice.sources and (not self.choice.routes or e.route in self.choice.routes)
        ]
        for example in fitting[:_PREVIEW]:
            yield row_of(_masked(example, self.choice.private), fleet, self.choice.form, self.choice.target)

    def _destination(self) -> Path | None:
        if self.folder is not None:
            return self.folder
        if self.tab == 0:
            what = f"{self.tools_form}-tools" if self.with_tools else f"{self.choice.form}-{self.choice.target}"
            return self.engine.folder / "exports" / f"{local(now()):%Y%m%d-%H%M%S}-{what}"
        from tui_router.training.export.forms import FORMS, QUANTS

        run = self._run()
        return run.folder / "exports" / f"{FORMS[self.form_at]}-{QUANTS[self.quant_at]}" if run else None

    # -- choosing ------------------------------------------------------------------------------------------------
    def action_tab(self) -> None:
        """Dataset or model."""
        self.tab, self.folder = 1 - self.tab, None
        self.result.rows.set_lines(line(""))
        self._show()

    def action_move(self, by: int) -> None:
        """Another field."""
        self.at[self.tab] = (self.at[self.tab] + by) % len(self._values())
        self._show()

    def action_change(self, by: int) -> None:
        """The next value of the field."""
        place = self.at[self.tab]
        if self.tab == 0:
            self._change_dataset(place, by)
        else:
            from tui_router.training.export.forms import FORMS, QUANTS

            if place == 0 and self.finished:
                self.run_at = (self.run_at + by) % len(self.finished)
            elif place == 1:
                self.form_at = (self.form_at + by) % len(FORMS)
            elif place == 2:
                self.quant_at = (self.quant_at + by) % len(QUANTS)
        self._show()

    def _change_dataset(self, place: int, by: int) -> None:
        from msgspec.structs import replace

        from tui_router.datasets.formats import FORMATS, TARGETS
        from tui_router.datasets.synthetic.tool_export import FORMS

        if place == 0:
            self.with_tools = not self.with_tools
            return
        if self.with_tools:
            if place == 1:
                self.tools_form = FORMS[(FORMS.index(self.tools_form) + by) % len(FORMS)]
            else:
                self.tools_private = _PRIVATE[(_PRIVATE.index(self.tools_private) + by) % len(_PRIVATE)]
            return
        c = self.choice
        routes = tuple((name,) if name else () for name in self.routes)
        fields: tuple[tuple[str, tuple[Any, ...]], ...] = (
            ("form", FORMATS), ("target", TARGETS), ("sources", _FROM), ("routes", routes),
            ("private", _PRIVATE), ("duplicates", (False, True)),
        )  # fmt: skip
        name, known = fields[place - 1]
        self.choice = replace(c, **{name: known[(known.index(getattr(c, name)) + by) % len(known)]})

    def action_destination(self) -> None:
        """Name the folder."""
        from tui_router.ui.screens.text_dialog import TextDialog

        def named(text: str | None) -> None:
            if text:
                self.folder = Path(text).expanduser()
                self._show()

        self.app.push_screen(TextDialog("Write it into this folder", str(self._destination() or "")), named)

    # -- the way out ---------------------------------------------------------------------------------------------
    def action_export(self) -> None:
        """Write it."""
        if self.busy:
            return
        work = self._export_dataset() if self.tab == 0 else self._export_model()
        self.run_worker(work, group="export", exclusive=True, exit_on_error=False)

    def _tell(self, *rows: Content) -> None:
        self.result.rows.set_lines(*rows)
        self.call_after_refresh(self.result.scroll_visible, animate=False)  # narrow, it lies below the fields

    async def _export_dataset(self) -> None:
        from tui_router.datasets.export import export
        from tui_router.datasets.exported_dataset import DatasetExportError
        from tui_router.datasets.synthetic.tool_export import export as export_tools
        from tui_router.routing.learned.learned_router import LearnedRouter

        folder, fleet, choice = self._destination(), self.engine.config.fleet, self.choice
        if folder is None or not (self.dialogues if self.with_tools else self.examples):
            self._tell(line((_NONE[self.with_tools], "$muted")))
            return
        dialogues, form, private = self.dialogues, self.tools_form, self.tools_private

        def tell(done: int, of: int) -> None:
            share = done / max(1, of)
            self.app.call_from_thread(self._tell, line(bar(share, 30, track=True), f" {share:.0%}"))

        self.busy = True
        self._tell(line(("comparing …", "$accent")))
        try:
            projection = await asyncio.to_thread(lambda: LearnedRouter.as_shipped(fleet).projection)
            if self.with_tools:
                work = partial(export_tools, dialogues, fleet, form, folder, projection, private, tell)
            else:
                work = partial(export, lambda: self.examples, fleet, choice, folder, projection, tell)
            made = await asyncio.to_thread(work)
        except DatasetExportError as error:
            self._tell(*(line((part, "$wrong")) for part in _folded(str(error))))
            return
        finally:
            self.busy = False
        parts = ", ".join(f"{part} {n:,}" for part, n in made.parts.items())
        left = "; ".join(f"{why} {n:,}" for why, n in made.left_out.items())
        noun = "conversations" if self.with_tools else "examples"
        rows = [line(("✓ ", "$right"), f"{sum(made.parts.values()):,} {noun}: {parts}")]
        rows += [line((f"left out: {left}", "$muted"))] if left else []
        rows += [line((f"private data masked in {made.masked:,}", "$muted"))] if made.masked else []
        self._tell(*rows, *(line(part) for part in _folded(from_home(made.folder))))
        self.folder = None

    async def _export_model(self) -> None:
        from tui_router.training.export.forms import FORMS, QUANTS, export
        from tui_router.training.training_error import TrainingError

        run, folder = self._run(), self._destination()
        if run is None or folder is None:
            self._tell(line(("no run is finished: F5 trains one", "$muted")))
            return
        form, quant, llama = FORMS[self.form_at], QUANTS[self.quant_at], self.engine.config.settings.llama_cpp_dir

        def tell(says: str) -> None:
            self.app.call_from_thread(self._tell, line((f"… {says}", "$accent")))

        self.busy = True
        try:
            self.made = made = await asyncio.to_thread(
                lambda: export(run, form, quant, folder, llama_cpp=llama, on_progress=tell)
            )
        except TrainingError as error:
            self._tell(
                *(line(("✗ " if i == 0 else "  ", "$wrong"), part) for i, part in enumerate(_folded(str(error))))
            )
            return
        finally:
            self.busy = False
        rows = [line(("✓ ", "$right"), f"{form}, {made.size_bytes / 1e6:,.1f} MB")]
        if made.parity is not None:
            c = made.parity
            rows.append(line(("✓ ", "$right"), f"{c.same_route} of {c.n} the same, within {c.max_difference:.3f}"))
        else:
            rows += [line(("! ", "$caution"), part) for part in _folded(f"not compared: {made.unchecked}")]
        rows += [line(part) for part in _folded(from_home(made.folder))]
        rows += [line(""), *(line((part, "$accent")) for command in made.commands for part in _folded(command))]
        self._tell(*rows)

    def action_copy(self) -> None:
        """Copy the command that serves what was written."""
        if self.made is not None and self.made.commands:
            self.app.copy_to_clipboard(self.made.commands[0])
            self.notify(self.made.commands[0], title="copied", markup=False)

    def action_run_command(self) -> None:
        """Run the command that hands the export to its server, where that ends by itself (Ollama, LM Studio)."""
        if self.made is None or self.made.form not in ("ollama", "lmstudio"):
            self.notify("this form is served by a command of its own: c copies it", markup=False)
            return
        self.run_worker(self._run_command(self.made.commands[0]), group="export", exclusive=True, exit_on_error=False)

    async def _run_command(self, command: str) -> None:
        self._tell(line((f"… {one_line(command, 50)}", "$accent")))
        running = await asyncio.create_subprocess_shell(
            command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await running.communicate()
        last = one_line(said.decode("utf-8", "replace").strip().rpartition("\n")[2], 200)
        done = running.returncode == 0
        self._tell(line(("✓ " if done else "✗ ", "$right" if done else "$wrong"), last or command))

    def action_promote(self) -> None:
        """Give the run the lead, if it passes its gate."""
        run = self._run()
        if self.tab == 1 and run is not None:
            self.run_worker(self._promote(run), group="export", exclusive=True, exit_on_error=False)

    async def _promote(self, run: Run) -> None:
        from tui_router.store.store_errors import StoreError
        from tui_router.training.training_error import TrainingError

        self._tell(line(("… the gate", "$accent")))
        try:
            lead = await self.engine.router_service.promote(run)
        except (TrainingError, StoreError, OSError) as error:
            self._tell(
                *(line(("✗ " if i == 0 else "  ", "$wrong"), part) for i, part in enumerate(_folded(str(error))))
            )
            return
        self._tell(*(line(("✓ " if i == 0 else "  ", "$right"), part) for i, part in enumerate(_folded(lead.reason))))


def _masked(example: Example, private: str) -> Example:
    from msgspec.structs import replace

    from tui_router.datasets.pii import mask

    return replace(example, text=mask(example.text)) if private == "mask" else example


def _shown(row: dict[str, Any]) -> list[str]:
    """A row as it will stand in its file, its long texts cut, folded."""
    kept = {name: _short(value) for name, value in row.items() if value not in ("", 1.0, False)}
    return _folded(one_line(json.dumps(kept, ensure_ascii=False), 2000))


def _short(value: Any) -> Any:
    """A value of a row whose long texts keep their two ends."""
    if isinstance(value, str):
        return value if len(value) <= _TEXT else f"{value[: _TEXT - 14]} … {value[-10:]}"
    if isinstance(value, list):
        return [_short(one) for one in value]
    return {name: _short(one) for name, one in value.items()} if isinstance(value, dict) else value


def _folded(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, _WIDE - 12, break_on_hyphens=False) or [""]
