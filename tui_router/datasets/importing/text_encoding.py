"""Finds out how the text of a file is encoded, and reads it as text or as UTF-8."""

from __future__ import annotations

import codecs
import io
from pathlib import Path
from typing import IO

HEAD_BYTES = 1 << 16
"""Bytes of a file from which its kind is recognised."""
_SAMPLE_BYTES = 1 << 20
"""Bytes that must be valid UTF-8 to take a file for UTF-8, and from which another encoding is guessed."""
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def encoding_of(path: Path) -> str | None:
    """Return the encoding of a text file; None for a file that is not text.

    A byte order mark decides, then UTF-8, then UTF-16 by its zero bytes. Other encodings are guessed by charset-normalizer
    if it is installed (extra `import`), and are taken for Windows-1252 otherwise. Raises OSError.
    """
    with path.open("rb") as file:
        sample = file.read(_SAMPLE_BYTES)
    for mark, name in _BYTE_ORDER_MARKS:
        if sample.startswith(mark):
            return name
    zeros_even, zeros_odd = sample[::2].count(0), sample[1::2].count(0)
    if zeros_even + zeros_odd > len(sample) // 5:
        little = zeros_odd > zeros_even
        return ("utf-16-le" if little else "utf-16-be") if min(zeros_even, zeros_odd) <= len(sample) // 50 else None
    if b"\0" in sample or _share_of_controls(sample) > 0.05:
        return None
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
        return "utf-8"
    except UnicodeDecodeError:
        return _legacy_encoding(sample)


def _share_of_controls(sample: bytes) -> float:
    """Return the share of control characters that no text file holds, 0 to 1."""
    controls = sum(sample.count(bytes([code])) for code in (*range(1, 8), *range(14, 27), *range(28, 32)))
    return controls / max(1, len(sample))


def _legacy_encoding(sample: bytes) -> str:
    try:
        from charset_normalizer import from_bytes
    except ImportError:
        return "cp1252"
    best = from_bytes(sample).best()
    if best is None:
        return "cp1252"
    # Western encodings differ in a few characters, which short files do not tell apart; programs write Windows-1252.
    western = best.encoding.startswith(("cp125", "latin", "iso8859", "mac_", "cp437", "cp85", "hp_roman", "cp1140"))
    latin = all(ord(c) < 0x370 or ord(c) > 0x1FFF for c in str(best))
    return "cp1252" if western and latin else best.encoding


def open_text(path: Path, encoding: str) -> IO[str]:
    """Open a text file; what its encoding cannot hold is read as U+FFFD. Raises OSError."""
    return path.open(encoding=encoding, errors="replace", newline="")


def open_utf8(path: Path, encoding: str) -> IO[bytes]:
    """Open a text file as bytes of UTF-8, whatever its encoding is. Raises OSError."""
    if encoding == "utf-8":
        return path.open("rb")
    return io.BufferedReader(_Utf8Stream(open_text(path, encoding)))


class _Utf8Stream(io.RawIOBase):
    """A text file as bytes of UTF-8, decoded piece by piece."""

    def __init__(self, text: IO[str]) -> None:
        self._text, self._left = text, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._left:
            self._left = self._text.read(HEAD_BYTES).encode("utf-8", "replace")
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def close(self) -> None:
        self._text.close()
        super().close()
