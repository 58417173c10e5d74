"""Reads the arguments of the command line: each function takes what was typed and returns the value, or says what is wrong.

What is wrong is raised as argparse's ArgumentTypeError, which becomes one sentence with the argument's name.
"""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

MOST_DAYS = 3660
"""The longest period that can be asked for: ten years."""


def text(typed: str) -> str:
    """Return a text; bytes that are not UTF-8 become U+FFFD, for they can be neither stored nor sent."""
    return typed.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def path(typed: str) -> Path:
    """Return an absolute path, `~` replaced by the home folder: it stays the same in every process that it is given to."""
    if not typed.strip():
        raise ArgumentTypeError("expected a path, found an empty text")
    try:
        return Path(typed).expanduser().absolute()
    except RuntimeError:
        raise ArgumentTypeError(f"{typed}: there is no home folder for {typed.partition('/')[0]!r}") from None


def file_or_stdin(typed: str) -> str:
    """Return the path of a file, or `-`, which is standard input."""
    return typed if typed == "-" else str(path(typed))


def recipe(typed: str) -> str:
    """Return the name of a shipped recipe, or the path of a file when it looks like one."""
    return str(path(typed)) if typed.startswith("~") or "/" in typed or typed.endswith(".toml") else typed


def fraction(typed: str) -> float:
    """Return a number from 0 to 1."""
    try:
        number = float(typed)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise ArgumentTypeError(f"expected a number from 0 to 1, found {typed[:40]!r}")
    return number


def whole(low: int, high: int) -> Callable[[str], int]:
    """Make the reader of a whole number from `low` to `high`."""

    def read(typed: str) -> int:
        try:
            number = int(typed)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise ArgumentTypeError(f"expected {low} to {high}, found {typed[:40]}")
        return number

    return read


count = whole(0, 10**9)
"""Reads how many of something."""
days = whole(1, MOST_DAYS)
"""Reads the length of a period that ends today."""


def day(typed: str) -> str:
    """Return a day as `YYYY-MM-DD`."""
    from datetime import date

    try:
        return date.fromisoformat(typed).isoformat()
    except ValueError:
        raise ArgumentTypeError(f"expected a day such as 2026-11-24, found {typed!r}") from None


def one_of(*known: str) -> Callable[[str], str]:
    """Make the reader of one of a few words."""

    def read(typed: str) -> str:
        if typed not in known:
            raise ArgumentTypeError(f"there is no {typed!r}; known: {', '.join(known)}")
        return typed

    return read
