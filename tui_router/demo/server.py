"""The demo's server: a loopback server with LM Studio's API (REST v1 and OpenAI-style chat) and six pretend models.

Quirks of the real one are kept: unknown paths answer 200 with an error body, models load at the first request, and a
request that does not fit into the context is an error frame inside a 200.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from tui_router.config.settings import BackendSetting
from tui_router.demo import answers
from tui_router.demo.http import HttpReply, HttpRequest, serve_connection

PIECE = re.compile(r"\s*\S+|\s+")
"""A word with the white space before it: what the pretend models send at a time."""


class DemoModel(Struct, frozen=True, kw_only=True):
    """A pretend model."""

    key: str
    size_bytes: int
    context: int = 32_768
    """Tokens."""
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
    """One server.

    Args:
        speed: Multiplies tokens per second and divides load times.
        preloaded: Keys of the models that are loaded at the start.
    """

    def __init__(self, *, speed: float = 1.0, preloaded: tuple[str, ...] = PRELOADED) -> None:
        self.models = {m.key: m for m in MODELS}
        self.speed = speed
        self.loaded: dict[str, bool] = dict.fromkeys(preloaded, False)
        """Loaded models, and whether a request loaded them."""
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

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
            await serve_connection(reader, writer, self.handle)
        except asyncio.CancelledError:
            return  # the event loop is closing; its stream protocol trips over a cancelled task
        finally:
            self._open.discard(writer)

    async def handle(self, request: HttpRequest, reply: HttpReply) -> None:
        """Answer one request."""
        body = request.body if isinstance(request.body, dict) else {}
        match request.method, request.path.partition("?")[0]:
            case "GET", "/v1/models":
                data = [{"id": key, "object": "model", "owned_by": "organization_owner"} for key in self.models]
                await reply.json({"object": "list", "data": data})
            case "GET", "/api/v1/models":
                await reply.json({"models": self.listing()})
            case "POST", "/v1/chat/completions":
                await self.chat(body, reply)
            case "POST", "/api/v1/chat":
                await self.native_chat(body, reply)
            case method, path:
                await reply.json({"error": f"Unexpected endpoint or method. ({method} {path}). Returning 200 anyway"})

    def listing(self) -> list[dict[str, Any]]:
        """Return the models as REST v1 lists them."""
        return [self._entry(model) for model in self.models.values()]

    def _entry(self, model: DemoModel) -> dict[str, Any]:
        config = {"context_length": model.context, "parallel": 4, "flash_attention": True}
        return {
            "type": "llm",
            "publisher": model.key.partition("/")[0],
            "key": model.key,
            "display_name": model.key,
            "quantization": {"name": "Q4_K_M", "bits_per_weight": 4},
            "size_bytes": model.size_bytes,
            "params_string": None,
            "loaded_instances": [{"id": model.key, "config": config}] if model.key in self.loaded else [],
            "max_context_length": model.context,
            "format": "gguf",
            "capabilities": {"vision": model.vision, "trained_for_tool_use": model.tools},
        }

    # -- loading ---------------------------------------------------------------------------------------------------
    async def load(self, key: str) -> None:
        """Load a model for a request, unless it is loaded."""
        if key not in self.loaded:
            await asyncio.sleep(self.models[key].load_s / self.speed)
            self.loaded[key] = True

    async def native_chat(self, body: Mapping[str, Any], reply: HttpReply) -> None:
        """Answer on REST v1: the only place where load progress can be seen."""
        key = str(body.get("model"))
        if key not in self.models:
            await reply.json(error_body(f"Model {key} not found", "model_not_found"), 404)
            return
        await reply.start_stream()

        async def send(kind: str, **fields: Any) -> None:
            await reply.chunk(f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode())

        await send("chat.start", model_instance_id=key)
        if key not in self.loaded:
            loading = asyncio.ensure_future(self.load(key))
            began, whole = time.monotonic(), self.models[key].load_s / self.speed
            await send("model_load.start")
            while not loading.done():
                await asyncio.wait({loading}, timeout=max(0.01, whole / 12))
                await send("model_load.progress", progress=min(1.0, (time.monotonic() - began) / whole))
            await send("model_load.end", load_time_seconds=whole)
        await send("message.start")
        await send("message.delta", content="Hi")
        await send("message.end")
        await send("chat.end", result={})
        await reply.end_stream()

    # -- chat ------------------------------------------------------------------------------------------------------
    async def chat(self, body: Mapping[str, Any], reply: HttpReply) -> None:
        """Answer a chat completion, streamed or whole."""
        key = str(body.get("model"))
        if key not in self.models:
            await reply.json(error_body(f"Model '{key}' not found", "invalid_request_error"), 404)
            return
        await self.load(key)
        if body.get("stream"):
            await self._stream(self.models[key], body, reply)
        else:
            await self._whole(self.models[key], body, reply)

    async def _stream(self, model: DemoModel, body: Mapping[str, Any], reply: HttpReply) -> None:
        words, asked, limit = self.pieces(model, body), _tokens(body), _limit(body)
        await reply.start_stream()
        if asked > model.context:
            await reply.chunk(
                frame_error(
                    f"Input does not fit in context length. The input has {asked} tokens, but the context length only "
                    f"supports {model.context} tokens."
                )
            )
            await reply.end_stream()
            return

        async def send(choices: list[dict[str, Any]], **more: Any) -> None:
            frame = {
                "id": "chatcmpl-demo",
                "object": "chat.completion.chunk",
                "model": model.key,
                "choices": choices,
                **more,
            }
            await reply.chunk(f"data: {json.dumps(frame, ensure_ascii=False)}\n\n".encode("utf-8", "replace"))

        async def say(delta: dict[str, Any], finish: str | None = None) -> None:
            await send([{"index": 0, "delta": delta, "finish_reason": finish}])

        await asyncio.sleep(model.first_token_s / self.speed)
        await say({"role": "assistant", "content": None})
        for kind, word in words[:limit]:
            await asyncio.sleep(1 / (model.tokens_per_second * self.speed))
            await say({kind: word})
        await say({}, "length" if len(words) > limit else "stop")
        await send([], usage=_usage(asked, min(len(words), limit)))
        await reply.chunk(b"data: [DONE]\n\n")
        await reply.end_stream()

    async def _whole(self, model: DemoModel, body: Mapping[str, Any], reply: HttpReply) -> None:
        """Answer in one piece, as long after the question as the model would have taken."""
        words, asked, limit = self.pieces(model, body), _tokens(body), _limit(body)
        done = min(len(words), limit)
        await asyncio.sleep((model.first_token_s + done / model.tokens_per_second) / self.speed)
        message = {"role": "assistant", "content": ""}
        for kind, word in words[:limit]:
            message[kind] = message.get(kind, "") + word
        choice = {"index": 0, "message": message, "finish_reason": "length" if done < len(words) else "stop"}
        await reply.json(
            {
                "id": "chatcmpl-demo",
                "object": "chat.completion",
                "model": model.key,
                "choices": [choice],
                "usage": _usage(asked, done),
            }
        )

    def pieces(self, model: DemoModel, body: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the answer of a model in pieces: the field of the delta, and a word for it."""
        text = last_text(body)
        said = [("content", p) for p in PIECE.findall(self.text(model, body))]
        if not model.reasons:
            return said
        field = "reasoning" if "gpt-oss" in model.key else "reasoning_content"
        return [(field, p) for t in answers.reasoning(text) for p in PIECE.findall(t)] + said

    def text(self, model: DemoModel, body: Mapping[str, Any]) -> str:
        """Return the answer of a model, without its reasoning."""
        return answers.formed(body) or answers.answer(model.key, last_text(body))


