"""Checking what a person wrote into a file: every fault at once, each with its place and what was expected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from tui_router.config import toml_locations

Key = tuple[str, ...]


class Problem(Struct, frozen=True):
    """One fault of a file."""

    file: str
    line: int | None
    key: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.key}: {self.message}" if self.key else f"{where}: {self.message}"


class Checker:
    """Reads values out of parsed tables and remembers every fault instead of stopping at the first."""

    def __init__(self, file: str, lines: dict[Key, int]) -> None:
        self.file, self.lines, self.problems = file, lines, list[Problem]()

    def fault(self, key: Key, message: str) -> None:
        """Remember a fault at a key."""
        name = ".".join(part if part.replace("-", "").replace("_", "").isalnum() else f'"{part}"' for part in key)
        self.problems.append(Problem(self.file, toml_locations.find(self.lines, key), name, message))

    def wrong(self, key: Key, expected: str, found: object) -> None:
        """Remember a value of the wrong kind."""
        self.fault(key, f"expected {expected}, found {_show(found)}")

    def table(self, data: Mapping[str, Any], key: Key) -> dict[str, Any]:
        """A table; empty when it is absent or something else."""
        value = data.get(key[-1], {})
        if isinstance(value, dict):
            return value
        self.wrong(key, "a table", value)
        return {}

    def known(self, data: Mapping[str, Any], at: Key, names: Iterable[str]) -> None:
        """Complain about keys that nobody reads, with the nearest known name."""
        from difflib import get_close_matches

        names = tuple(names)
        for name in data:
            if name not in names:
                near = get_close_matches(name, names, 1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; known here: {', '.join(names)}"
                self.fault((*at, name), f"is not a setting{hint}")

    def text(self, data: Mapping[str, Any], at: Key, name: str, default: str = "") -> str:
        """A string."""
        value = data.get(name, default)
        if isinstance(value, str):
            return value
        self.wrong((*at, name), "a text in quotes", value)
        return default

    def choice(self, data: Mapping[str, Any], at: Key, name: str, allowed: tuple[str, ...], default: str) -> str:
        """One of a few words."""
        value = data.get(name, default)
        if isinstance(value, str) and value in allowed:
            return value
        self.wrong((*at, name), f"one of {', '.join(repr(a) for a in allowed)}", value)
        return default

    def flag(self, data: Mapping[str, Any], at: Key, name: str, default: bool = False) -> bool:
        """true or false."""
        value = data.get(name, default)
        if isinstance(value, bool):
            return value
        self.wrong((*at, name), "true or false", value)
        return default

    def number(self, data: Mapping[str, Any], at: Key, name: str, default: float, low: float, high: float) -> float:
        """A number from low to high."""
        value = data.get(name, default)
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            return float(value)
        self.wrong((*at, name), f"a number from {low:g} to {high:g}", value)
        return default

    def whole(self, data: Mapping[str, Any], at: Key, name: str, default: int, low: int, high: int) -> int:
        """A whole number from low to high."""
        value = data.get(name, default)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.wrong((*at, name), f"a whole number from {low} to {high}", value)
        return default

    def texts(self, data: Mapping[str, Any], at: Key, name: str) -> tuple[str, ...]:
        """A list of strings, none of them empty."""
        value = data.get(name, ())
        if isinstance(value, list | tuple) and all(isinstance(v, str) and v.strip() for v in value):
            return tuple(value)
        self.wrong((*at, name), 'a list of texts such as ["a", "b"]', value)
        return ()


def _show(value: object) -> str:
    shown = repr(value) if not isinstance(value, bool) else str(value).lower()
    return shown if len(shown) <= 60 else shown[:57] + "..."
