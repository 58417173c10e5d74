"""Figures of a router against ones worked out by hand, and the command that prints them."""

import json
import subprocess
import sys

import pytest

from tui_router.core.types import Decision, Request
from tui_router.routing.evaluation.scores import (
    LabelledRequest,
    ScoredDecision,
    compare,
    expected_calibration_error,
    summary,
)


def judged(right, decided, confidence):
    ranking = ((decided, confidence), ("c", 1 - confidence))
    decision = Decision(ranking=ranking, model="m", reasons=(), router="r", version="1", elapsed_ms=2.0)
    return ScoredDecision(LabelledRequest({"id": 1}, Request(text="x"), right), decision)


def test_figures_by_hand():
    figures = summary([judged("a", "a", 0.9), judged("a", "b", 0.6), judged("b", "b", 0.8), judged("b", "b", 0.8)])
    assert (figures["n"], figures["accuracy"]) == (4, 0.75)
    assert figures["ci95"] == pytest.approx([0.3006, 0.9544], abs=1e-4)
    assert figures["per_route"]["a"]["recall"] == 0.5 and figures["per_route"]["b"]["precision"] == pytest.approx(2 / 3)
    assert figures["macro_f1"] == pytest.approx((2 / 3 + 0.8) / 2)
    assert figures["ece"] == pytest.approx((0.1 + 0.6 + 0.4) / 4)
    brier = (0.1**2 * 2) + (0.6**2 + 0.4**2 + 1) + 2 * (0.2**2 * 2)
    assert figures["brier"] == pytest.approx(brier / 4)
    assert figures["confusion"] == {"a": {"a": 1, "b": 1}, "b": {"b": 2}}
    assert figures["latency_ms"] == {"p50": 2.0, "p95": 2.0, "p99": 2.0}


def test_a_perfectly_calibrated_router_has_no_error():
    assert expected_calibration_error([(0.75, True)] * 3 + [(0.75, False)]) == pytest.approx(0)
    assert expected_calibration_error([]) == 0


def run(*args, expect=0):
    done = subprocess.run(
        [sys.executable, "-m", "tui_router", "eval", "--router", "rules", *args],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def test_the_command(tmp_path):
    file = tmp_path / "labelled.jsonl"
    rows = [("hello", "simple_chat"), ("goto amazon.com", "tool_use"), ("write a python function", "reasoning")]
    file.write_text("\n".join(json.dumps({"id": i, "text": t, "task": r}) for i, (t, r) in enumerate(rows)))
    figures = json.loads(run(str(file), "--json").stdout)["routers"]["rules"]
    assert figures["accuracy"] == pytest.approx(2 / 3) and figures["confusion"]["reasoning"] == {"code": 1}
    shown = run(str(file), "--wrong", "5").stdout
    assert "rules: accuracy 66.7% [20.8-93.9] n=3" in shown and "instead of reasoning" in shown
    assert "there is no router 'x'" in run(str(file), "--router", "x", expect=2).stderr
    file.write_text('{"text": "x"}')
    assert 'line 1: expected a "route"' in run(str(file), expect=2).stderr
    file.write_text('{"text": "x", "route": "nope"}')
    assert "the fleet has no route 'nope'" in run(str(file), expect=2).stderr


def test_two_routers_are_compared_on_the_same_rows():
    better = [judged("code", "code", 0.9)] * 60 + [judged("code", "reasoning", 0.9)] * 40
    worse = [judged("code", "code", 0.9)] * 50 + [judged("code", "reasoning", 0.9)] * 50
    found = compare(worse, better)
    assert found["difference"] == pytest.approx(0.10)
    assert (found["only_first"], found["only_second"]) == (0, 10)
    assert found["p"] == pytest.approx(2 * 2**-10)
    assert found["ci95"][0] > 0 and compare(worse, better) == found
    assert compare(worse, worse)["p"] == 1
