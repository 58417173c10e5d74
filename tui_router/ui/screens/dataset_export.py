"""Exporting a dataset: requests with their routes, or conversations with tools, in one of the formats."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.content import Content

from tui_router.config.folders import from_home
from tui_router.core.clock import local, now
from tui_router.core.example import SOURCES
from tui_router.core.text import one_line
from tui_router.ui.screens.export_form import ExportField, Preview, folded, next_of
from tui_router.ui.widgets.lines import bar, line

if TYPE_CHECKING:
    from tui_router.app.engine import Engine
    from tui_router.core.example import Example, Source
    from tui_router.core.tool_dialogue import ToolDialogue
    from tui_router.core.types import Turn
    from tui_router.datasets.export import ExportOptions
    from tui_router.datasets.exported_dataset import PiiPolicy
    from tui_router.datasets.formats import Format

_SOURCES: tuple[tuple[Source, ...], ...] = (SOURCES, ("verdict", "imported", "generated"), ("verdict",))
_PRIVATE: tuple[PiiPolicy, ...] = ("mask", "drop", "keep")
_ROWS = 3
"""Rows in the preview."""
_TEXT = 60
"""Characters of a text in the preview."""


class DatasetExportForm:
    """Choices of a dataset.

    Args:
        engine: With its store open.
        all_turns: Reads every turn, oldest first; called in a thread.
    """

    title = "Dataset"

    def __init__(self, engine: Engine, all_turns: Callable[[], Iterator[Turn]]) -> None:
        from tui_router.datasets.export import ExportOptions

        self._engine, self._all_turns = engine, all_turns
        self._routes: tuple[tuple[str, ...], ...] = ((), *((r.name,) for r in engine.config.fleet.routes))
        self._options: ExportOptions = ExportOptions(sources=_SOURCES[0])
        self._with_tools = False
        """Conversations with tools instead of requests with their routes."""
        self._tools_format: Format = "messages"
        self._tools_private: PiiPolicy = "keep"
        self.dialogues: list[ToolDialogue] = []
        self.examples: list[Example] = []

    def read(self) -> None:
        """Read what can be exported. Waits for the disk. Raises StoreError, and RuntimeError when the store has ended."""
        from tui_router.datasets.sources import all_examples

        engine = self._engine
        store = engine.opened()
        kept, edits = engine.at_store(lambda: (list(store.training.examples()), store.training.edits()))
        self.dialogues = engine.at_store(lambda: list(store.training.dialogues()))
        self.examples = all_examples(self._all_turns(), kept, engine.config.fleet, edits)

    # -- choices -------------------------------------------------------------------------------------------------
    def fields(self) -> list[ExportField]:
        """The choices as they are now."""
        if self._with_tools:
            return [
                ExportField("content", "conversations with tools", "calls, their results, and the last words"),
                ExportField("row format", self._tools_format, "OpenAI's tool calls, or ShareGPT's function_call"),
                ExportField("private data", self._tools_private, "a model made the people up"),
            ]
        options = self._options
        return [
            ExportField("content", "requests", "requests + route"),
            ExportField("row format", options.form, "the fields of a row"),
            ExportField("target", options.target, "the completion that the model learns"),
            ExportField("sources", ", ".join(options.sources), "where the labels come from"),
            ExportField("route", options.routes[0] if options.routes else "all", "one route, or all"),
            ExportField("private data", options.private, "e-mail, phone, keys, cards, paths"),
            ExportField(
                "duplicates", "keep" if options.duplicates else "one of each", "requests that are nearly the same"
            ),
        ]

    def change(self, place: int, by: int) -> None:
        """The next (1) or previous (-1) value of a field."""
        from msgspec.structs import replace

        from tui_router.datasets.formats import FORMATS, TARGETS
        from tui_router.datasets.synthetic.tool_export import FORMS

        if place == 0:
            self._with_tools = not self._with_tools
            return
        if self._with_tools and place == 1:
            self._tools_format = FORMS[(FORMS.index(self._tools_format) + by) % len(FORMS)]
            return
        if self._with_tools:
            self._tools_private = _PRIVATE[(_PRIVATE.index(self._tools_private) + by) % len(_PRIVATE)]
            return
        choices: tuple[tuple[str, Sequence[object]], ...] = (
            ("form", FORMATS),
            ("target", TARGETS),
            ("sources", _SOURCES),
            ("routes", self._routes),
            ("private", _PRIVATE),
            ("duplicates", (False, True)),
        )
        name, known = choices[place - 1]
        self._options = replace(self._options, **{name: next_of(known, getattr(self._options, name), by)})

    def preview(self) -> Preview:
        """The first rows as they would be written."""
        rows: list[Content] = []
        for row in self._first_rows():
            rows += [*folded(_shortened(row)), line("")]
        return Preview("Preview", f"{_ROWS} rows", rows or [line((self._nothing(), "$muted"))])

    def _nothing(self) -> str:
        return "none yet; press G on F4 to generate some" if self._with_tools else "no example matches"

    def _first_rows(self) -> Iterator[dict[str, Any]]:
        from tui_router.datasets.formats import row_of
        from tui_router.datasets.synthetic import tool_dialogues, tool_export

        fleet, options = self._engine.config.fleet, self._options
        if self._with_tools:
            for one in self.dialogues[:_ROWS]:
                clean = one if self._tools_private == "keep" else tool_export.masked_dialogue(one)
                yield tool_dialogues.row_of(clean, fleet, self._tools_format)
            return
        fitting = (
            example
            for example in self.examples
            if example.source in options.sources and (not options.routes or example.route in options.routes)
        )
        for _, example in zip(range(_ROWS), fitting, strict=False):
            yield row_of(_masked(example, options.private), fleet, options.form, options.target)

    def default_folder(self) -> Path | None:
        """Where it would be written; None when there is nothing to write."""
        if not (self.dialogues if self._with_tools else self.examples):
            return None
        options = self._options
        what = f"{self._tools_format}-tools" if self._with_tools else f"{options.form}-{options.target}"
        return self._engine.folder / "exports" / f"{local(now()):%Y%m%d-%H%M%S}-{what}"

    # -- writing -------------------------------------------------------------------------------------------------
    def export(self, folder: Path, report: Callable[[Sequence[Content]], None]) -> list[Content]:
        """Write it and return what became of it, as lines. Takes long; `report` may be called from any thread."""
        from tui_router.datasets.export import export
        from tui_router.datasets.exported_dataset import DatasetExportError
        from tui_router.datasets.synthetic.tool_export import export as export_tools
        from tui_router.routing.learned.learned_router import LearnedRouter

        fleet = self._engine.config.fleet

        def show_progress(done: int, of: int) -> None:
            share = done / max(1, of)
            report([line(bar(share, 30, track=True), f" {share:.0%}")])

        report([line(("comparing …", "$accent"))])
        projection = LearnedRouter.as_shipped(fleet).projection
        try:
            if self._with_tools:
                form, private = self._tools_format, self._tools_private
                made = export_tools(self.dialogues, fleet, form, folder, projection, private, show_progress)
            else:
                made = export(lambda: self.examples, fleet, self._options, folder, projection, show_progress)
        except DatasetExportError as error:
            return folded(str(error), text_style="$wrong")
        parts = ", ".join(f"{part} {n:,}" for part, n in made.parts.items())
        noun = "conversations" if self._with_tools else "examples"
        rows = folded(f"{sum(made.parts.values()):,} {noun}: {parts}", "✓ ", "$right")
        if skipped := "; ".join(f"{why} {n:,}" for why, n in made.left_out.items()):
            rows += folded(f"skipped: {skipped}", text_style="$muted")
        if made.masked:
            rows += folded(f"private data masked in {made.masked:,}", text_style="$muted")
        return [*rows, *folded(from_home(made.folder))]


def _masked(example: Example, private: str) -> Example:
    from msgspec.structs import replace

    from tui_router.datasets.pii import mask

    return replace(example, text=mask(example.text)) if private == "mask" else example


def _shortened(row: dict[str, Any]) -> str:
    """A row as it will stand in its file, its long texts cut."""
    kept = {name: _short(value) for name, value in row.items() if value not in ("", 1.0, False)}
    return one_line(json.dumps(kept, ensure_ascii=False), 2000)


def _short(value: Any) -> Any:
    """A value of a row whose long texts keep their two ends."""
    if isinstance(value, str):
        if len(value) <= _TEXT:
            return value
        start, end = value[: _TEXT - 14], value[-10:]
        return f"{start.rpartition(' ')[0] or start} … {end.partition(' ')[2] or end}"
    if isinstance(value, list):
        return [_short(one) for one in value]
    return {name: _short(one) for name, one in value.items()} if isinstance(value, dict) else value
