"""Files of JSON: a list, one object or several, or one value a line. They are streamed, whatever their size."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

from tui_router.datasets.importing.imported_request import LeftOut, Record
from tui_router.datasets.importing.text_encoding import open_text, open_utf8

_WRAPPERS = (
    "data",
    "items",
    "rows",
    "records",
    "results",
    "logs",
    "chats",
    "conversations",
    "traces",
    "observations",
    "requests",
)
"""Fields under which programs put a list of records."""
_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_STRING_OR_TRAILING_COMMA = re.compile(rf"{_STRING}|,(?=\s*[\]}}])", re.DOTALL)


def is_json(head: str) -> bool:
    """Return whether a text begins like JSON."""
    start = head.lstrip()[:1]
    if start == "[":
        return bool(re.match(r'\s*\[\s*(?:[{\["\]]|$)', head))
    return start == "{" and bool(re.match(r'\s*\{\s*(?:"|\}|$)', head))


def json_records(path: Path, name: str, encoding: str, head: str) -> Iterator[Record | LeftOut]:
    """Yield the records of a JSON file; damaged ones as what is left out. Raises OSError.

    Args:
        path: The file.
        name: What it is called in messages.
        encoding: Of the file.
        head: How its text begins.
    """
    is_lines = _is_lines(head)
    if is_lines is not True and head.lstrip().startswith("["):
        yield from _streamed(path, name, encoding, "item", "item")
    elif is_lines is not True and (wrapper := _wrapper(path, encoding)) is not None:
        yield from _streamed(path, name, encoding, f"{wrapper}.item", "item")
    elif is_lines is not False:
        yield from _lines(path, name, encoding)
    else:
        yield from _streamed(path, name, encoding, "", "object")


def _is_lines(head: str) -> bool | None:
    """Return whether a text has one value a line; None if the head ends within its first line."""
    lines = [line for line in head.lstrip().split("\n", 2) if line.strip()]
    try:
        first = _parse(lines[0])
    except (ValueError, RecursionError, IndexError):
        return None if len(lines) == 1 and "\n" not in head.lstrip() else False
    return len(lines) > 1 or not isinstance(first, list | dict) or not _may_hold_records(first)


def _may_hold_records(value: list[Any] | dict[str, Any]) -> bool:
    """Return whether a value that is alone in its file may be a list of records, or an object around one."""
    return isinstance(value, list) or any(isinstance(value.get(key), list) for key in _WRAPPERS)


def _lines(path: Path, name: str, encoding: str) -> Iterator[Record | LeftOut]:
    with open_text(path, encoding) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{name}, line {number}"
            try:
                yield Record(where, _parse(line))
            except (ValueError, RecursionError) as error:
                yield LeftOut(where, f"is not JSON: {error}", damaged=True)


def _parse(line: str) -> Any:
    """Parse a line of JSON, with or without trailing commas. Raises ValueError."""
    line = line.strip().removesuffix(",")
    try:
        return json.loads(line)
    except ValueError:
        cleaned = without_trailing_commas(line)
        if cleaned == line:
            raise
        return json.loads(cleaned)


def without_trailing_commas(text: str) -> str:
    """Return JSON text without commas before a closing bracket."""
    return _STRING_OR_TRAILING_COMMA.sub(lambda match: match[0] if match[0] != "," else "", text)


def _streamed(path: Path, name: str, encoding: str, prefix: str, noun: str) -> Iterator[Record | LeftOut]:
    """Yield the values at a place of a JSON file. After a fault, once more without trailing commas, from where it was."""
    import ijson

    done = 0
    for tolerant in (False, True):
        with open_utf8(path, encoding) as file:
            stream: IO[bytes] | _WithoutTrailingCommas = _WithoutTrailingCommas(file) if tolerant else file
            values = ijson.items(stream, prefix, multiple_values=True, use_float=True)
            try:
                for value in islice(values, done, None):
                    done += 1
                    yield Record(f"{name}, {noun} {done}" if noun == "item" or done > 1 else name, value)
                return
            except (ijson.JSONError, UnicodeDecodeError) as error:
                fault = str(error).strip().splitlines()[0]
    yield LeftOut(f"{name}, after {done} {noun}s", f"is not valid JSON: {fault}", damaged=True)


class _WithoutTrailingCommas:
    """A stream of JSON without commas before a closing bracket."""

    _TOKEN = re.compile(rf"{_STRING}|,\s*[\]}}]".encode(), re.DOTALL)
    _COMPLETE = re.compile(rf'{_STRING}|[^",]+|,(?=\s*[^\s])'.encode(), re.DOTALL)

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._held, self._ended = file, b"", False

    def read(self, size: int = -1) -> bytes:
        """Return the next piece, of any length; empty at the end, and for a size of 0."""
        while size != 0 and not self._ended:
            piece = self._file.read(1 << 16)
            self._ended = not piece
            self._held += piece
            cut = len(self._held) if self._ended else self._safe_end()
            out = self._TOKEN.sub(lambda m: m[0][1:] if m[0][:1] == b"," else m[0], self._held[:cut])
            self._held = self._held[cut:]
            if out:
                return out
        return b""

    def _safe_end(self) -> int:
        """Return the end of what can be cleaned: no string is open there, and what follows each comma is known."""
        end = 0
        for match in self._COMPLETE.finditer(self._held):
            if match.start() != end:
                break
            end = match.end()
        return end


def _wrapper(path: Path, encoding: str) -> str | None:
    """Return the field of a file's one object that holds a list of records; None without one."""
    import ijson

    with open_utf8(path, encoding) as file:
        try:
            key, inside = "", ""
            for prefix, event, value in ijson.parse(file):
                if prefix == "" and event == "map_key":
                    key = value
                elif event == "start_array" and prefix == key and key in _WRAPPERS:
                    inside = key
                elif inside and prefix == f"{inside}.item" and event == "start_map":
                    inside = f"{inside} "
                elif inside.endswith(" ") and event == "map_key" and prefix == f"{inside.strip()}.item":
                    return None if value in ("role", "from") else inside.strip()
                elif prefix == "" and event == "end_map":
                    return None
        except ijson.JSONError:
            return None
    return None
