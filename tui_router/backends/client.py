"""HTTP to one server: plain replies, and streams with a limit for each wait.

Settings and reasons: no proxy for this machine and for private networks (it would get the person's prompts), no compression
of streams, and a connection for each request. A connection that is kept idle may be dropped by the server while the next
request is written to it, and then nobody knows whether the request was read. A new one costs about a millisecond on
this machine and one round trip elsewhere. Nothing is sent twice here; `resending.py` decides about that.

Keys and passwords are taken out of everything that comes back, so that no error shows them.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any
from urllib.parse import quote
from urllib.request import getproxies

import httpx

from tui_router import __version__
from tui_router.backends.addresses import connected, is_usable, login, other_loopback, proxy_for
from tui_router.backends.backend_errors import BackendError, classify, message_of
from tui_router.config.server_urls import without_login
from tui_router.core.json_value import JsonValue, decode_json
from tui_router.core.text import one_line

_LIMITS = httpx.Limits(max_connections=32, max_keepalive_connections=0)
_TIMEOUT = httpx.Timeout(connect=2.0, write=30.0, pool=5.0, read=None)
"""Seconds. Reading is bounded by the limits of each request."""
LONGEST_BODY = 8 * 1024 * 1024
"""Bytes of a plain reply that are read. Listings of 1,000 models are below 1 MB."""
_LONGEST_REFUSAL = 64 * 1024
"""Bytes of a refusal that are read: its message is shown in one line."""
_SHORTEST_SECRET = 5
"""Characters. A shorter key or password stands in too many words to be taken out of a text."""
_NO_SECRETS = (
    "ollama",
    "lm-studio",
    "llama.cpp",
    "empty",
    "dummy",
    "none",
    "no-key",
    "not-needed",
    "sk-no-key-required",
)
"""What people write where a key is asked for and none is needed."""
_SCHEME = re.compile(r"bearer\s+", re.IGNORECASE)
"""What people copy from an example along with the key."""
_FAULTS = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError)


class Reply:
    """A plain reply: status, headers, text, and the JSON in it (nothing when there is none)."""

    def __init__(self, status: int, headers: httpx.Headers, text: str) -> None:
        self.status, self.headers, self.text = status, headers, text
        self.json: JsonValue = decode_json(text) or JsonValue()

    @property
    def page_title(self) -> str | None:
        """The title when the reply is a web page, which may be empty; None when it is something else."""
        head = self.text[:4096]
        if not head.lstrip("\ufeff \t\r\n").startswith("<"):
            return None
        found = re.search(r"<title[^>]*>([^<]*)", head, re.IGNORECASE)
        return one_line(found[1], 60) if found else ""


class Client:
    """One server, for the life of the program. Creating one never fails; a setting that cannot be used fails each request.

    Attributes:
        url: The server's address without login: what may be shown.
    """

    def __init__(self, url: str, api_key: str = "") -> None:
        url = url.strip()
        self.url = without_login(url)
        self._base, self._login = connected(url), login(url)
        self._key = api_key.strip()
        if scheme := _SCHEME.match(self._key):
            self._key = self._key[scheme.end() :]
        self._proxy = ""
        self._http: httpx.AsyncClient | None = None
        self._basic = base64.b64encode(":".join(self._login).encode()).decode() if self._login else ""
        secrets = (
            self._key,
            quote(self._key),
            self._basic,
            *((self._login[1], quote(self._login[1])) if self._login else ()),
        )
        self._secrets = [s for s in secrets if len(s) >= _SHORTEST_SECRET and s.lower() not in _NO_SECRETS]

    async def get(self, path: str, timeout: float = 3.0) -> Reply:
        """Send a GET and return the reply, whatever its status is. Raises BackendError when there is none."""
        return await self._plain("GET", path, None, timeout)

    async def post(self, path: str, body: dict[str, Any], timeout: float) -> Reply:
        """Send JSON and return the reply, whatever its status is. Raises BackendError when there is none."""
        return await self._plain("POST", path, body, timeout)

    async def ask(self, path: str, body: dict[str, Any], timeout: float) -> JsonValue:
        """Send JSON and return the JSON of a good reply. Raises BackendError for refusals too."""
        reply = await self.post(path, body, timeout)
        message = message_of(reply.json, reply.status)
        if not 200 <= reply.status < 300 or message is not None:
            raise self._refused(reply)
        return reply.json

    async def _plain(self, method: str, path: str, body: dict[str, Any] | None, timeout: float) -> Reply:
        try:
            async with asyncio.timeout(timeout):
                response = await self._send(method, path, body)
                try:
                    return await self._whole(response, LONGEST_BODY)
                finally:
                    await _hang_up(response)
        except TimeoutError:
            raise BackendError("slow", f"{self.url} did not answer within {timeout:g} s") from None
        except _FAULTS as error:
            raise BackendError("broken", f"{self.url} closed the connection: {self._why(error)}") from error

    async def _send(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        """Return a response whose headers have come, to be closed by the caller. Redirects are an error."""
        try:
            response = await self._connect(method, path, body)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise BackendError("down", self._unreachable(error)) from error
        except httpx.LocalProtocolError as error:
            raise BackendError("settings", f"the request to {self.url} cannot be sent: {self._why(error)}") from error
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise BackendError(
                "settings", f"{self.url} is not an address that can be asked: {self._why(error)}"
            ) from error
        except httpx.ProxyError as error:
            raise BackendError("down", f"{self.url} was not reached: the proxy refused ({self._why(error)})") from error
        except UnicodeError as error:
            raise BackendError("bad_request", "the request holds a character that cannot be sent as UTF-8") from error
        except _FAULTS as error:
            raise BackendError("no_bytes", f"{self.url} closed the connection without an answer") from error
        if 300 <= response.status_code < 400:
            target = without_login(self.hidden(response.headers.get("location", "")))
            await _hang_up(response)
            raise BackendError(
                "settings",
                f"{self.url} redirects to {one_line(target, 120) or 'nowhere'}; if that is the server, write its address "
                "into fleet.toml",
            )
        return response

    async def _connect(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        """Send a request; where nothing listens on one of the two loopback addresses, the other one is tried."""
        http = self._client()
        try:
            return await http.send(http.build_request(method, self._base + path, json=body), stream=True)
        except httpx.ConnectError:
            other = other_loopback(self._base)
            if not other:
                raise
            try:
                response = await http.send(http.build_request(method, other + path, json=body), stream=True)
            except httpx.ConnectError:
                pass
            else:
                self._base = other
                return response
            raise

    def _client(self) -> httpx.AsyncClient:
        """Return the HTTP client, which is made when it is first needed. Raises BackendError (`settings`) when it cannot be."""
        if self._http is not None:
            return self._http
        if not is_usable(self._base):
            raise BackendError("settings", f"{self.url} is not an address that can be asked; correct it in fleet.toml")
        if not (self._key.isascii() and self._key.isprintable()):
            raise BackendError(
                "settings",
                f"the API key of {self.url} holds a character that HTTP cannot send (an accent, a typographic dash, a line "
                "break); copy it again",
            )
        headers = {"User-Agent": f"tui-router/{__version__}", "Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        elif self._basic:
            headers["Authorization"] = f"Basic {self._basic}"
        self._proxy = proxy = proxy_for(self._base, getproxies())
        try:
            verify = httpx.create_ssl_context() if self._base.lower().startswith("https") else False
        except OSError as error:
            raise BackendError(
                "settings",
                f"{self.url} was not asked: the certificates named by SSL_CERT_FILE or SSL_CERT_DIR cannot be read "
                f"({error.strerror or type(error).__name__})",
            ) from error
        try:
            if proxy and not is_usable(proxy):
                raise ValueError(proxy)
            self._http = httpx.AsyncClient(
                headers=headers,
                proxy=proxy or None,
                verify=verify,
                trust_env=False,
                follow_redirects=False,
                timeout=_TIMEOUT,
                limits=_LIMITS,
            )
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            raise BackendError(
                "settings",
                f"{self.url} was not asked: the proxy {one_line(without_login(proxy), 80)} of the environment cannot be used "
                "(HTTP proxies only); list the server in NO_PROXY to ask it directly",
            ) from error
        return self._http

    async def stream(
        self, path: str, body: dict[str, Any], *, first_byte_s: float, idle_s: float
    ) -> AsyncGenerator[bytes, None]:
        """POST and yield the bytes of the reply as they come, whatever their content type is.

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
            if not response.is_success:
                async with asyncio.timeout_at(deadline):
                    raise self._refused(await self._whole(response, _LONGEST_REFUSAL, cut=True))
            async with aclosing(response.aiter_bytes()) as chunks:  # type: ignore[type-var]  # it is an async generator
                while True:
                    async with asyncio.timeout_at(loop.time() + idle_s if started else deadline):
                        chunk = await anext(chunks, None)
                    if chunk is None:
                        return
                    started = True
                    yield chunk
        except TimeoutError:
            raise (BackendError("idle", f"no sign of life for {idle_s:g} s") if started else late) from None
        except _FAULTS as error:
            what = f"{self.url} closed the connection: {self._why(error)}"
            raise BackendError("broken" if started else "no_bytes", what) from error
        finally:
            await _hang_up(response)

    def _refused(self, reply: Reply) -> BackendError:
        """Return the error that a reply to a POST means."""
        message = message_of(reply.json, reply.status)
        if message is None:
            title = reply.page_title
            page = f"a web page ({title or 'without a title'}), HTTP {reply.status}"
            message = one_line(reply.text, 200) if title is None else page
        return classify(reply.status, self.hidden(message), reply.headers.get("retry-after"))

    async def _whole(self, response: httpx.Response, limit: int, *, cut: bool = False) -> Reply:
        """Read a whole body. One of more than `limit` bytes is an error, or is cut off there."""
        data = bytearray()
        async for chunk in response.aiter_bytes():
            data += chunk
            if len(data) > limit:
                if cut:
                    break
                raise BackendError("server", f"{self.url} sent a reply of more than {limit // 2**20} MiB")
        text = data[:limit].decode("utf-8", "replace")
        good = response.is_success  # read as it is: a key such as `ollama` may also be a part of a model's name
        return Reply(response.status_code, response.headers, text if good else self.hidden(text))

    def hidden(self, text: str) -> str:
        """Return a text of the server or of the HTTP library without the key and the password."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def _unreachable(self, error: Exception) -> str:
        """Say in one sentence why no connection could be made."""
        text = self._why(error)
        if "CERTIFICATE_VERIFY_FAILED" in text:
            return f"the certificate of {self.url} is not trusted; name the one to trust in SSL_CERT_FILE"
        if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER_FAILURE" in text:
            return f"{self.url} does not speak TLS; write http:// instead of https://"
        by_proxy = f" (asked through the proxy {one_line(without_login(self._proxy), 80)})" if self._proxy else ""
        return f"nothing answers at {self.url}: {text}{by_proxy}"

    def _why(self, error: Exception) -> str:
        text = one_line(self.hidden(str(error)), 120)
        if "refused" in text or "All connection attempts failed" in text:
            return "connection refused"
        return text or type(error).__name__

    async def close(self) -> None:
        """Close all connections. Never fails."""
        if self._http is not None:
            with suppress(*_FAULTS, RuntimeError):
                await self._http.aclose()


async def _hang_up(response: httpx.Response) -> None:
    """Close the connection, which stops the server; even when this task is being cancelled."""
    with suppress(TimeoutError, *_FAULTS):
        await asyncio.shield(asyncio.wait_for(response.aclose(), 1.0))
