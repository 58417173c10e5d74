"""Private data in requests: found by pattern and check digit, shown, masked or dropped before anything leaves.

Patterns, not a model: what is found can be explained, and nothing is sent anywhere. Names and addresses of people are not
looked for; no pattern tells them from other words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple


class PiiMatch(NamedTuple):
    """A piece of private data in a text."""

    kind: str
    start: int
    end: int


class _Kind(NamedTuple):
    name: str
    pattern: re.Pattern[str]
    group: int = 0


_KINDS = (
    _Kind(
        "key",
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
            r"|\b(?:sk|pk|rk)[-_](?:live|test|proj|ant|or)?[-_]?[A-Za-z0-9_-]{16,}\b"
            r"|\b(?:ghp|gho|ghu|ghs|ghr|glpat|github_pat|xox[abprs]|hf)[-_][A-Za-z0-9_-]{16,}\b"
            r"|\bAKIA[0-9A-Z]{16}\b|\bAIza[0-9A-Za-z_-]{30,}\b"
            r"|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{5,}\b",
            re.DOTALL,
        ),
    ),
    _Kind(
        "key",
        re.compile(
            r"(?:password|passwd|pwd|passphrase|secret|token|api[_ -]?key)\s*(?:is|[:=])\s*[\"']?(?P<it>[^\s\"',;]{6,})",
            re.IGNORECASE,
        ),
        1,
    ),
    _Kind("e-mail", re.compile(r"\b[\w.+%-]{1,64}@(?:[\w-]{1,63}\.)+[^\W\d_]{2,24}\b")),
    _Kind("card number", re.compile(r"(?<![\d.])(?:\d[ -]?){12,18}\d(?![\d.])")),
    _Kind("IBAN", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b")),
    _Kind(
        "phone",
        re.compile(
            r"(?<![\w.])(?:\+\d{1,3}[ .-]?(?:\(0?\d{1,4}\)[ .-]?)?|\(\d{2,5}\)[ .-]?|0\d{1,4}[ ./-])\d{2,4}(?:[ .-]?\d{2,4}){1,4}(?![\w])"
            r"|(?<![\w.])\d{3}[-.]\d{3}[-.]\d{4}(?![\w.])"
        ),
    ),
    _Kind(
        "IP address",
        re.compile(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.])"),
    ),
    _Kind(
        "file path",
        re.compile(
            r"(?<![\w/])(?:~|/(?:home|Users|root|mnt|media|srv|var|opt|etc))/[^\s\"'`<>|:;,]+|\b[A-Za-z]:\\[^\s\"'`<>|]+"
            r"|\\\\[\w.-]+\\[^\s\"'`<>|]+"
        ),
    ),
)
KINDS = tuple(dict.fromkeys(kind.name for kind in _KINDS))
_PUBLIC_PATHS = ("/etc/hosts", "/etc/passwd", "/var/log", "/etc/fstab", "/dev/null", "/opt", "/etc/nginx", "/var/www")
_MAY_HOLD = re.compile(r"[\d@/\\_-]|AKIA|AIza|eyJ|(?i:pass|pwd|secret|token|key)")
"""A text without any of these holds nothing private."""
_LEAST_PHONE, _MOST_PHONE = 7, 15
_PUBLIC_IPS = ("127.0.0.1", "0.0.0.0", "255.255.255.255", "8.8.8.8", "1.1.1.1", "192.168.0.1", "192.168.1.1")


def find(text: str) -> list[PiiMatch]:
    """What is private in a text, in the order of the text, without overlaps; the first kind that fits a place has it."""
    found: list[PiiMatch] = []
    if not _MAY_HOLD.search(text):
        return found
    for kind in _KINDS:
        for match in kind.pattern.finditer(text):
            start, end = match.span("it" if kind.group else 0)
            if _is_one(kind.name, text[start:end]) and not any(f.start < end and start < f.end for f in found):
                found.append(PiiMatch(kind.name, start, end))
    return sorted(found, key=lambda one: one.start)


def mask(text: str) -> str:
    """The text with `[kind]` in the place of everything private."""
    return "".join(_masked(text))


def _masked(text: str) -> Iterator[str]:
    at = 0
    for kind, start, end in find(text):
        yield text[at:start]
        yield f"[{kind}]"
        at = end
    yield text[at:]


def _is_one(kind: str, piece: str) -> bool:
    """Whether what looks like private data is: check digits, and what is the same on every machine left out."""
    digits = [int(c) for c in piece if c.isascii() and c.isdigit()]
    match kind:
        case "card number":
            return len(digits) >= 13 and len(set(digits)) > 1 and _luhn(digits)
        case "IBAN":
            return _iban(piece.replace(" ", ""))
        case "phone":
            return _LEAST_PHONE <= len(digits) <= _MOST_PHONE
        case "IP address":
            return piece not in _PUBLIC_IPS
        case "file path":
            return not piece.startswith(_PUBLIC_PATHS) and len(piece) > 4
    return True


def _luhn(digits: list[int]) -> bool:
    """The check digit of card numbers (ISO/IEC 7812-1)."""
    doubled = [d if i % 2 else d * 2 - 9 * (d > 4) for i, d in enumerate(digits[-2::-1])]
    return (sum(doubled) + digits[-1]) % 10 == 0


def _iban(text: str) -> bool:
    """The check digits of an IBAN (ISO 13616)."""
    if not 15 <= len(text) <= 34:
        return False
    return int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1
