"""What is learned from the store, and that it is the same after a restart, a crash, or from another process."""

import random

import msgspec
import numpy as np
import pytest

from tests.sets import rows
from tests.worlds import SHIPPED, a_turn, right, wrong
from tui_router.config.settings import parse_config
from tui_router.core.types import Answer, Request, Verdict
from tui_router.learning.online_learner import AT_ONCE, LABELS_FILE, PERSONAL_FILE, OnlineLearner, as_taught
from tui_router.learning.personal_fit import FitJob, refit
from tui_router.routing.labels import Label, label_of
from tui_router.routing.learned.place import place_of
from tui_router.store.store import Store

TEXT = "summarise the meeting notes from monday"


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path)
    yield made
    made.close()


def learner(folder, store):
    made = OnlineLearner(SHIPPED.fleet, folder, SHIPPED.settings)
    made.catch_up(store)
    return made


def routed(learner, text: str = TEXT) -> str:
    return learner.ensemble.decide(Request(text=text)).decision.route


def rate(store, turn, verdict):
    store.rate(turn.id, verdict)
    return store.find(turn.id), store.verdict_time(turn.number)


def test_a_verdict_is_learned_kept_and_found_again(tmp_path, store):
    first = learner(tmp_path, store)
    turn = store.record(a_turn(TEXT))
    assert routed(first) != "code"
    first.apply_verdict(*rate(store, turn, wrong("code")))
    assert routed(first) == "code" and first.unsaved
    first.save()
    ranking = dict(first.learned.decide(Request(text=TEXT)).ranking)
    again = learner(tmp_path, store)
    assert not again.unsaved, "nothing was learned twice"
    assert dict(again.learned.decide(Request(text=TEXT)).ranking) == pytest.approx(ranking, abs=0.01)


def test_what_was_not_written_down_is_learned_from_the_store(tmp_path, store):
    turn = store.record(a_turn(TEXT))
    rate(store, turn, wrong("code"))
    made = learner(tmp_path, store)
    assert routed(made) == "code"
    made.save()
    rate(store, turn, wrong("reasoning"))  # by another process, while this one was away
    assert routed(learner(tmp_path, store)) == "reasoning"
    store.rate(turn.id, None)
    store.rate(turn.id, None)
    assert routed(learner(tmp_path, store)) == routed(OnlineLearner(SHIPPED.fleet, tmp_path / "x", SHIPPED.settings))


def test_a_verdict_of_another_process_is_learned_once(tmp_path, store):
    made = learner(tmp_path, store)
    turn = store.record(a_turn(TEXT))
    rate(store, turn, wrong("code"))
    made.apply_verdict(*made.unlearned_verdict(store, turn.number))
    assert routed(made) == "code" and made.unlearned_verdict(store, turn.number) is None


@pytest.mark.parametrize("name", [LABELS_FILE, PERSONAL_FILE])
def test_a_damaged_file_is_reported_and_made_again(tmp_path, store, name):
    rate(store, store.record(a_turn(TEXT)), wrong("code"))
    (tmp_path / "learned").mkdir()
    (tmp_path / "learned" / name).write_bytes(b"PK\x03\x04 no zip at all")
    made = learner(tmp_path, store)
    assert name in made.trouble and "again" in made.trouble
    assert routed(made) == "code"


def test_labels_are_the_intended_route_and_never_what_served(tmp_path):
    fleet = SHIPPED.fleet
    code = a_turn("write a python function", id="1-a")
    said = {
        "right": (right("code"), ("code", False)),
        "wrong with a route": (wrong("reasoning"), ("reasoning", False)),
        "wrong alone": (wrong(), ("code", True)),
        "bad answer": (Verdict(kind="answer", at="x", rating="wrong"), None),
        "note": (Verdict(kind="note", at="x", comment="c"), None),
        "chosen": (Verdict(kind="chosen", at="x", rating="wrong", route="vision"), ("vision", False)),
    }
    for verdict, expected in said.values():
        taught = label_of(msgspec.structs.replace(code, verdict=verdict), fleet)
        assert (None if taught is None else (taught.route, taught.negative)) == expected


def test_a_follow_up_is_learned_in_its_conversation(tmp_path, store):
    first = store.record(a_turn("write a quicksort in python", answer=Answer(text="def quicksort(xs): ...")))
    second = store.record(a_turn("now as a story for children", session=first.session))
    made = learner(tmp_path, store)
    store.rate(second.id, wrong("general_chat"))
    turn, at, _ = made.load_for_turn(store, store.find(second.id))
    assert [m.content for m in turn.request.history] == ["write a quicksort in python", "def quicksort(xs): ..."]
    made.apply_verdict(turn, at)
    assert made.learned.decide(turn.request).route == "general_chat"


