"""The tests' double of LM Studio: the demo's server with faults that can be switched on.

As a process of its own: `python -m tests.doubles.lmstudio [--port N] [--fault [MODEL=]NAME] [--speed X]`.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from tui_router.demo import answers
from tui_router.demo.http import HttpReply, HttpRequest
from tui_router.demo.server import (
    PIECE,
    PRELOADED,
    DemoModel,
    DemoServer,
    error_body,
    frame_error,
    last_text,
)

Fault = Literal[
    "",
    "hang",  # no reply at all
    "hang_after_headers",
    "die",  # the connection drops in the middle of the answer
    "die_at_once",
    "stall",  # silence in the middle of the answer
    "error_frame",
    "string_error",
    "overflow",
    "empty",
    "empty_stop",
    "garbage",
    "refuse_key",
    "status_500",
    "status_503",
    "status_503_once",
    "status_429",
    "not_found",
    "drip",  # seven bytes at a time
    "crlf",
    "separators",  # U+2028 and its kind in the text
    "wrong_model",
    "no_usage",
    "no_done",
    "think_tags",
    "hostile",  # terminal control sequences and markup in the text
    "endless",
]

_HOSTILE = (
    "Look: [@click=app.quit]here[/] and [/INST] ",
    "\x1b]52;c;ZXZpbA==\x07",
    " \x1b]8;;http://evil.example\x1b",
    "\\link\x1b]8;;\x1b\\",
    " \x1b[2J\x1b[3J",
    " \u202eold\u202c ",
    "list[0] = x[i] ",
    "done.",
)
_BROKEN: dict[str, tuple[bytes, ...]] = {
    "error_frame": (frame_error("Compute error."),),
    "string_error": (b'data: {"error":"Channel Error"}\n\n',),
    "overflow": (
        frame_error("Trying to keep the first 9000 tokens when context the overflows. However, the model is loaded"),
    ),
    "empty": (),
    "garbage": (b"data: \xff\xfe\x00{]]\n\n",),
}
_REFUSED: dict[str, tuple[int, dict[str, Any]]] = {
    "refuse_key": (401, error_body("invalid key", "invalid_request", "invalid_api_key")),
    "status_500": (
        500,
        error_body("The model has crashed without additional information. (Exit code: 6)", "internal_error"),
    ),
    "status_503": (503, error_body("Loading model", "unavailable_error")),
    "status_429": (429, error_body("Too many requests", "rate_limit")),
    "not_found": (
        404,
        error_body("No models loaded. Please load a model in the developer page", "invalid_request_error"),
    ),
}
_DEATH = 5
"""Frames after which `die` and `stall` act: the role, and four words."""


class LMStudio(DemoServer):
    """The demo's server as tests want it: with faults, an API key, an embedding model, the old REST v0, and records.

    Attributes:
        faults: What goes wrong when a model is asked, by its key; `*` stands for every model.
        writes: What the models say instead of their pretend answers, by the body of the request.
        requests: What it was asked, oldest first.
        stopped: Answers that the client hung up on.
        running: Answers that are being streamed, and `most_running` the most at a time.
    """

    def __init__(self, *, speed: float = 1.0, keep_one: bool = False, preloaded: tuple[str, ...] = PRELOADED) -> None:
        """`keep_one`: at most one model that was loaded by a request stays loaded, as LM Studio's default is."""
        super().__init__(speed=speed, preloaded=preloaded)
        self.keep_one = keep_one
        self.faults: dict[str, Fault] = {}
        self.api_key = ""
        self.refusal = "An LM Studio API token is required to make requests to this server"
        self.legacy = False
        """Speak REST v0 only."""
        self.embedding = ""
        """Key of an embedding model, if one is served."""
        self.embedding_delay_s = 0.0
        self.writes: Callable[[Mapping[str, Any]], str] | None = None
        self.requests: list[HttpRequest] = []
        self.stopped = self.running = self.most_running = 0
        self._answering: dict[str, set[asyncio.Task[Any]]] = {}
        self._once: set[str] = set()

    async def handle(self, request: HttpRequest, reply: HttpReply) -> None:
        self.requests.append(request)
        path = request.path.partition("?")[0]
        if self.api_key and request.headers.get("authorization") != f"Bearer {self.api_key}":
            await reply.json(error_body(self.refusal, "invalid_request", "invalid_api_key"), 401)
        elif path == "/api/v0/models":
            data = [*(self._v0(m) for m in self.models.values()), *self._embedding_entry("embeddings")]
            await reply.json({"object": "list", "data": data})
        elif path == "/v1/embeddings" and self.embedding:
            await self._embed(request, reply)
        elif path.startswith("/api/v1/") and self.legacy:
            await reply.json(
                {"error": f"Unexpected endpoint or method. ({request.method} {path}). Returning 200 anyway"}
            )
        else:
            await super().handle(request, reply)

    def listing(self) -> list[dict[str, Any]]:
        return super().listing() + self._embedding_entry("embedding")

    def _v0(self, model: DemoModel) -> dict[str, Any]:
        entry = {
            "id": model.key,
            "object": "model",
            "type": "vlm" if model.vision else "llm",
            "state": "loaded" if model.key in self.loaded else "not-loaded",
            "max_context_length": model.context,
            "capabilities": ["tool_use"] if model.tools else [],
        }
        return entry | ({"loaded_context_length": model.context} if model.key in self.loaded else {})

    def _embedding_entry(self, kind: str) -> list[dict[str, Any]]:
        if not self.embedding:
            return []
        named = {"key": self.embedding, "id": self.embedding, "display_name": self.embedding}
        return [{"type": kind, **named, "loaded_instances": [], "max_context_length": 2048, "state": "loaded"}]

    async def _embed(self, request: HttpRequest, reply: HttpReply) -> None:
        """Vectors in which texts that share words lie close: each word is a fixed random direction."""
        await asyncio.sleep(self.embedding_delay_s)
        texts = (request.body or {}).get("input") or []
        data = [{"object": "embedding", "index": i, "embedding": _direction(text)} for i, text in enumerate(texts)]
        await reply.json({"object": "list", "model": self.embedding, "data": data})

    # -- loading ---------------------------------------------------------------------------------------------------
    async def load(self, key: str) -> None:
        if key not in self.loaded and self.keep_one:
            for other in [k for k, by_request in self.loaded.items() if by_request]:
                del self.loaded[other]
                for task in self._answering.get(other, ()):
                    task.cancel("Model unloaded.")
        await super().load(key)

    async def native_chat(self, body: Mapping[str, Any], reply: HttpReply) -> None:
        if self._fault(str(body.get("model"))) == "not_found":
            await reply.json(error_body("Model not found", "model_not_found"), 404)
        else:
            await super().native_chat(body, reply)

    # -- chat ------------------------------------------------------------------------------------------------------
    def _fault(self, key: str) -> Fault:
        return self.faults.get(key) or self.faults.get("*") or ""

    async def chat(self, body: Mapping[str, Any], reply: HttpReply) -> None:
        key = str(body.get("model"))
        fault = self._fault(key)
        if await self._refused(fault, key, reply):
            return
        task = asyncio.ensure_future(super().chat(body, _FaultyReply(reply.writer, fault)))
        tasks = self._answering.setdefault(key, set())
        tasks.add(task)
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            await task
        except asyncio.CancelledError as reason:
            if reason.args == ("Model unloaded.",):
                await reply.chunk(frame_error("Model unloaded."))
                await reply.end_stream()
                return
            task.cancel()
            self.stopped += 1
            raise
        except ConnectionError:
            self.stopped += 1
        finally:
            self.running -= 1
            tasks.discard(task)

    async def _refused(self, fault: Fault, key: str, reply: HttpReply) -> bool:
        """Faults that show before any answer."""
        if fault == "hang":
            await asyncio.sleep(3600)
        elif fault == "hang_after_headers":
            await reply.start_stream()
            await asyncio.sleep(3600)
        elif fault == "die_at_once":
            reply.abort()
        elif fault in _BROKEN:
            await reply.start_stream()
            for data in _BROKEN[fault]:
                await reply.chunk(data)
            await reply.end_stream()
        elif fault in _REFUSED:
            status, body = _REFUSED[fault]
            await reply.json(body, status, {"Retry-After": "0.05"} if status in (429, 503) else None)
        elif fault == "status_503_once" and key not in self._once:
            self._once.add(key)
            return await self._refused("status_503", key, reply)
        else:
            return False
        return True

    def pieces(self, model: DemoModel, body: Mapping[str, Any]) -> list[tuple[str, str]]:
        fault = self._fault(model.key)
        if fault == "empty_stop":
            return []
        if fault in ("separators", "drip"):
            return [("content", c) for c in ("a\u2028b", "\u2029", "\x85", "日", "🦊", " end")]
        if fault == "hostile":
            return [("content", c) for c in _HOSTILE]
        if fault == "endless":
            words = PIECE.findall(f"{self.text(model, body)}\n\n")
            return [("content", words[i % len(words)]) for i in range(100_000)]
        if fault == "think_tags":
            thoughts = answers.reasoning(last_text(body))
            said = PIECE.findall(self.text(model, body))
            return [("content", c) for c in ("<thi", "nk>", *thoughts, "</think>", *said)]
        return super().pieces(model, body)

    def text(self, model: DemoModel, body: Mapping[str, Any]) -> str:
        return self.writes(body) if self.writes else super().text(model, body)


