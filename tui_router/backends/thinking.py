"""Reasoning that a model writes into its answer, told apart while it streams.

Most servers send reasoning in a field of its own. Without such a setting it stands in the text, between the marks that the
model was trained with, and the marks may be cut anywhere. Only a block at the very start counts: a `<think>` further on is
what the person asked about. Some templates open the block in the prompt, so that only its end is seen; that is taken for one
of models that are known to reason, and not inside of code marks.

Marks: DeepSeek, Qwen and GLM `<think>`; Mistral `[THINK]`; Exaone `<thought>`; Seed `<seed:think>`; Kimi `◁think▷`; Cohere
`<|START_THINKING|>`; OpenThinker `<|begin_of_thought|>`; Gemma `<|channel>thought`; gpt-oss: harmony channels
(cookbook.openai.com/articles/openai-harmony).
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

_ENDS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<thoughts>": "</thoughts>",
    "<reasoning>": "</reasoning>",
    "<reason>": "</reason>",
    "<scratchpad>": "</scratchpad>",
    "<seed:think>": "</seed:think>",
    "[think]": "[/think]",
    "\u25c1think\u25b7": "\u25c1/think\u25b7",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|start_thinking|>": "<|end_thinking|>",
    "<|channel>thought": "<channel|>",
}
"""Opening mark -> closing mark, in lower case: models do not keep to one."""
_HARMONY = ("<|channel|>", "<|start|>assistant")
_LONE_ENDS = ("</think>", "[/think]", "</thinking>", "</thought>", "</seed:think>", "\u25c1/think\u25b7")
_LONE_END = re.compile("|".join(map(re.escape, _LONE_ENDS)), re.IGNORECASE)
_LONGEST_MARK = max(len(mark) for pair in _ENDS.items() for mark in pair)
_MOST_BLANKS = 1000
"""Characters of white space that are held back before the first word."""
_REASONS = re.compile(r"think|reason|\br1\b|qwq|magistral", re.IGNORECASE)


def reasons(*names: str) -> bool:
    """Return whether one of the names of a model says that it reasons before it answers."""
    return any(_REASONS.search(name) for name in names)


class ThinkSplit(NamedTuple):
    """What a piece adds to the reasoning and to the answer."""

    reasoning: str
    text: str
    retracted: bool = False
    """All text so far was reasoning: only the end of a block was seen."""


class ThinkSplitter:
    """Splits streamed text.

    Args:
        reasons: The model is known to reason, so a closing mark alone ends a block that the prompt opened.
    """

    def __init__(self, *, reasons: bool = False) -> None:
        self._reasons = reasons
        self._held = ""
        self._closing = ""
        """The mark that ends the block that is being read."""
        self._state: Literal["start", "thinking", "open", "text", "harmony"] = "start"
        """`open`: in text that may turn out to be reasoning, if only the end of a block is seen; `text`: nothing is looked for."""
        self._after_block = False
        self._code = _CodeMarks()
        self._harmony = _Harmony()

    def reasoning_came_apart(self) -> None:
        """Take every mark from here on for text: the server sends the reasoning in a field of its own."""
        if self._state in ("start", "open"):
            self._reasons = False
            self._state = "text" if self._state == "open" else "start"

    def feed(self, piece: str) -> ThinkSplit:
        """Split the next piece."""
        reasoning, text, retracted = "", "", False
        piece, self._held = self._held + piece, ""
        while piece:
            before = self._state
            if before == "start":
                piece = self._start(piece)
                if before == self._state:
                    break
            elif before == "thinking":
                thought, piece = self._thinking(piece)
                reasoning += thought
                if before == self._state:
                    break
            elif before == "harmony":
                thought, said = self._harmony.feed(piece)
                return ThinkSplit(reasoning + thought, text + said)
            elif before == "open":
                said, piece, retracted = self._open(piece)
                if retracted:
                    reasoning, text = reasoning + text + said, ""
                else:
                    text += said
                    break
            else:
                text += piece
                break
        return ThinkSplit(reasoning, text, retracted)

    def close(self) -> ThinkSplit:
        """Return what was held back."""
        held, self._held = self._held, ""
        if self._state == "harmony":
            return ThinkSplit(*self._harmony.close())
        if self._state == "thinking":
            return ThinkSplit(held, "")
        return ThinkSplit("", "" if self._after_block and not held.strip() else held)

    def _start(self, piece: str) -> str:
        """Find out whether a block opens; returns what follows the opening mark, or all of it."""
        head = piece.lstrip()
        low = head[:_LONGEST_MARK].lower()
        for mark in (*_ENDS, *_HARMONY):
            if low.startswith(mark):
                self._state = "harmony" if mark in _HARMONY else "thinking"
                self._closing = _ENDS.get(mark, "")
                return head if mark in _HARMONY else head[len(mark) :]
        waits = not head or any(mark.startswith(low) for mark in (*_ENDS, *_HARMONY))
        if waits and len(piece) < _MOST_BLANKS:
            self._held = piece
            return ""
        self._state = "open" if self._reasons and not self._after_block else "text"
        return piece.lstrip("\n") if self._after_block else piece

    def _thinking(self, piece: str) -> tuple[str, str]:
        """Look for the end of the block; returns what belongs to it and what follows it."""
        for found in re.finditer(re.escape(self._closing), piece, re.IGNORECASE):
            place, end = found.span()
            quoted = place > 0 and piece[place - 1] == "`"
            if quoted and end == len(piece):  # whether it is quoted shows with the next character
                self._held = piece[place - 1 :]
                return piece[: place - 1], ""
            if not (quoted and piece[end] == "`"):
                self._state, self._after_block = "start", True
                return piece[:place], piece[end:]
        keep = _partial(piece, (f"`{self._closing}", self._closing))
        self._held = piece[len(piece) - keep :] if keep else ""
        return piece[: len(piece) - keep], ""

    def _open(self, piece: str) -> tuple[str, str, bool]:
        """Look for the end of a block that the prompt opened: (text before it, what follows it, whether it was found)."""
        start = 0
        for found in _LONE_END.finditer(piece):
            self._code.feed(piece[start : found.start()])
            start = found.end()
            if not self._code.inside:
                self._state, self._after_block = "start", True
                return piece[: found.start()], piece[start:], True
        keep = _partial(piece[start:], _LONE_ENDS)
        self._code.feed(piece[start : len(piece) - keep])
        self._held = piece[len(piece) - keep :] if keep else ""
        return piece[: len(piece) - keep], "", False


class _CodeMarks:
    """Keeps whether a text that is read piece by piece stands inside of backticks or of a fence."""

    def __init__(self) -> None:
        self._ticks = 0
        self._fenced = self._inline = False

    @property
    def inside(self) -> bool:
        """Whether the text so far ends inside of code."""
        self._settle()
        return self._fenced or self._inline

    def feed(self, text: str) -> None:
        """Read the next piece."""
        for run in re.finditer(r"`+|\n|[^`\n]+", text):
            if run[0][0] == "`":
                self._ticks += len(run[0])
                continue
            self._settle()
            if run[0] == "\n":
                self._inline = False

    def _settle(self) -> None:
        """Count the backticks that have been read: three or more are a fence."""
        if self._ticks >= 3:
            self._fenced = not self._fenced
        elif self._ticks and not self._fenced:
            self._inline = not self._inline
        self._ticks = 0


class _Harmony:
    """Messages of gpt-oss as they are generated: `<|channel|>final<|message|>text<|end|>`. Only `final` is the answer."""

    _MARK = re.compile(r"<\|(?:start|channel|message|constrain|end|return|call)\|>")
    _MARKS = tuple(f"<|{name}|>" for name in ("start", "channel", "message", "constrain", "end", "return", "call"))

    def __init__(self) -> None:
        self._held = ""
        self._header = ""
        self._in_body = False

    def feed(self, piece: str) -> tuple[str, str]:
        """Return what a piece adds to the reasoning and to the answer."""
        piece, self._held = self._held + piece, ""
        found: dict[bool, list[str]] = {True: [], False: []}
        start = 0
        for mark in self._MARK.finditer(piece):
            self._add(piece[start : mark.start()], found)
            start = mark.end()
            if mark[0] == "<|message|>":
                self._in_body = True
            elif mark[0] in ("<|end|>", "<|return|>", "<|call|>", "<|start|>", "<|channel|>"):
                self._in_body, self._header = False, ""
        keep = _partial(piece[start:], self._MARKS)
        self._add(piece[start : len(piece) - keep], found)
        self._held = piece[len(piece) - keep :] if keep else ""
        return "".join(found[False]), "".join(found[True])

    def _add(self, text: str, found: dict[bool, list[str]]) -> None:
        if self._in_body:
            found[self._header.lower().split()[:1] == ["final"]].append(text)
        else:
            self._header = (self._header + text)[:100]

    def close(self) -> tuple[str, str]:
        """Return what was held back."""
        held, self._held = self._held, ""
        found: dict[bool, list[str]] = {True: [], False: []}
        self._add(held, found)
        return "".join(found[False]), "".join(found[True])


def _partial(text: str, marks: tuple[str, ...]) -> int:
    """Return how many characters at the end may be the start of one of the marks."""
    for length in range(min(len(text), _LONGEST_MARK), 0, -1):
        end = text[-length:].lower()
        if any(len(mark) > length and mark.startswith(end) for mark in marks):
            return length
    return 0
