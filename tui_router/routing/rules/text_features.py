"""The form of a request: what a text looks like before one reads it.

`TextView` is made once a decision. It keeps the head and the tail of a long text, so that the time of a decision does not
grow with what somebody pasted; what a person asks stands at one of the two ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property

from tui_router.core.types import Request
from tui_router.routing.rules.paste_filter import user_text

SEEN = 20_000
"""Characters of a text that are searched for what the person says in it, half of them at each end."""
HEAD, TAIL = 1000, 300
"""Characters of what the person says that are looked at."""
_STACK = re.compile(
    r"Traceback \(most recent|^\s+at [\w.$<>]+\([^)\n]{0,200}\)|\b[A-Z]\w*(?:Error|Exception)\b:?|error\[E\d+|"
    r"\bundefined reference to|\bsegmentation fault|\bpanic: |\bfatal: |\bnpm ERR!|^E\s{2,}",
    re.MULTILINE,
)
_STACK_MARKS = (
    "Error", "Exception", "Traceback (", "error[E", "undefined ref", "segmentation", "panic: ", "fatal: ", "npm ERR", "\nE",
)  # fmt: skip
"""Every form of `_STACK` has one of these, but for lines with `at name(` and an E at the very start."""
_IMAGE_WORD = re.compile(r"(?:^|(?<=\s))@image\b")


class TextView:
    """What the rules look at: a window of the text, and a count."""

    def __init__(self, request: Request) -> None:
        text = request.text
        self.request, self.length = request, len(text)
        if self.length > SEEN:
            text = f"{text[: SEEN // 2]}\n{text[-SEEN // 2 :]}"
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


def _image_attached(look: TextView) -> str | None:
    request = look.request
    return (request.attachments[0].path if request.attachments else "an image") if request.has_image else None


def _image_reference(look: TextView) -> str | None:
    if "@image" not in look.text and "@image" not in look.request.typed:
        return None
    return "@image" if _IMAGE_WORD.search(look.text) or _IMAGE_WORD.search(look.request.typed) else None


def _code_attached(look: TextView) -> str | None:
    return "code" if look.request.has_code else None


def _code_fence(look: TextView) -> str | None:
    return "```" if "```" in look.text else None


def _stack_trace(look: TextView) -> str | None:
    text = look.text
    possible = any(mark in text for mark in _STACK_MARKS) or text.startswith("E") or ("at " in text and "(" in text)
    found = _STACK.search(text) if possible else None
    return found[0].strip() if found else None


def _other_script(look: TextView) -> str | None:
    if look.text.isascii() or look.length <= 14:
        return None
    foreign = sum(ord(c) > 127 and c.isalpha() for c in look.text)
    return "another script" if foreign > 0.4 * len(look.text) else None


def _between(low: int, high: int) -> Callable[[TextView], str | None]:
    def shape(look: TextView) -> str | None:
        return f"{look.length} characters" if low <= look.length <= high else None

    return shape


def _no_digits(look: TextView) -> str | None:
    return "no figures" if look.digits == 0 else None


def _digits_in_long(look: TextView) -> str | None:
    return f"{look.digits} digits" if look.length > 70 and look.digits >= 2 else None


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
"""Each shape by name: the piece of the request that shows it, or None."""
