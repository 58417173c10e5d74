"""Drift: planted changes are found with the turn at which they began, and quiet histories raise no alarm. Longer: `make sim`."""

import random

import pytest

from scripts.sim_drift import AFTER, BEFORE, CHANGES, FLEET, THRESHOLD, Usual, changed, planted, quiet, turns
from tests.worlds import a_turn
from tui_router.core.types import Dispatch, Hop
from tui_router.insight.drift import RiseDetector, find_drifts, first_monitored

SUBJECTS = {"accuracy": "outcomes", "slower": "fleet", "no answer": "fleet", "another model": "fleet"}


def history(change, seed=3, after=120):
    dice = random.Random(seed)
    usual = Usual(dice)
    before = turns(usual, dice, 1)
    made = [next(before) for _ in range(BEFORE)]
    later = turns(changed(usual, change, dice), dice, BEFORE + 1)
    return made + [next(later) for _ in range(after)]


@pytest.mark.parametrize("change", CHANGES)
def test_a_planted_change_is_found_with_its_beginning_and_examples(change):
    found = find_drifts(history(change), FLEET, THRESHOLD)
    assert found and {one.subject for one in found} == {SUBJECTS.get(change, "requests")}
    first = found[0]
    number = int(first.since.partition("-")[0])
    assert BEFORE - 40 <= number <= BEFORE + AFTER and f"since turn {number}" in first.text and first.turns


def test_quiet_histories_raise_few_alarms_and_changes_are_found_soon():
    assert sum(quiet(seed) for seed in range(15)) <= 0.001 * 2000 * 15
    seen = [planted((seed, change)) for seed in range(4) for change in CHANGES]
    known = [after for after in seen if after is not None]
    assert len(known) >= 20 and sum(0 < after <= AFTER for after in known) >= 0.9 * len(known)


def test_a_drift_that_still_holds_has_no_end_and_one_that_is_over_has_one():
    holds = find_drifts(history("unsure"), FLEET, THRESHOLD)
    assert [one.ended for one in holds if one.stream == "unsure"] == [""]
    dice = random.Random(8)
    usual = turns(Usual(dice), dice, BEFORE + 121)
    later = [next(usual) for _ in range(100)]
    over = next(one for one in find_drifts([*history("unsure"), *later], FLEET, THRESHOLD) if one.stream == "unsure")
    assert over.ended == later[0].at and over.since


def test_a_model_that_goes_down_is_found():
    up = Dispatch(intended="gpt-oss-20b", served="gpt-oss-20b")
    down = Dispatch(intended="gpt-oss-20b", served="gemma-3-1b", hops=(Hop("gpt-oss-20b", "not loaded", 3.0),))
    made = [a_turn("hello", id=f"{i}-a", dispatch=up if i <= 400 else down) for i in range(1, 440)]
    found = {one.stream: one for one in find_drifts(made, FLEET, THRESHOLD)}
    assert found["failing gpt-oss-20b"].since == "401-a" and found["failing gpt-oss-20b"].subject == "fleet"


def test_a_detector_against_counts_by_hand():
    detector = RiseDetector(0.1, 100.0)
    steps = next(n for n in range(1, 50) if detector.step(True))
    assert 3 <= steps <= 4 and detector.run_length == steps
    quiet_one = RiseDetector(0.1, 100.0)
    assert not any(quiet_one.step(False) for _ in range(500)) and quiet_one.run_length == 1


def test_the_monitored_history_begins_at_the_same_turn_when_one_looks_again():
    assert [first_monitored(newest) for newest in (0, 999, 1999, 2000, 54_321)] == [0, 0, 0, 1000, 53_000]
    assert find_drifts([], FLEET, THRESHOLD) == []