class _FaultyReply(HttpReply):
    """Spoils a sound reply on its way out."""

    def __init__(self, writer: asyncio.StreamWriter, fault: Fault) -> None:
        super().__init__(writer)
        self._fault, self._frames = fault, 0

    async def json(self, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        if self._fault == "die":
            self.abort()
        else:
            await super().json(body, status, headers)

    async def chunk(self, data: bytes) -> None:
        left_out = {"no_done": b"[DONE]", "no_usage": b'"usage"', "empty_stop": b'"finish_reason": "stop"'}
        if self._fault in left_out and left_out[self._fault] in data:
            return
        if self._fault == "crlf":
            data = data.replace(b"\n\n", b"\r\n\r\n")
        elif self._fault == "wrong_model":
            data = re.sub(rb'"model": "[^"]*"', b'"model": "somebody/else-7b"', data)
        step = 7 if self._fault == "drip" else len(data)
        for start in range(0, len(data), step):
            await super().chunk(data[start : start + step])
        self._frames += 1
        if self._frames == _DEATH and self._fault == "die":
            self.abort()
            raise ConnectionResetError
        if self._frames == _DEATH and self._fault == "stall":
            await asyncio.sleep(3600)


_DIMENSIONS = 48


def _direction(text: str) -> list[float]:
    total = [0.0] * _DIMENSIONS
    for word in str(text).lower().split():
        digest = hashlib.shake_128(word.strip(".,!?").encode("utf-8", "replace")).digest(_DIMENSIONS)
        for place, byte in enumerate(digest):
            total[place] += byte / 127.5 - 1
    return total


async def _serve(args: argparse.Namespace) -> None:
    server = LMStudio(speed=args.speed)
    for fault in args.fault:
        model, _, name = fault.rpartition("=")
        server.faults[model or "*"] = name
    sys.stdout.write(f"READY {await server.start(args.port)}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def main() -> int:
    """Serve until killed."""
    names = [fault for fault in get_args(Fault) if fault]
    parser = argparse.ArgumentParser(prog="python -m tests.doubles.lmstudio", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--fault", action="append", default=[], help=f"one of {', '.join(names)}")
    args = parser.parse_args()
    unknown = [f for f in args.fault if f.rpartition("=")[2] not in names]
    if unknown:
        parser.error(f"there is no fault {unknown[0]!r}")
    try:
        asyncio.run(_serve(args))
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
