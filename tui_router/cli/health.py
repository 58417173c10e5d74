"""`--health`: which servers and models answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tui_router.cli.shared import DONE, FAILED, cleaned, complain, configuration, emit, with_demo_server

if TYPE_CHECKING:
    from tui_router.backends.health import Health


def health(given: dict[str, Any]) -> int:

    return asyncio.run(_look(given))


async def _look(given: dict[str, Any]) -> int:

    from tui_router.backends.health import Health, look_for_tool

    config = configuration(given)
    if given.get("demo"):
        config = await with_demo_server(config)
    health = Health(config.fleet, config.backends)
    try:
        looking = asyncio.ensure_future(health.look())
        tools = await asyncio.gather(*(look_for_tool(tool) for tool in config.tools))
        await looking
        report = _report(health, tools)
    finally:
        await health.close()
    if given.get("json"):
        emit(report)
    else:
        _show_health(report)
    if not report["ready"]:
        complain(_START, FAILED)
    return DONE if report["ready"] else FAILED


_START = (
    "no model of the fleet can be reached. Start one of these, then try again: LM Studio (lms server start), "
    "Ollama (ollama serve), llama.cpp (llama-server -m MODEL.gguf). Without any: tui-router --demo"
)


def _report(health: Health, tools: list[dict[str, object]]) -> dict[str, Any]:
    backends = [
        {
            "url": b.status.url,
            "name": b.status.name,
            "kind": b.status.kind,
            "reachable": bool(b.status.reachable),
            "error": b.status.error,
        }
        for b in health.backends
    ]
    models = [
        {
            "id": m.name,
            "state": m.state,
            "served_as": m.served_as,
            "match": m.how,
            "backend": m.backend,
            "context": m.context,
            "error": m.error,
        }
        for m in health.models.values()
    ]
    ready = any(m.ready for m in health.models.values())
    report: dict[str, Any] = {"backends": backends, "models": models, "tools": tools, "ready": ready}
    if not ready:
        report["hint"] = _START
    return report


def _show_health(report: dict[str, Any]) -> None:
    for backend in report["backends"]:
        sign = "✓" if backend["reachable"] else "○"
        print(
            f"{sign} {backend['name']:<14} {backend['url']:<26} {backend['kind'] if backend['reachable'] else cleaned(backend['error'])}"
        )
    for model in report["models"]:
        sign = (
            "✓" if model["state"] in ("loaded", "busy") else "◐" if model["state"] in ("loadable", "loading") else "○"
        )
        where = (
            f"{cleaned(model['served_as'])} ({model['match']}), {model['context']:,} tokens"
            if model["served_as"]
            else cleaned(model["error"])
        )
        print(f"{sign} {model['id']:<24} {model['state']:<9} {where}")
    for tool in report["tools"]:
        print(
            f"{'✓' if tool['reachable'] else '○'} {tool['name']:<24} {'up' if tool['reachable'] else 'not there'}  {tool['url']}"
        )