def test_the_effect_of_a_correction_names_what_moved(tmp_path, store):
    texts = [TEXT, "give me a summary of monday's meeting notes", "hello", "goto amazon.com", "what is 17 * 23"]
    turns = [store.record(a_turn(text)) for text in texts]
    made = learner(tmp_path, store)
    (before, _), (wanted, _), *_ = made.learned.decide(Request(text=TEXT)).ranking
    store.rate(turns[0].id, wrong(wanted))
    turn, at, earlier = made.load_for_turn(store, store.find(turns[0].id))
    probe = made.correction_probe(turn)
    for other in earlier:
        probe.add(other)
    made.apply_verdict(turn, at)
    effect = probe.result()
    assert (effect.before, effect.after) == (before, wanted)
    assert [(m.turn, m.after) for m in effect.moved] == [(turns[1].id, wanted)]
    assert effect.controls == 3 and effect.controls_moved == 0


async def test_an_own_model_is_fitted_in_another_process_and_taken_in(tmp_path, store):
    made = learner(tmp_path, store)
    taught = []
    for key, (row, request) in enumerate(rows("corrections")[:40], 1):
        taught.append(Label(key=key, request=request, route=row["routes"][0]))
    assert await refit(FitJob(SHIPPED.fleet, str(made.folder), tuple(taught))) == ""
    fresh = made.load_refitted()
    assert fresh is not None and fresh.personal.labels == 40
    version = made.learned.version
    made.replace_learned(fresh)
    assert made.ensemble.routers["learned"] is fresh and fresh.version != version
    assert as_taught(SHIPPED, tmp_path, "learned").version == fresh.version
    said = [fresh.decide(request).route == row["routes"][0] for row, request in rows("corrections")[:40]]
    shipped = [
        routed(OnlineLearner(SHIPPED.fleet, tmp_path / "x", SHIPPED.settings), t.request.text) == t.route
        for t in taught
    ]
    assert np.mean(said) > np.mean(shipped)


async def test_a_fit_of_too_little_leaves_no_model(tmp_path):
    assert await refit(FitJob(SHIPPED.fleet, str(tmp_path), ())) == ""
    assert not (tmp_path / PERSONAL_FILE).exists()


async def test_a_fit_that_fails_says_so(tmp_path):
    (tmp_path / "file").write_text("in the way")
    taught = [Label(key=k, request=q, route=r["routes"][0]) for k, (r, q) in enumerate(rows("corrections")[:30], 1)]
    said = await refit(FitJob(SHIPPED.fleet, str(tmp_path / "file"), tuple(taught)))
    assert said.startswith("fitting your personal model failed (") and "still count" in said


def test_a_store_that_was_never_learned_from_is_learned_bit_by_bit(tmp_path, store):
    for i in range(AT_ONCE + 7):
        turn = store.record(a_turn(TEXT if i == 0 else f"water plant number {chr(97 + i % 26) * (1 + i // 26)}"))
        rate(store, turn, wrong("code"))
    made = learner(tmp_path, store)
    assert len(made.backlog) == AT_ONCE + 7 and routed(made) != "code"
    while part := made.next_of_backlog(store):
        for turn, at in part:
            made.learn(turn, at)
    assert routed(made) == "code" and not made.backlog
    made.save()
    assert not learner(tmp_path, store).backlog
    assert as_taught(SHIPPED, tmp_path).decide(Request(text=TEXT)).route == "code"


def corrected(made, store, turn, route):
    """Correct a turn as the engine does; returns the effect."""
    store.rate(turn.id, wrong(route))
    taught, at, earlier = made.load_for_turn(store, store.find(turn.id))
    probe = made.correction_probe(taught)
    for other in earlier:
        probe.add(other)
    made.apply_verdict(taught, at)
    return probe.result(), taught.request


def test_the_effect_of_a_correction_is_what_the_next_decision_does(tmp_path, store):
    session = store.record(a_turn("book me a table for two", answer=Answer(text="Where?"))).session
    texts = [
        "why is the sky blue",
        "and the sea?",
        "make it shorter",
        "write a python function",
        "hello",
        "goto amazon.com",
    ]
    turns = [store.record(a_turn(text, session=session, answer=Answer(text="Done."))) for text in texts]
    made = learner(tmp_path, store)
    made.ensemble.temperatures["learned"] = 1.7
    for turn, route in zip(turns[:3], ("vision", "simple_chat", "tool_use"), strict=True):
        before = {
            one.id: made.ensemble.decide(one.request).decision.route for one in made.load_for_turn(store, turn)[2]
        }
        effect, request = corrected(made, store, turn, route)
        assert request.history[0].content == "book me a table for two"
        now = made.ensemble.decide(request).decision
        assert (effect.after, effect.confidence) == (now.route, now.confidence) and effect.after == route
        earlier = {one.id: one.request for one in made.load_for_turn(store, turn)[2]}
        for moved in effect.moved:
            assert (moved.before, moved.after) == (
                before[moved.turn],
                made.ensemble.decide(earlier[moved.turn]).decision.route,
            )


