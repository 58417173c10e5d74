"""Loads a model before the first request, where the server reports the progress.

LM Studio reports load progress only on its native chat (`POST /api/v1/chat`, REST v1): a one-token request is opened,
its `model_load.*` events are read, and the connection is closed when the model is loaded. The load is a JIT load, so the server's
own rules of eviction apply. llama-server in router mode loads by `POST /models/load` and is asked for its state.
Other servers load at the first request and report nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from tui_router.backends.backend_errors import BackendError, classify, message_of
from tui_router.backends.health import Backend
from tui_router.backends.sse import SSEDecoder
from tui_router.core.json_value import decode_json

_POLL_S = 0.2
"""Seconds between two looks at a model that llama-server is loading. Chosen by hand, not measured."""


async def warm_up(backend: Backend, model_id: str, load_s: float) -> AsyncGenerator[float, None]:
    """Load a model; yields the fraction that is loaded, where the server reports it.

    Raises:
        BackendError: `not_found` when the server cannot load it, `slow` after `load_s` seconds.
    """
    api = backend.listing.api if backend.listing else ""
    if api == "v1":
        async for fraction in _lmstudio(backend, model_id, load_s):
            yield fraction
    elif api == "router":
        await _llama_router(backend, model_id, load_s)


async def _lmstudio(backend: Backend, model_id: str, load_s: float) -> AsyncGenerator[float, None]:
    body = {"model": model_id, "input": "hi", "stream": True, "store": False, "max_output_tokens": 1}
    decoder = SSEDecoder()
    chunks = backend.client.stream("/api/v1/chat", body, first_byte_s=load_s, idle_s=load_s)
    try:
        async for chunk in chunks:
            for event in decoder.feed(chunk):
                frame = decode_json(event.data)
                if frame is None:
                    return
                message = message_of(frame)
                if message is not None:
                    raise classify(200, message)
                if event.event == "model_load.progress":
                    yield min(1.0, max(0.0, frame["progress"].number() or 0.0))
                elif event.event not in ("chat.start", "model_load.start"):
                    return
    except ValueError:
        return  # an event without an end: the request itself will show what is wrong
    except BackendError as error:
        if error.failure in ("server", "bad_request", "broken", "empty"):
            return  # an older build without this endpoint: the request itself will load the model
        raise
    finally:
        await chunks.aclose()


async def _llama_router(backend: Backend, model_id: str, load_s: float) -> None:
    reply = await backend.client.post("/models/load", {"model": model_id}, timeout=30.0)
    message = message_of(reply.json, reply.status)
    if message is not None and "already" not in message:
        raise classify(reply.status, message)
    deadline = asyncio.get_running_loop().time() + load_s
    while asyncio.get_running_loop().time() < deadline:
        await backend.look()
        models = {m.id: m for m in backend.listing.models} if backend.listing else {}
        state = models[model_id].state if model_id in models else "failed"
        if state == "loaded":
            return
        if state == "failed":
            raise BackendError("not_found", f"{model_id} failed to load")
        await asyncio.sleep(_POLL_S)
    raise BackendError("slow", f"{model_id} was not loaded within {load_s:g} s")
