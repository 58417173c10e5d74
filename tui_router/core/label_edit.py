"""Edits of labels: what a person decided about an example whose label the label audit doubted."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from tui_router.core.example import Example

EditKind = Literal["keep", "relabel", "drop", "value", "undone"]
"""`value`: the example is worth more than others."""


class LabelEdit(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One decision about one example. Later ones of the same example replace it; `undone` takes the one before back."""

    at: str
    example: str
    """`name_of` the example."""
    kind: EditKind
    route: str = ""
    """The right route, when it was relabelled."""


def name_of(example: Example) -> str:
    """Return the name that label edits use for an example: its origin, its request and its route."""
    return f"{example.origin or example.source}:{example.key}:{example.route}"


def effective_edits(edits: list[LabelEdit]) -> dict[str, LabelEdit]:
    """Return example name -> the edit that counts now. An `undone` takes the edit before it back."""
    held: dict[str, list[LabelEdit]] = {}
    for edit in edits:
        kept = held.setdefault(edit.example, [])
        if edit.kind != "undone":
            kept.append(edit)
        elif kept:
            kept.pop()
    return {name: kept[-1] for name, kept in held.items() if kept}
