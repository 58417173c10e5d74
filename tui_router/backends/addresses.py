"""Addresses of servers: whose machine they are on, what of them may be shown, and which proxy leads to them.

httpx can read the proxy variables itself, but it would send requests for this machine and for private networks to the proxy
unless NO_PROXY lists each of them, and some forms of NO_PROXY that are in use make it fail. So the proxy is chosen here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import unquote, urlsplit, urlunsplit

from tui_router.config.server_urls import without_login

_PRIVATE_NAMES = (".local", ".localhost", ".localdomain", ".lan", ".home", ".internal", ".home.arpa", ".ts.net")
"""Ends of host names that are never on the public internet (RFC 6762, RFC 8375, ICANN's `.internal`, routers, Tailscale)."""
_SHARED = ip_network("100.64.0.0/10")
"""RFC 6598, which Tailscale gives to the machines of a person."""


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower().rstrip(".")
    except ValueError:
        return ""


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(host)
    except ValueError:
        return None
    return (found.ipv4_mapped if isinstance(found, IPv6Address) else None) or found


def is_usable(url: str) -> bool:
    """Return whether a URL has a host, and a port that exists."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def is_local(url: str) -> bool:
    """Return whether a URL names this machine: loopback, or `0.0.0.0` as servers write it."""
    host = _host(url)
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback or address.is_unspecified


def is_private(url: str) -> bool:
    """Return whether a URL names this machine or one of a private network, by its address or the form of its name."""
    host = _host(url)
    address = _address(host)
    if address is None:
        return bool(host) and ("." not in host or host.endswith(_PRIVATE_NAMES))
    shared = isinstance(address, IPv4Address) and address in _SHARED
    return address.is_private or address.is_loopback or address.is_link_local or shared


def login(url: str) -> tuple[str, str] | None:
    """Return user name and password of a URL; None where it has none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.username is None:
        return None
    return unquote(parts.username), unquote(parts.password or "")


def connected(url: str) -> str:
    """Return a URL as a connection to it is made: without login, `0.0.0.0` and `localhost` as the loopback address."""
    plain = without_login(url).rstrip("/")
    try:
        parts = urlsplit(plain)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return plain
    host = {"0.0.0.0": "127.0.0.1", "localhost": "127.0.0.1", "::": "[::1]"}.get((parts.hostname or "").lower())
    return urlunsplit(parts._replace(netloc=host + port)) if host else plain


def other_loopback(url: str) -> str:
    """Return the same URL at IPv6's loopback address, or at IPv4's; empty when it is not on the loopback.

    `localhost` may mean either, and a server may listen on one only.
    """
    for here, there in (("//127.0.0.1", "//[::1]"), ("//[::1]", "//127.0.0.1")):
        scheme, found, rest = url.partition(here)
        if found and rest[:1] in ("", ":", "/"):
            return f"{scheme}{there}{rest}"
    return ""


def proxy_for(url: str, variables: Mapping[str, str]) -> str:
    """Return the URL of the proxy that leads to a server; empty when it is to be asked directly.

    Args:
        url: Of the server.
        variables: What `urllib.request.getproxies` gives: `http`, `https`, `all` and `no`.
    """
    if is_private(url) or _is_exempt(url, variables.get("no", "")):
        return ""
    proxy = (variables.get(url.partition("://")[0].lower()) or variables.get("all") or "").strip()
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _is_exempt(url: str, no_proxy: str) -> bool:
    """Return whether NO_PROXY lists the host of a URL.

    Its entries are `*`, names (which include their subdomains, with or without a leading dot or `*.`), addresses and
    networks; each may have a port.
    """
    host, address = _host(url), _address(_host(url))
    try:
        port = urlsplit(url).port or (443 if url.startswith("https") else 80)
    except ValueError:
        return False
    for entry in re.split(r"[,;\s]+", no_proxy.lower()):
        name = re.sub(r"^[a-z]+://", "", entry).strip("/")
        if name == "*":
            return True
        bracketed = re.fullmatch(r"\[([0-9a-f:.]+)](?::(\d+))?", name)
        with_port = bracketed or re.fullmatch(r"([^:]+):(\d+)", name)
        if with_port:
            name, wanted = with_port[1], with_port[2]
            if wanted and int(wanted) != port:
                continue
        name = name.removeprefix("*").removeprefix(".").rstrip(".")
        if not name:
            continue
        if name == host or host.endswith(f".{name}"):
            return True
        try:
            if address is not None and address in ip_network(name, strict=False):
                return True
        except ValueError:
            continue
    return False
