"""The engine without a face: what is told, what is kept, what happens when the disk is full."""

import asyncio
from typing import get_args

import pytest
from msgspec.structs import replace

from tests.doubles.lmstudio import Fault, LMStudio
from tests.worlds import SHIPPED, right, wrong
from tui_router.app.engine import Engine
from tui_router.app.events import EffectEvent, NoticeEvent, StoreEvent, TextEvent, TurnEvent
from tui_router.config.settings import BackendSetting, Settings, parse_config
from tui_router.core.types import Request
from tui_router.store.store import Store
from tui_router.store.store_errors import StoreFullError


@pytest.fixture
async def world(tmp_path):
    server = LMStudio(speed=400)
    url = await server.start()
    made = replace(SHIPPED, backends=(BackendSetting(name="DEMO", url=url),))
    engine = Engine(made, tmp_path / "data")
    engine.server, engine.told = server, []
    engine.listen(engine.told.append)
    await engine.open()
    await engine.health.look()
    yield engine
    await engine.close()
    await server.close()


async def ask(engine, text, **more):
    turn = await engine.begin(Request(text=text), **more)
    return await engine.send(turn.id)


async def test_a_turn_is_on_the_disk_when_it_is_routed_and_again_when_it_is_answered(world):
    turn = await world.begin(Request(text="write a python function"))
    assert world.store.find(turn.id).state == "routed"
    done = await world.send(turn.id)
    stored = world.store.find(turn.id)
    assert stored.state == "done" and stored.answer == done.answer and stored.dispatch.served == "qwen3-coder-30b"
    streamed = "".join(e.text for e in world.told if isinstance(e, TextEvent))
    assert streamed == stored.answer.text
    states = [e.turn.state for e in world.told if isinstance(e, TurnEvent)]
    assert states == ["routed", "answering", "done"]


async def test_an_unsure_decision_asks_and_the_choice_is_a_verdict_of_its_own_kind(world):
    world.threshold = 1.0
    first = await world.begin(Request(text="write a python function"))
    assert first.state == "asking" and not [r for r in world.server.requests if r.method == "POST"]
    await world.choose(first.id, "code")
    assert world.store.find(first.id).verdict.kind == "accepted"
    assert (world.store.counters().rated, world.store.counters().right) == (1, 1)
    await world.send(first.id)
    second = await world.begin(Request(text="write a python function"))
    await world.choose(second.id, "reasoning")
    done = await world.send(second.id)
    verdict = world.store.find(second.id).verdict
    assert (verdict.kind, verdict.rating, verdict.route, verdict.source) == (
        "chosen",
        "wrong",
        "reasoning",
        "ask",
    )
    assert (
        done.route == "reasoning"
        and done.decision.route == "code"
        and done.dispatch.served == "ministral-14b-reasoning"
    )
    third = await world.begin(Request(text="write a python function"))
    await world.cancel(third.id)
    assert world.store.find(third.id).state == "cancelled" and third.id not in world.live


async def test_the_conversation_goes_along(world):
    first = await ask(world, "write a rust function that parses csv")
    second = await ask(world, "now make it shorter", session=first.session)
    assert second.decision.route == "code"
    body = [r.body for r in world.server.requests if r.path == "/v1/chat/completions"][-1]
    assert [m["role"] for m in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][1]["content"] == first.answer.text


async def test_several_turns_at_once(world):
    turns = await asyncio.gather(
        *(ask(world, text) for text in ("write a python function", "hello", "goto amazon.com"))
    )
    assert [t.state for t in turns] == ["done"] * 3 and len({t.id for t in turns}) == 3


async def test_a_stopped_answer_is_kept_and_marked(world):
    world.server.speed = 2
    turn = await world.begin(Request(text="write a python function"))
    world.send(turn.id)
    while not any(isinstance(e, TextEvent) and e.text for e in world.told):
        await asyncio.sleep(0.01)
    await world.stop(turn.id)
    stored = world.store.find(turn.id)
    assert stored.state == "stopped" and stored.answer.text and turn.id not in world.live


