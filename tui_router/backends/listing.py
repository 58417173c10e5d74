"""What a server serves, read from the listings of its kind. Statuses are never trusted alone; shapes are.

Sources: LM Studio REST v1 and v0 (lmstudio.ai/docs), Ollama API, llama.cpp `tools/server/README.md`, vLLM OpenAI server.
Any JSON is read without an exception: what has another shape than expected is left out, or is one sentence.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Literal

import httpx
from msgspec import Struct

from tui_router.backends.backend_errors import BackendError, message_of
from tui_router.backends.client import Client, Reply
from tui_router.core.json_value import JsonValue

State = Literal["loaded", "loadable", "loading", "failed", "unknown"]

_LONGEST_ID = 300
"""Characters. Longer ids are no names, and are left out."""
_MOST_MODELS = 5000
_EMBEDS = re.compile(r"embed|\bbge-|\ball-minilm", re.IGNORECASE)
_VLLM_SLOTS = 8
"""Requests at a time for a vLLM server, which batches them; it does not tell its limit. Chosen by hand, not measured."""


class ServedModel(Struct, frozen=True, kw_only=True):
    """A model as a server describes it; None and 0 stand for what it does not say."""

    id: str
    state: State = "unknown"
    chat: bool = True
    """False for embedding models."""
    context: int = 0
    """Usable context of the loaded instance, in tokens."""
    max_context: int = 0
    """Longest context that the model can be loaded with, in tokens."""
    vision: bool | None = None
    tools: bool | None = None
    reasons: bool = False
    """The server says that it writes reasoning before its answer."""
    size_bytes: int = 0
    slots: int = 0
    """Requests that the server takes at once for this model."""
    busy: bool = False


class Listing(Struct, frozen=True):
    """What one look at a server found."""

    kind: str
    models: tuple[ServedModel, ...]
    api: str = ""
    """`v1` or `v0` for LM Studio, `router` for llama-server's router mode."""


async def detect(client: Client) -> Listing:
    """Find out which kind of server this is, and what it serves. Loads no model.

    Raises:
        BackendError: `down`, `auth`, `settings`, or the server's replies are of no known kind.
    """
    first = await client.get("/v1/models")
    others = ("/api/v1/models", "/api/v0/models", "/api/version", "/api/tags", "/props?autoload=false", "/version")
    v1, v0, about, tags, props, version = await asyncio.gather(*(_quiet(client, path) for path in others))
    if _is_lmstudio_v1(v1.json) or (v1.status in (401, 403) and "LM Studio" in v1.text):
        return await lmstudio(client)
    if _is_lmstudio_v0(v0.json):
        return await lmstudio(client)
    if about.json["version"].text() and "models" in tags.json:
        return await ollama(client)
    if first.headers.get("server") == "llama.cpp" or _is_llama_props(props.json):
        return await llama_server(client)
    listed = _entries(first.json) or []
    owners = {entry["owned_by"].text() for entry in listed}
    if "vllm" in owners or ("version" in version.json and any("max_model_len" in entry for entry in listed)):
        return await vllm(client)
    return Listing("openai", _plain(client, first))


async def lmstudio(client: Client) -> Listing:
    """List LM Studio: by its native v1 (0.4 and later), else by v0, else by the OpenAI-style list."""
    v1 = await client.get("/api/v1/models")
    if _is_lmstudio_v1(v1.json):
        return Listing("lmstudio", _models(_lmstudio_v1(m) for m in v1.json["models"].objects()), "v1")
    _check_key(client, v1)
    v0 = await client.get("/api/v0/models")
    if _is_lmstudio_v0(v0.json):
        return Listing("lmstudio", _models(_lmstudio_v0(m) for m in v0.json["data"].objects()), "v0")
    return Listing("lmstudio", _plain(client, await client.get("/v1/models")))


async def ollama(client: Client) -> Listing:
    """List Ollama: all pulled models, and which of them are in memory."""
    tags, running = await asyncio.gather(client.get("/api/tags"), _quiet(client, "/api/ps"))
    _check_key(client, tags)
    if "models" not in tags.json:
        raise _no_list(client, tags)
    loaded = {_id(entry): entry for entry in running.json["models"].objects()}
    found = (
        ServedModel(
            id=_id(entry),
            state="loaded" if _id(entry) in loaded else "loadable",
            chat=not _EMBEDS.search(_id(entry)),
            context=loaded[_id(entry)]["context_length"].count() or 0 if _id(entry) in loaded else 0,
            size_bytes=entry["size"].count() or 0,
        )
        for entry in tags.json["models"].objects()
    )
    return Listing("ollama", _models(found))


async def llama_server(client: Client) -> Listing:
    """List llama-server with its one model, or in router mode (`data[].status`)."""
    health = await client.get("/health")
    listed = await client.get("/v1/models")
    _check_key(client, listed)
    data = _entries(listed.json) or []
    if any("status" in entry for entry in data):
        return Listing("llama-server", _models(_llama_router(entry) for entry in data), "router")
    props, slots = await asyncio.gather(_quiet(client, "/props"), _quiet(client, "/slots"))
    about, all_slots = props.json, slots.json.items()
    loading = health.status == 503
    if _entries(listed.json) is None and not loading:
        raise _no_list(client, listed)
    if not data and loading:
        data = [JsonValue({"id": about["model_alias"].text() or "model"})]
    found = (
        ServedModel(
            id=_id(entry),
            state="loading" if loading else "loaded",
            context=about["default_generation_settings"]["n_ctx"].count() or entry["meta"]["n_ctx"].count() or 0,
            max_context=entry["meta"]["n_ctx_train"].count() or 0,
            vision=about["modalities"]["vision"].flag(),
            tools=about["chat_template_caps"]["supports_tools"].flag(),
            size_bytes=entry["meta"]["size"].count() or 0,
            slots=about["total_slots"].count() or 0,
            busy=bool(all_slots) and all(slot["is_processing"].flag() for slot in all_slots),
        )
        for entry in data
    )
    return Listing("llama-server", _models(found))


