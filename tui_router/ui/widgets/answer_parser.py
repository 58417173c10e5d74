"""The parser of answers."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt


@lru_cache
def answer_parser() -> MarkdownIt:
    """Return the one Markdown parser of all answers: making one takes longer than parsing a paragraph."""
    from markdown_it import MarkdownIt

    return MarkdownIt("gfm-like")
