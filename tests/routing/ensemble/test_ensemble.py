"""The ensemble: grades, the sequential comparison, calibration, and when to ask."""

import math
import random

import numpy as np
import pytest
from msgspec.structs import replace

from tests.worlds import RULES, SHIPPED, a_turn, right, wrong
from tui_router.core.clock import now
from tui_router.core.types import Decision, Request, Verdict
from tui_router.routing.ensemble.active_learning import QueryBudget, is_informative
from tui_router.routing.ensemble.calibration import rescale, row_of, temperature
from tui_router.routing.ensemble.champion import (
    LEVEL,
    ChampionSelector,
    Comparison,
    first_champion,
)
from tui_router.routing.ensemble.ensemble import RouterEnsemble
from tui_router.routing.ensemble.grading import Grade, grade
from tui_router.routing.learned.learned_router import LearnedRouter


def decided(route: str, p: float = 0.9, router: str = "a", other: str = "code") -> Decision:
    rest = other if other != route else "reasoning"
    return Decision(
        ranking=((route, p), (rest, 1 - p)), model="m", reasons=(), router=router, version="v", elapsed_ms=0.1
    )


def graded(key: int, **right_of: bool) -> Grade:
    return audited(key, 1.0, **right_of)


def audited(key: int, probability: float, *, asked: bool = False, **right_of: bool) -> Grade:
    decisions = {n: decided("code" if ok else "reasoning", router=n) for n, ok in right_of.items()}
    return Grade(key, "code", decisions, audit=probability, asked=asked)


def test_a_verdict_grades_every_router_that_decided():
    turn = a_turn(
        "write a python function", id="7-abc", shadows=(decided("reasoning", router="b"),), verdict=right("code")
    )
    made = grade(turn, SHIPPED.fleet)
    assert (made.key, made.label, made.right("rules"), made.right("b"), made.right("c")) == (
        7,
        "code",
        True,
        False,
        None,
    )


@pytest.mark.parametrize(
    "verdict",
    [
        None,
        Verdict(kind="answer", at=now(), rating="wrong"),
        Verdict(kind="note", at=now(), comment="x"),
    ],
)
def test_what_does_not_tell_the_right_route_grades_nobody(verdict):
    assert grade(a_turn("write a python function", id="7-abc", verdict=verdict), SHIPPED.fleet) is None


def test_an_accepted_ask_grades_as_a_chosen_one_does():
    turn = a_turn("write a python function", id="7-abc", asked="unsure")
    accepted = Verdict(kind="accepted", at=now(), rating="right", route="code")
    chosen = Verdict(kind="chosen", at=now(), rating="wrong", route="reasoning")
    assert grade(replace(turn, verdict=accepted), SHIPPED.fleet).right("rules") is True
    assert grade(replace(turn, verdict=chosen, route="reasoning"), SHIPPED.fleet).right("rules") is False


def test_a_wrong_route_without_the_right_one_tells_of_those_that_took_it():
    shadows = (decided("reasoning", router="b"), decided("code", router="c"))
    made = grade(a_turn("write a python function", id="7-abc", verdict=wrong(), shadows=shadows), SHIPPED.fleet)
    assert (made.label, made.right("rules"), made.right("b"), made.right("c")) == ("", False, None, False)


def histories(runs: int, turns: int, won: float, lost: float, seed: int) -> float:
    """Share of the histories in which the challenger becomes champion."""
    rng, changed = np.random.default_rng(seed), 0
    for _ in range(runs):
        comparison = Comparison()
        for draw in rng.random(turns):
            comparison.add(not draw < won, not won <= draw < won + lost)
            if comparison.wins():
                changed += 1
                break
    return changed / runs


@pytest.mark.parametrize("apart", [0.05, 0.2])
def test_equally_good_routers_change_places_in_at_most_five_percent(apart):
    assert histories(400, 800, apart / 2, apart / 2, seed=1) <= LEVEL


def test_a_router_that_is_five_points_better_is_champion_after_six_hundred_audits():
    assert histories(300, 600, 0.09, 0.04, seed=2) >= 0.80


def test_grades_carry_how_the_turn_came_to_be_graded():
    fields = {"id": "7-abc", "verdict": right("code")}
    text = "write a python function"
    assert (grade(a_turn(text, **fields), SHIPPED.fleet).audit, grade(a_turn(text, **fields), SHIPPED.fleet).asked) == (
        0,
        False,
    )
    assert grade(a_turn(text, audit=0.1, **fields), SHIPPED.fleet).audit == 0.1
    assert grade(a_turn(text, asked="worth", **fields), SHIPPED.fleet).asked is True
    assert grade(a_turn(text, audit=0.1, pinned_route=True, **fields), SHIPPED.fleet).audit == 0


def test_ratings_given_unasked_change_no_champion_and_asked_turns_none_before_the_first_audit():
    selector = ChampionSelector("a", ["a", "b"])
    for key in range(1, 400):
        selector.add(audited(key, 0.0, a=False, b=True))
        selector.add(audited(key, 0.0, asked=True, a=False, b=True))
    assert selector.champion == "a" and selector.comparisons["b"].compared == 0


