"""Replay: stored turns are decided again with other rules, in their conversations, on one core or on many."""

import json

import pytest

from tests.worlds import RULES, SHIPPED, a_turn, right, wrong
from tui_router.cli import main
from tui_router.config.settings import parse_config
from tui_router.core.types import Answer
from tui_router.insight.replay import replay
from tui_router.routing.evaluation.parallel import CHUNK, by_rules
from tui_router.store.store import Store

OTHER = '[routes.code.triggers."cats are code"]\nwords = ["cat", "cats"]\nweight = 30\n'


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "data")
    yield made
    made.close()


def other_fleet():
    return parse_config(OTHER, None, {}).fleet


def test_the_same_rules_change_nothing(store):
    for text in ("hello", "write a python function", "goto amazon.com"):
        store.record(a_turn(text))
    found = replay(store.turns(), by_rules(SHIPPED.fleet), SHIPPED.fleet)
    assert (found.turns, found.moves) == (3, ())


def test_a_change_counts_fixed_broken_and_unrated_turns(store):
    for verdict in (wrong("code"), right("simple_chat"), None, wrong()):
        turn = store.record(a_turn("good morning, cats"))
        if verdict is not None:
            store.rate(turn.id, verdict)
    decided = RULES.decide(turn.request).route
    found = replay(store.turns(), by_rules(other_fleet()), other_fleet())
    assert {(m.before, m.after) for m in found.moves} == {(decided, "code")}
    assert (found.labelled, found.fixes, found.unrated) == (2, 1, 2)
    assert found.breaks == (decided == "simple_chat")
    assert found.right_after - found.right_before == found.fixes - found.breaks


def test_a_follow_up_is_replayed_in_its_conversation(store):
    first = store.record(a_turn("write a quicksort in python", answer=Answer(text="def ...")))
    second = store.record(a_turn("now in Rust", session=first.session))
    alone = RULES.decide(second.request).route
    (move,) = replay(store.turns(), by_rules(SHIPPED.fleet), SHIPPED.fleet).moves or (None,)
    if alone != "code":
        assert (move.turn, move.before, move.after) == (second.id, alone, "code")


def test_many_cores_find_what_one_core_finds(store):
    with store.db.transaction():
        for i in range(CHUNK + 50):
            store.record(a_turn(f"a cat number {i}" if i % 7 else "hello"))
    fleet = other_fleet()
    one = replay(store.turns(), by_rules(fleet), fleet, workers=1)
    assert one == replay(store.turns(), by_rules(fleet), fleet, workers=2)
    assert one.turns == CHUNK + 50 and len(one.moves) > CHUNK / 2


def test_the_command(store, tmp_path, capsys):
    turn = store.record(a_turn("tell me about cats"))
    store.rate(turn.id, wrong("code"))
    (tmp_path / "other.toml").write_text(OTHER)
    place = ["--data-dir", str(tmp_path / "data")]
    assert main.run(["replay", "--rules", str(tmp_path / "other.toml"), "--json", *place]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["turns"], found["changed"], found["fixes"], found["breaks"]) == (1, 1, 1, 0)
    assert found["moves"][0] | {"turn": turn.id, "after": "code", "right_route": "code"} == found["moves"][0]
    assert main.run(["replay", "--days", "1", *place]) == 0
    assert "1 turn" in capsys.readouterr().out


def test_a_period_is_found_although_the_clock_jumped_back(store, tmp_path, capsys):
    for day in ("2026-03-02", "2026-03-05", "2026-01-09", "2026-03-03"):
        store.record(a_turn("hello", at=f"{day}T12:00:00.000Z"))
    place = ["--router", "rules", "--json", "--data-dir", str(tmp_path / "data")]
    assert main.run(["replay", "--since", "2026-03-01", "--until", "2026-03-03", *place]) == 0
    assert json.loads(capsys.readouterr().out)["turns"] == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--router", "nope"], "there is no router 'nope'; known: learned, rules"),
        (["--since", "yesterday"], "--since: expected a day such as 2026-11-24, found 'yesterday'"),
        (["--days", "1", "--since", "2026-01-01"], "mutually exclusive"),
        (["--rules", "/nowhere.toml"], "--rules: "),
    ],
)
def test_wrong_arguments_give_one_clear_sentence(store, tmp_path, capsys, arguments, said):
    assert main.run(["replay", *arguments, "--data-dir", str(tmp_path / "data")]) == 2
    assert said in capsys.readouterr().err


def test_without_a_store_there_is_nothing_to_replay(tmp_path, capsys):
    assert main.run(["replay", "--data-dir", str(tmp_path / "none")]) == 2
    assert "no store in" in capsys.readouterr().err and not (tmp_path / "none").exists()
