"""Checks and simplifies the URLs of servers that a person writes."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

_LOGIN = re.compile(r"(?<=//)(?:[^/?#\s]*|[^/?#\s:]*:(?!\d+(?:[/?#]|\Z))\S*)@")
"""A login before the host, also one whose password holds `/`, `?` or `#` that should have been written as %2F, %3F, %23."""
_ENDPOINT = re.compile(r"(/v1|/api)?(/(chat/completions|completions|models|embeddings|chat|generate|tags))?/*$")
"""What people copy together with the base URL: the path of an endpoint."""


def without_login(url: str) -> str:
    """Return a URL without user name and password: what may be shown and stored."""
    return _LOGIN.sub("", url, count=1)


def url_fault(url: str, example: str) -> str:
    """Say why a text cannot be the URL of a server; empty: it can. A password in it is never part of the message."""
    shown = repr(
        re.sub(r"^(\w+://)?.*@", r"\1", url, flags=re.DOTALL)
    )  # more than the login, when the login is what is wrong
    if not url.isprintable() or " " in url:
        return f"holds a space or a character that is not shown, found {shown}"
    if not re.match(r"https?://", url, re.IGNORECASE):
        meant = f'; did you mean "http://{url}"?' if re.fullmatch(r"[\w.-]+(:\d+)?(/\w*)*", url) else ""
        return f'expected a URL such as "{example}", found {shown}{meant}'
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"has brackets that hold no IPv6 address, found {shown}"
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        several = parts.netloc.rpartition("@")[2].count(":") > 1
        hint = "; an IPv6 address stands in brackets" if several else ""
        hint = "; write /, ?, # and @ in a password as %2F, %3F, %23 and %40" if "@" in parts.path else hint
        return f"has a port that is not a number from 1 to 65535, found {shown}{hint}"
    host = parts.hostname or ""
    if not host or not _is_host(host):
        return f"names no host, found {shown}"
    if parts.query or parts.fragment:
        return "has a ? or a #, which the address of a server cannot have"
    return ""


def normal_url(url: str) -> str:
    """Return the base URL: scheme and host in lower case, 127.0.0.1 for localhost, without the path of an endpoint.

    A login in it stays. `localhost` may resolve to ::1 first, where many servers do not listen.
    """
    parts = urlsplit(url.strip())
    login, at, host = parts.netloc.rpartition("@")
    host = re.sub(r"^localhost(?=:|$)", "127.0.0.1", host.lower())
    return urlunsplit((parts.scheme.lower(), login + at + host, _ENDPOINT.sub("", parts.path), "", ""))


def _is_host(host: str) -> bool:
    """Whether a host can be looked up: an address, or a name that the domain name system can hold."""
    try:
        return bool(re.fullmatch(r"[A-Za-z0-9._:%-]+", host.encode("idna").decode("ascii")))
    except UnicodeError:
        return False
