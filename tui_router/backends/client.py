"""HTTP to one server: plain replies, and streams under watchdogs.

Settings and reasons: no proxy for loopback (the environment's proxies would get the person's prompts), no compression
of streams, and a connection for each request. A connection that is kept idle may be dropped by the server while the next
request is written to it, and then nobody knows whether the request was read. A new one costs about a millisecond on
this machine and one round trip elsewhere. Nothing is sent twice here; `resending.py` decides about that.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx

from tui_router import __version__
from tui_router.backends.backend_errors import BackendError, classify, message_of
from tui_router.core.text import one_line

_LIMITS = httpx.Limits(max_connections=32, max_keepalive_connections=0)
_BODY_LIMIT = 8 * 1024 * 1024


def is_local(url: str) -> bool:
    """Whether a base URL is this machine's own loopback."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Reply:
    """A plain reply: status, headers, text, and the JSON in it (None when there is none)."""

    def __init__(self, status: int, headers: httpx.Headers, text: str) -> None:
        self.status, self.headers, self.text = status, headers, text
        try:
            self.json: Any = json.loads(text)
        except ValueError:
            self.json = None


class Client:
    """One server, for the life of the program."""

    def __init__(self, url: str, api_key: str = "") -> None:
        self.url, self._key = url, api_key
        headers = {"User-Agent": f"tui-router/{__version__}", "Accept-Encoding": "identity"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=headers,
            trust_env=not is_local(url),
            follow_redirects=False,
            timeout=httpx.Timeout(connect=2.0, write=30.0, pool=5.0, read=None),
            limits=_LIMITS,
        )

    async def get(self, path: str, timeout: float = 3.0) -> Reply:
        """GET; raises BackendError (`down`, `no_bytes`, `slow`)."""
        return await self._plain("GET", path, None, timeout)

    async def post(self, path: str, body: dict[str, Any], timeout: float) -> Reply:
        """POST of JSON; raises BackendError (`down`, `no_bytes`, `slow`)."""
        return await self._plain("POST", path, body, timeout)

    async def _plain(self, method: str, path: str, body: dict[str, Any] | None, timeout: float) -> Reply:
        try:
            async with asyncio.timeout(timeout):
                response = await self._send(method, path, body)
                try:
                    return Reply(response.status_code, response.headers, await self._read(response))
                finally:
                    await _hang_up(response)
        except TimeoutError:
            raise BackendError("slow", f"{self.url} did not answer within {timeout:g} s") from None
        except httpx.TransportError as error:
            raise BackendError("broken", f"{self.url} closed the connection: {_why(error)}") from error

    async def _send(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        """A response whose headers have come, to be closed by the caller."""
        try:
            return await self._http.send(self._http.build_request(method, path, json=body), stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise BackendError("down", f"nothing answers at {self.url}: {_why(error)}") from error
        except httpx.TransportError as error:
            raise BackendError("no_bytes", f"{self.url} closed the connection without an answer") from error
        except UnicodeError as error:
            raise BackendError("bad_request", "the request holds a character that cannot be sent as UTF-8") from error

    async def stream(
        self, path: str, body: dict[str, Any], *, first_byte_s: float, idle_s: float
    ) -> AsyncGenerator[bytes, None]:
        """POST and yield the bytes of an event stream as they come.

        Raises:
            BackendError: of any kind; `slow` before the first byte, `idle` and `broken` after it.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + first_byte_s
        late = BackendError("slow", f"no answer from {self.url} within {first_byte_s:g} s")
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._send("POST", path, body)
        except TimeoutError:
            raise late from None
        started = False
        try:
            kind = response.headers.get("content-type", "")
            if response.status_code != 200 or not kind.startswith("text/event-stream"):
                async with asyncio.timeout_at(deadline):
                    raise _refused(response, await self._read(response))
            async with aclosing(response.aiter_raw()) as chunks:  # type: ignore[type-var]  # it is an async generator
                while True:
                    async with asyncio.timeout_at(loop.time() + idle_s if started else deadline):
                        chunk = await anext(chunks, None)
                    if chunk is None:
                        return
                    started = True
                    yield chunk
        except TimeoutError:
            raise (BackendError("idle", f"no sign of life for {idle_s:g} s") if started else late) from None
        except httpx.TransportError as error:
            what = f"{self.url} closed the connection: {_why(error)}"
            raise BackendError("broken" if started else "no_bytes", what) from error
        finally:
            await _hang_up(response)

    async def _read(self, response: httpx.Response) -> str:
        """A whole body, up to a limit; a key that the server repeats is not passed on."""
        data = bytearray()
        async for chunk in response.aiter_raw():
            data += chunk
            if len(data) > _BODY_LIMIT:
                break
        text = data.decode("utf-8", "replace")
        return text.replace(self._key, "***") if self._key else text

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()


async def _hang_up(response: httpx.Response) -> None:
    """Close the connection, which stops the server; even when this task is being cancelled."""
    with suppress(TimeoutError, httpx.HTTPError):
        await asyncio.shield(asyncio.wait_for(response.aclose(), 1.0))


def _refused(response: httpx.Response, text: str) -> BackendError:
    """The error in a reply that is not an event stream."""
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    message = message_of(body)
    if message is None:
        if response.status_code == 200:
            return BackendError("server", "the server answered a chat request with something else than a stream")
        message = one_line(text, 200)
    return classify(response.status_code, message, response.headers.get("retry-after"))


def _why(error: Exception) -> str:
    text = one_line(str(error), 120)
    if "refused" in text or "All connection attempts failed" in text:
        return "connection refused"
    return text or type(error).__name__
