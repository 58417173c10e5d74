"""Metrics and the report count exactly the verdicts that exist."""

import json
import time

import pytest
from msgspec.structs import replace

from tests.worlds import SHIPPED, a_turn, right, wrong
from tui_router.cli import main
from tui_router.core import clock
from tui_router.core.types import Answer, Dispatch, Hop, Observation, Verdict
from tui_router.insight.metrics import metrics_of, turns_since
from tui_router.insight.metrics_cache import MetricsCache
from tui_router.insight.report import make_report, period, to_markdown
from tui_router.insight.report_files import prepare_report
from tui_router.store.store import Store

FLEET = SHIPPED.fleet
DAY = "2026-03-05T12:00:00.000Z"


def some():
    return [
        a_turn("write a python function", id="1-a", at=DAY, verdict=right("code")),
        a_turn("write a python function", id="2-a", at=DAY, verdict=wrong("reasoning")),
        a_turn("hello", id="3-a", at=DAY, verdict=wrong()),
        a_turn("hello", id="4-a", at=DAY, verdict=Verdict(kind="answer", at=DAY, rating="wrong")),
        a_turn("hello", id="5-a", at=DAY),
        a_turn("hello", id="6-a", at=DAY, state="cancelled"),
        a_turn(
            "goto amazon.com",
            id="7-a",
            at=DAY,
            answer=Answer(text="x", first_token_ms=200.0, tokens_per_second=40.0),
            dispatch=Dispatch(intended="gpt-oss-20b", served="qwen3-coder-30b"),
        ),
    ]


def test_unrated_turns_are_in_no_accuracy():
    m = metrics_of(some(), FLEET)
    assert (m.turns, m.accuracy.n, m.accuracy.hits) == (6, 3, 1)
    assert (m.rated.hits, m.rated.n) == (4, 6)
    assert (m.precision["code"].hits, m.precision["code"].n) == (1, 2)
    assert m.confusion == {"code": {"code": 1}, "reasoning": {"code": 1}}
    assert (m.router_accuracy["rules"].hits, m.router_accuracy["rules"].n) == (1, 3)
    assert (m.fallbacks.hits, m.fallbacks.n) == (1, 1)
    assert metrics_of([], FLEET).accuracy.value is None


def test_shadows_are_measured_on_the_same_turns():
    turn = some()[1]
    shadow = replace(turn.decision, router="learned", ranking=(("reasoning", 0.8), ("code", 0.2)))
    m = metrics_of([replace(turn, shadows=(shadow,))], FLEET)
    assert m.router_accuracy["rules"].value == 0 and m.router_accuracy["learned"].value == 1


def test_the_report_shows_known_figures_and_no_data_for_the_others():
    made = make_report(some(), FLEET, 0.7, 1, today="2026-03-05")
    text = to_markdown(made)
    assert "6 turns, 4 rated." in text and "of rated turns: 33% [6-79] n=3." in text
    assert "of all turns: no estimate below 20 answered random checks (0 so far)" in text
    assert "| not asked about | 6 | 3 | 33% |" in text
    assert "| vision | 0 | no data | no data | 0 |" in text and "No significant findings." in text
    assert "qwen3-coder-30b: served 1, 1 of them as a fallback" in text
    assert "rate a few more turns" in text and "nan" not in text.lower()


def test_a_period_is_compared_with_the_one_before():
    assert period(7, "2026-03-07") == ("2026-02-22", "2026-03-01", "2026-03-07")
    made = make_report(some(), FLEET, 0.7, 1, today="2026-03-06")
    assert made.metrics.turns == 0 and made.before.turns == 6
    assert "0 turns, 0 rated." in to_markdown(made) and "of rated turns: no data." in to_markdown(made)


def test_with_enough_random_checks_the_report_estimates_the_accuracy_over_all_turns():
    audit = Verdict(kind="audit", at=DAY, rating="right", route="code")
    turns = [a_turn("write a python function", id=f"{i}-a", at=DAY, audit=0.2, verdict=audit) for i in range(1, 25)]
    made = make_report(turns, FLEET, 0.7, 1, today="2026-03-05")
    found = made.to_dict()
    assert found["estimate"] == {"value": 1.0, "n": 24, "ci95": [1.0, 1.0]}
    assert found["audit"] == {"drawn": 24, "answered": 24, "value": 1.0, "ci95": [1.0, 1.0]}
    assert sum(row["turns"] for row in found["strata"]) == found["turns"] == 24
    assert found["calibration"]["rests_on"] == "rated turns" and found["calibration"]["n"] == found["accuracy"]["n"]
    text = to_markdown(made)
    assert "of all turns: 100% [100-100] n=24" in text and "Random checks: 24 drawn, 24 answered." in text


