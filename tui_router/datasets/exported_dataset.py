"""What an export writes, and why it may fail: the types that the exporters and the dataset card share."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from tui_router.datasets.formats import Format, Target

PiiPolicy = Literal["mask", "drop", "keep"]
"""What happens to examples with private data: replace the data, leave the example out, or write it unchanged."""


class ExportedDataset(Struct, frozen=True, kw_only=True):
    """A dataset folder that was written. `--json` prints these fields."""

    folder: str
    form: Format
    target: Target | Literal["tool-use"]
    parts: dict[str, int]
    """Part -> examples."""
    per_route: dict[str, dict[str, int]]
    """Route (of conversations with tools: scenario) -> part -> examples."""
    per_source: dict[str, int]
    left_out: dict[str, int]
    """Reason -> examples."""
    dropped: dict[str, int] = {}  # msgspec gives each instance a copy
    """What the format has no place for -> examples that had it."""
    masked: int
    """Examples in which private data was replaced."""
    hash: str
    """Of all rows, in their order: 16 hex digits."""


class DatasetExportError(Exception):
    """The dataset cannot be written; the message says why and what to do."""
