"""The code blocks of an answer, as they are copied."""

from __future__ import annotations

from tui_router.ui.widgets.answer_parser import answer_parser


def code_blocks(markdown: str) -> list[str]:
    """Return the contents of the fenced and indented code blocks of a Markdown text, in their order."""
    tokens = answer_parser().parse(markdown)
    return [token.content.rstrip("\n") for token in tokens if token.type in ("fence", "code_block")]
