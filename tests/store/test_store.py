"""What the program asks of its store."""

import json
import random

import pytest
from msgspec.structs import replace
from tinydb import Query

from tests.worlds import SHIPPED, a_turn, right, wrong
from tui_router.core.types import Observation, Verdict
from tui_router.store import routing_log
from tui_router.store.store import Store
from tui_router.store.store_errors import UnknownTurnError


def test_a_turn_gets_an_id_that_says_its_number(store):
    first, second = store.record(a_turn("hello")), store.record(a_turn("goto amazon.com"))
    assert first.id.startswith("1-") and second.number == 2
    assert store.find("2").id == second.id == store.find(second.id).id
    assert store.find("2-ffffff0") is None and store.find("99") is None and store.find("nonsense") is None
    assert [t.number for t in store.recent()] == [2, 1]


def test_the_latest_verdict_counts_and_the_history_is_kept(store, turn):
    store.rate(turn.id, wrong("reasoning"))
    store.rate(turn.id, right())
    assert store.find(turn.id).verdict.rating == "right"
    assert [m.verdict.rating for m in store.history(turn.id)] == ["wrong", "right"]
    assert (store.counters().rated, store.counters().right) == (1, 1)


def test_undo_goes_back_one_verdict_at_a_time(store, turn):
    store.rate(turn.id, wrong("reasoning"))
    store.rate(turn.id, right())
    assert store.rate(turn.id, None).verdict.rating == "wrong"
    assert (store.counters().rated, store.counters().right) == (1, 0)
    assert store.rate(turn.id, None).verdict is None
    assert store.find(turn.id).verdict is None and store.counters().rated == 0
    with pytest.raises(UnknownTurnError, match="no verdict to take back"):
        store.rate(turn.id, None)


def test_notes_and_bad_answers_stay_out_of_the_accuracy_and_answered_asks_count(store, turn):
    for kind, rating in (("note", None), ("answer", "wrong")):
        store.rate(turn.id, Verdict(kind=kind, at=turn.at, rating=rating))
        assert store.counters().rated == 0
    store.rate(turn.id, Verdict(kind="accepted", at=turn.at, rating="right", route="code"))
    assert (store.counters().rated, store.counters().right) == (1, 1)
    store.rate(turn.id, Verdict(kind="chosen", at=turn.at, rating="wrong", route="reasoning"))
    assert (store.counters().rated, store.counters().right) == (1, 0)


def test_rating_a_turn_that_is_not_there_is_one_sentence(store):
    with pytest.raises(UnknownTurnError, match=r"there is no turn '9-abc'; `tui-router turns` lists them"):
        store.rate("9-abc", right())


def test_counters_equal_a_recount_after_any_history(store):
    dice = random.Random(5)
    for i in range(40):
        turn = store.record(a_turn(f"write a function {i}" if i % 2 else "hello"))
        for _ in range(dice.randrange(4)):
            verdict = dice.choice(
                [right(), wrong(), wrong("vision"), Verdict(kind="note", at=turn.at, comment="x"), None]
            )
            try:
                store.rate(turn.id, verdict)
            except UnknownTurnError:
                assert verdict is None
    assert store.counters() == store.recount()
    assert store.counters().turns == 40
    assert len(store.graded()) == store.counters().rated
    assert sum(hit for _, hit in store.graded()) == store.counters().right


def test_a_session_links_its_turns_though_others_write_between(store):
    first = store.record(a_turn("hello"))
    other = store.record(a_turn("goto amazon.com"))
    again = store.record(a_turn("thanks", session=first.session))
    store.rate(again.id, right())
    assert [t.id for t in store.conversation(first.session)] == [first.id, again.id]
    session = store.session(first.session)
    assert (session.title, session.turns, session.rated) == ("hello", 2, 1)
    assert [s.id for s in store.sessions()] == [other.session, first.session]


def test_tinydb_queries_see_the_documents(store, turn):
    found = store.db.table("turns").search(Query().decision.router == "rules")
    assert found[0]["request"]["text"] == "write a python function"


def test_two_stores_on_one_folder_see_each_other_live_and_not_themselves(store, tmp_path):
    other = Store(tmp_path / "data")
    assert other.poll() is None
    turn = store.record(a_turn("hello"))
    assert other.poll().turns == {1} and store.poll() is None
    store.rate(turn.id, right("simple_chat"))
    other.rate(turn.id, wrong("code"))
    assert other.poll().turns == {1} and store.poll().turns == {1}
    store.observe(Observation(at=turn.at, tag="x", text="y"))
    assert other.poll().observations == {1} and other.poll() is None
    other.close()


def test_a_log_of_an_earlier_version_has_no_writers_and_counts_as_foreign(store, turn, tmp_path):
    store.db.storage.run("ALTER TABLE log DROP COLUMN writer")
    store.close()
    again, other = Store(tmp_path / "data"), Store(tmp_path / "data")
    other.db.storage.run("INSERT INTO log(tab, id) VALUES('turns', 1)")  # as an earlier version writes
    assert again.poll().turns == {1}
    again.rate(turn.id, right())
    assert again.poll() is None and other.poll().turns == {1}
    again.close()
    other.close()


def test_a_change_is_applied_to_the_newest_copy(store, turn):
    copy = store.find(turn.id)
    store.rate(turn.id, right())
    changed = store.change(turn.id, lambda turn: replace(turn, route="reasoning"))
    assert changed.verdict.rating == "right" and changed == store.find(turn.id)
    store.change(turn.id, lambda turn: replace(turn, state="stopped", request=copy.request))
    assert (store.find(turn.id).route, store.find(turn.id).state) == ("reasoning", "stopped")
    with pytest.raises(UnknownTurnError, match="there is no turn '9'"):
        store.change("9", lambda turn: turn)


def test_hostile_text_comes_back_as_it_was(store):
    text = "\x1b]52;c;AAAA\x07 [@click=app.quit] \u202e \ud800 \x00 \u2028"
    turn = store.record(a_turn(text))
    assert store.find(turn.id).request.text == text


def test_the_routing_log_has_one_line_a_turn_with_its_latest_verdict(store, turn, tmp_path):
    store.rate(turn.id, wrong("reasoning"))
    store.record(a_turn("hello"))
    (path,) = routing_log.write_all(store, SHIPPED.fleet, tmp_path / "logs")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["routing"]["task_type"] for line in lines] == ["code", "simple_chat"]
    assert lines[0]["feedback"] == {
        "user_rating": -1,
        "kind": "route",
        "correct_model": "ministral-14b-reasoning",
        "correct_route": "reasoning",
        "notes": "",
    }
    assert lines[1]["feedback"]["user_rating"] is None
    assert path.stat().st_mode & 0o777 == 0o600
    path.unlink()
    assert routing_log.write_days_of(store, SHIPPED.fleet, tmp_path / "logs", {2}) == [path]
    assert len(path.read_text().splitlines()) == 2


def test_a_verdict_on_an_old_turn_rewrites_its_day_alone(store, tmp_path):
    days = ["2026-03-01", "2026-03-02", "2026-01-01", "2026-03-02", "2026-03-03"]  # the clock jumped back once
    for day in days:
        store.record(a_turn("hello", at=f"{day}T12:00:00.000Z"))
    logs = tmp_path / "logs"
    (path,) = routing_log.write_days_of(store, SHIPPED.fleet, logs, {2})
    assert path.name == "routing_2026-03-02.jsonl" and len(path.read_text().splitlines()) == 2
    assert len(routing_log.write_all(store, SHIPPED.fleet, logs)) == 4
    assert len(path.read_text().splitlines()) == 2
