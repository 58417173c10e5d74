"""`--health`: which servers, models and tools answer."""

from __future__ import annotations

import asyncio
import json
from argparse import Namespace
from collections.abc import Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from tui_router.cli.shared import DONE, FAILED, complain, configuration, emit, run_async, with_demo_server
from tui_router.config.validation import dotted
from tui_router.core.visible import visible

if TYPE_CHECKING:
    from tui_router.backends.health import Health


def health(args: Namespace) -> int:
    """Look at every server and every tool once, and show what was found."""
    return run_async(_health(args))


async def _health(args: Namespace) -> int:
    from tui_router.backends.health import Health, look_for_tool

    config = configuration(args)
    if args.demo:
        config = await with_demo_server(config)
    health = Health(config.fleet, config.backends)
    try:
        looking = asyncio.ensure_future(health.look())
        tools = await asyncio.gather(*(look_for_tool(tool) for tool in config.tools))
        await looking
        report = _report(health, tools)
    finally:
        await health.close()
    if args.json:
        emit(report)
    else:
        _show_health(report)
    if not report["ready"]:
        complain(_START, FAILED)
    return DONE if report["ready"] else FAILED


_MOST_UNMATCHED = 10
"""Served models without a place in the fleet that are shown; the JSON has all."""
_MODEL_MARKS = {"loaded": "✓", "busy": "✓", "loadable": "◐", "loading": "◐"}
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
    report: dict[str, Any] = {
        "backends": backends,
        "models": models,
        "tools": tools,
        "ready": ready,
        "unmatched": list(_unmatched(health)),
    }
    if not ready:
        report["hint"] = _START
    return report


def _unmatched(health: Health) -> Iterator[dict[str, str]]:
    """Find what is served and is no model of the fleet, each with the lines of fleet.toml that would make it one."""
    from tui_router.backends.matching import match

    fleet = health.fleet.models
    missing = [name for name in fleet if not health.models[name].served_as]
    for backend in health.backends:
        for served in backend.listing.models if backend.listing else ():
            if served.chat and not any(match(model, [served.id]) for model in fleet.values()):
                near = get_close_matches(served.id, missing, 1)
                alias = f"\naliases = [{json.dumps(served.id, ensure_ascii=False)}]" if near else ""
                toml = f"[{dotted(('models', near[0] if near else served.id))}]{alias}"
                yield {"backend": backend.url, "id": served.id, "toml": toml}


def _show_health(report: dict[str, Any]) -> None:
    for backend in report["backends"]:
        state = visible(backend["kind"] if backend["reachable"] else backend["error"])
        print(f"{_mark(backend['reachable'])} {backend['name']:<14} {backend['url']:<26} {state}")
    for model in report["models"]:
        mark = _MODEL_MARKS.get(model["state"], "○")
        served = f"{visible(model['served_as'])} ({model['match']}), {model['context']:,} tokens"
        where = served if model["served_as"] else visible(model["error"])
        print(f"{mark} {model['id']:<24} {model['state']:<9} {where}")
    for served in report["unmatched"][:_MOST_UNMATCHED]:
        print(f"○ {visible(served['id']):<24} served by {served['backend']}, and no model of the fleet")
        if served["id"].isprintable():
            print(f"    to use it, write into fleet.toml: {served['toml'].replace(chr(10), '  ')}")
    if (more := len(report["unmatched"]) - _MOST_UNMATCHED) > 0:
        print(f"  and {more} more; --json lists all")
    for tool in report["tools"]:
        state = "up" if tool["reachable"] else "down"
        print(f"{_mark(tool['reachable'])} {tool['name']:<24} {state}  {tool['url']}")


def _mark(good: bool) -> str:
    return "✓" if good else "○"