def test_a_correction_with_unanswered_turns_before_it_takes(tmp_path, store):
    session = store.record(a_turn("write a quicksort in python", answer=Answer(text="def ..."))).session
    for i in range(12):
        store.record(a_turn(f"try number {i}", session=session, answer=None))
    turn = store.record(a_turn("make it shorter", session=session, answer=Answer(text="ok")))
    made = learner(tmp_path, store)
    _, request = corrected(made, store, turn, "vision")
    assert [m.content for m in request.history] == ["write a quicksort in python", "def ..."]
    assert made.ensemble.decide(request).decision.route == "vision"


def test_after_a_restart_the_newest_verdict_wins_not_the_newest_turn(tmp_path, store):
    first, second = store.record(a_turn(TEXT)), store.record(a_turn(TEXT))
    made = learner(tmp_path, store)
    for turn, route in ((first, "code"), (second, "reasoning"), (first, "vision")):
        corrected(made, store, turn, route)
    assert routed(made) == "vision"
    assert routed(learner(tmp_path, store)) == "vision"  # learned from the store
    made.save()
    assert routed(learner(tmp_path, store)) == "vision"  # read from the file


def test_the_labels_of_a_removed_route_wait_for_its_return(tmp_path, store):
    made = learner(tmp_path, store)
    corrected(made, store, store.record(a_turn(TEXT)), "code")
    made.save()
    without = parse_config("[routes.code]\nremove = true\n", None, {})
    for _ in range(2):
        gone = OnlineLearner(without.fleet, tmp_path, without.settings)
        gone.catch_up(store)
        assert routed(gone) != "code"
        corrected(gone, store, store.record(a_turn("water the plants")), "vision")
        gone.save()
    assert routed(learner(tmp_path, store)) == "code"


def test_labels_in_the_format_of_an_earlier_version_are_learned_from_the_store_again(tmp_path, store):
    made = learner(tmp_path, store)
    corrected(made, store, store.record(a_turn(TEXT)), "code")
    made.save()
    path = made.folder / LABELS_FILE
    with np.load(path) as file:
        arrays = {name: file[name] for name in file}
    arrays["format"] = np.array(1)
    arrays["kept"] = np.frombuffer(msgspec.json.encode([(1, TEXT, "code", 8.0, "")]), np.uint8)
    np.savez(path, **arrays)
    again = learner(tmp_path, store)
    assert not again.trouble and routed(again) == "code" and again.unsaved


@pytest.mark.parametrize("seed", range(3))
def test_whatever_was_rated_undone_and_restarted_the_newest_label_of_a_place_decides(tmp_path, store, seed):
    dice = random.Random(seed)
    routes = [route.name for route in SHIPPED.fleet.routes]
    made, turns, labels = learner(tmp_path, store), [], {}
    sessions = [
        "",
        *(store.record(a_turn(text, answer=Answer(text="Done."))).session for text in ("hello", "fix the loop")),
    ]
    for _ in range(25):
        match dice.randrange(6):
            case 0 | 1:
                text = dice.choice((TEXT, "make it shorter", "and now?", ""))
                answer = Answer(text="Done.") if dice.random() < 0.8 else None
                turns.append(store.record(a_turn(text, session=dice.choice(sessions), answer=answer)))
            case 2 | 3 if turns:
                turn, route = dice.choice(turns), dice.choice(routes)
                effect, request = corrected(made, store, turn, route)
                assert effect.after == made.ensemble.decide(request).decision.route == route
                labels.pop(turn.id, None)
                labels[turn.id] = (request, route)
            case 4 if labels:
                undone = dice.choice(list(labels))
                del labels[undone]
                while store.find(undone).verdict is not None:
                    store.rate(undone, None)
                made.apply_verdict(store.find(undone), "")
            case 5:
                if dice.random() < 0.5:
                    made.save()
                made = learner(tmp_path, store)
    newest = {place_of(request): (request, route) for request, route in labels.values()}
    for request, route in newest.values():
        assert made.ensemble.decide(request).decision.route == route
        assert next(made.ensemble.rankings_by("learned", [request]))[0][0] == route


def test_a_label_survives_starts_with_a_fleet_that_does_not_have_its_route(tmp_path, store):
    legal = '[routes.legal]\ndescription = "Contracts"\nmodel = "gemma-3n-e4b"\n'
    own, renamed = (
        parse_config(text, None, {}) for text in (legal, legal.replace("[routes.legal]", '[routes.law]\nwas = "legal"'))
    )
    turn = store.record(a_turn(TEXT))
    store.rate(turn.id, wrong("legal"))
    without = learner(tmp_path, store)  # the route is not of this fleet
    without.save()
    assert routed(without) != "legal"
    for config, name in ((own, "legal"), (renamed, "law")):
        again = OnlineLearner(config.fleet, tmp_path, config.settings)
        again.catch_up(store)
        assert routed(again) == name
