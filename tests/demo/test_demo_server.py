"""The pretend fleet of --demo, as the program itself sees it."""

import asyncio
import json

import pytest

from tests.worlds import SHIPPED
from tui_router.backends.client import Client
from tui_router.backends.dispatch import Dispatcher, DispatchOrder
from tui_router.backends.health import Health
from tui_router.backends.stream import Progress
from tui_router.config.settings import Settings
from tui_router.core.types import Message
from tui_router.demo.server import MODELS, DemoServer, demo_backend


@pytest.fixture
async def demo():
    server = DemoServer(speed=100)
    server.url = await server.start()
    yield server
    await server.close()


@pytest.fixture
async def health(demo):
    made = Health(SHIPPED.fleet, [demo_backend(demo.url)])
    await made.look()
    yield made
    await made.close()


async def serve(health, text, route, events):
    order = DispatchOrder(route=SHIPPED.fleet.route(route), messages=(Message("user", text),))
    async with asyncio.timeout(20):
        return await Dispatcher(SHIPPED.fleet, health, Settings()).serve(order, events.append)


async def test_every_model_of_the_shipped_fleet_is_there(health):
    assert all(m.ready for m in health.models.values()) and len(health.models) == len(MODELS)
    assert [n for n, m in health.models.items() if m.vision] == ["qwen3-vl-8b"]
    assert {m.state for m in health.models.values()} == {"loaded", "loadable"}


@pytest.mark.parametrize("route", [route.name for route in SHIPPED.fleet.routes])
async def test_every_route_is_answered_by_its_own_model(health, route):
    outcome = await serve(health, "hello", route, [])
    assert outcome.dispatch.served == SHIPPED.fleet.route(route).model
    assert outcome.answer.text and outcome.answer.completion_tokens > 3


async def test_a_model_that_is_not_loaded_loads_with_progress_and_stays(demo, health):
    demo.speed, events = 20, []
    outcome = await serve(health, "hello", "tool_use", events)
    fractions = [e.fraction for e in events if isinstance(e, Progress) and e.fraction is not None]
    assert outcome.answer.load_ms > 20 and len(fractions) > 2 and fractions == sorted(fractions)
    await health.look()
    assert health.models["gpt-oss-20b"].state == "loaded"


async def test_reasoning_comes_apart_from_the_answer(health):
    outcome = await serve(health, "prove it", "reasoning", [])
    assert outcome.answer.reasoning.startswith("The person asks about prove it.")


async def test_a_request_that_does_not_fit_goes_to_a_longer_context(health):
    outcome = await serve(health, "word " * 8000, "simple_chat", [])
    assert outcome.dispatch.served == "gpt-oss-20b"
    assert "does not fit" in outcome.dispatch.hops[0].reason


async def test_whole_answers_and_schemas(demo):
    client = Client(demo.url)
    body = {"model": MODELS[0].key, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    reply = await client.ask("/v1/chat/completions", body, 5.0)
    assert reply["choices"][0]["finish_reason"].text() == "length" and reply["usage"]["completion_tokens"].count() == 2
    schema = {"properties": {"remark": {"type": "string"}}}
    form = {"type": "json_schema", "json_schema": {"schema": schema}}
    reply = await client.ask("/v1/chat/completions", {**body, "max_tokens": 99, "response_format": form}, 5.0)
    assert json.loads(reply["choices"][0]["message"]["content"].text())["tag"] == "all_good"
    await client.close()


async def test_an_unknown_model_and_an_unknown_path(demo):
    client = Client(demo.url)
    assert (await client.post("/v1/chat/completions", {"model": "nope"}, 2.0)).status == 404
    reply = await client.get("/health")
    assert reply.status == 200 and "Unexpected endpoint" in reply.json["error"].text()
    await client.close()
