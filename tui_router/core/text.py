"""The cleaning boundary: what models, servers, files and people send is text, never terminal control.

Raw text is stored as it came; everything that is shown or printed goes through `clean` (or `StreamCleaner`
for text that arrives in pieces). Whole control sequences are removed, so that no litter such as `52;c;...`
is left behind; stray control and bidirectional override characters become U+FFFD.

Sequences: ECMA-48 (CSI, OSC, DCS, SOS, PM, APC; 7-bit and C1 forms).
"""

from __future__ import annotations

import re

_STRING_BODY = r"[^\x07\x1b\x9c]*"
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI
    rf"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f]){_STRING_BODY}(?:\x07|\x1b\\|\x9c)"  # OSC, DCS, SOS, PM, APC
    r"|\x1b[ -/]+[0-~]|\x1b[0-OQ-WYZ\\`-~]"  # two- and three-character escapes
)
_PARTIAL = re.compile(
    r"(?:\x1b|\x1b[ -/]+|(?:\x1b\[|\x9b)[0-?]*[ -/]*"
    rf"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f]){_STRING_BODY}\x1b?)\Z"
)
_LONGEST_SEQUENCE = 4096
_REPLACED = dict.fromkeys(
    (
        *(c for c in range(32) if c not in (9, 10)),
        127,
        *range(128, 160),
        *range(8234, 8239),
        *range(8294, 8298),
        *range(55296, 57344),
    ),
    "�",
)


def clean(text: str) -> str:
    """Text that is safe to show: newlines and tabs stay, control sequences go, other controls become U+FFFD."""
    if text.isprintable():
        return text
    text = text.replace("\r\n", "\n")
    if "\x1b" in text or any(c in text for c in "\x9b\x9d\x90\x98\x9e\x9f"):
        text = _SEQUENCE.sub("", text)
    return text.replace("\r", "\n").translate(_REPLACED)


def one_line(text: str, limit: int = 400) -> str:
    """Clean text on one line, white space collapsed, cut with `…` after `limit` characters."""
    line = " ".join(clean(text[: limit * 4]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def plural(count: int, noun: str) -> str:
    """`1 turn`, `1,200 turns`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


class StreamCleaner:
    """`clean` for text in pieces: holds back a control sequence that is not complete yet."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """Clean the next piece; what may be the start of a sequence waits for its end."""
        text = self._held + piece
        found = _PARTIAL.search(text, max(0, len(text) - _LONGEST_SEQUENCE))
        start = found.start() if found else len(text)
        if text.endswith("\r") and start == len(text):
            start -= 1  # may be the first half of CR LF
        self._held = text[start:]
        return clean(text[:start])

    def close(self) -> str:
        """Return what was held back, as harmless text."""
        held, self._held = self._held, ""
        return clean(held)
