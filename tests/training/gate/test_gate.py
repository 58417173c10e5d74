"""The gate's judgement on made-up cases."""

import pytest
from msgspec.structs import replace

from tui_router.training.gate.gate import PairedCase, judge, to_markdown, wrong_cases
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


def verdict(rows, latency=5.0, champion=1.0, plan=PLAN, **more):
    return judge(plan, rows, latency, champion, "2026-01-01T00:00:00.000Z", **more)


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


def test_a_route_that_is_behind_by_chance_does_not_refuse():
    rows = cases(200, 40, 0) + cases(20, 0, 4, route="vision")  # 20 % behind, p = 1/16
    assert verdict(rows).passed


def test_a_later_look_at_the_same_rows_needs_more():
    rows = cases(200, 16, 4)  # p = 0.006
    assert verdict(rows).passed and verdict(rows, look=2).passed
    refused = verdict(rows, look=3)
    assert failed(refused) == ["better"] and "at most 0.0042 at look 3" in refused.checks[1].message


def test_wrong_rows_are_hidden_and_the_page_says_so():
    found = verdict(cases(200, 20, 5))
    assert not found.wrong and "The 5 wrong decisions are shown when the router is promoted" in to_markdown(found, "r1")
    shown = to_markdown(replace(found, wrong=wrong_cases(cases(200, 20, 5))), "r1")
    assert "request 20 | code; chose x at 95%" in shown


def test_the_page_tells_verdicts_from_seeds_and_how_the_baseline_was_fitted():
    rows = [replace(case, source="verdict" if i % 2 else "seed") for i, case in enumerate(cases(200, 20, 5))]
    text = to_markdown(verdict(rows, baseline_rows=965), "r1")
    assert "fitted to the same 965 training rows" in text and "| verdict | 100 |" in text and "| seed | 100 |" in text
