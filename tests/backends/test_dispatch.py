"""Falling back, against the double of LM Studio with its faults switched on."""

import asyncio

import pytest

from tests.doubles.lmstudio import LMStudio
from tests.worlds import SHIPPED
from tui_router.backends.dispatch import Dispatcher, DispatchOrder, Hopped, Slow
from tui_router.backends.health import Health
from tui_router.backends.stream import Delta, Progress
from tui_router.config.settings import BackendSetting, Settings
from tui_router.core.types import Message

CODER, OSS, MINISTRAL = "qwen/qwen3-coder-30b", "openai/gpt-oss-20b", "mistralai/ministral-3-14b-reasoning"
VISION, SMALL, CHAT = "qwen/qwen3-vl-8b", "google/gemma-3-1b", "google/gemma-3n-e4b"


class World:
    """A double, the health of a fleet on it, and a dispatcher."""

    def __init__(self, server, settings):
        self.server, self.settings, self.events = server, settings, []

    async def start(self, fleet=SHIPPED.fleet, key="", **server):
        self.url = await self.server.start()
        self.health = Health(fleet, [BackendSetting(name="LM Studio", url=self.url, api_key=key)])
        await self.health.look()
        self.dispatcher = Dispatcher(fleet, self.health, self.settings)
        return self

    def order(self, text="write a function", route="code", pinned="", **message):
        return DispatchOrder(
            route=self.dispatcher.fleet.route(route),
            messages=(Message("user", text, **message),),
            pinned=pinned,
        )

    async def serve(self, *args, switch=None, **kwargs):
        async with asyncio.timeout(20):
            return await self.dispatcher.serve(self.order(*args, **kwargs), self.events.append, switch)

    def shown(self):
        return "".join(e.text for e in self.events if isinstance(e, Delta))


@pytest.fixture
async def world():
    server = LMStudio(speed=400, preloaded=(CODER, SMALL, CHAT))
    made = await World(server, Settings(first_byte_s=0.4, load_s=0.8, idle_s=0.4)).start()
    yield made
    await made.health.close()
    await server.close()


async def test_an_answer_is_streamed_and_measured(world):
    outcome = await world.serve()
    assert outcome.dispatch.served == "qwen3-coder-30b" and outcome.dispatch.served_as == CODER
    assert outcome.answer.text == world.shown() and outcome.answer.finish == "stop"
    assert outcome.answer.completion_tokens > 10 and outcome.answer.tokens_per_second > 0
    assert world.health.models["qwen3-coder-30b"].tokens_per_second == pytest.approx(
        outcome.answer.tokens_per_second, rel=0.1
    )
    body = next(r.body for r in world.server.requests if r.path == "/v1/chat/completions")
    assert body["stream"] is True and body["max_tokens"] == 4096


async def test_reasoning_is_kept_apart(world):
    outcome = await world.serve("goto amazon.com", "tool_use")
    assert outcome.answer.reasoning.startswith("The person asks about goto amazon.com.")
    assert "The person asks" not in outcome.answer.text
    world.server.faults["*"] = "think_tags"
    outcome = await world.serve()
    assert outcome.answer.reasoning.startswith("The person asks") and "think" not in outcome.answer.text


async def test_a_cold_model_loads_with_progress(world):
    world.server.speed = 10
    outcome = await world.serve("goto amazon.com", "tool_use")
    fractions = [e.fraction for e in world.events if isinstance(e, Progress) and e.what == "loading" and e.fraction]
    assert len(fractions) > 3 and fractions == sorted(fractions)
    assert outcome.answer.load_ms > 50 and outcome.dispatch.served == "gpt-oss-20b"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("status_500", "crashed"),
        ("not_found", "No models loaded"),
        ("error_frame", "Compute error"),
        ("string_error", "Channel Error"),
        ("empty", "empty answer"),
        ("empty_stop", "empty answer"),
        ("garbage", "not JSON"),
        ("die_at_once", "closed the connection"),
        ("status_429", "busy"),
        ("status_503", "not ready"),
    ],
)
async def test_before_the_first_token_the_next_model_takes_over_and_says_why(world, fault, reason):
    world.server.faults[CODER] = fault
    outcome = await world.serve()
    assert (outcome.dispatch.intended, outcome.dispatch.served) == ("qwen3-coder-30b", "gpt-oss-20b")
    assert not outcome.failed and outcome.answer.text
    (hop,) = outcome.dispatch.hops
    assert hop.model == "qwen3-coder-30b" and reason in hop.reason
    assert [e.hop for e in world.events if isinstance(e, Hopped)] == [hop]


