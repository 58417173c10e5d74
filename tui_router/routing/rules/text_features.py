"""Shapes: features of a request's form, such as its length, a code block or an image.

`TextView` is made once a decision. It keeps the head and the tail of a long text, so that the time of a decision does not
grow with what somebody pasted; what a person asks stands at one of the two ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property

from tui_router.core.types import Request
from tui_router.routing.rules.paste_filter import user_text

FILTERED = 20_000
"""Characters of a text in which the person's own words are looked for, half of them at each end."""
HEAD, TAIL = 1000, 300
"""Characters of the person's own words that are looked at, from each end."""
_STACK = re.compile(
    r"Traceback \(most recent|^\s+at [\w.$<>]+\([^)\n]{0,200}\)|\b[A-Z]\w*(?:Error|Exception)\b:?|error\[E\d+|"
    r"\bundefined reference to|\bsegmentation fault|\bpanic: |\bfatal: |\bnpm ERR!|^E\s{2,}",
    re.MULTILINE,
)
_STACK_MARKS = (
    "Error",
    "Exception",
    "Traceback (",
    "error[E",
    "undefined ref",
    "segmentation",
    "panic: ",
    "fatal: ",
    "npm ERR",
    "\nE",
)
"""Every match of `_STACK` contains one of these, but for lines with `at name(` and an E at the very start."""
_LAST_LATIN = "\u024f"
"""The last letter of Unicode's Latin Extended-B."""
_SHORTEST_IN_SCRIPT = 15
"""Characters from which on the script of a text is evidence; shorter ones are greetings in every script."""
_IMAGE_WORD = re.compile(r"(?:^|(?<=\s))@image\b")


class TextView:
    """What the rules look at: a window of the text."""

    def __init__(self, request: Request) -> None:
        text = request.text
        self.request, self.length = request, len(text)
        if self.length > FILTERED:
            text = f"{text[: FILTERED // 2]}\n{text[-FILTERED // 2 :]}"
        text = user_text(text)
        if len(text) > HEAD + TAIL:
            text = f"{text[:HEAD]}\n{text[-TAIL:]}"
        self.text = text.replace("’", "'")

    @property
    def shortened(self) -> bool:
        """Whether a part of the text was not looked at."""
        return len(self.text) < self.length

    @property
    def classified(self) -> str:
        """The text that was looked at, when that is not all of it; else empty."""
        return self.text if self.shortened else ""

    @cached_property
    def digits(self) -> int:
        """How many digits stand in the window."""
        return sum(map(self.text.count, "0123456789"))


def _image_attached(view: TextView) -> str | None:
    request = view.request
    return (request.attachments[0].path if request.attachments else "an image") if request.has_image else None


def _image_reference(view: TextView) -> str | None:
    if "@image" not in view.text and "@image" not in view.request.typed:
        return None
    return "@image" if _IMAGE_WORD.search(view.text) or _IMAGE_WORD.search(view.request.typed) else None


def _code_attached(view: TextView) -> str | None:
    return "code" if view.request.has_code else None


def _code_fence(view: TextView) -> str | None:
    return "```" if "```" in view.text else None


def _stack_trace(view: TextView) -> str | None:
    text = view.text
    possible = any(mark in text for mark in _STACK_MARKS) or text.startswith("E") or ("at " in text and "(" in text)
    found = _STACK.search(text) if possible else None
    return found[0].strip() if found else None


def is_other_script(text: str) -> bool:
    """Whether more than half of the letters are not Latin."""
    if text.isascii():
        return False
    letters = [char for char in text if char.isalpha()]
    return sum(char > _LAST_LATIN for char in letters) > len(letters) / 2


def _other_script(view: TextView) -> str | None:
    return "another script" if view.length >= _SHORTEST_IN_SCRIPT and is_other_script(view.text) else None


def _between(low: int, high: int) -> Callable[[TextView], str | None]:
    def shape(view: TextView) -> str | None:
        return f"{view.length} characters" if low <= view.length <= high else None

    return shape


def _no_digits(view: TextView) -> str | None:
    return "no numbers" if view.digits == 0 else None


def _digits_in_long(view: TextView) -> str | None:
    return f"{view.digits} digits" if view.length > 70 and view.digits >= 2 else None


SHAPES: dict[str, Callable[[TextView], str | None]] = {
    "image_attached": _image_attached,
    "image_reference": _image_reference,
    "code_attached": _code_attached,
    "code_fence": _code_fence,
    "stack_trace": _stack_trace,
    "other_script": _other_script,
    "under_25_characters": _between(0, 24),
    "25_to_49_characters": _between(25, 49),
    "66_to_90_characters": _between(66, 90),
    "over_90_characters": _between(91, 10**12),
    "over_300_characters": _between(301, 10**12),
    "no_digits": _no_digits,
    "digits_over_70_characters": _digits_in_long,
}
"""Shape -> a function that returns the part of the request that has the shape, or None."""
