"""Metrics and the report: from exactly the verdicts that there are."""

import json

import pytest

from tests.worlds import SHIPPED, a_turn, right, wrong
from tui_router.cli import main
from tui_router.core.types import Answer, Dispatch, Verdict
from tui_router.insight.metrics import measured, since
from tui_router.insight.report import markdown, period, report
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
        a_turn("goto amazon.com", id="7-a", at=DAY, answer=Answer(text="x", first_token_ms=200.0, tokens_per_second=40.0),
               dispatch=Dispatch(intended="gpt-oss-20b", served="qwen3-coder-30b")),
    ]  # fmt: skip


def test_what_nobody_rated_is_in_no_accuracy():
    m = measured(some(), FLEET)
    assert (m.turns, m.accuracy.n, m.accuracy.hits) == (6, 3, 1)
    assert (m.verdicts.hits, m.verdicts.n) == (4, 6)
    assert (m.by_route["code"].hits, m.by_route["code"].n) == (1, 2)
    assert m.confusion == {"code": {"code": 1}, "reasoning": {"code": 1}}
    assert (m.routers["rules"].hits, m.routers["rules"].n) == (1, 3)
    assert (m.fallbacks.hits, m.fallbacks.n) == (1, 1)
    assert measured([], FLEET).accuracy.value is None


def test_shadows_are_measured_on_the_same_turns():
    turn = some()[1]
    from msgspec.structs import replace

    shadow = replace(turn.decision, router="learned", ranking=(("reasoning", 0.8), ("code", 0.2)))
    m = measured([replace(turn, shadows=(shadow,))], FLEET)
    assert m.routers["rules"].value == 0 and m.routers["learned"].value == 1


def test_the_report_says_what_is_known_and_what_is_not():
    made = report(some(), FLEET, 0.7, 1, today="2026-03-05")
    text = markdown(made)
    assert "6 turns, 4 rated. Right route: 33% [6-79] n=3." in text
    assert "| vision | 0 | no data | no data | 0 |" in text and "None that is more than chance." in text
    assert "qwen3-coder-30b: served 1, 1 of them instead of another model" in text
    assert "rate a few turns more" in text and "nan" not in text.lower()


def test_a_period_is_compared_with_the_one_before():
    assert period(7, "2026-03-07") == ("2026-02-22", "2026-03-01", "2026-03-07")
    made = report(some(), FLEET, 0.7, 1, today="2026-03-06")
    assert made.metrics.turns == 0 and made.before.turns == 6
    assert "0 turns, 0 rated. Right route: no data." in markdown(made)


@pytest.mark.parametrize("rated", [True, False])
def test_the_command(tmp_path, capsys, rated):
    store = Store(tmp_path)
    turn = store.record(a_turn("write a python function"))
    if rated:
        store.rate(turn.id, right("code"))
    assert [t.id for t in since(store, "2026-01-01")] == [turn.id] and not since(store, "2999-01-01")
    store.close()
    assert main.run(["--analyze", "--days", "1", "--json", "--data-dir", str(tmp_path)]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["turns"] == 1 and made["accuracy"]["n"] == int(rated) and set(made["per_route"]) == set(FLEET.by_route)
    assert made["findings"] == [] and made["accuracy"]["value"] == (1.0 if rated else None)
    assert main.run(["--analyze", "--data-dir", str(tmp_path)]) == 0
    assert "# Router report, " in capsys.readouterr().out
    assert main.run(["--analyze", "--days", "0", "--data-dir", str(tmp_path)]) == 2
