"""A promoted router: it is the champion from its promotion on, and is watched by the champion before it."""

import pytest

from tui_router.core.types import Decision, Promotion
from tui_router.routing.ensemble.champion import ChampionSelector
from tui_router.routing.ensemble.grading import Grade


def decision(router, route):
    return Decision(
        ranking=((route, 0.9), ("other", 0.1)), model="m", reasons=(), router=router, version="v", elapsed_ms=0
    )


def grade(key, tuned, learned):
    said = {"tuned": tuned, "learned": learned, "rules": learned}
    return Grade(key, "code", {name: decision(name, "code" if ok else "other") for name, ok in said.items()}, audit=1.0)


def promoted(after=10):
    return Promotion(at="2026-01-01T00:00:00.000Z", router="tuned", reason="passed its gate", after=after, run="r1")


def selector(*promotions):
    return ChampionSelector("learned", ("learned", "rules"), promotions)


def test_it_is_champion_from_the_turn_after_its_promotion():
    one = selector(promoted(after=10))
    one.add(grade(9, True, True))
    assert one.champion == "learned"
    one.add(grade(11, True, True))
    assert (one.champion, one.promoted_run, one.former) == ("tuned", "r1", "learned")


def test_a_bad_one_loses_the_place_within_forty_verdicts():
    one = selector(promoted(0))
    changes = [one.add(grade(i, i % 2 == 0, i % 20 != 0)) for i in range(1, 41)]
    (change,) = [c for c in changes if c]
    assert (change.old, change.new) == ("tuned", "learned") and change.at <= 40
    assert one.champion == "learned" and not one.promoted_run


def test_a_good_one_stays():
    one = selector(promoted(0))
    assert not any(one.add(grade(i, i % 10 != 0, i % 9 != 0)) for i in range(1, 500))
    assert one.champion == "tuned"


def test_taken_back_it_stays_back():
    back = Promotion(at="2026-01-02T00:00:00.000Z", router="learned", reason="rolled back by you", after=30)
    one = selector(promoted(0), back)
    for i in range(1, 60):
        one.add(grade(i, True, i % 3 != 0))
    assert one.champion == "learned" and not one.promoted_run


def test_verdicts_on_turns_before_the_promotion_do_not_count_against_it():
    one = selector()
    one.promote(promoted(after=100))
    for i in range(1, 60):
        one.add(grade(i, False, True))
    assert one.champion == "tuned" and one.comparisons["learned"].compared == 0


@pytest.mark.parametrize("name", ["learned", "rules"])
def test_the_trained_router_never_becomes_champion_by_verdicts_alone(name):
    one = ChampionSelector(name, ("learned", "rules"))
    for i in range(1, 400):
        one.add(grade(i, True, False))
    assert one.champion in ("learned", "rules")
