"""Intervals, without which no accuracy is shown, and exact probabilities of counts."""

from __future__ import annotations

import math

Z95 = 1.959963984540054


def wilson(hits: float, n: float, z: float = Z95) -> tuple[float, float]:
    """Return the Wilson score interval of hits out of n (Wilson 1927, JASA 22), as fractions; (0, 1) when n is 0.

    Both may be fractions: n is then an effective sample size.
    """
    if n == 0:
        return (0.0, 1.0)
    p = hits / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return (max(0.0, middle - half), min(1.0, middle + half))


def tail(hits: int, n: int, p: float) -> float:
    """Return the probability of at least `hits` of `n` when each is a hit with probability `p`."""
    if hits <= 0 or p >= 1:
        return 1.0
    if p <= 0:
        return 0.0
    whole = math.lgamma(n + 1)
    terms = (
        math.exp(whole - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p) + (n - k) * math.log(1 - p))
        for k in range(hits, n + 1)
    )
    return min(1.0, sum(terms))


def overlap(both: int, n: int, first: int, second: int) -> float:
    """Return the probability that at least `both` of `n` are in two groups of these sizes, if the groups are independent.

    P(X >= both) with X ~ Hypergeometric(n, first, second): Fisher's exact test, one-sided (Fisher 1922).
    """
    whole = _log_choose(n, second)
    terms = (
        math.exp(_log_choose(first, k) + _log_choose(n - first, second - k) - whole)
        for k in range(both, min(first, second) + 1)
        if second - k <= n - first
    )
    return min(1.0, sum(terms))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
