"""Finds the line of each key of a TOML file, so that a message can name it.

`tomllib` gives values without places. This reads only the skeleton (headers, keys, where multi-line values end) of a
text that `tomllib` has already accepted, so it never has to judge what is valid.
"""

from __future__ import annotations

import re
import tomllib

Key = tuple[str, ...]

_PART = r"(?:\"(?:[^\"\\]|\\.)*\"|'[^']*'|[A-Za-z0-9_-]+)"
_DOTTED = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*\[(\[?)\s*({_DOTTED})\s*\]")
_ASSIGN = re.compile(rf"\s*({_DOTTED})\s*=\s*(.*)")
_OPENERS = ('"""', "'''")


def locate(text: str) -> dict[Key, int]:
    """Return the line (from 1) of every table header and key; the entries of an array of tables are counted from "0".

    A table without a header of its own has the line of the first table in it.
    """
    lines: dict[Key, int] = {}
    implied: dict[Key, int] = {}
    counts: dict[Key, int] = {}
    table: Key = ()
    waiting, depth = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        if waiting:
            if waiting in line:
                waiting = ""
            continue
        if depth > 0:
            depth += _brackets(line)
            continue
        if header := _HEADER.match(line):
            table = _split(header[2])
            if header[1]:
                index = counts.get(table, 0)
                counts[table] = index + 1
                table = (*table, str(index))
            lines.setdefault(table, number)
            for end in range(1, len(table)):
                implied.setdefault(table[:end], number)
        elif assign := _ASSIGN.match(line):
            lines.setdefault((*table, *_split(assign[1])), number)
            value = assign[2]
            opener = next((o for o in _OPENERS if value.startswith(o)), "")
            if opener:
                waiting = "" if opener in value[3:] else opener
            elif value.startswith(("[", "{")):
                depth = max(0, _brackets(value))
    return {**implied, **lines}


def find(lines: dict[Key, int], key: Key) -> int | None:
    """Return the line of a key, or of the nearest table around it; None when the file names neither."""
    for end in range(len(key), 0, -1):
        if (number := lines.get(key[:end])) is not None:
            return number
    return None


def _split(dotted: str) -> Key:
    return tuple(map(_unquoted, re.findall(_PART, dotted)))


def _unquoted(part: str) -> str:
    if part[0] == '"' and "\\" in part:
        name: str = tomllib.loads(f"name = {part}")["name"]
        return name
    return part[1:-1] if part[0] in "\"'" else part


def _brackets(line: str) -> int:
    """Count opened less closed brackets, outside of strings and comments."""
    bare = re.sub(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'", "", line).partition("#")[0]
    return sum(bare.count(c) for c in "[{") - sum(bare.count(c) for c in "]}")
