"""The real thing: llama.cpp's own server, and what dispatch makes of it."""

import asyncio
import time

import pytest

from tests.worlds import SHIPPED
from tui_router.backends.backend_errors import BackendError
from tui_router.backends.client import Client
from tui_router.backends.dispatch import Dispatcher, DispatchOrder
from tui_router.backends.health import Health
from tui_router.backends.listing import detect
from tui_router.backends.stream import Delta
from tui_router.config.settings import BackendSetting, Settings, parse_config
from tui_router.core.types import Message

pytestmark = pytest.mark.engine


@pytest.fixture
def make(engine_url):
    made = []

    async def build(url=engine_url, fleet=SHIPPED.fleet, key="", **settings):
        health = Health(fleet, [BackendSetting(name="llama-server", url=url, api_key=key)])
        made.append(health)
        await health.look()
        return Dispatcher(fleet, health, Settings(**settings))

    yield build


async def serve(dispatcher, text, route="simple_chat", events=None, max_tokens=40):
    order = DispatchOrder(route=dispatcher.fleet.route(route), messages=(Message("user", text),), max_tokens=max_tokens)
    return await dispatcher.serve(order, (events if events is not None else []).append)


async def test_it_is_recognised_by_its_replies(engine_url):
    client = Client(engine_url)
    listing = await detect(client)
    (model,) = listing.models
    assert (listing.kind, model.id, model.state, model.context, model.slots) == (
        "llama-server",
        "gemma-3-1b-it-qat",
        "loaded",
        1024,
        1,
    )
    assert model.vision is False
    await client.close()


async def test_a_plain_answer(make):
    dispatcher = await make()
    status = dispatcher.health.models["gemma-3-1b"]
    assert (status.state, status.served_as, status.how, status.context) == (
        "loaded",
        "gemma-3-1b-it-qat",
        "alias",
        1024,
    )
    outcome = await serve(dispatcher, "hi")
    assert outcome.answer.text == "Hello from tiny! A real engine."
    assert (outcome.answer.finish, outcome.answer.completion_tokens) == ("stop", 9)
    assert outcome.dispatch.served == "gemma-3-1b" and outcome.answer.first_token_ms > 0


async def test_reasoning_and_bytes_of_characters(make):
    dispatcher = await make()
    thought = await serve(dispatcher, "think")
    assert (thought.answer.text, thought.answer.reasoning.strip()) == ("Answer is 42", "Let me see")
    assert (await serve(dispatcher, "utf8")).answer.text == "日🦊"


async def test_the_longest_answer_is_kept(make):
    outcome = await serve(await make(), "long", max_tokens=5)
    assert outcome.answer.text == "tick t2 t3 t4 t5" and outcome.answer.finish == "length"


async def test_a_cancelled_answer_frees_the_server(make):
    dispatcher = await make()
    events: list = []
    running = asyncio.ensure_future(serve(dispatcher, "long", events=events, max_tokens=100_000))
    while not any(isinstance(e, Delta) for e in events):
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    start = time.monotonic()
    assert (await serve(dispatcher, "hi")).answer.text.startswith("Hello")
    assert time.monotonic() - start < 5


async def test_a_request_that_does_not_fit_is_told(make):
    outcome = await serve(await make(), "word " * 3000)
    assert outcome.failed and "does not fit" in outcome.answer.error


async def test_the_server_dies_in_the_middle(make, start_engine):
    victim = start_engine()
    dispatcher = await make(victim.url)
    events: list = []
    running = asyncio.ensure_future(serve(dispatcher, "long", events=events, max_tokens=100_000))
    while sum(isinstance(e, Delta) for e in events) < 3:
        await asyncio.sleep(0.005)
    victim.kill()
    outcome = await running
    assert (
        outcome.interrupted
        and outcome.answer.text.startswith("tick t2")
        and "closed the connection" in outcome.answer.error
    )
    again = await serve(dispatcher, "hi")
    assert again.failed and dispatcher.health.models["gemma-3-1b"].state == "down"


async def test_a_wrong_key_is_told_and_the_right_one_works(make, start_engine):
    guarded = start_engine("gemma-3-1b", "secret")
    client = Client(guarded.url)
    with pytest.raises(BackendError) as caught:
        await detect(client)
    assert caught.value.failure == "auth" and "secret" not in str(caught.value)
    await client.close()
    assert (await serve(await make(guarded.url, key="secret"), "hi")).answer.text.startswith("Hello")


async def test_a_dead_primary_falls_back_to_the_real_engine(make, engine_url):
    fleet = parse_config(
        '[models.gone-7b]\ncontext = 8192\n[routes.simple_chat]\nmodel = "gone-7b"\nfallbacks = ["gemma-3-1b"]',
        None,
        {},
    ).fleet
    outcome = await serve(await make(engine_url, fleet), "hi")
    assert (outcome.dispatch.intended, outcome.dispatch.served) == ("gone-7b", "gemma-3-1b")
    assert "not on llama-server" in outcome.dispatch.hops[0].reason