async def vllm(client: Client) -> Listing:
    """List vLLM: what it lists is loaded."""
    listed = await client.get("/v1/models")
    _check_key(client, listed)
    entries = _entries(listed.json)
    if entries is None:
        raise _no_list(client, listed)
    found = (
        ServedModel(id=_id(e), state="loaded", context=e["max_model_len"].count() or 0, slots=_VLLM_SLOTS)
        for e in entries
    )
    return Listing("vllm", _models(found))


async def openai(client: Client) -> Listing:
    """List any OpenAI-style server: ids, and nothing else."""
    return Listing("openai", _plain(client, await client.get("/v1/models")))


LISTERS: dict[str, Callable[[Client], Awaitable[Listing]]] = {
    "lmstudio": lmstudio,
    "ollama": ollama,
    "llama-server": llama_server,
    "vllm": vllm,
    "openai": openai,
}


async def _quiet(client: Client, path: str) -> Reply:
    """Send a GET that never raises: what a server of another kind says to a foreign path does not matter."""
    try:
        return await client.get(path)
    except BackendError:
        return Reply(0, httpx.Headers(), "")


def _plain(client: Client, reply: Reply) -> tuple[ServedModel, ...]:
    """Return the models of an OpenAI-style list. Raises BackendError when the reply is none."""
    _check_key(client, reply)
    entries = _entries(reply.json)
    if entries is None:
        raise _no_list(client, reply)
    return _models(ServedModel(id=_id(entry), chat=not _EMBEDS.search(_id(entry))) for entry in entries)


def _entries(body: JsonValue) -> list[JsonValue] | None:
    """Return the entries of a model list, which may stand under `data`, under `models` or alone; None when it is no list.

    An entry may be an object or a name. `null` is an empty list: nothing has been pulled yet.
    """
    for found in (body["data"], body["models"], body):
        if found.is_list:
            return [one if one.is_object else JsonValue({"id": one.text()}) for one in found.items()]
    return [] if "data" in body or ("models" in body and "error" not in body) else None


def _id(entry: JsonValue) -> str:
    return next((name for key in ("id", "key", "name", "model") if (name := entry[key].text().strip())), "")


def _models(found: Iterable[ServedModel]) -> tuple[ServedModel, ...]:
    """Keep those that have a name, each once."""
    kept: dict[str, ServedModel] = {}
    for model in found:
        if 0 < len(model.id) <= _LONGEST_ID and len(kept) < _MOST_MODELS:
            kept.setdefault(model.id, model)
    return tuple(kept.values())


def _check_key(client: Client, reply: Reply) -> None:
    if reply.status in (401, 403):
        reason = message_of(reply.json, reply.status) or "no reason given"
        raise BackendError("auth", f"{client.url} wants an API key ({reply.status}): {reason}")


def _no_list(client: Client, reply: Reply) -> BackendError:
    title = reply.page_title
    if title is not None:
        page = f"a web page ({title})" if title else "a web page"
        return BackendError("server", f"{client.url} answers with {page}, not like a model server")
    reason = message_of(reply.json, reply.status) or f"HTTP {reply.status} to /v1/models"
    return BackendError("server", f"{client.url} answers, but not like a model server ({reason})")


def _is_lmstudio_v1(body: JsonValue) -> bool:
    return body["models"].is_list and all("key" in entry for entry in body["models"].objects())


def _is_lmstudio_v0(body: JsonValue) -> bool:
    entries = body["data"].objects()
    return bool(entries) and all("state" in entry for entry in entries)


def _is_llama_props(body: JsonValue) -> bool:
    return "default_generation_settings" in body or body["role"].text() == "router"


def _lmstudio_v1(entry: JsonValue) -> ServedModel:
    instances = entry["loaded_instances"].objects()
    config = instances[0]["config"] if instances else JsonValue()
    capabilities = entry["capabilities"]
    return ServedModel(
        id=entry["key"].text(),
        state="loaded" if instances else "loadable",
        chat=entry["type"].text() != "embedding",
        context=config["context_length"].count() or 0,
        max_context=entry["max_context_length"].count() or 0,
        vision=capabilities["vision"].flag(),
        tools=capabilities["trained_for_tool_use"].flag(),
        reasons=capabilities["reasoning"].is_object,
        size_bytes=entry["size_bytes"].count() or 0,
        slots=config["parallel"].count() or 0,
    )


def _lmstudio_v0(entry: JsonValue) -> ServedModel:
    capabilities = entry["capabilities"]
    return ServedModel(
        id=_id(entry),
        state="loaded" if entry["state"].text() == "loaded" else "loadable",
        chat=entry["type"].text() not in ("embeddings", "embedding"),
        context=entry["loaded_context_length"].count() or 0,
        max_context=entry["max_context_length"].count() or 0,
        vision=entry["type"].text() == "vlm",
        tools=any(one.text() == "tool_use" for one in capabilities.items()) if capabilities.is_list else None,
    )


def _llama_router(entry: JsonValue) -> ServedModel:
    status, meta = entry["status"], entry["meta"]
    value = status["value"].text()
    state: State = "loaded" if value in ("loaded", "sleeping") else "loading" if value == "loading" else "loadable"
    return ServedModel(
        id=_id(entry),
        state="failed" if status["failed"].flag() else state,
        context=meta["n_ctx"].count() or 0,
        max_context=meta["n_ctx_train"].count() or 0,
        size_bytes=meta["size"].count() or 0,
    )
