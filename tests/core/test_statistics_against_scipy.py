"""The hand-written statistics, each against scipy. The program does without scipy: importing it costs 90 MB and 0.6 s."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats

from tui_router.core.statistics import overlap, tail, wilson
from tui_router.routing.evaluation.scores import LabelledRequest, ScoredDecision, compare
from tui_router.routing.linear.lbfgs import minimise
from tui_router.routing.linear.probabilities import log, log_linear_pool, softmax
from tui_router.training.paired_tests import is_not_worse

SAMPLE = st.integers(0, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(SAMPLE)
def test_wilson_is_scipys_interval(counts):
    hits, n = counts
    if n == 0:
        assert wilson(hits, n) == (0.0, 1.0)
        return
    expected = stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(SAMPLE, st.floats(0.001, 0.999))
def test_the_binomial_tail_is_scipys_survival_function(counts, p):
    hits, n = counts
    assert tail(hits, n, p) == pytest.approx(stats.binom.sf(hits - 1, n, p), rel=1e-6, abs=1e-12)


@given(st.integers(1, 300), st.data())
def test_the_overlap_is_fishers_exact_test(n, data):
    first, second = data.draw(st.integers(0, n)), data.draw(st.integers(0, n))
    both = data.draw(st.integers(max(0, first + second - n), min(first, second)))
    table = [[both, first - both], [second - both, n - first - second + both]]
    expected = stats.fisher_exact(table, alternative="greater").pvalue
    assert overlap(both, n, first, second) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_of_two_routers_is_scipys_sign_test(only_first, only_second, both):
    if only_first + only_second + both == 0:
        return
    first = [*[True] * only_first, *[False] * only_second, *[True] * both]
    second = [*[False] * only_first, *[True] * only_second, *[True] * both]
    made = compare([_scored(right) for right in first], [_scored(right) for right in second])
    different = only_first + only_second
    expected = stats.binomtest(only_first, different, 0.5).pvalue if different else 1.0
    assert made["p"] == pytest.approx(expected, rel=1e-6)
    assert (made["only_first"], made["only_second"]) == (only_first, only_second)


@given(st.integers(1, 500), st.data(), st.floats(0.005, 0.2))
def test_not_worse_is_tangos_score_test(n, data, margin):
    won = data.draw(st.integers(0, n))
    lost = data.draw(st.integers(0, n - won))

    def minus_likelihood(q):  # of winning with q and losing with q + margin
        return -(
            special.xlogy(won, q) + special.xlogy(lost, q + margin) + special.xlogy(n - won - lost, 1 - 2 * q - margin)
        )

    q = optimize.minimize_scalar(
        minus_likelihood, bounds=(0, (1 - margin) / 2), method="bounded", options={"xatol": 1e-12}
    ).x
    spread = n * (2 * q + margin * (1 - margin))
    statistic = (n * margin - (lost - won)) / np.sqrt(spread)
    quantile = stats.norm.isf(0.05) + 0.105
    if abs(statistic - quantile) > 1e-3:
        assert is_not_worse(n, won, lost, margin, 0.05) == (statistic >= quantile)


class _Decision:
    def __init__(self, route: str) -> None:
        self.route = route


def _scored(right: bool) -> ScoredDecision:
    row = LabelledRequest(row={}, request=None, route="a")  # type: ignore[arg-type]  # only the route counts here
    return ScoredDecision(row, _Decision("a" if right else "b"))  # type: ignore[arg-type]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_lbfgs_finds_the_minimum_that_scipy_finds(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(80, 6)), rng.integers(0, 3, 80)
    one_hot = np.eye(3)[y]

    def objective(flat):
        w = flat.reshape(6, 3)
        p = softmax(x @ w)
        loss = -np.log(p[np.arange(80), y]).sum() + 0.5 * float((w * w).sum())
        return float(loss), (x.T @ (p - one_hot) + w).ravel()

    ours = minimise(objective, np.zeros(18), max_steps=500, tolerance=1e-12)
    theirs = optimize.minimize(objective, np.zeros(18), jac=True, method="L-BFGS-B", options={"gtol": 1e-8})
    assert objective(ours)[0] == pytest.approx(theirs.fun, rel=1e-6)
    assert ours == pytest.approx(theirs.x, abs=5e-3)


@given(st.lists(st.floats(-500, 500), min_size=1, max_size=12))
def test_softmax_is_scipys(scores):
    expected = special.softmax(scores)
    assert softmax(np.array(scores)) == pytest.approx(expected, abs=1e-12)
    assert softmax(np.array([scores, scores]))[1] == pytest.approx(expected, abs=1e-12)


@given(st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_a_pool_is_the_weighted_geometric_mean(share, seed):
    first, second = np.random.default_rng(seed).dirichlet(np.ones(5), 2)
    expected = stats.gmean([first, second], axis=0, weights=np.array([[1 - share], [share]]) * np.ones((2, 5)))
    assert log_linear_pool(first, second, share) == pytest.approx(expected / expected.sum(), abs=1e-9)
    assert log(np.zeros(2)) == pytest.approx(np.log([1e-9, 1e-9]))