async def test_a_server_that_is_only_starting_is_waited_for(world):
    world.server.faults[CODER] = "status_503_once"
    outcome = await world.serve()
    assert outcome.dispatch.served == "qwen3-coder-30b" and not outcome.dispatch.hops


@pytest.mark.parametrize("fault", ["die", "stall"])
async def test_after_text_was_shown_nothing_is_switched(world, fault):
    world.server.faults["*"] = fault
    outcome = await world.serve()
    assert outcome.interrupted and outcome.answer.text == world.shown() != ""
    assert outcome.dispatch.served == "qwen3-coder-30b" and outcome.answer.error


async def test_only_reasoning_shown_so_far_may_still_fall_back(world):
    world.server.faults[OSS] = "die"
    outcome = await world.serve("goto amazon.com", "tool_use")
    assert outcome.dispatch.served == "qwen3-coder-30b" and not outcome.answer.reasoning
    assert any(isinstance(e, Hopped) and e.discard for e in world.events)


async def test_a_refused_key_never_falls_back(world):
    world.server.faults[CODER] = "refuse_key"
    outcome = await world.serve()
    assert outcome.failed and "refused the API key (401)" in outcome.answer.error
    assert not any(r.body["model"] == OSS for r in world.server.requests if r.method == "POST")


async def test_a_pinned_model_never_falls_back(world):
    world.server.faults[CODER] = "status_500"
    outcome = await world.serve(pinned="qwen3-coder-30b")
    assert outcome.failed and outcome.dispatch.served is None and "crashed" in outcome.answer.error


async def test_overflow_goes_only_to_a_larger_context(world):
    world.server.faults[CODER] = "overflow"
    outcome = await world.serve()
    assert outcome.dispatch.served == "gpt-oss-20b"
    world.server.faults["*"] = "overflow"
    outcome = await world.serve("hello", "simple_chat")
    reasons = {h.model: h.reason for h in outcome.dispatch.hops}
    assert "no larger context" in reasons["gemma-3n-e4b"] and "does not fit" in reasons["gpt-oss-20b"]
    assert "does not fit into any model" in outcome.answer.error


async def test_an_image_goes_only_to_a_model_that_sees(world, tmp_path):
    from tui_router.backends.images import attach

    picture = tmp_path / "a.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 30)
    image = attach(str(picture))
    outcome = await world.serve("what is it", "vision", attachments=(image,))
    assert outcome.dispatch.served == "qwen3-vl-8b"
    content = next(r.body for r in world.server.requests if r.path == "/v1/chat/completions")["messages"][-1]["content"]
    assert content[1]["image_url"]["url"].startswith("data:image/png;base64,")
    outcome = await world.serve("what is it", "code", attachments=(image,))
    assert {h.reason for h in outcome.dispatch.hops} == {"cannot see images"} and outcome.failed
    picture.unlink()
    outcome = await world.serve("what is it", "vision", attachments=(image,))
    assert "cannot be read any more" in outcome.answer.error


@pytest.mark.parametrize("fault", ["hang", "hang_after_headers"])
async def test_no_first_byte_in_time_is_one_sentence(world, fault):
    world.server.faults[CODER] = fault
    outcome = await world.serve()
    assert outcome.failed and "no answer from" in outcome.answer.error
    world.dispatcher.settings = Settings(first_byte_s=0.2, load_s=5, idle_s=0.4, switch_when_slow=True)
    outcome = await world.serve()
    assert outcome.dispatch.served == "gpt-oss-20b"


