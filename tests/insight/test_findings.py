"""Planted faults are found, clean stores have few findings, and the predicted effect of a proposal is its real effect."""

import random

import numpy as np
import pytest
from msgspec.structs import replace

from tests.worlds import RULES, SHIPPED, a_turn, right, wrong
from tui_router.config.settings import parse_config
from tui_router.core.statistics import overlap, tail, wilson
from tui_router.core.types import Dispatch, Hop, Verdict
from tui_router.insight.findings import benjamini_hochberg, find_findings, simulate_change
from tui_router.insight.replay import replay
from tui_router.routing.evaluation.parallel import by_rules
from tui_router.routing.learned import seeds

FLEET = SHIPPED.fleet
SEEDS = [s for s in seeds.load() if not s.request.history and not s.request.has_image]
RIGHT = [s for s in SEEDS if RULES.decide(s.request).route == s.route]


def turns(n, dice, *, wrong_share=0.08, rated=0.6):
    """Realistic turns: most of them decided rightly, some wrongly, part of them rated."""
    made = []
    for i in range(1, n + 1):
        seed = dice.choice(RIGHT)
        verdict = None
        if dice.random() < rated:
            bad = dice.random() < wrong_share
            others = [r.name for r in FLEET.routes if r.name != seed.route]
            verdict = wrong(dice.choice(others)) if bad else right(seed.route)
        made.append(a_turn(seed.request.text, id=f"{i}-abc", verdict=verdict))
    return made


def planted(kind, dice):
    made = turns(250, dice)
    at = len(made)
    if kind == "misleading_trigger":
        trigger = dice.choice(
            [i for i, n in enumerate(RULES.trigger_names) if RULES.weight(i) > 2 and n.startswith(("code", "tool"))]
        )
        with_it = [
            s
            for s in RIGHT
            if any(h.trigger == trigger for h in RULES.evidence(s.request).hits)
            and RULES.trigger_names[trigger].startswith(s.route)
        ]
        if len(with_it) < 8:
            return planted(kind, dice)
        made += [
            a_turn(dice.choice(with_it).request.text, id=f"{at + i}-abc", verdict=wrong("general_chat"))
            for i in range(1, 13)
        ]
        return made, lambda f: f.kind == kind and RULES.trigger_names[trigger].split(".")[1] in f.text
    if kind == "confused_routes":
        texts = [s.request.text for s in RIGHT if s.route == "general_chat"]
        made += [
            a_turn(f"{dice.choice(texts)} zorble", id=f"{at + i}-abc", verdict=wrong("reasoning")) for i in range(1, 25)
        ]
        return made, lambda f: f.kind == kind and f.text.endswith("should have been reasoning") and "zorble" in f.toml
    hop = Hop("gpt-oss-20b", "not loaded", 3.0)
    for i in range(1, 31):
        failed = i % 2
        dispatch = Dispatch(
            intended="qwen3-coder-30b",
            served="ministral-14b-reasoning" if failed else "qwen3-coder-30b",
            hops=(hop,) if failed else (),
        )
        made.append(a_turn("write a python function", id=f"{at + i}-abc", dispatch=dispatch))
    return made, lambda f: f.kind == kind and f.text.startswith("gpt-oss-20b was tried 15 times")


@pytest.mark.parametrize("kind", ["misleading_trigger", "confused_routes", "failing_fallback"])
def test_planted_faults_are_found(kind):
    found = 0
    for seed in range(20):
        made, is_it = planted(kind, random.Random(seed))
        found += any(map(is_it, find_findings(made, FLEET, 0.7, effects=False)))
    assert found >= 19


def test_a_session_and_a_time_in_which_far_more_is_wrong_are_found():
    dice = random.Random(5)
    made = [
        replace(turn, session="7-aa", at=f"2026-03-0{1 + i % 5}T12:00:00.000Z")
        for i, turn in enumerate(turns(200, dice))
    ]
    odd = [
        a_turn(
            "hello",
            id=f"{300 + i}-a",
            session="9-bb",
            at="2026-03-05T12:00:00.000Z",
            verdict=wrong("code" if i % 2 else "vision"),
        )
        for i in range(9)
    ]
    found = [one for one in find_findings([*made, *odd], FLEET, 0.7, effects=False) if one.kind == "differs"]
    assert [one.text.startswith("in session 9 9 of 9 decisions were wrong") for one in found] == [True]
    assert found[0].turns == tuple(turn.id for turn in reversed(odd))


def test_requests_that_no_route_covers_are_found():
    lost = [a_turn("knit me a scarf", id=f"{300 + i}-a", verdict=wrong()) for i in range(20)]
    (one,) = [
        f
        for f in find_findings([*turns(200, random.Random(6)), *lost], FLEET, 0.7, effects=False)
        if f.kind == "unhandled"
    ]
    assert (
        one.text.startswith("20 of ") and set(one.turns) == {turn.id for turn in lost} and "add a route" in one.proposal
    )


def test_a_failing_model_is_taken_out_of_the_fallbacks_and_replaced_where_it_comes_first():
    made, is_it = planted("failing_fallback", random.Random(0))
    one = next(filter(is_it, find_findings(made, FLEET, 0.7)))
    changed = parse_config(one.toml, None, {}).fleet
    assert one.effect is None and not any("gpt-oss-20b" in route.fallbacks for route in changed.routes)
    assert any("gpt-oss-20b" in route.fallbacks for route in FLEET.routes)
    before, after = FLEET.route("tool_use"), changed.route("tool_use")
    assert (before.model, before.fallbacks[0]) == ("gpt-oss-20b", after.model)
    assert after.fallbacks == before.fallbacks[1:]
    assert "replace the model of tool_use with qwen3-coder-30b and take it out of the fallbacks" in one.proposal


