"""Reads text files as people's editors write them: UTF-8 with or without a byte order mark, and UTF-16 with one."""

from __future__ import annotations

import codecs
from pathlib import Path

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with the mark of UTF-16, so it is looked for first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


LONGEST = 8 * 2**20
"""Bytes of the longest file that is read, so that a wrong path such as /dev/zero does not fill the memory."""


class NotTextError(ValueError):
    """The bytes are no text; the message says where, and what to do."""


def encoding_of(start: bytes) -> str:
    """Return the encoding that the byte order mark at the start of a file names; UTF-8 without one."""
    return next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8")


def decode(raw: bytes) -> str:
    """Return the text that a file's bytes hold; line ends stay as they are.

    Raises:
        NotTextError: they hold none.
    """
    try:
        return raw.decode(encoding_of(raw))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        byte = f"0x{raw[error.start]:02x}" if error.start < len(raw) else "the end"
        raise NotTextError(f"line {line} is not {error.encoding.upper()} ({byte}); save the file as UTF-8") from None


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        OSError: it cannot be read.
        NotTextError: it holds no text, or too much.
    """
    with path.open("rb") as file:
        raw = file.read(LONGEST + 1)
    if len(raw) > LONGEST:
        raise NotTextError(f"is larger than {LONGEST // 2**20} MiB, so it is not a file of settings")
    return decode(raw)