def test_a_drift_that_began_before_the_period_and_still_holds_is_shown(tmp_path):
    up = Dispatch(intended="gpt-oss-20b", served="gpt-oss-20b")
    down = Dispatch(intended="gpt-oss-20b", served=None, hops=(Hop("gpt-oss-20b", "not loaded", 3.0),))
    store = Store(tmp_path)
    with store.db.transaction():
        for i in range(460):
            day = 1 + i // 100  # the model is down from the fifth day on
            state = "done" if day < 5 else "failed"
            store.record(
                a_turn("hello", at=f"2026-03-0{day}T12:00:00.000Z", dispatch=up if day < 5 else down, state=state)
            )
        for _ in range(3):
            store.record(a_turn("hello", at="2026-03-08T12:00:00.000Z", dispatch=down, state="failed"))
    made = prepare_report(store, FLEET, 0.7, 1, "2026-03-08")()
    store.close()
    assert made.metrics.turns == 3 and {one.at[:10] for one in made.drift} == {"2026-03-05"}
    assert "gpt-oss-20b failed in " in to_markdown(made) and "(since 2026-03-05, still so)" in to_markdown(made)


def test_a_clock_that_stood_wrong_hides_no_turns(tmp_path):
    store = Store(tmp_path)
    for moment in ("2026-10-25T09:00:00.000Z", "2026-10-25T10:00:00.000Z", "2026-09-01T10:00:00.000Z"):
        store.record(a_turn("hello", at=moment))
    for counts in (None, MetricsCache(FLEET, tmp_path / "counts")):
        if counts is not None:
            counts.refresh(store)
        for days, turns in ((1, 2), (90, 3)):
            assert prepare_report(store, FLEET, 0.7, days, "2026-10-25", counts)().metrics.turns == turns
    store.close()


def test_another_time_zone_counts_the_turns_by_its_own_days(tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    store.record(a_turn("hello", at="2026-03-05T23:30:00.000Z"))
    days = []
    for zone in ("UTC", "Asia/Tokyo"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        clock._day_of.cache_clear()
        counts = MetricsCache(FLEET, tmp_path / "counts")
        counts.refresh(store)
        counts.save()
        days += counts.by_day()
    monkeypatch.undo()
    time.tzset()
    clock._day_of.cache_clear()
    store.close()
    assert days == ["2026-03-05", "2026-03-06"]


def test_a_change_of_the_champion_and_removed_routes_are_told():
    events = [
        Observation(at=DAY, tag="new_leader", text="learned is the champion now"),
        Observation(at="2026-03-04T12:00:00.000Z", tag="new_leader", text="rules is the champion now"),
    ]
    turn = some()[1]
    gone = replace(turn, decision=replace(turn.decision, ranking=(("legal", 1.0),)), route="legal")
    made = make_report([*some(), gone], FLEET, 0.7, 1, today="2026-03-05", observations=events)
    assert made.to_dict()["champion_changes"] == [{"at": DAY, "text": "learned is the champion now"}]
    assert made.to_dict()["removed_routes"] == {"legal": 1}
    listed = sum(row["turns"] for row in made.to_dict()["per_route"].values())
    assert listed + 1 == made.metrics.turns
    text = to_markdown(made)
    assert "- 2026-03-05: learned is the champion now" in text and "rules is the champion" not in text
    assert "because the fleet no longer has them: legal (1 turn)." in text


@pytest.mark.parametrize("rated", [True, False])
def test_the_command(tmp_path, capsys, rated):
    store = Store(tmp_path)
    turn = store.record(a_turn("write a python function"))
    if rated:
        store.rate(turn.id, right("code"))
    assert [t.id for t in turns_since(store, "2026-01-01")] == [turn.id] and not turns_since(store, "2999-01-01")
    store.close()
    assert main.run(["--analyze", "--days", "1", "--json", "--data-dir", str(tmp_path)]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["turns"] == 1 and made["accuracy"]["n"] == int(rated) and set(made["per_route"]) == set(FLEET.by_route)
    assert made["findings"] == [] and made["accuracy"]["value"] == (1.0 if rated else None)
    assert main.run(["--analyze", "--data-dir", str(tmp_path)]) == 0
    assert "# Router report, " in capsys.readouterr().out
    assert main.run(["--analyze", "--days", "0", "--data-dir", str(tmp_path)]) == 2
