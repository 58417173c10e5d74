"""The gate's judgement on made-up cases."""

import random

import pytest

from tui_router.training.gate.gate import PairedCase, better, judge, not_worse, to_markdown
from tui_router.training.plan import Plan

PLAN = Plan(champion="learned", champion_version="abc")


def cases(n, won, lost, both_wrong=0, route="code", confidence=0.95):
    made = []
    for i in range(n):
        candidate = "x" if won <= i < won + lost or i >= n - both_wrong else route
        baseline = "x" if i < won or i >= n - both_wrong else route
        made.append(
            PairedCase(
                key=str(i),
                route=route,
                text=f"request {i}",
                candidate=candidate,
                confidence=confidence,
                baseline=baseline,
            )
        )
    return made


def verdict(rows, latency=5.0, champion=1.0, plan=PLAN):
    return judge(plan, rows, latency, champion, "2026-01-01T00:00:00.000Z")


def failed(found):
    return [check.name for check in found.checks if not check.passed]


def test_better_passes_and_the_page_says_why():
    found = verdict(cases(200, 20, 5))
    assert found.passed and (
        found.candidate_right,
        found.baseline_right,
        found.only_candidate_right,
        found.only_baseline_right,
    ) == (195, 180, 20, 5)
    text = to_markdown(found, "r1")
    assert (
        "Gate of run r1: passed" in text
        and "97.5% [94%-99%] n=200" in text
        and "only the trained router is right on 20" in text
    )


@pytest.mark.parametrize(
    ("rows", "more", "what"),
    [
        (cases(50, 20, 5), {}, "enough rows"),
        (cases(200, 10, 8), {}, "better"),
        (cases(200, 20, 5, confidence=0.6), {}, "calibration"),
        (cases(200, 20, 5), {"latency": 900.0}, "latency"),
    ],
)
def test_each_demand_alone_refuses(rows, more, what):
    assert failed(verdict(rows, **more)) == [what]


def test_a_route_that_falls_behind_refuses():
    rows = cases(200, 40, 0) + cases(20, 0, 6, route="vision", confidence=0.95)
    assert failed(verdict(rows)) == ["every route"]


def test_equal_and_faster_passes_when_shown_not_worse():
    rows = cases(2000, 4, 4)
    assert "better" in failed(verdict(rows, latency=5.0, champion=1.0))
    assert verdict(rows, latency=1.0, champion=5.0).passed


@pytest.mark.parametrize(("n", "differ"), [(100, 0.1), (400, 0.05)])
def test_what_is_not_better_rarely_passes(n, differ):
    dice = random.Random(1)
    passed = worse = 0
    for _ in range(2000):
        apart = [dice.random() for _ in range(n)]
        passed += better(sum(x < differ / 2 for x in apart), sum(differ / 2 <= x < differ for x in apart), 0.05)
        low = (differ - 0.01) / 2
        worse += not_worse(n, sum(x < low for x in apart), sum(low <= x < differ for x in apart), 0.01)
    assert passed <= 120 and worse <= 120  # 5 % of 2,000, and three standard deviations
