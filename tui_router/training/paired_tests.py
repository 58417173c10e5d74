"""Tests of two routers on the same rows: is one better, is one not worse than the other, and how likely is each to show it.

`won` is the number of rows that only the candidate decides correctly, `lost` those that only the baseline does.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from tui_router.core.statistics import tail

_SCORE_TEST_EXTRA = 0.105
"""Added to the normal quantile of the score test, which holds its level only roughly: without it 5.3 % pass at 5 % and
small n; with it fewer than 5 % do at every n from 100 to 800 (`scripts/sim_gate.py`)."""


def p_better(won: int, lost: int) -> float:
    """Return the p-value of the hypothesis that the candidate is not better (McNemar 1947, exact, one-sided)."""
    return tail(won, won + lost, 0.5)


def is_not_worse(n: int, won: int, lost: int, margin: float, level: float) -> bool:
    """Return whether the candidate is shown to lose less accuracy than the margin.

    The score test for paired proportions (Tango 1998, Statistics in Medicine 17), one-sided.

    Args:
        n: All rows.
        won: See above.
        lost: See above.
        margin: From 0 to 1.
        level: Greatest probability to say so of a candidate that loses as much as the margin.
    """
    return n > 0 and _tango(n, won, lost, margin) >= NormalDist().inv_cdf(1 - level) + _SCORE_TEST_EXTRA


def _tango(n: int, won: int, lost: int, margin: float) -> float:
    """Return the score statistic of H0: P(lost) - P(won) = margin. Greater values speak against H0."""
    a = 2 * n
    b = -lost - won + (2 * n - lost + won) * margin
    c = -won * margin * (1 - margin)
    q = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    variance = n * (2 * q + margin * (1 - margin))
    return 0.0 if variance <= 0 else (n * margin - (lost - won)) / math.sqrt(variance)


def power(n: int, gain: float, differing: float, level: float) -> float:
    """Return the probability that the candidate is shown to be better.

    Args:
        n: Rows.
        gain: True gain in accuracy, from 0 to `differing`.
        differing: Share of the rows that only one of the two decides correctly.
        level: Greatest p-value.
    """
    share = (differing + gain) / (2 * differing)  # of those rows, won by the candidate
    total = 0.0
    for differ in range(1, n + 1):
        p_differ = _binomial(differ, n, differing)
        if p_differ < 1e-9:
            continue
        least = next((w for w in range(differ // 2, differ + 1) if p_better(w, differ - w) <= level), None)
        if least is not None:
            total += p_differ * tail(least, differ, share)
    return total


def _binomial(k: int, n: int, p: float) -> float:
    log_choose = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(log_choose + k * math.log(p) + (n - k) * math.log1p(-p))
