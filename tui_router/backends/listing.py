"""What a server serves, read from the listings of its kind. Statuses are never trusted alone; shapes are.

Sources: LM Studio REST v1 and v0 (lmstudio.ai/docs), Ollama API, llama.cpp `tools/server/README.md`, vLLM OpenAI server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from msgspec import Struct

from tui_router.backends.backend_errors import BackendError, message_of
from tui_router.backends.client import Client, Reply

State = Literal["loaded", "loadable", "loading", "failed", "unknown"]


class ServedModel(Struct, frozen=True, kw_only=True):
    """A model as a server describes it; None and 0 stand for what it does not say."""

    id: str
    state: State = "unknown"
    chat: bool = True
    """False for embedding models."""
    context: int = 0
    """Usable context of the loaded instance, in tokens."""
    max_context: int = 0
    vision: bool | None = None
    tools: bool | None = None
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
    """Which kind of server this is, and what it serves. Loads no model.

    Raises:
        BackendError: `down`, `auth`, or the server's replies are of no known kind.
    """
    first = await client.get("/v1/models")
    others = ("/api/v1/models", "/api/v0/models", "/api/version", "/props?autoload=false", "/version")
    v1, v0, ollama, props, version = await asyncio.gather(*(_quiet(client, path) for path in others))
    if _is_lmstudio_v1(v1.json) or (v1.status in (401, 403) and "LM Studio" in v1.text):
        return await LISTERS["lmstudio"](client)
    if _is_lmstudio_v0(v0.json):
        return await LISTERS["lmstudio"](client)
    if isinstance(ollama.json, dict) and isinstance(ollama.json.get("version"), str):
        return await LISTERS["ollama"](client)
    if first.headers.get("server") == "llama.cpp" or _is_llama_props(props.json):
        return await LISTERS["llama-server"](client)
    owners = {d.get("owned_by") for d in _data(first.json)}
    if "vllm" in owners or (isinstance(version.json, dict) and any("max_model_len" in d for d in _data(first.json))):
        return await LISTERS["vllm"](client)
    if first.status in (401, 403):
        raise BackendError("auth", f"{client.url} wants an API key ({first.status})")
    if isinstance(first.json, dict) and isinstance(first.json.get("data"), list):
        return await LISTERS["openai"](client)
    raise BackendError(
        "server", f"{client.url} answers, but not like a model server (HTTP {first.status} to /v1/models)"
    )


async def lmstudio(client: Client) -> Listing:
    """LM Studio: native v1 (0.4 and later), else v0, else only the OpenAI-style list."""
    v1 = await client.get("/api/v1/models")
    if _is_lmstudio_v1(v1.json):
        return Listing("lmstudio", tuple(_lmstudio_v1(m) for m in v1.json["models"]), "v1")
    _check_key(client, v1)
    v0 = await client.get("/api/v0/models")
    if _is_lmstudio_v0(v0.json):
        return Listing("lmstudio", tuple(_lmstudio_v0(m) for m in v0.json["data"]), "v0")
    plain = await openai(client)
    return Listing("lmstudio", plain.models)


async def ollama(client: Client) -> Listing:
    """Ollama: all pulled models, and which of them are in memory."""
    tags, running = await asyncio.gather(client.get("/api/tags"), _quiet(client, "/api/ps"))
    _check_key(client, tags)
    loaded = {m.get("name"): m for m in _list(running.json, "models")}
    found = []
    for entry in _list(tags.json, "models"):
        name = _str(entry.get("name"))
        live = loaded.get(name)
        found.append(
            ServedModel(
                id=name,
                state="loaded" if live else "loadable",
                chat="embed" not in name,
                context=_int(live.get("context_length")) if live else 0,
                size_bytes=_int(entry.get("size")),
            )
        )
    return Listing("ollama", tuple(found))


async def llama_server(client: Client) -> Listing:
    """llama-server with one model, or in router mode (`data[].status`)."""
    health = await client.get("/health")
    listed = await client.get("/v1/models")
    _check_key(client, listed)
    data = _data(listed.json)
    if any("status" in d for d in data):
        return Listing("llama-server", tuple(_llama_router(d) for d in data), "router")
    props, slots = await asyncio.gather(_quiet(client, "/props"), _quiet(client, "/slots"))
    about = props.json if isinstance(props.json, dict) else {}
    loading = health.status == 503
    settings = about.get("default_generation_settings")
    caps, modalities = about.get("chat_template_caps"), about.get("modalities")
    all_slots = slots.json if isinstance(slots.json, list) else []
    found = []
    for entry in data or ([{"id": _str(about.get("model_alias")) or "model"}] if loading else []):
        meta = _table(entry, "meta")
        found.append(
            ServedModel(
                id=_str(entry.get("id")),
                state="loading" if loading else "loaded",
                context=_int(settings.get("n_ctx")) if isinstance(settings, dict) else _int(meta.get("n_ctx")),
                max_context=_int(meta.get("n_ctx_train")),
                vision=_flag(modalities.get("vision")) if isinstance(modalities, dict) else None,
                tools=_flag(caps.get("supports_tools")) if isinstance(caps, dict) else None,
                size_bytes=_int(meta.get("size")),
                slots=_int(about.get("total_slots")),
                busy=bool(all_slots) and all(isinstance(s, dict) and s.get("is_processing") for s in all_slots),
            )
        )
    return Listing("llama-server", tuple(found))


async def vllm(client: Client) -> Listing:
    """vLLM: what it lists is loaded."""
    listed = await client.get("/v1/models")
    _check_key(client, listed)
    models = [
        ServedModel(id=_str(d.get("id")), state="loaded", context=_int(d.get("max_model_len")), slots=8)
        for d in _data(listed.json)
    ]
    return Listing("vllm", tuple(models))


async def openai(client: Client) -> Listing:
    """Any OpenAI-style server: ids, and nothing else."""
    listed = await client.get("/v1/models")
    _check_key(client, listed)
    if not isinstance(listed.json, dict) or not isinstance(listed.json.get("data"), list):
        raise BackendError(
            "server", f"{client.url} has no model list: {message_of(listed.json) or f'HTTP {listed.status}'}"
        )
    models = [
        ServedModel(id=_str(d.get("id")), chat=not _str(d.get("id")).startswith("text-embedding-"))
        for d in _data(listed.json)
    ]
    return Listing("openai", tuple(models))


LISTERS: dict[str, Callable[[Client], Awaitable[Listing]]] = {
    "lmstudio": lmstudio,
    "ollama": ollama,
    "llama-server": llama_server,
    "vllm": vllm,
    "openai": openai,
}


async def _quiet(client: Client, path: str) -> Reply:
    """GET that never raises: what a server of another kind says to a foreign path does not matter."""
    import httpx

    try:
        return await client.get(path)
    except BackendError:
        return Reply(0, httpx.Headers(), "")


def _check_key(client: Client, reply: Reply) -> None:
    if reply.status in (401, 403):
        raise BackendError(
            "auth",
            f"{client.url} wants an API key ({reply.status}): {message_of(reply.json) or 'no reason given'}",
        )


def _is_lmstudio_v1(body: Any) -> bool:
    return (
        isinstance(body, dict)
        and isinstance(body.get("models"), list)
        and all("key" in m for m in _list(body, "models"))
    )


def _is_lmstudio_v0(body: Any) -> bool:
    return bool(_data(body)) and all("state" in d for d in _data(body))


def _is_llama_props(body: Any) -> bool:
    return isinstance(body, dict) and ("default_generation_settings" in body or body.get("role") == "router")


def _lmstudio_v1(entry: dict[str, Any]) -> ServedModel:
    instances = _list(entry, "loaded_instances")
    config = instances[0].get("config") if instances else None
    config = config if isinstance(config, dict) else {}
    capabilities = entry.get("capabilities")
    capabilities = capabilities if isinstance(capabilities, dict) else {}
    return ServedModel(
        id=_str(entry.get("key")),
        state="loaded" if instances else "loadable",
        chat=entry.get("type") != "embedding",
        context=_int(config.get("context_length")),
        max_context=_int(entry.get("max_context_length")),
        vision=_flag(capabilities.get("vision")),
        tools=_flag(capabilities.get("trained_for_tool_use")),
        size_bytes=_int(entry.get("size_bytes")),
        slots=_int(config.get("parallel")),
    )


def _lmstudio_v0(entry: dict[str, Any]) -> ServedModel:
    capabilities = entry.get("capabilities")
    return ServedModel(
        id=_str(entry.get("id")),
        state="loaded" if entry.get("state") == "loaded" else "loadable",
        chat=entry.get("type") not in ("embeddings", "embedding"),
        context=_int(entry.get("loaded_context_length")),
        max_context=_int(entry.get("max_context_length")),
        vision=entry.get("type") == "vlm",
        tools="tool_use" in capabilities if isinstance(capabilities, list) else None,
    )


def _llama_router(entry: dict[str, Any]) -> ServedModel:
    status = _table(entry, "status")
    value = status.get("value")
    state: State = "loaded" if value in ("loaded", "sleeping") else "loading" if value == "loading" else "loadable"
    meta = _table(entry, "meta")
    return ServedModel(
        id=_str(entry.get("id")),
        state="failed" if status.get("failed") else state,
        context=_int(meta.get("n_ctx")),
        max_context=_int(meta.get("n_ctx_train")),
        size_bytes=_int(meta.get("size")),
    )


def _data(body: Any) -> list[dict[str, Any]]:
    return _list(body, "data")


def _list(body: Any, key: str) -> list[dict[str, Any]]:
    value = body.get(key) if isinstance(body, dict) else None
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _table(body: dict[str, Any], key: str) -> dict[str, Any]:
    value = body.get(key)
    return value if isinstance(value, dict) else {}


def _int(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _str(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None
