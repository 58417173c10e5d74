"""The trained router in the program: promoted, asked, watched, taken back."""

import asyncio
import json
import shutil
import subprocess
import sys
import threading

import pytest
from msgspec.structs import replace

from tests.training import world
from tests.worlds import wrong
from tui_router.app.engine import Engine
from tui_router.app.tuned_router import MISSES, PromotionError
from tui_router.core.types import Request
from tui_router.routing.llm.llm_router import LLMRouter
from tui_router.training.export.forms import export, served_name
from tui_router.training.export.parity import llama_server
from tui_router.training.model_process import ModelProcess
from tui_router.training.router_manifest import ROUTER, ArtifactError, RouterManifest, read_json
from tui_router.training.runs import Run

pytestmark = [pytest.mark.timeout(300), pytest.mark.trains]
VESPER = Request(text="what is the matter with yarrow today")


@pytest.fixture
def home(full, tmp_path):
    """A data folder with the finished run in it."""
    shutil.copytree(full.folder, tmp_path / "home-data" / "runs" / full.folder.name)
    return tmp_path / "home-data"


@pytest.fixture
def run(home):
    return Run(next((home / "runs").iterdir()))


@pytest.fixture
async def engine(home):
    made = Engine(world.COMPANY, home, health_checks=False, interactive=True)
    await made.open()
    yield made
    await made.close()


async def test_it_passes_leads_answers_and_is_rolled_back(engine, run):
    router_service = engine.router_service
    assert router_service.champion == "learned" and router_service.tuned.run.id == run.id
    lead = await router_service.promote(run)
    assert router_service.champion == "tuned" and "passed its gate" in lead.reason
    async with asyncio.timeout(60):
        while True:  # its process is being loaded: until then the one who led before decides
            turn = await engine.begin(VESPER)
            if turn.decision.router == "tuned":
                break
            assert turn.decision.router == "learned"
            await asyncio.sleep(0.2)
    assert turn.decision.route == "workshop" and turn.decision.confidence > 0.5
    assert {s.router for s in turn.shadows} == {"learned", "rules"}
    await router_service.rollback()
    assert router_service.champion == "learned"
    with pytest.raises(PromotionError, match="nothing to roll back"):
        await router_service.rollback()
    kept = [(lead.router, lead.reason) for lead in await engine.in_store(engine.store.promotions)]
    assert [router for router, _ in kept] == ["tuned", "learned"] and kept[1][1] == "rolled back by you"
    await engine.context.finish_tasks()  # notices are written beside the turns
    reasons = [o.text for o in await engine.in_store(lambda: engine.store.observations(20)) if o.tag == "new_leader"]
    assert any("passed its gate" in r for r in reasons) and any("rolled back by you" in r for r in reasons)


async def test_a_leader_that_does_not_answer_loses_the_lead(engine, run):
    router_service = engine.router_service
    await router_service.promote(run)
    router_service.tuned.helper.artifact = run.folder / "gone"  # its process will not find anything
    for _ in range(MISSES + 20):
        turn = await engine.begin(VESPER)
        assert turn.decision.router == "learned"
        await asyncio.sleep(0.1)
        if router_service.champion == "learned":
            break
    assert router_service.champion == "learned"
    leads = await engine.in_store(engine.store.promotions)
    assert "did not answer" in leads[-1].reason


async def test_audits_give_the_place_back_to_the_former_champion(engine, run):
    """Audited turns on which it was wrong and the former champion right: a dozen are enough."""
    router_service = engine.router_service
    await router_service.promote(run)
    await router_service.tuned.close()
    for i in range(40):
        turn = await engine.begin(Request(text=f"note {i}"))
        said = turn.decision  # the former leader's: the trained router did not answer
        wrong_one = _by("tuned", said, next(r for r in world.WORDS if r != said.route))
        changed = replace(turn, decision=wrong_one, shadows=(said,), audit=1.0)
        await engine.in_store(lambda turn=turn, changed=changed: _rewrite(engine.store, turn, changed))
        engine.live[turn.id].turn = changed
        await engine.rate(turn.id, wrong(said.route))
        await engine.context.finish_tasks()
        if router_service.champion != "tuned":
            break
    assert router_service.champion == "learned" and i < 20
    leads = await engine.in_store(engine.store.promotions)
    assert leads[-1].router == "learned" and "alone was right on" in leads[-1].reason


def _by(router, decision, route):
    rest = [name for name, _ in decision.ranking if name != route]
    return replace(decision, router=router, ranking=((route, 0.9), *((name, 0.1 / len(rest)) for name in rest)))


