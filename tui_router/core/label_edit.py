"""What a person decided about a label that the doctor doubted."""

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
    """What an example is called by rulings: where it comes from, and what it says."""
    return f"{example.origin or example.source}:{example.key}:{example.route}"


def effective_edits(rulings: list[LabelEdit]) -> dict[str, LabelEdit]:
    """Example -> the ruling that counts now, of all rulings in their order."""
    held: dict[str, list[LabelEdit]] = {}
    for ruling in rulings:
        kept = held.setdefault(ruling.example, [])
        if ruling.kind != "undone":
            kept.append(ruling)
        elif kept:
            kept.pop()
    return {name: kept[-1] for name, kept in held.items() if kept}
