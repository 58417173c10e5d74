"""Drift: planted changes are found, say since when, and a quiet history stays quiet. The long form: `make sim`."""

import random

import pytest

from scripts.sim_drift import AFTER, BEFORE, CHANGES, FLEET, THRESHOLD, Usual, changed, planted, quiet, turns
from tui_router.insight.drift import Detector, anchor, drifts

ABOUT = {"accuracy": "outcomes", "slower": "fleet", "no answer": "fleet", "another model": "fleet"}


def history(change, seed=3, after=120):
    dice = random.Random(seed)
    usual = Usual(dice)
    before = turns(usual, dice, 1)
    made = [next(before) for _ in range(BEFORE)]
    later = turns(changed(usual, change, dice), dice, BEFORE + 1)
    return made + [next(later) for _ in range(after)]


@pytest.mark.parametrize("change", CHANGES)
def test_a_planted_change_is_found_says_since_when_and_shows_examples(change):
    found = drifts(history(change), FLEET, THRESHOLD)
    assert found and {one.about for one in found} == {ABOUT.get(change, "requests")}
    first = found[0]
    number = int(first.since.partition("-")[0])
    assert BEFORE - 40 <= number <= BEFORE + AFTER and f"since turn {number}" in first.says and first.turns


def test_quiet_histories_stay_quiet_and_changes_are_found_soon():
    assert sum(quiet(seed) for seed in range(15)) <= 0.001 * 2000 * 15
    seen = [planted((seed, change)) for seed in range(4) for change in CHANGES]
    known = [after for after in seen if after is not None]
    assert len(known) >= 20 and sum(0 < after <= AFTER for after in known) >= 0.9 * len(known)


def test_a_detector_by_hand():
    detector = Detector(0.1, 100.0)
    steps = next(n for n in range(1, 50) if detector.step(True))
    assert 3 <= steps <= 4 and detector.began == steps
    quiet_one = Detector(0.1, 100.0)
    assert not any(quiet_one.step(False) for _ in range(500)) and quiet_one.began == 1


def test_looking_again_begins_at_the_same_turn():
    assert (anchor(0), anchor(999), anchor(1999), anchor(2000), anchor(54_321)) == (0, 0, 0, 1000, 53_000)
    assert drifts([], FLEET, THRESHOLD) == []