def _rewrite(store, turn, changed):
    """Put another decision into a stored turn: what the trained router would have said."""
    import msgspec

    from tui_router.store import json_codec
    from tui_router.store.schema import TURNS

    raw = json_codec.decode(store.db.storage.one(TURNS, turn.number))
    raw |= msgspec.to_builtins({"decision": changed.decision, "shadows": changed.shadows, "audit": 1.0})
    store.db.storage.put(TURNS, {turn.number: json_codec.encode(raw)})


async def test_it_stays_promoted_over_a_start(home, run):
    first = Engine(world.COMPANY, home, health_checks=False)
    await first.open()
    await first.router_service.promote(run)
    await first.close()
    again = Engine(world.COMPANY, home, health_checks=False)
    await again.open()
    assert again.router_service.champion == "tuned" and again.router_service.learner.ensemble.champion_run == run.id
    await again.close()


async def test_a_run_that_does_not_know_a_route_is_not_promoted(home, run):
    from tui_router.config.settings import parse_config

    wider = parse_config(world.FLEET + '[routes.extra]\ndescription = "x"\nmodel = "gemma-3-1b"\n', None, {})
    engine = Engine(wider, home, health_checks=False)
    await engine.open()
    with pytest.raises(PromotionError, match="never taught extra"):
        await engine.router_service.promote(run)
    assert engine.router_service.champion == "learned"
    await engine.close()


