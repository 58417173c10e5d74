"""The part of HTTP/1.1 that a loopback server needs: requests in, JSON or a chunked event stream out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

_LONGEST_BODY = 256 * 1024 * 1024


class HttpRequest(Struct, frozen=True):
    """A request whose body is JSON, or None when it is not."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


class HttpReply:
    """The reply to one request."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer

    async def json(self, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """Send a whole reply of JSON."""
        data = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        await self.whole(data, status, {"Content-Type": "application/json; charset=utf-8", **(headers or {})})

    async def whole(self, data: bytes, status: int, headers: dict[str, str]) -> None:
        """Send a whole reply of any type."""
        self._head(status, {**headers, "Content-Length": str(len(data))})
        self.writer.write(data)
        await self.writer.drain()

    async def start_stream(self) -> None:
        """Send the head of an event stream."""
        self._head(
            200,
            {
                "Content-Type": "text/event-stream",
                "Transfer-Encoding": "chunked",
                "Cache-Control": "no-cache",
            },
        )
        await self.writer.drain()

    async def chunk(self, data: bytes) -> None:
        """Send a piece of the stream. Raises ConnectionError when the client has gone."""
        self.writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await self.writer.drain()
        if self.writer.is_closing():
            raise ConnectionResetError

    async def end_stream(self) -> None:
        """Send the end of the stream."""
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    def abort(self) -> None:
        """Drop the connection as a crash would."""
        self.writer.transport.abort()

    def _head(self, status: int, headers: dict[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} {'OK' if status == 200 else 'Error'}", "X-Powered-By: Express"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())


Handler = Callable[[HttpRequest, HttpReply], Awaitable[None]]


async def serve_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handler) -> None:
    """Serve the requests of one connection until the client leaves.

    While a request is handled, the client's hanging up cancels the handler, as real servers stop generating.
    """
    try:
        while (request := await _read(reader)) is not None:
            work = asyncio.ensure_future(handle(request, HttpReply(writer)))
            gone = asyncio.ensure_future(_closed(reader))
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
                return
            work.result()
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        return
    finally:
        writer.close()


async def _closed(reader: asyncio.StreamReader) -> None:
    """Return when the other side has closed. What it sends meanwhile stays in the buffer."""
    while not reader.at_eof():  # noqa: ASYNC110  # StreamReader tells nobody
        await asyncio.sleep(0.02)


async def _read(reader: asyncio.StreamReader) -> HttpRequest | None:
    head = await reader.readline()
    if not head.strip():
        return None
    method, path, _ = head.decode("latin-1").split(" ", 2)
    headers: dict[str, str] = {}
    while line := (await reader.readline()).decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    length = int(headers.get("content-length", "0"))
    if not 0 <= length <= _LONGEST_BODY:
        return None
    data = await reader.readexactly(length) if length else b""
    try:
        body = json.loads(data) if data else None
    except ValueError:
        body = None
    return HttpRequest(method, path, headers, body)
