"""Reasoning that a model writes into its answer between `<think>` and `</think>`, told apart while it streams."""

from __future__ import annotations

from typing import NamedTuple

_OPEN, _CLOSE = "<think>", "</think>"


class ThinkSplit(NamedTuple):
    """What a piece adds to the reasoning and to the answer."""

    reasoning: str
    text: str
    retracted: bool = False
    """All text so far was reasoning: the template opened the block in the prompt, and only `</think>` was seen."""


class ThinkSplitter:
    """Splits streamed text; a tag may be cut in two by the pieces.

    Only a block at the very start counts: a `<think>` further on is what the person asked about.
    """

    def __init__(self) -> None:
        self._held = ""
        self._thinking = False
        self._started = False
        self._closed = False
        self._fresh = False  # the block has ended, and the blank lines after it are not over yet

    def feed(self, piece: str) -> ThinkSplit:
        """The next piece, split."""
        text, self._held = self._held + piece, ""
        if self._closed:
            if self._fresh:
                text = text.lstrip("\n")
                self._fresh = not text
            return ThinkSplit("", text)
        if not self._started:
            head = text.lstrip()
            if not head or (len(head) < len(_OPEN) and _OPEN.startswith(head)):
                self._held = text
                return ThinkSplit("", "")
            self._started = True
            if head.startswith(_OPEN):
                self._thinking, text = True, head[len(_OPEN) :]
        before, tag, after = text.partition(_CLOSE)
        if tag:
            self._closed, after = True, after.lstrip("\n")
            self._fresh = not after
            return ThinkSplit(before, after, retracted=not self._thinking)
        keep = _partial(text)
        self._held, text = text[len(text) - keep :], text[: len(text) - keep]
        return ThinkSplit(text, "") if self._thinking else ThinkSplit("", text)

    def close(self) -> ThinkSplit:
        """What was held back."""
        held, self._held = self._held, ""
        return ThinkSplit(held, "") if self._thinking and not self._closed else ThinkSplit("", held)


def _partial(text: str) -> int:
    """How many characters at the end may be the start of `</think>`."""
    return next((n for n in range(min(len(text), len(_CLOSE) - 1), 0, -1) if _CLOSE.startswith(text[-n:])), 0)
