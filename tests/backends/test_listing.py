"""Listings of servers that cannot be run here, in the shapes that their documentation gives."""

import asyncio

import pytest

from tui_router.backends.backend_errors import BackendError
from tui_router.backends.client import Client
from tui_router.backends.listing import LISTERS, detect
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
        body = replies.get(request.path.partition("?")[0], ...)
        await (reply.json(body) if body is not ... else reply.json({"error": "not here"}, missing))

    return await listed_by(handle)


async def listed_by(handle, lister=detect):
    server = await asyncio.start_server(lambda r, w: serve_connection(r, w, handle), "127.0.0.1", 0)
    client = Client(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        return await lister(client)
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


# -- shapes that are not in any documentation --------------------------------------------------------------------------
IDS = ("google/gemma-3-1b", "qwen/qwen3-coder-30b")
SHAPES = [
    {"object": "list", "data": [{"id": i} for i in IDS]},
    {"data": [{"name": i} for i in IDS]},
    {"data": [{"model": i} for i in IDS]},
    {"data": list(IDS)},
    {"models": [{"name": i, "model": i} for i in IDS]},
    {"models": [{"id": i, "details": None} for i in IDS]},
    {"models": list(IDS)},
    [{"id": i} for i in IDS],
    list(IDS),
    {"data": [None, 5, [], {"id": 7}, {"id": ""}, *({"id": i} for i in IDS), {"id": IDS[0]}, {"id": "x" * 5000}]},
    {"data": [{"id": i, "owned_by": ["x"], "meta": 5, "status": None, "max_model_len": "long"} for i in IDS]},
]


@pytest.mark.parametrize("body", SHAPES)
async def test_models_are_found_in_every_shape_of_a_list(body):
    found = await listed({"/v1/models": body})
    assert [m.id for m in found.models] == list(IDS)


@pytest.mark.parametrize("body", [{"data": None}, {"data": []}, {"models": None}, [], {"object": "list", "data": None}])
async def test_a_server_that_has_no_models_yet_is_up(body):
    assert (await listed({"/v1/models": body})).models == ()


@pytest.mark.parametrize("body", [{"hello": 1}, "text", 5, {"error": "x", "models": None}])
async def test_what_is_no_list_is_one_sentence(body):
    with pytest.raises(BackendError, match="answers, but not like a model server"):
        await listed({"/v1/models": body})


async def test_a_thin_ollama():
    tags = {"models": [{"model": "gemma3:1b"}, {"name": "qwen3:4b", "size": "big"}, None, {"name": None}]}
    found = await listed({"/api/version": {"version": "0.12"}, "/api/tags": tags, "/api/ps": {"models": None}})
    assert found.kind == "ollama" and [m.id for m in found.models] == ["gemma3:1b", "qwen3:4b"]
    pulled_nothing = await listed({"/api/version": {"version": "0.12"}, "/api/tags": {"models": None}})
    assert pulled_nothing.kind == "ollama" and pulled_nothing.models == ()


async def test_a_web_page_with_a_version_is_no_model_server():
    async def handle(request, reply):
        if request.path == "/api/version":
            await reply.json({"version": "0.6.34"})
        else:
            await reply.whole(b"<!doctype html><html><title>Open WebUI</title>", 200, {"Content-Type": "text/html"})

    with pytest.raises(BackendError, match=r"answers with a web page \(Open WebUI\), not like a model server"):
        await listed_by(handle)


async def test_numbers_and_flags_of_other_types_are_as_if_absent():
    entry = {
        "key": "x",
        "type": 5,
        "loaded_instances": [{"config": {"context_length": "4096", "parallel": -1}}],
        "max_context_length": 1e400,
        "capabilities": {"vision": "yes", "trained_for_tool_use": 1, "reasoning": []},
        "size_bytes": 10**30,
    }
    (model,) = (await listed({"/api/v1/models": {"models": [entry]}})).models
    assert (model.state, model.context, model.max_context, model.slots, model.size_bytes) == ("loaded", 0, 0, 0, 0)
    assert model.vision is None and model.tools is None and model.chat and not model.reasons


@pytest.mark.parametrize("kind", ["lmstudio", "ollama", "llama-server", "vllm", "openai"])
async def test_a_pinned_kind_that_answers_with_an_error_is_one_sentence(kind):
    async def handle(request, reply):
        await reply.json({"error": {"message": "out of order"}}, 500)

    with pytest.raises(BackendError, match="out of order"):
        await listed_by(handle, LISTERS[kind])
