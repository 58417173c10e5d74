"""What the two halves of the Export screen have in common: fields with values, a preview, a folder, and the way out."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct
from textual.content import Content

from tui_router.ui.widgets.lines import line

_FOLD = 50
"""Columns of a long text in the panes at the right."""

Report = Callable[[Sequence[Content]], None]
"""Shows how far an export is, or what became of it. Called on the screen's own thread."""


class ExportField(Struct, frozen=True):
    """A choice of an export."""

    name: str
    value: str
    meaning: str


class Preview(Struct, frozen=True):
    """What stands beside the fields."""

    title: str
    status: str
    lines: Sequence[Content]


class ExportForm(Protocol):
    """One kind of export: its choices, and how it is written."""

    title: str

    def fields(self) -> list[ExportField]:
        """The choices as they are now."""

    def change(self, place: int, by: int) -> None:
        """The next (1) or previous (-1) value of a field."""

    def preview(self) -> Preview:
        """What would be written."""

    def default_folder(self) -> Path | None:
        """Where it would be written; None when there is nothing to write."""

    def read(self) -> None:
        """Read what can be exported. Waits for the disk. Raises StoreError, and RuntimeError when the store has ended."""

    def export(self, folder: Path, report: Callable[[Sequence[Content]], None]) -> list[Content]:
        """Write it and return what became of it, as lines. Takes long; `report` may be called from any thread."""


def folded(text: str, sign: str = "", style: str = "$text", text_style: str = "$text") -> list[Content]:
    """A text in lines of the right column, a sign before the first."""
    parts = textwrap.wrap(text, _FOLD, break_on_hyphens=False) or [""]
    indent = " " * len(sign)
    return [line((sign if place == 0 else indent, style), (part, text_style)) for place, part in enumerate(parts)]


def next_of(choices: Sequence[object], current: object, by: int) -> object:
    """The value after (1) or before (-1) the current one; behind the last comes the first."""
    return choices[(list(choices).index(current) + by) % len(choices)]
