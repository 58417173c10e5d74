"""The tests of two routers on the same rows, against what they promise."""

import random

import pytest

from tui_router.training.paired_tests import is_not_worse, p_better, power


@pytest.mark.parametrize(("n", "differ"), [(100, 0.1), (400, 0.05)])
def test_what_is_not_better_rarely_passes(n, differ):
    dice = random.Random(1)
    passed = worse = 0
    for _ in range(2000):
        apart = [dice.random() for _ in range(n)]
        passed += p_better(sum(x < differ / 2 for x in apart), sum(differ / 2 <= x < differ for x in apart)) <= 0.05
        low = (differ - 0.01) / 2
        won, lost = sum(x < low for x in apart), sum(low <= x < differ for x in apart)
        worse += is_not_worse(n, won, lost, 0.01, 0.05)
    assert passed <= 120 and worse <= 120  # 5 % of 2,000, and three standard deviations


def test_the_power_is_the_share_of_trials_that_pass():
    dice, n, gain, differing, passed = random.Random(2), 200, 0.05, 0.11, 0
    for _ in range(2000):
        apart = [dice.random() for _ in range(n)]
        won = sum(x < (differing + gain) / 2 for x in apart)
        passed += p_better(won, sum(x < differing for x in apart) - won) <= 0.025
    assert power(n, gain, differing, 0.025) == pytest.approx(passed / 2000, abs=0.035)