def frame_error(message: str) -> bytes:
    """Return an error inside a stream, in LM Studio's shape."""
    return f"event: error\ndata: {json.dumps({'error': {'message': message}, 'message': message})}\n\n".encode()


def error_body(message: str, kind: str, code: str | None = None) -> dict[str, Any]:
    """Return the body of a refusal, in LM Studio's shape."""
    return {"error": {"message": message, "type": kind, "code": code, "param": None}}


def last_text(body: Mapping[str, Any]) -> str:
    """Return the text of the last message of a chat request."""
    messages = body.get("messages")
    content = messages[-1].get("content") if isinstance(messages, list) and messages else ""
    if isinstance(content, list):
        return " ".join(str(p.get("text", "")) for p in content if isinstance(p, dict))
    return str(content)


def _tokens(body: Mapping[str, Any]) -> int:
    """Return the length of a request in tokens, at four characters each."""
    return sum(len(str(m.get("content"))) for m in body.get("messages", ())) // 4


def _limit(body: Mapping[str, Any]) -> int:
    return int(body.get("max_tokens") or 10**9)


def _usage(asked: int, done: int) -> dict[str, int]:
    return {"prompt_tokens": asked, "completion_tokens": done, "total_tokens": asked + done}


def demo_backend(url: str) -> BackendSetting:
    """Return the setting under which the dashboard and the command line use a demo server at this URL."""
    return BackendSetting(name="DEMO", url=url, kind="lmstudio")
