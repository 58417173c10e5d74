"""Listings of servers that cannot be run here, in the shapes that their documentation gives."""

import asyncio

import pytest

from tui_router.backends.backend_errors import BackendError
from tui_router.backends.client import Client
from tui_router.backends.listing import detect
from tui_router.demo.http import serve_connection

OLLAMA = {
    "/v1/models": {"object": "list", "data": [{"id": "gemma3:1b", "object": "model", "owned_by": "library"}]},
    "/api/version": {"version": "0.12.11"},
    "/api/tags": {
        "models": [
            {"name": "gemma3:1b", "model": "gemma3:1b", "size": 815319791},
            {"name": "gpt-oss:20b", "model": "gpt-oss:20b", "size": 13780173839},
            {"name": "nomic-embed-text:latest", "model": "nomic-embed-text:latest", "size": 274302450},
        ]
    },
    "/api/ps": {"models": [{"name": "gemma3:1b", "model": "gemma3:1b", "context_length": 4096}]},
}
VLLM = {
    "/v1/models": {"data": [{"id": "Qwen/Qwen3-VL-8B-Instruct", "owned_by": "vllm", "max_model_len": 32768}]},
    "/version": {"version": "0.11.0"},
}
ROUTER = {
    "/health": {"status": "ok"},
    "/props": {"role": "router", "default_generation_settings": {"params": None, "n_ctx": 0}},
    "/v1/models": {
        "data": [
            {"id": "a", "status": {"value": "loaded"}, "meta": {"n_ctx": 2048}},
            {"id": "b", "status": {"value": "unloaded"}},
            {"id": "c", "status": {"value": "loading"}},
            {"id": "d", "status": {"value": "unloaded", "failed": True, "exit_code": 1}},
        ]
    },
}
PLAIN = {"/v1/models": {"data": [{"id": "some-7b", "owned_by": "me"}, {"id": "text-embedding-x"}]}}


async def listed(replies, missing=404):
    async def handle(request, reply):
        body = replies.get(request.path.partition("?")[0])
        await (reply.json(body) if body is not None else reply.json({"error": "not here"}, missing))

    server = await asyncio.start_server(lambda r, w: serve_connection(r, w, handle), "127.0.0.1", 0)
    client = Client(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        return await detect(client)
    finally:
        await client.close()
        server.close()


async def test_ollama_says_what_is_pulled_and_what_is_in_memory():
    found = await listed(OLLAMA)
    assert found.kind == "ollama"
    assert [(m.id, m.state, m.context, m.chat) for m in found.models] == [
        ("gemma3:1b", "loaded", 4096, True),
        ("gpt-oss:20b", "loadable", 0, True),
        ("nomic-embed-text:latest", "loadable", 0, False),
    ]


async def test_vllm_lists_what_is_loaded():
    found = await listed(VLLM)
    (model,) = found.models
    assert (found.kind, model.state, model.context) == ("vllm", "loaded", 32768)


async def test_llama_server_in_router_mode_has_a_state_for_each_model():
    found = await listed(ROUTER)
    assert (found.kind, found.api) == ("llama-server", "router")
    assert [m.state for m in found.models] == ["loaded", "loadable", "loading", "failed"]


@pytest.mark.parametrize("missing", [404, 200])
async def test_any_openai_style_server_gives_ids_whatever_it_says_to_unknown_paths(missing):
    found = await listed(PLAIN, missing)
    assert found.kind == "openai" and [(m.id, m.chat) for m in found.models] == [
        ("some-7b", True),
        ("text-embedding-x", False),
    ]


async def test_something_else_on_the_port_is_one_sentence():
    with pytest.raises(BackendError, match="answers, but not like a model server"):
        await listed({})
