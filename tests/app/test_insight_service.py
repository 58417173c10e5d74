"""The observer beside the turns, against the double and a real engine: it is never in the way, and the feed stays clean."""

import asyncio
import json

import pytest
from msgspec.structs import replace

from tests.doubles.lmstudio import LMStudio
from tests.worlds import SHIPPED, right, wrong
from tui_router.app import insight_service
from tui_router.app.engine import Engine
from tui_router.app.events import NoticeEvent
from tui_router.config.settings import BackendSetting
from tui_router.core.types import Message, Request
from tui_router.insight import observer

SMALL = "google/gemma-3-1b"
GOOD = json.dumps({"tag": "edge_case", "remark": "Turn 1 is short.", "turns": [1]})


@pytest.fixture
async def world(tmp_path, monkeypatch):
    from contextlib import asynccontextmanager

    monkeypatch.setattr(insight_service, "_QUIET_S", 0.01)

    @asynccontextmanager
    async def start(mode="active", writes=lambda body: GOOD, url="", **settings):
        double = LMStudio(speed=400, preloaded=(SMALL, "qwen/qwen3-coder-30b"))
        double.writes = lambda body: writes(body) if "response_format" in body else "An answer."
        address = url or await double.start()
        config = replace(
            SHIPPED,
            backends=(BackendSetting(name="LM Studio", url=address),),
            settings=replace(SHIPPED.settings, observer=mode, **settings),
        )
        engine = Engine(config, tmp_path / "store", interactive=True)
        await engine.open()
        await engine.health.look()
        engine.double, engine.feed = double, []
        engine.listen(lambda e: engine.feed.append(e.observation) if isinstance(e, NoticeEvent) else None)
        yield engine
        await engine.close()
        await double.close()

    return start


async def turn(engine, text="write a python function"):
    made = await engine.begin(Request(text=text), ask=False)
    return await engine.send(made.id)


async def until(there, seconds=10.0):
    async with asyncio.timeout(seconds):
        while not there():
            await asyncio.sleep(0.01)


def remarks(engine):
    return [one for one in engine.feed if one.by == "gemma-3-1b"]


async def test_active_remarks_on_every_turn_and_passive_on_every_fifth(world):
    async with world() as engine:
        made = await turn(engine)
        await until(lambda: remarks(engine))
        (one,) = remarks(engine)
        assert (one.tag, one.text, one.turns) == ("edge_case", "Turn 1 is short.", (made.id,))
        assert one.tokens > 0 and one.elapsed_ms > 0 and engine.insights.cost[0] == 1
        await until(lambda: one in engine.store.observations())
        engine.insights.set_mode("passive")
        for n in range(2, 7):
            await turn(engine)
            await asyncio.sleep(0.05)
            assert len(remarks(engine)) == 1 or n == 6
        await until(lambda: len(remarks(engine)) == 2)
        engine.insights.set_mode("off")
        for _ in range(6):
            await turn(engine)
        await asyncio.sleep(0.1)
        assert len(remarks(engine)) == 2


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("nonsense", "no JSON"),
        (json.dumps({"tag": "all_good", "remark": "Turn 99.", "turns": [99]}), "a turn that it was not shown"),
        ("x" * 10_000, "no JSON"),
    ],
)
async def test_what_cannot_be_shown_is_dropped_and_counted(world, reply, why):
    async with world(writes=lambda body: reply) as engine:
        await turn(engine)
        await until(lambda: engine.insights.dropped)
        assert engine.insights.dropped == {why: 1} and not remarks(engine)


@pytest.mark.parametrize("fault", ["hang", "die", "status_500", "garbage", "refuse_key"])
async def test_a_server_that_fails_costs_the_turns_nothing(world, monkeypatch, fault):
    monkeypatch.setattr(insight_service, "DEADLINE_S", 0.5)
    async with world() as engine:
        engine.double.faults = {SMALL: fault}
        assert (await turn(engine)).state == "done"
        await until(lambda: engine.insights.dropped)
        assert not remarks(engine) and sum(engine.insights.dropped.values()) == 1
        start = asyncio.get_running_loop().time()
        assert (await turn(engine)).state == "done"
        assert asyncio.get_running_loop().time() - start < 0.4  # not behind the observer


