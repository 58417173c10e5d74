"""A server whose replies are written in the test: bytes out for each request that came in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tui_router.demo.http import HttpReply, HttpRequest, serve_connection

Script = Callable[[HttpRequest, HttpReply], Awaitable[None]]


class ScriptedServer:
    """Lists `models` in OpenAI's shape; `chat` answers the posts.

    Attributes:
        requests: Every request that arrived whole, oldest first.
    """

    def __init__(self, chat: Script | None = None, models: tuple[str, ...] = ("google/gemma-3-1b",)) -> None:
        self.chat, self.models = chat, models
        self.get: Mapping[str, Any] = {}
        """Path -> JSON for a GET, in place of the usual listing."""
        self.requests: list[HttpRequest] = []
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen; returns the base URL."""
        self._server = await asyncio.start_server(self._connection, host, port, limit=2**20)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.sockets[0].getsockname()[1]}"
        return self.url

    async def close(self) -> None:
        """Stop listening and drop all connections, as a crash does."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._open):
            writer.transport.abort()

    @property
    def posts(self) -> list[HttpRequest]:
        """The requests that carried a body."""
        return [r for r in self.requests if r.method == "POST"]

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            await serve_connection(reader, writer, self._handle)
        except asyncio.CancelledError:
            return
        finally:
            self._open.discard(writer)

    async def _handle(self, request: HttpRequest, reply: HttpReply) -> None:
        self.requests.append(request)
        path = request.path.partition("?")[0]
        if request.method == "POST" and self.chat is not None:
            await self.chat(request, reply)
        elif path in self.get:
            await reply.json(self.get[path])
        elif path == "/v1/models":
            await reply.json({"object": "list", "data": [{"id": i, "object": "model"} for i in self.models]})
        else:
            await reply.json({"error": {"message": "not here"}}, 404)


def frame(delta: Mapping[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    """One event of a streamed chat completion."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice], "model": "m", **more}).encode() + b"\n\n"


async def answer(request: HttpRequest, reply: HttpReply) -> None:
    """A short streamed answer."""
    await reply.start_stream()
    for event in (frame({"content": "Hello"}), frame({"content": " there"}), frame({}, "stop"), b"data: [DONE]\n\n"):
        await reply.chunk(event)
    await reply.end_stream()