async def test_a_person_may_leave_a_slow_model(world):
    world.server.faults[CODER] = "hang"
    switch = asyncio.Event()
    serving = asyncio.ensure_future(world.serve(switch=switch))
    while not any(isinstance(e, Slow) for e in world.events):
        await asyncio.sleep(0.02)
    switch.set()
    outcome = await serving
    assert outcome.dispatch.served == "gpt-oss-20b"
    assert "you switched away" in outcome.dispatch.hops[0].reason


async def test_a_cancelled_turn_closes_the_connection(world):
    world.server.speed = 1
    serving = asyncio.ensure_future(world.serve())
    while not world.shown():
        await asyncio.sleep(0.02)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    async with asyncio.timeout(2):
        while not world.server.stopped:
            await asyncio.sleep(0.02)
    assert world.health.models["qwen3-coder-30b"].answering == 0


async def test_a_server_that_is_down_is_left_alone_for_a_while(world):
    await world.server.close()
    outcome = await world.serve()
    assert outcome.failed and "no model server answers" in outcome.answer.error
    assert world.health.models["gpt-oss-20b"].state == "down"


async def test_eviction_in_the_middle_keeps_what_was_shown(world):
    world.server.speed, world.server.keep_one = 8, True
    world.server.loaded = {CODER: True}
    first = asyncio.ensure_future(world.serve())
    while not world.shown():
        await asyncio.sleep(0.01)
    second = await world.dispatcher.serve(world.order("hello", "simple_chat"), lambda e: None)
    assert not second.failed
    outcome = await first
    assert outcome.interrupted and "Model unloaded" in outcome.answer.error and outcome.answer.text


@pytest.mark.parametrize("fault", ["drip", "crlf", "no_usage", "no_done", "separators"])
async def test_odd_but_sound_streams_are_read_whole(world, fault):
    world.server.faults[CODER] = fault
    outcome = await world.serve()
    assert not outcome.failed and outcome.answer.finish == "stop"
    if fault in ("separators", "drip"):
        assert outcome.answer.text == "a\u2028b\u2029\x85日🦊 end"


async def test_a_server_that_answers_with_another_model_is_told(world):
    world.server.faults[CODER] = "wrong_model"
    outcome = await world.serve()
    assert "answered with 'somebody/else-7b', not with 'qwen/qwen3-coder-30b'" in outcome.dispatch.note


async def test_one_request_at_a_time_for_each_model(world):
    world.server.speed = 40
    await asyncio.gather(*(world.serve(f"write function {i}") for i in range(3)))
    assert world.server.most_running == 1


async def test_a_loaded_model_is_preferred_only_when_asked_for(world):
    order = world.order("x", "tool_use")
    assert world.dispatcher.chain(order)[0] == "gpt-oss-20b"
    world.dispatcher.settings = Settings(prefer_loaded=True)
    assert world.dispatcher.chain(order)[0] == "qwen3-coder-30b"


async def test_the_old_listing_and_a_key(world):
    world.server.legacy = True
    await world.health.look()
    assert world.health.models["qwen3-coder-30b"].state == "loaded"
    assert world.health.backends[0].listing.api == "v0"
    world.server.legacy, world.server.api_key = False, "right"
    await world.health.look()
    assert "wants an API key (401)" in world.health.backends[0].status.error


async def test_a_key_that_a_server_repeats_is_not_shown(world):
    from tui_router.backends.client import Client

    client = Client(world.url, "sk-lm-secret")
    world.server.api_key = "other"
    world.server.refusal = "the key sk-lm-secret is wrong"
    reply = await client.get("/v1/models")
    assert reply.status == 401 and "sk-lm-secret" not in reply.text and "***" in reply.text
    await client.close()