def said(*arguments, code=0):
    done = subprocess.run([sys.executable, "-m", "tui_router", *arguments], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done


def test_the_command_line_promotes_and_routes_by_a_served_gguf(home, run, tmp_path):
    file = tmp_path / "fleet.toml"
    file.write_text(world.FLEET)
    more = ("--config", str(file), "--data-dir", str(home))
    assert "refused" not in said("runs", *more).stdout
    assert said("promote", "last", "--json", *more).stdout.startswith('{"leader": "tuned"')
    made = export(run, "gguf", "f16", tmp_path / "out")
    with llama_server(next((tmp_path / "out").glob("*.gguf")), None, "", served_name(run)) as url:
        file.write_text(f'{world.FLEET}[backends.here]\nurl = "{url}"\n')
        answer = json.loads(said("route", VESPER.text, "--json", *more).stdout)
    assert (answer["router"], answer["route"]) == ("tuned", "workshop") and made.parity.max_difference < 0.02
    assert sum(p for _, p in answer["ranking"]) == pytest.approx(1)
    answer = json.loads(said("route", VESPER.text, "--json", *more).stdout)  # no server any more: a process of its own
    assert (answer["router"], answer["route"]) == ("tuned", "workshop")
    assert "rolled back by you" in said("rollback", *more).stdout
    assert json.loads(said("route", VESPER.text, "--json", *more).stdout)["router"] == "learned"
    assert "nothing to roll back" in said("rollback", *more, code=1).stderr


def test_the_command_line_follows_a_run_to_its_gate(full, tmp_path, data):
    from tui_router.training import recipe

    short = tmp_path / "recipe.toml"
    short.write_text(recipe.to_toml(replace(full.record.recipe, steps=4)))
    (tmp_path / "fleet.toml").write_text(world.FLEET)
    more = ("--config", str(tmp_path / "fleet.toml"), "--data-dir", str(tmp_path / "d"))
    lines = [
        json.loads(x)
        for x in said("train", "--recipe", str(short), "--data", str(data), "--json", *more).stdout.splitlines()
    ]
    assert [x["event"] for x in lines if x["event"] in ("start", "done", "gate")] == ["start", "done", "gate"]
    run_id = lines[-1]["run"]
    assert f"run {run_id}: done" in said("runs", "show", run_id, *more).stdout
    said("runs", "note", run_id, "a", "short", "one", *more)
    assert json.loads(said("runs", "--json", *more).stdout)["runs"][0]["notes"] == "a short one"
    refused = said("promote", run_id, *more, code=1).stderr
    assert "the gate refuses" in refused and "Traceback" not in refused
    said("runs", "delete", run_id, *more)
    assert "there is no run" in said("runs", "show", run_id, *more, code=2).stderr


async def test_every_server_tells_a_probability_in_its_own_way(full, tmp_path):
    """llama.cpp's server as itself, by grammar, and as any OpenAI-style one, by log probabilities: the same as in training."""
    from tui_router.backends.health import Health
    from tui_router.backends.served_chooser import ServedLetterChooser
    from tui_router.config.settings import BackendSetting
    from tui_router.core.fleet import Model
    from tui_router.core.types import Message
    from tui_router.training.router_manifest import REFERENCE, ReferenceCase, read_json

    export(full, "gguf", "f32", tmp_path / "out")
    known = read_json(full.artifact / REFERENCE, list[ReferenceCase])[:10]
    with llama_server(next((tmp_path / "out").glob("*.gguf")), None, "", "mine") as url:
        for kind in ("llama-server", "openai"):
            health = Health(world.COMPANY.fleet, [BackendSetting(name="here", url=url, kind=kind)])
            health.watch(Model(name="mine", context=4096))
            await health.look()
            chooser = ServedLetterChooser(health, "mine", trained=True)
            for one in known:
                messages = tuple(Message(m["role"], m["content"]) for m in one.messages)
                chosen = await chooser.choose(messages, "ABC", 10.0)
                total = sum(chosen.probabilities.values())
                told = [chosen.probabilities.get(letter, 0.0) / total for letter in "ABC"]
                assert told == pytest.approx(list(one.probabilities), abs=0.02), kind
            await health.close()


async def test_letters_stay_those_of_the_training_when_a_route_had_no_examples(full, tmp_path):
    """The sheet lists three routes and the data knows two of them: C stays C."""
    folder = tmp_path / "data"
    world.dataset(folder)
    for path in folder.glob("*.jsonl"):
        rows = [line for line in path.read_text().splitlines(keepends=True) if json.loads(line)["route"] != "ledger"]
        path.write_text("".join(rows))
    run = world.train(world.new_run(tmp_path / "store", full.record.recipe, folder))
    sheet = read_json(run.artifact / ROUTER, RouterManifest).letter_prompt
    assert (sheet.routes, sheet.letters) == (("harbour", "workshop"), "AC") and "B=ledger" in sheet.instructions
    shown = json.loads((folder / "test.jsonl").read_text().splitlines()[0])
    asked = sheet.messages(Request(text=shown["text"], has_image=shown["has_image"]))
    assert [m.content for m in asked] == [shown["messages"][0]["content"]]
    helper = ModelProcess(run.artifact, wait=True)
    router = LLMRouter("tuned", world.COMPANY.fleet, "m", helper, sheet)
    try:
        decided = [await router.decide(Request(text=f"is {word} ready"), 60.0) for word in ("kestrel", "yarrow")]
    finally:
        await helper.close()
    assert [made.route for made in decided] == ["harbour", "workshop"]
    engine = Engine(world.COMPANY, tmp_path / "store", health_checks=False)
    await engine.open()
    with pytest.raises(PromotionError, match="never taught ledger"):
        await engine.router_service.promote(run)
    await engine.close()


async def test_a_run_that_answers_in_text_is_for_other_programs(full, tmp_path):
    shutil.copytree(full.folder, tmp_path / "store" / "runs" / full.folder.name)
    run = Run(next((tmp_path / "store" / "runs").iterdir()))
    for path, old, new in (
        (run.artifact / ROUTER, '"label":"letter"', '"label":"text"'),
        (run.folder / "run.json", '"label": "letter"', '"label": "text"'),
    ):
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    engine = Engine(world.COMPANY, tmp_path / "store", health_checks=False)
    await engine.open()
    assert engine.router_service.tuned is None
    with pytest.raises(ArtifactError, match="answers in text"):
        await engine.router_service.promote(Run(run.folder))
    await engine.close()


async def test_turns_are_recorded_while_the_gate_judges(engine, run, monkeypatch):
    judging, may_end = threading.Event(), threading.Event()

    def slow(*_):
        judging.set()
        assert may_end.wait(20)
        return "passed its gate"

    monkeypatch.setattr("tui_router.app.tuned_router.passes", slow)
    promoting = asyncio.ensure_future(engine.router_service.promote(run))
    await asyncio.to_thread(judging.wait, 20)
    turn = await asyncio.wait_for(engine.begin(VESPER), 10)
    assert turn.number > 0 and not engine.unsaved
    may_end.set()
    assert (await promoting).router == "tuned"


async def test_a_training_that_ends_gives_a_shadow_whoever_watched_it(full, tmp_path):
    engine = Engine(world.COMPANY, tmp_path / "store", health_checks=False, interactive=True)
    await engine.open()
    assert engine.router_service.tuned is None
    shutil.copytree(full.folder, tmp_path / "store" / "runs" / full.folder.name)
    engine.router_service._next_run_check = 0.0
    await engine.poll()
    assert engine.router_service.tuned is not None and "tuned" in engine.router_service.llm_routers
    assert full.id not in str(list(engine.health.models))  # it is none of the fleet's models
    await engine.close()
