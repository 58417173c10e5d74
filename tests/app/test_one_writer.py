"""One writer per turn: what happens when acts on the same turn meet. Each meeting is forced, none is hoped for."""

import asyncio
import threading

import pytest
from msgspec.structs import replace

from tests.worlds import RULES, SHIPPED, wrong
from tui_router.app.engine import Engine
from tui_router.app.events import EffectEvent, NoticeEvent, StoreEvent
from tui_router.config.settings import BackendSetting
from tui_router.core.types import Request
from tui_router.demo.server import DemoServer
from tui_router.store.store import Store

TEXT = "summarise the meeting notes from monday"


class SlowRouter:
    """A router that asks a model: it decides when the test lets it."""

    name, model, version = "llm", "gemma-3-1b", "1"

    def __init__(self):
        self.may_answer = asyncio.Event()

    async def decide(self, request, deadline_s=None):
        await self.may_answer.wait()
        return replace(RULES.decide(request), router="llm")


@pytest.fixture
async def engine(tmp_path):
    server = DemoServer(speed=400)
    settings = replace(SHIPPED.settings, llm_router="gemma-3-1b")
    made = replace(SHIPPED, settings=settings, backends=(BackendSetting(name="DEMO", url=await server.start()),))
    engine = Engine(made, tmp_path / "data")
    engine.heard = []
    engine.listen(engine.heard.append)
    await engine.open()
    engine.router_service.llm_routers.clear()
    await engine.health.look()
    yield engine
    await engine.close()
    await server.close()


@pytest.fixture
def slow_router(engine):
    made = engine.router_service.llm_routers["llm"] = SlowRouter()
    return made


class HeldStore:
    """The store's thread waits until `let_go`; what is asked of it meanwhile queues up behind."""

    def __init__(self, engine):
        self._gate, entered = threading.Event(), threading.Event()

        def hold():
            entered.set()
            self._gate.wait(20)

        self._task = asyncio.create_task(engine.in_store(hold))
        self._entered = entered

    async def held(self):
        await asyncio.to_thread(self._entered.wait, 20)
        return self

    async def let_go(self):
        self._gate.set()
        await self._task


async def ticks(n=20):
    """Let everything that can go on go on."""
    for _ in range(n):
        await asyncio.sleep(0)


async def settled(engine):
    while tasks := [t for t in asyncio.all_tasks() if t is not asyncio.current_task() and "health" not in t.get_name()]:
        done, _ = await asyncio.wait(tasks, timeout=0.2)
        if not done:
            return


def foreign(engine):
    return [e.change.turns for e in engine.heard if isinstance(e, StoreEvent) and e.change.turns]


async def test_a_look_at_the_store_in_the_middle_of_a_verdict_does_not_take_it_for_a_foreign_one(engine):
    turn = await engine.begin(Request(text=TEXT), ask=False)
    await engine.send(turn.id)
    await engine.poll()
    engine.heard.clear()
    wanted = turn.decision.ranking[1][0]
    held = await HeldStore(engine).held()
    rating = asyncio.create_task(engine.rate(turn.id, wrong(wanted)))
    await ticks()
    looking = asyncio.create_task(engine.poll())
    await ticks()
    await held.let_go()
    await asyncio.gather(rating, looking)
    await settled(engine)
    assert not foreign(engine)
    (effect,) = [e.effect for e in engine.heard if isinstance(e, EffectEvent)]
    assert (effect.before, effect.after) == (turn.decision.route, wanted)


async def test_a_foreign_verdict_on_a_turn_that_was_rated_here_is_noticed_and_learned(engine, tmp_path):
    turn = await engine.begin(Request(text=TEXT), ask=False)
    await engine.send(turn.id)
    wanted = turn.decision.ranking[1][0]
    await engine.rate(turn.id, wrong())
    await settled(engine)
    other = Store(tmp_path / "data")
    other.rate(turn.id, wrong(wanted))
    other.close()
    engine.heard.clear()
    await engine.poll()
    assert foreign(engine) == [frozenset({turn.number})]
    assert (await engine.begin(Request(text=TEXT), ask=False)).decision.route == wanted


async def test_a_shadow_that_comes_while_the_answer_is_written_does_not_undo_the_answer(engine, slow_router):
    turn = await engine.begin(Request(text="write a python function"), ask=False)
    answering = engine.send(turn.id)
    while not engine.live[turn.id].text:
        await asyncio.sleep(0.005)
    held = await HeldStore(engine).held()
    await asyncio.sleep(0.3)  # the answer has ended by now, and waits for the store
    slow_router.may_answer.set()
    await ticks()
    await held.let_go()
    await answering
    await settled(engine)
    stored = engine.store.find(turn.id)
    assert stored.state == "done" and stored.answer.text
    assert "llm" in [shadow.router for shadow in stored.shadows]


async def test_a_shadow_that_comes_while_the_person_chooses_does_not_undo_the_choice(engine, slow_router):
    engine.threshold = 1.0
    turn = await engine.begin(Request(text="write a python function"))
    assert turn.state == "asking"
    held = await HeldStore(engine).held()
    choosing = asyncio.create_task(engine.choose(turn.id, "reasoning"))
    await ticks()
    slow_router.may_answer.set()
    await ticks()
    await held.let_go()
    await choosing
    await settled(engine)
    done = await engine.send(turn.id)
    assert (done.route, done.dispatch.served) == ("reasoning", "ministral-14b-reasoning")
    assert engine.store.find(turn.id).route == "reasoning"
    assert "llm" in [shadow.router for shadow in engine.store.find(turn.id).shadows]


async def test_a_fault_in_a_background_task_is_told_with_its_turn(engine, monkeypatch):
    turn = await engine.begin(Request(text=TEXT), ask=False)

    async def broken(*_):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(engine.router_service, "learn", broken)
    await engine.rate(turn.id, wrong("code"))
    await settled(engine)
    (notice,) = [e.observation for e in engine.heard if isinstance(e, NoticeEvent) and e.observation.level == "wrong"]
    assert "ZeroDivisionError: oops" in notice.text and notice.turns == (turn.id,)
