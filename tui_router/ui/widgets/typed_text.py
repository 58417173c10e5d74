"""Which typed characters belong into a text."""

from __future__ import annotations

_JOINERS = "\u200c\u200d\u200e\u200f"
"""Zero-width joiners and direction marks: Persian words, Indic scripts and family emoji are typed with them."""


def is_text(character: str | None) -> bool:
    """Return whether a typed character is text: everything printable, and the joiners inside of words and emoji."""
    return character is not None and (character.isprintable() or character in _JOINERS)