def test_asked_turns_count_by_the_chance_that_they_would_have_been_audited():
    """Half of the champion's wrong turns are asked about, and none of its right ones: without weights, a sure false change."""
    rng, changed = np.random.default_rng(4), 0
    for _ in range(200):
        selector = ChampionSelector("a", ["a", "b"])
        for key, (draw, unsure, drawn) in enumerate(rng.random((1500, 3)), 1):
            a, b = draw >= 0.1, not 0.1 <= draw < 0.2
            asked = not a and unsure < 0.5
            if asked or drawn < 0.1:
                selector.add(audited(key, 0.0 if asked else 0.1, asked=asked, a=a, b=b))
        changed += bool(selector.changes)
    assert changed / 200 <= LEVEL + 0.02


def test_a_lucky_streak_does_not_change_the_leader():
    selector = ChampionSelector("a", ["a", "b"])
    for key in range(1, 50):
        selector.add(graded(key, a=key > 5, b=True))
    assert selector.champion == "a"


def test_after_a_change_the_comparison_begins_anew():
    selector = ChampionSelector("a", ["a", "b"])
    changes = [c for key in range(1, 200) if (c := selector.add(graded(key, a=key % 2 == 0, b=True)))]
    assert [(c.old, c.new) for c in changes] == [("a", "b")]
    assert changes[0].compared < 50 and changes[0].won == (changes[0].compared + 1) // 2 and changes[0].lost == 0
    assert selector.comparisons["a"].won == 0


def test_before_there_are_verdicts_the_best_on_seeds_leads():
    assert first_champion({"rules": (80, 100), "learned": (91, 100)}, ["rules", "learned"]) == "learned"
    assert first_champion({}, ["rules"]) == "rules"


def ensemble(pinned: str = "auto") -> RouterEnsemble:
    return RouterEnsemble(
        [LearnedRouter(SHIPPED.fleet, RULES), RULES], {"learned": (91, 100), "rules": (80, 100)}, pinned
    )


def test_all_decide_and_one_is_champion():
    made = ensemble().decide(Request(text="goto amazon.com"))
    assert made.decision.router == "learned" and [s.router for s in made.shadows] == ["rules"]
    assert ensemble("rules").decide(Request(text="goto amazon.com")).decision.router == "rules"


def test_a_changed_verdict_is_as_if_it_had_always_been_so():
    once, twice = ensemble(), ensemble()
    for key in range(1, 60):
        once.grade({key: graded(key, learned=key % 3 > 0, rules=True)})
        twice.grade({key: graded(key, learned=True, rules=False)})
    twice.grade({key: graded(key, learned=key % 3 > 0, rules=True) for key in range(1, 60)})
    assert once.champion == twice.champion == "rules"
    twice.grade(dict.fromkeys(range(1, 60)))
    assert twice.champion == "learned" and not twice.grades


def test_temperature_makes_confidence_the_chance_of_being_right():
    dice = random.Random(3)
    grades = [
        Grade(
            i,
            "code" if dice.random() < 0.75 else "reasoning",
            {"a": decided("code", 0.92, other="reasoning")},
            audit=1.0,
        )
        for i in range(400)
    ]
    rows = [row_of(grade, "a") for grade in grades]
    t = temperature(rows)
    assert t > 1.5
    assert rescale(decided("code", 0.92), t).confidence == pytest.approx(0.75, abs=0.06)
    assert temperature(rows[:3]) < t
    assert temperature([]) == 1 and row_of(grades[0], "nobody") is None


def test_the_temperature_counts_asked_turns_once_and_audits_by_their_inverse_probability():
    """All asked turns were wrong, nine of ten audits right: as of all turns, the confidence is about what it should be."""
    wrong_asked = [
        Grade(i, "reasoning", {"a": decided("code", 0.6, other="reasoning")}, asked=True) for i in range(100)
    ]
    audits = [
        Grade(i, "code" if i % 10 else "reasoning", {"a": decided("code", 0.9, other="reasoning")}, audit=0.02)
        for i in range(100, 200)
    ]
    rows = [row_of(one, "a") for one in (*wrong_asked, *audits)]
    assert 0.8 < temperature(rows) < 1.25
    assert temperature(rows[:100]) == 1.0
    unasked = Grade(1, "reasoning", {"a": decided("code", 0.9, other="reasoning")})
    assert row_of(unasked, "a") is None


def test_a_tempered_decision_keeps_its_order_and_can_be_undone():
    hot = rescale(decided("code", 0.9), 2.0)
    assert hot.route == "code" and hot.temperature == 2.0
    logit = math.log(hot.ranking[0][1] / hot.ranking[1][1]) * hot.temperature
    assert logit == pytest.approx(math.log(0.9 / 0.1))


def test_what_is_worth_a_question():
    assert is_informative(decided("code", 0.72), [], {})
    assert is_informative(decided("code", 0.92), [decided("reasoning", router="b")], {})
    assert not is_informative(decided("code", 0.92), [decided("code", router="b")], {"code": 5})
    assert not is_informative(decided("code", 0.99), [decided("reasoning", router="b")], {})
    assert is_informative(decided("code", 0.85), [], {"reasoning": 40, "code": 1})
    assert not is_informative(decided("code", 0.95), [], {"reasoning": 40, "code": 1})


def test_questions_are_few_and_never_the_same_twice():
    asked = QueryBudget(2)
    x, y, z = np.eye(3, dtype=np.float32)
    assert asked.allows("2026-01-01", x)
    asked.record("2026-01-01", x)
    assert not asked.allows("2026-01-01", x) and asked.allows("2026-01-01", y)
    asked.record("2026-01-01", y)
    assert not asked.allows("2026-01-01", z) and asked.allows("2026-01-02", z) and not asked.allows("2026-01-02", x)
    assert not QueryBudget(0).allows("2026-01-01", x)