def test_two_failing_models_never_replace_each_other_and_change_each_route_once():
    turns_of = [
        a_turn(
            "write a python function",
            id=f"{i}-a",
            dispatch=Dispatch(intended=model, served="gemma-3-1b", hops=(Hop(model, "not loaded", 3.0),)),
        )
        for i in range(40)
        for model in ("gpt-oss-20b", "qwen3-coder-30b")
    ]
    fine = a_turn("hello", dispatch=Dispatch(intended="gemma-3-1b", served="gemma-3-1b"))
    found = [one for one in find_findings([*turns_of, *[fine] * 200], FLEET, 0.7) if one.kind == "failing_fallback"]
    assert len(found) == 2
    changed = parse_config("".join(one.toml for one in found), None, {}).fleet
    failing = {"gpt-oss-20b", "qwen3-coder-30b"}
    assert not any(failing & {route.model, *route.fallbacks} for route in changed.routes)


def test_a_proposal_that_fixes_nothing_is_not_made():
    # The word tells nothing apart: the requests are corrected to the route that they are decided for in other turns.
    made = [a_turn("write a python function", id=f"{i}-a", verdict=right("code")) for i in range(1, 60)]
    made += [a_turn("write a zorble python function", id=f"{i}-a", verdict=wrong("vision")) for i in range(60, 80)]
    made += [a_turn("write a zorble python function", id=f"{i}-a", verdict=right("code")) for i in range(80, 100)]
    for one in find_findings(made, FLEET, 0.7):
        assert not one.toml or one.effect is None or one.effect.fixes > one.effect.breaks


def test_of_two_proposals_for_one_key_the_better_one_stays():
    texts = [s.request.text for s in RIGHT if s.route == "general_chat"][:12]
    others = [s.request.text for s in RIGHT if s.route == "code"][:12]
    made = turns(250, random.Random(3))
    made += [
        a_turn(f"{text} zorble", id=f"{300 + i}-a", verdict=wrong("reasoning")) for i, text in enumerate(texts * 2)
    ]
    made += [
        a_turn(f"{text} zorble", id=f"{400 + i}-a", verdict=wrong("reasoning")) for i, text in enumerate(others * 2)
    ]
    found = find_findings(made, FLEET, 0.7)
    assert sum(one.kind == "confused_routes" for one in found) >= 2
    assert sum("zorble" in one.toml for one in found) == 1


def test_clean_stores_have_few_findings():
    false = sum(bool(find_findings(turns(250, random.Random(100 + i)), FLEET, 0.7, effects=False)) for i in range(100))
    assert false <= 5


def test_a_low_confidence_that_is_always_accepted_lowers_the_threshold():
    accepted = Verdict(kind="accepted", at="2026-01-01T00:00:00.000Z", rating="right", source="ask")
    made = [a_turn("hm", id=f"{i}-a", asked="unsure", verdict=accepted) for i in range(1, 61)]
    (one,) = find_findings(made, FLEET, 0.7)
    assert one.kind == "threshold_too_high" and one.toml.startswith("[settings]\nconfidence_threshold = 0.")


@pytest.mark.parametrize("kind", ["misleading_trigger", "confused_routes"])
def test_a_simulated_change_is_what_the_changed_rules_decide(kind):
    simulated = 0
    for seed in range(6):
        made, is_it = planted(kind, random.Random(seed))
        one = next(filter(is_it, find_findings(made, FLEET, 0.7, effects=False)), None)
        if one is None:
            continue
        simulated += 1
        changed = parse_config(one.toml, None, {}).fleet
        real = replay(made, by_rules(changed), changed, workers=1)
        assert simulate_change(one.toml, made, FLEET).moves == real.moves
    assert simulated >= 5


def test_p_values_against_counts_by_hand():
    assert tail(8, 10, 0.5) == pytest.approx(56 / 1024)
    assert overlap(3, 10, 3, 5) == pytest.approx(10 / 120) and overlap(0, 10, 3, 5) == pytest.approx(1)
    assert tail(0, 10, 0.5) == 1 and tail(3, 3, 0.0) == 0
    assert benjamini_hochberg({"a": 0.001, "b": 0.01, "c": 0.5}) == pytest.approx({"a": 0.003})
    assert benjamini_hochberg({"a": 0.001, "b": 0.002, "c": 0.003}) == pytest.approx(
        {"a": 0.003, "b": 0.003, "c": 0.003}
    )


@pytest.mark.parametrize("n", [10, 50, 500])
def test_95_percent_intervals_hold_the_truth_in_95_percent(n):
    """The mean coverage over accuracies; at one accuracy it swings around 95 % because counts are whole numbers."""
    rng = np.random.default_rng(n)
    truths = rng.uniform(0.5, 0.98, 20_000)
    held = [
        low <= p <= high
        for p, k in zip(truths, rng.binomial(n, truths), strict=True)
        for low, high in [wilson(int(k), n)]
    ]
    assert 0.93 <= np.mean(held) <= 0.97
