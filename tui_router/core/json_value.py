"""JSON that a server or a model wrote: each field is read with its type, and reading never raises.

What is sent may be anything: a number where a list belongs, null, nesting of 100,000 levels, NaN, numbers of a thousand
digits, half a character. A field of another type than the one that is asked for reads as if it were absent.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_LARGEST = 2**53
"""Larger whole numbers are not exact in JSON (RFC 8259, section 6); none that a server sends means anything."""
_MOST_DIGITS = 19
_MOST_STARTS = 20
"""Opening braces at which an object is looked for in prose: each may cost a pass over the text."""


class JsonValue:
    """A value of a JSON document, or nothing where the document has none."""

    __slots__ = ("raw",)

    def __init__(self, raw: Any = None) -> None:
        self.raw = raw

    def __repr__(self) -> str:
        return f"JsonValue({type(self.raw).__name__})"  # never the content: it may be long, or hold a key

    @property
    def is_object(self) -> bool:
        """Whether it is an object."""
        return isinstance(self.raw, dict)

    @property
    def is_list(self) -> bool:
        """Whether it is a list."""
        return isinstance(self.raw, list)

    def __contains__(self, key: str) -> bool:
        return isinstance(self.raw, dict) and key in self.raw

    def __getitem__(self, key: str | int) -> JsonValue:
        """Return the member of an object or the element of a list; nothing where there is none."""
        try:
            return JsonValue(self.raw[key])
        except (KeyError, IndexError, TypeError):
            return JsonValue()

    def text(self, default: str = "") -> str:
        """Return a string, with U+FFFD for each half of a character (a lone surrogate cannot be stored or sent)."""
        if not isinstance(self.raw, str):
            return default
        return self.raw if self.raw.isascii() else _HALF_CHARACTER.sub("\ufffd", self.raw)

    def number(self) -> float | None:
        """Return a finite number."""
        if isinstance(self.raw, bool) or not isinstance(self.raw, int | float) or not math.isfinite(self.raw):
            return None
        return float(self.raw)

    def count(self) -> int | None:
        """Return a whole number from 0 to 2**53; `5.0` is one too."""
        number = self.number()
        return int(number) if number is not None and 0 <= number <= _LARGEST and number == int(number) else None

    def flag(self) -> bool | None:
        """Return a boolean."""
        return self.raw if isinstance(self.raw, bool) else None

    def items(self) -> list[JsonValue]:
        """Return the elements of a list; none of anything else."""
        return [JsonValue(one) for one in self.raw] if isinstance(self.raw, list) else []

    def objects(self) -> list[JsonValue]:
        """Return those elements of a list that are objects."""
        return [one for one in self.items() if one.is_object]

    def members(self) -> list[tuple[str, JsonValue]]:
        """Return names and values of an object."""
        return [(key, JsonValue(one)) for key, one in self.raw.items()] if isinstance(self.raw, dict) else []

    def dump(self) -> str:
        """Return it as JSON text; empty where it is nested too deep to be written."""
        try:
            return _HALF_CHARACTER.sub("\ufffd", json.dumps(self.raw, ensure_ascii=False))
        except (RecursionError, ValueError):
            return ""


def _whole_number(digits: str) -> float:
    return int(digits) if len(digits) <= _MOST_DIGITS else math.inf


_DECODER = json.JSONDecoder(parse_int=_whole_number, parse_constant=lambda name: None)


def decode_json(text: str | bytes) -> JsonValue | None:
    """Return what a JSON text holds; None when it is not JSON, or is nested deeper than can be read."""
    try:
        if isinstance(text, bytes | bytearray):
            text = text.decode("utf-8-sig", "replace")
        return JsonValue(_DECODER.decode(text))
    except (ValueError, RecursionError):
        return None


def object_in_prose(text: str) -> dict[str, Any] | None:
    """Return the first JSON object in what a model wrote, which may stand in prose or in a fence; None without one."""
    start = text.find("{")
    for _ in range(_MOST_STARTS):
        if start < 0:
            return None
        try:
            found, _end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            return found
        start = text.find("{", start + 1)
    return None