async def test_a_fallback_is_noticed_and_kept(world):
    world.server.faults["qwen/qwen3-coder-30b"] = "status_500"
    done = await ask(world, "write a python function")
    assert done.dispatch.served == "gpt-oss-20b" and done.decision.model == "qwen3-coder-30b"
    notice = next(e.observation for e in world.told if isinstance(e, NoticeEvent) and e.observation.tag == "fallback")
    assert "gpt-oss-20b served instead of qwen3-coder-30b" in notice.text and notice.turns == (done.id,)
    await world.context.finish_tasks()
    assert world.store.observations()[0].tag in ("fallback", "server_up")


async def test_a_full_disk_leaves_the_program_working_and_says_so(world, monkeypatch):
    kept = await ask(world, "hello")

    def full(*_):
        raise StoreFullError("disk full")

    monkeypatch.setattr(world.store, "record", full)
    monkeypatch.setattr(world.store, "rate", full)
    done = await ask(world, "write a python function")
    assert done.state == "done" and done.answer.text and "not saved" in world.unsaved
    assert not await world.rate(kept.id, right())
    assert not await world.rate(done.id, right())
    assert any(isinstance(e, NoticeEvent) and e.observation.tag == "not_saved" for e in world.told)
    monkeypatch.undo()
    assert (await ask(world, "hello")).id.startswith("2-") and not world.unsaved
    assert await world.rate(kept.id, right())


async def test_what_another_process_writes_is_told_and_own_writes_are_not(world, tmp_path):
    turn = await ask(world, "hello")
    await world.poll()
    world.told.clear()
    await world.rate(turn.id, wrong())
    await world.poll()
    assert not [e for e in world.told if isinstance(e, StoreEvent) and e.change.turns]
    other = Store(tmp_path / "data")
    from tests.worlds import a_turn

    theirs = other.record(a_turn("goto amazon.com", source="command line"))
    await world.poll()
    (told,) = [e for e in world.told if isinstance(e, StoreEvent) and e.change.turns]
    assert told.change.turns == {theirs.number}
    other.close()


async def test_a_fault_of_our_own_ends_the_turn_with_a_sentence(world, monkeypatch):
    async def broken(*_):
        raise ZeroDivisionError("oops")

    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    monkeypatch.setattr(world.answers.dispatcher, "serve", broken)
    done = await ask(world, "hello")
    assert done.state == "failed" and "a fault of tui-router itself: ZeroDivisionError: oops" in done.answer.error


async def test_pinned_route_and_model(world):
    turn = await ask(world, "hello", route="code")
    assert (turn.route, turn.pinned_route, turn.dispatch.served) == ("code", True, "qwen3-coder-30b")
    turn = await ask(world, "hello", model="gpt-oss-20b")
    assert turn.dispatch.intended == turn.dispatch.served == "gpt-oss-20b"


async def test_the_settings_in_force_are_kept_when_they_change(world, tmp_path):
    kept = world.store.db.table("settings").recent(1)[0]["settings"]
    assert kept["router"] == "auto" and kept["confidence_threshold"] == 0.7
    rows = len(world.store.db.table("settings"))
    other = Engine(world.config, tmp_path / "data")
    await other.open()
    assert len(other.store.db.table("settings")) == rows
    await other.close()


async def test_logs_are_written_at_the_end(world, tmp_path):
    await ask(world, "hello")
    await world.close()
    (path,) = (tmp_path / "data/logs").glob("routing_*.jsonl")
    assert '"task_type":"simple_chat"' in path.read_text()


@pytest.mark.parametrize("fault", [f for f in get_args(Fault) if f])
async def test_every_fault_of_the_double_ends_in_an_answer_or_one_sentence(world, fault):
    world.answers.dispatcher.settings = Settings(first_byte_s=0.3, load_s=0.5, idle_s=0.3)
    world.server.faults["*"] = fault
    if fault == "endless":
        world.server.speed = 5000
    async with asyncio.timeout(15):
        turn = await ask(world, "hello")
    stored = world.store.find(turn.id)
    assert stored.state in ("done", "failed", "interrupted") and stored == turn
    if stored.state == "done":
        assert stored.answer.text and not stored.answer.error
    else:
        error = stored.answer.error
        assert error and "\n" not in error and "Traceback" not in error and len(error) < 400
    assert not world.live and all(m.answering == 0 for m in world.health.models.values())