async def test_a_request_breaks_the_observer_off(world):
    async with world() as engine:
        engine.double.faults = {SMALL: "hang"}
        await turn(engine)
        await until(lambda: any("response_format" in (r.body or {}) for r in engine.double.requests))
        looking = engine.insights._looking
        assert not looking.done()
        await turn(engine)
        await until(looking.done)
        assert looking.cancelled()


async def test_without_its_model_the_feed_is_written_by_the_counts_alone(world):
    async with world(observer_model="qwen3-vl-8b", router="rules") as engine:
        await turn(engine)
        await until(lambda: engine.insights.trouble)
        assert engine.insights.trouble == "qwen3-vl-8b is not loaded, so the feed is written from the counts alone"
        assert "qwen/qwen3-vl-8b" not in engine.double.loaded and not remarks(engine)
        engine.insights.set_mode("off")
        for _ in range(30):
            made = await turn(engine, "summarise this text")
            await engine.rate(made.id, wrong("reasoning"))
        for _ in range(40):
            made = await turn(engine)
            await engine.rate(made.id, right("code"))
        engine.insights.set_mode("active")
        await turn(engine)
        await until(lambda: any(one.by == "counts" for one in engine.feed))
        told = [one for one in engine.feed if one.by == "counts"]
        assert told[0].tag == "pattern_detected" and told[0].turns
        await turn(engine)
        await asyncio.sleep(0.3)
        assert len([one for one in engine.feed if one.by == "counts" and one.text == told[0].text]) == 1


async def test_its_budget_is_kept(world, monkeypatch):
    monkeypatch.setattr(insight_service, "TOKENS_A_DAY", 1)
    async with world() as engine:
        await turn(engine)
        await until(lambda: remarks(engine))
        await turn(engine)
        await until(lambda: "has had its 1 tokens of today" in engine.insights.trouble)
        assert len(remarks(engine)) == 1


@pytest.mark.engine
async def test_a_real_engine_remarks_is_late_talks_without_end_and_dies(world, start_engine, monkeypatch):
    process = start_engine("gemma-3-1b")
    async with world(url=process.url) as engine:

        async def hello():
            made = await engine.begin(Request(text="hello"), ask=False, model="gemma-3-1b")
            start = asyncio.get_running_loop().time()
            done = await engine.send(made.id)
            assert asyncio.get_running_loop().time() - start < 2
            return done

        assert (await hello()).answer.text
        await until(lambda: remarks(engine) or engine.insights.dropped, 30)
        (one,) = remarks(engine)
        assert (one.tag, one.text) == ("edge_case", "odd: turn 1.")
        assert one.turns[0].startswith("1-") and one.tokens > 100 and not engine.insights.dropped

        monkeypatch.setattr(insight_service, "DEADLINE_S", 0.005)
        await hello()
        await until(lambda: engine.insights.dropped, 30)
        assert set(engine.insights.dropped) <= {"not within its deadline", "no reply"}
        monkeypatch.setattr(insight_service, "DEADLINE_S", 20.0)

        build_prompt = observer.build_prompt
        monkeypatch.setattr(
            observer, "build_prompt", lambda *args: replace(build_prompt(*args), messages=(Message("user", "long"),))
        )
        monkeypatch.setattr(insight_service, "_REMARK_TOKENS", 3000)
        monkeypatch.setattr(observer, "SCHEMA", {"type": "string", "minLength": 10_000})
        engine.insights.dropped.clear()
        await hello()
        await until(lambda: engine.insights.dropped, 30)
        assert len(remarks(engine)) == 1 and set(engine.insights.dropped) == {"no JSON"}

        process.kill()
        await hello()
        await asyncio.sleep(0.3)
        assert len(remarks(engine)) == 1
