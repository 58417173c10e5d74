"""A loopback server with LM Studio's API (REST v1 and v0, OpenAI-style chat) and six pretend models.

Quirks of the real one are kept: unknown paths answer 200 with an error body, models load at the first request, loading
one unloads the other that was loaded so, a context that is too small is an error frame inside a 200.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct

from tui_router.config.settings import BackendSetting
from tui_router.demo import answers
from tui_router.demo.http import HttpReply, HttpRequest, serve_connection

Fault = Literal[
    "", "hang", "hang_after_headers", "die", "die_at_once", "error_frame", "string_error", "empty", "empty_stop", "garbage",
    "drip", "refuse_key", "status_500", "status_503", "status_503_once", "status_429", "not_found", "overflow", "stall",
    "wrong_model", "no_usage", "think_tags", "separators", "hostile", "no_done", "crlf", "endless",
]  # fmt: skip

_PIECE = re.compile(r"\s*\S+|\s+")


class DemoModel(Struct, frozen=True, kw_only=True):
    """A pretend model."""

    key: str
    size_bytes: int
    context: int = 32_768
    vision: bool = False
    tools: bool = True
    reasons: bool = False
    tokens_per_second: float = 60.0
    first_token_s: float = 0.25
    load_s: float = 1.0


MODELS = (
    DemoModel(
        key="openai/gpt-oss-20b",
        size_bytes=12_109_565_632,
        context=131_072,
        reasons=True,
        tokens_per_second=61,
        load_s=1.6,
    ),
    DemoModel(key="qwen/qwen3-coder-30b", size_bytes=18_630_000_000, tokens_per_second=58, load_s=2.2),
    DemoModel(
        key="mistralai/ministral-3-14b-reasoning",
        size_bytes=9_120_000_000,
        reasons=True,
        tokens_per_second=47,
        load_s=1.4,
    ),
    DemoModel(key="qwen/qwen3-vl-8b", size_bytes=6_190_000_000, vision=True, tokens_per_second=44, load_s=1.1),
    DemoModel(
        key="google/gemma-3n-e4b",
        size_bytes=4_240_000_000,
        context=8_192,
        tools=False,
        tokens_per_second=80,
        load_s=0.8,
    ),
    DemoModel(
        key="google/gemma-3-1b",
        size_bytes=720_425_472,
        context=8_192,
        tools=False,
        tokens_per_second=140,
        load_s=0.3,
    ),
)
PRELOADED = ("google/gemma-3-1b", "google/gemma-3n-e4b", "qwen/qwen3-coder-30b")


class DemoServer:
    """One server. `faults` maps a model's key, or `*`, to what goes wrong when it is asked.

    Args:
        speed: Multiplies tokens per second and divides load times.
        keep_one: At most one model that was loaded by a request stays loaded, as LM Studio's default is.
    """

    def __init__(self, *, speed: float = 1.0, keep_one: bool = False, preloaded: tuple[str, ...] = PRELOADED) -> None:
        self.models = {m.key: m for m in MODELS}
        self.speed, self.keep_one = speed, keep_one
        self.loaded: dict[str, bool] = dict.fromkeys(preloaded, False)
        """Loaded models, and whether a request loaded them."""
        self.faults: dict[str, Fault] = {}
        self.api_key = ""
        self.refusal = "An LM Studio API token is required to make requests to this server"
        self.legacy = False
        """Speak REST v0 only."""
        self.embedding = ""
        """Key of an embedding model, if one is served."""
        self.embedding_delay_s = 0.0
        self.requests: list[HttpRequest] = []
        self.stopped = 0
        """Answers that the client hung up on."""
        self.writes: Callable[[dict[str, Any]], str] | None = None
        """What the models say instead of their pretend answers, by the body of the request."""
        self._streaming: dict[str, set[asyncio.Task[Any]]] = {}
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._once: set[str] = set()

    async def start(self, port: int = 0) -> str:
        """Listen on the loopback; returns the base URL."""
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", port, limit=2**20)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Stop listening and drop all connections."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._open):
                writer.transport.abort()
            self._server = None

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            await serve_connection(reader, writer, self._handle)
        except asyncio.CancelledError:
            return  # the event loop is closing; its stream protocol trips over a cancelled task
        finally:
            self._open.discard(writer)

    # -- routes ----------------------------------------------------------------------------------------------------
    async def _handle(self, request: HttpRequest, reply: HttpReply) -> None:
        self.requests.append(request)
        path = request.path.partition("?")[0]
        if self.api_key and request.headers.get("authorization") != f"Bearer {self.api_key}":
            await reply.json(_error(self.refusal, "invalid_request", "invalid_api_key"), 401)
        elif request.method == "GET" and path == "/v1/models":
            data = [{"id": k, "object": "model", "owned_by": "organization_owner"} for k in self.models]
            await reply.json({"object": "list", "data": data})
        elif request.method == "GET" and path == "/api/v1/models" and not self.legacy:
            await reply.json(
                {"models": [*(self._v1(m) for m in self.models.values()), *self._embedding_entry("embedding")]}
            )
        elif request.method == "GET" and path == "/api/v0/models":
            data = [*(self._v0(m) for m in self.models.values()), *self._embedding_entry("embeddings")]
            await reply.json({"object": "list", "data": data})
        elif request.method == "POST" and path == "/v1/chat/completions":
            await self._chat(request, reply)
        elif request.method == "POST" and path == "/v1/embeddings" and self.embedding:
            await self._embed(request, reply)
        elif request.method == "POST" and path == "/api/v1/chat" and not self.legacy:
            await self._native_chat(request, reply)
        elif request.method == "POST" and path == "/api/v1/models/load" and not self.legacy:
            await self._load_call(request, reply)
        elif request.method == "POST" and path == "/api/v1/models/unload" and not self.legacy:
            key = str((request.body or {}).get("instance_id"))
            self.loaded.pop(key, None)
            await reply.json({"instance_id": key})
        else:
            await reply.json(
                {"error": f"Unexpected endpoint or method. ({request.method} {path}). Returning 200 anyway"}
            )

    def _v1(self, model: DemoModel) -> dict[str, Any]:
        config = {"context_length": model.context, "parallel": 4, "flash_attention": True}
        return {
            "type": "llm", "publisher": model.key.partition("/")[0], "key": model.key, "display_name": model.key,
            "quantization": {"name": "Q4_K_M", "bits_per_weight": 4}, "size_bytes": model.size_bytes, "params_string": None,
            "loaded_instances": [{"id": model.key, "config": config}] if model.key in self.loaded else [],
            "max_context_length": model.context, "format": "gguf",
            "capabilities": {"vision": model.vision, "trained_for_tool_use": model.tools},
        }  # fmt: skip

    def _v0(self, model: DemoModel) -> dict[str, Any]:
        loaded = model.key in self.loaded
        return {
            "id": model.key, "object": "model", "type": "vlm" if model.vision else "llm",
            "state": "loaded" if loaded else "not-loaded", "max_context_length": model.context,
            "capabilities": ["tool_use"] if model.tools else [],
            **({"loaded_context_length": model.context} if loaded else {}),
        }  # fmt: skip

    # -- embeddings ------------------------------------------------------------------------------------------------
    def _embedding_entry(self, kind: str) -> list[dict[str, Any]]:
        if not self.embedding:
            return []
        return [
            {"type": kind, "key": self.embedding, "id": self.embedding, "object": "model", "display_name": self.embedding,
             "publisher": "demo", "size_bytes": 84_000_000, "loaded_instances": [], "max_context_length": 2048,
             "state": "loaded", "format": "gguf"}
        ]  # fmt: skip

    async def _embed(self, request: HttpRequest, reply: HttpReply) -> None:
        """Vectors in which texts that share words lie close: each word is a fixed random direction."""
        await asyncio.sleep(self.embedding_delay_s)
        texts = (request.body or {}).get("input") or []
        data = [{"object": "embedding", "index": i, "embedding": _direction(text)} for i, text in enumerate(texts)]
        await reply.json({"object": "list", "model": self.embedding, "data": data})

    # -- loading ---------------------------------------------------------------------------------------------------
    async def _load(self, key: str, by_request: bool) -> float:
        """Load a model; the one that a request loaded before is unloaded, and what it was saying ends."""
        if key in self.loaded:
            return 0.0
        took = self.models[key].load_s / self.speed
        if by_request and self.keep_one:
            for other in [k for k, jit in self.loaded.items() if jit]:
                del self.loaded[other]
                for task in self._streaming.get(other, ()):
                    task.cancel("Model unloaded.")
        await asyncio.sleep(took)
        self.loaded[key] = by_request
        return took

    async def _load_call(self, request: HttpRequest, reply: HttpReply) -> None:
        key = str((request.body or {}).get("model"))
        if key not in self.models:
            await reply.json(_error(f"Model {key} not found", "model_not_found"), 404)
            return
        took = await self._load(key, by_request=False)
        await reply.json({"type": "llm", "instance_id": key, "load_time_seconds": took, "status": "loaded"})

    async def _native_chat(self, request: HttpRequest, reply: HttpReply) -> None:
        """REST v1 chat: the only place where load progress can be seen."""
        key = str((request.body or {}).get("model"))
        if key not in self.models or self._fault(key) == "not_found":
            await reply.json(_error(f"Model {key} not found", "model_not_found"), 404)
            return
        await reply.start_stream()

        async def say(kind: str, **fields: Any) -> None:
            await reply.chunk(f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode())

        await say("chat.start", model_instance_id=key)
        if key not in self.loaded:
            loading = asyncio.ensure_future(self._load(key, by_request=True))
            began, whole = time.monotonic(), self.models[key].load_s / self.speed
            await say("model_load.start")
            while not loading.done():
                await asyncio.wait({loading}, timeout=max(0.01, whole / 12))
                await say("model_load.progress", progress=min(1.0, (time.monotonic() - began) / whole))
            await say("model_load.end", load_time_seconds=whole)
        await say("message.start")
        await say("message.delta", content="Hi")
        await say("message.end")
        await say("chat.end", result={})
        await reply.end_stream()

    # -- chat ------------------------------------------------------------------------------------------------------
    def _fault(self, key: str) -> Fault:
        return self.faults.get(key) or self.faults.get("*") or ""

    async def _chat(self, request: HttpRequest, reply: HttpReply) -> None:
        body = request.body if isinstance(request.body, dict) else {}
        key = str(body.get("model"))
        if key not in self.models:
            await reply.json(_error(f"Model '{key}' not found", "invalid_request_error"), 404)
            return
        fault = self._fault(key)
        if await self._refused(fault, key, reply):
            return
        if key not in self.loaded:
            await self._load(key, by_request=True)
        say = self._stream if body.get("stream") else self._whole
        task = asyncio.ensure_future(say(body, key, fault, reply))
        self._streaming.setdefault(key, set()).add(task)
        try:
            await task
        except asyncio.CancelledError as reason:
            if reason.args == ("Model unloaded.",):
                await reply.chunk(_frame_error("Model unloaded."))
                await reply.end_stream()
                return
            task.cancel()
            self.stopped += 1
            raise
        except ConnectionError:
            self.stopped += 1
        finally:
            self._streaming[key].discard(task)

    async def _refused(self, fault: Fault, key: str, reply: HttpReply) -> bool:
        """Faults that show before any answer."""
        match fault:
            case "hang":
                await asyncio.sleep(3600)
            case "die_at_once":
                reply.abort()
            case "refuse_key":
                await reply.json(_error("invalid key", "invalid_request", "invalid_api_key"), 401)
            case "status_500":
                await reply.json(
                    _error(
                        "The model has crashed without additional information. (Exit code: 6)",
                        "internal_error",
                    ),
                    500,
                )
            case "status_503":
                await reply.json(_error("Loading model", "unavailable_error"), 503, {"Retry-After": "0.05"})
            case "status_503_once" if key not in self._once:
                self._once.add(key)
                await reply.json(_error("Loading model", "unavailable_error"), 503, {"Retry-After": "0.05"})
            case "status_429":
                await reply.json(_error("Too many requests", "rate_limit"), 429, {"Retry-After": "0.05"})
            case "not_found":
                await reply.json(
                    _error("No models loaded. Please load a model in the developer page", "invalid_request_error"),
                    404,
                )
            case "hang_after_headers":
                await reply.start_stream()
                await asyncio.sleep(3600)
            case "error_frame" | "overflow" | "string_error" | "empty" | "garbage":
                await reply.start_stream()
                for data in _BROKEN[fault]:
                    await reply.chunk(data)
                await reply.end_stream()
            case _:
                return False
        return True

    async def _stream(self, body: dict[str, Any], key: str, fault: Fault, reply: HttpReply) -> None:
        model = self.models[key]
        words = list(self._pieces(model, body, fault))
        delay = 1 / (model.tokens_per_second * self.speed)
        asked = sum(len(str(m.get("content"))) for m in body.get("messages", ())) // 4
        await reply.start_stream()
        if asked > model.context:
            await reply.chunk(
                _frame_error(
                    f"Input does not fit in context length. The input has {asked} tokens, but the context length only "
                    f"supports {model.context} tokens."
                )
            )
            await reply.end_stream()
            return
        limit = int(body.get("max_tokens") or 10**9)
        end = "\r\n" if fault == "crlf" else "\n"
        name = "somebody/else-7b" if fault == "wrong_model" else key

        async def say(delta: dict[str, Any], finish: str | None = None, **more: Any) -> None:
            choices = [] if "usage" in more else [{"index": 0, "delta": delta, "finish_reason": finish}]
            frame = {
                "id": "chatcmpl-demo",
                "object": "chat.completion.chunk",
                "model": name,
                "choices": choices,
                **more,
            }
            data = f"data: {json.dumps(frame, ensure_ascii=False)}{end}{end}".encode("utf-8", "replace")
            if fault == "drip":
                for i in range(0, len(data), 7):
                    await reply.chunk(data[i : i + 7])
            else:
                await reply.chunk(data)

        await asyncio.sleep(model.first_token_s / self.speed)
        await say({"role": "assistant", "content": None})
        for count, (kind, word) in enumerate(words[:limit]):
            await asyncio.sleep(delay)
            await say({kind: word})
            if fault == "die" and count == 3:
                reply.abort()
                return
            if fault == "stall" and count == 3:
                await asyncio.sleep(3600)
        if fault != "empty_stop" or words:
            await say({}, "length" if len(words) > limit else "stop")
        if fault != "no_usage":
            done = min(len(words), limit)
            await say({}, usage={"prompt_tokens": asked, "completion_tokens": done, "total_tokens": asked + done})
        if fault != "no_done":
            await reply.chunk(f"data: [DONE]{end}{end}".encode())
        await reply.end_stream()

    async def _whole(self, body: dict[str, Any], key: str, fault: Fault, reply: HttpReply) -> None:
        """The answer in one piece, as long after the question as the model would have taken."""
        model, limit = self.models[key], int(body.get("max_tokens") or 10**9)
        words = list(self._pieces(model, body, fault))
        asked, done = sum(len(str(m.get("content"))) for m in body.get("messages", ())) // 4, min(len(words), limit)
        await asyncio.sleep((model.first_token_s + done / model.tokens_per_second) / self.speed)
        if fault == "die":
            reply.abort()
            return
        message = {
            kind: "".join(w for k, w in words[:limit] if k == kind) for kind in dict.fromkeys(k for k, _ in words)
        }
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": "", **message},
            "finish_reason": "length" if done < len(words) else "stop",
        }
        usage = {"prompt_tokens": asked, "completion_tokens": done, "total_tokens": asked + done}
        await reply.json(
            {"id": "chatcmpl-demo", "object": "chat.completion", "model": key, "choices": [choice], "usage": usage}
        )

    def _pieces(self, model: DemoModel, body: dict[str, Any], fault: Fault) -> list[tuple[str, str]]:
        text = _last_text(body)
        says = self.writes(body) if self.writes else answers.formed(body) or answers.answer(model.key, text)
        if fault == "empty_stop":
            return []
        if fault in ("separators", "drip"):
            return [("content", c) for c in ("a\u2028b", "\u2029", "\x85", "日", "🦊", " end")]
        if fault == "endless":
            words = _PIECE.findall(f"{says}\n\n")
            return [("content", words[i % len(words)]) for i in range(100_000)]
        if fault == "hostile":
            return [("content", c) for c in _HOSTILE]
        said = [("content", p) for p in _PIECE.findall(says)]
        thoughts = answers.reasoning(text)
        if fault == "think_tags":
            return [
                ("content", "<thi"),
                ("content", "nk>"),
                *(("content", t) for t in thoughts),
                ("content", "</think>"),
                *said,
            ]
        if model.reasons:
            field = "reasoning" if "gpt-oss" in model.key else "reasoning_content"
            return [(field, p) for t in thoughts for p in _PIECE.findall(t)] + said
        return said


_HOSTILE = (
    "Look: [@click=app.quit]here[/] and [/INST] ", "\x1b]52;c;ZXZpbA==\x07", " \x1b]8;;http://evil.example\x1b", "\\link\x1b]8;;\x1b\\",
    " \x1b[2J\x1b[3J", " \u202eold\u202c ", "list[0] = x[i] ", "done.",
)  # fmt: skip


def _frame_error(message: str) -> bytes:
    return f"event: error\ndata: {json.dumps({'error': {'message': message}, 'message': message})}\n\n".encode()


_BROKEN: dict[str, tuple[bytes, ...]] = {
    "error_frame": (_frame_error("Compute error."),),
    "string_error": (b'data: {"error":"Channel Error"}\n\n',),
    "overflow": (
        _frame_error("Trying to keep the first 9000 tokens when context the overflows. However, the model is loaded"),
    ),
    "empty": (),
    "garbage": (b"data: \xff\xfe\x00{]]\n\n",),
}


def _error(message: str, kind: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "code": code, "param": None}}


def _last_text(body: dict[str, Any]) -> str:
    messages = body.get("messages")
    content = messages[-1].get("content") if isinstance(messages, list) and messages else ""
    if isinstance(content, list):
        return " ".join(str(p.get("text", "")) for p in content if isinstance(p, dict))
    return str(content)


_DIMENSIONS = 48


def _direction(text: str) -> list[float]:
    total = [0.0] * _DIMENSIONS
    for word in str(text).lower().split():
        for place, byte in enumerate(
            hashlib.shake_128(word.strip(".,!?").encode("utf-8", "replace")).digest(_DIMENSIONS)
        ):
            total[place] += byte / 127.5 - 1
    return total


def demo_backend(url: str) -> BackendSetting:
    """The setting under which the dashboard and the command line use a demo server at this URL."""
    return BackendSetting(name="DEMO", url=url, kind="lmstudio")