@pytest.mark.engine
async def test_a_model_decides_too_and_its_decision_is_kept_as_a_shadow(tmp_path, engine_url):
    text = (
        f'[settings]\nllm_router = "gemma-3-1b"\n[backends."LM Studio"]\nurl = "{engine_url}"\nkind = "llama-server"\n'
    )
    engine = Engine(parse_config(text, None, {}), tmp_path / "data")
    await engine.open()
    try:
        await engine.health.look()
        turn = await engine.begin(Request(text="write a python function"), ask=False)
        await engine.context.finish_tasks()
        shadows = engine.store.find(turn.id).shadows
        assert [s.router for s in shadows] == ["rules", "llm"]
        assert sum(p for _, p in shadows[1].ranking) == pytest.approx(1)
        assert engine.live[turn.id].turn.shadows == shadows
    finally:
        await engine.close()


async def test_a_correction_is_learned_and_says_what_it_changed(world):
    text = "summarise the meeting notes from monday"
    turn = await ask(world, text)
    (_, _), (wanted, _), *_ = turn.decision.ranking
    await world.rate(turn.id, wrong(wanted))
    await world.context.finish_tasks()
    (effect,) = [e.effect for e in world.told if isinstance(e, EffectEvent)]
    assert (effect.turn, effect.before, effect.after) == (turn.id, turn.decision.route, wanted)
    assert (await ask(world, text)).decision.route == wanted
    await world.rate(turn.id, None)
    await world.context.finish_tasks()
    assert (await ask(world, text)).decision.ranking == turn.decision.ranking


async def test_what_another_process_rated_is_learned(world, tmp_path):
    text = "summarise the meeting notes from monday"
    turn = await ask(world, text)
    wanted = turn.decision.ranking[1][0]
    await world.poll()
    other = Store(tmp_path / "data")
    other.rate(turn.id, wrong(wanted))
    other.close()
    await world.poll()
    assert (await ask(world, text)).decision.route == wanted


async def test_a_question_is_asked_for_its_label_and_not_twice(world):
    world.context.interactive, world.threshold = True, 0.01
    new = await world.begin(Request(text="compare the two tax returns of last year"))
    assert new.asked == ""  # nobody is asked in the first ten turns of a store
    world._turns_before = 10
    text = "compare the two mortgage offers I got"
    first = await world.begin(Request(text=text))
    again = await world.begin(Request(text=text))
    assert (first.asked, first.state, again.asked) == ("worth", "routed", "")  # never held up: asked after the answer
    world.context.feedback = False
    assert (await world.begin(Request(text="summarise the meeting notes from monday"))).asked == ""


async def test_a_served_encoder_joins_when_the_seeds_are_embedded(world, monkeypatch):
    from tui_router.learning import online_learner

    some = online_learner._plain_seeds()[::40]
    monkeypatch.setattr(online_learner, "_plain_seeds", lambda: some)
    before = world.router_service.learner.learned.version
    world.server.embedding, world.context.interactive = "text-embedding-nomic-embed-text-v1.5", True
    await world.health.look()
    world.router_service.look_for_embeddings()
    await world.router_service._head_fit
    learned = world.router_service.learner.learned
    assert learned.text_stage.head.encoder == world.server.embedding and learned.version != before
    plain = learned.decide(Request(text="compare the two mortgage offers I got"))
    turn = await world.begin(Request(text="compare the two mortgage offers I got"), ask=False)
    assert turn.decision.ranking != plain.ranking
    world.server.embedding_delay_s = 5.0
    assert (await world.begin(Request(text="another one that nobody waits for"), ask=False)).decision.elapsed_ms < 100
    again = Engine(world.config, world.folder)
    await again.open()
    assert again.router_service.learner.learned.text_stage.head.encoder == world.server.embedding
    await again.close()


async def test_a_request_may_stand_alone_in_its_session(world):
    first = await ask(world, "write a rust function that parses csv")
    await ask(world, "now make it shorter", session=first.session, history=())
    body = [r.body for r in world.server.requests if r.path == "/v1/chat/completions"][-1]
    assert [m["content"] for m in body["messages"]] == ["now make it shorter"]
