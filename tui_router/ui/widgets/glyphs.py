"""The signs of the screen, each with its ASCII stand-in for terminals that cannot show it."""

from __future__ import annotations

import locale
import os

_ASCII = {
    "✓": "[ok]",
    "✗": "[x]",
    "↻": "[~]",
    "●": "(*)",
    "◐": "(~)",
    "○": "( )",
    "…": "...",
    "◆": "*",
    "›": ">",
    "→": "->",
    "━": "#",
    "╸": "-",
    "─": "-",
    "▸": ">",
    "▾": "v",
    "⏎": "enter",
    "↑": "up",
    "↓": "down",
    "│": "|",
    "╍": "--",
    "‘": "'",
    "’": "'",
    "−": "-",
    "·": ".",
}
_TABLE = str.maketrans(_ASCII)

plain = False
"""Whether stand-ins are shown. Set once, at start."""


def choose(setting: str) -> None:
    """`yes`, `no`, or `auto`: stand-ins unless the locale is UTF-8."""
    global plain  # noqa: PLW0603  # one terminal, one choice
    if setting == "auto":
        name = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG") or ""
        plain = "utf" not in (name or locale.getpreferredencoding(False)).lower().replace("-", "")
    else:
        plain = setting == "yes"


def shown(text: str) -> str:
    """A text of the program's own with its signs as this terminal can show them."""
    return text.translate(_TABLE) if plain and not text.isascii() else text
