"""The audit-based estimate: strata, weights, intervals. Coverage over simulated months: `make sim`."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from scripts.sim_month import RATED_WRONG, Person, month
from tests.worlds import a_turn, right
from tui_router.core.types import Verdict
from tui_router.insight.estimate import MIN_AUDITS, STRATA, StrataCounts, audit_probability, stratum_of

AUDIT = Verdict(kind="audit", at="2026-01-01T00:00:00.000Z", rating="right", route="code")


def counted(*cases):
    """Counts of (how many, whether right or None, fields of the turn)."""
    counts = StrataCounts()
    for n, is_right, fields in cases:
        for _ in range(n):
            counts.add(a_turn(**fields), is_right)
    return counts


def audits(n, is_right, probability=0.05):
    return (n, is_right, {"audit": probability, "verdict": AUDIT})


@pytest.mark.parametrize(
    ("fields", "stratum"),
    [
        ({}, "unasked"),
        ({"verdict": right()}, "unasked"),
        ({"source": "command line"}, "unasked"),
        ({"audit": 0.1}, "audited"),
        ({"audit": 0.1, "verdict": right()}, "audited"),
        ({"asked": "unsure"}, "unsure"),
        ({"asked": "worth"}, "informative"),
        ({"asked": "worth", "audit": 0.1}, "informative"),
        ({"pinned_route": True}, "pinned"),
        ({"pinned_route": True, "audit": 0.1}, "pinned"),
    ],
)
def test_every_turn_belongs_to_one_stratum(fields, stratum):
    assert stratum_of(a_turn(**fields)) == stratum


def test_an_estimate_by_hand():
    counts = counted(
        (6, True, {"asked": "unsure"}),
        (4, False, {"asked": "unsure"}),
        audits(18, True),
        audits(2, False),
        (70, None, {}),
    )
    found = counts.estimate()
    # 10 of 100 turns were asked about, 6 of them right; of the other 90 an estimated 18 / 20 were.
    assert found.value == pytest.approx((6 + 90 * 18 / 20) / 100) and found.n == 30
    # Only the 90 are uncertain: Wilson at 18 of 20, drawn together because 20 of the 90 are known.
    low, high = 0.69903, 0.97213
    shrunk = math.sqrt(1 - 20 / 90)
    assert found.ci95[0] == pytest.approx(found.value - 0.9 * shrunk * (0.9 - low), abs=1e-4)
    assert found.ci95[1] == pytest.approx(found.value + 0.9 * shrunk * (high - 0.9), abs=1e-4)


def test_an_accepted_ask_counts_like_a_replaced_one():
    asked = {"asked": "unsure"}
    counts = counted((30, True, asked), (10, False, asked), audits(MIN_AUDITS, True))
    unsure = next(row for row in counts.to_dict()["strata"] if row["name"] == "unsure")
    assert unsure == {"name": "unsure", "turns": 40, "graded": 40, "value": 0.75}


def test_audits_count_by_their_inverse_probability():
    counts = counted(audits(20, True, 0.5), audits(10, False, 0.1), (300, None, {}))
    assert counts.audit().value == pytest.approx(20 * 2 / (20 * 2 + 10 * 10))


def test_below_twenty_audits_nothing_is_claimed():
    drawn = (30, None, {"audit": 0.05})
    few = counted(audits(MIN_AUDITS - 1, True), drawn, (50, True, {"verdict": right()}), (9, True, {"asked": "unsure"}))
    assert few.estimate().to_dict() == {"value": None, "n": MIN_AUDITS - 1 + 9, "ci95": [0.0, 1.0]}
    assert (few.audits_drawn, few.audits_answered) == (MIN_AUDITS + 29, MIN_AUDITS - 1)
    few.merge(counted(audits(1, True)))
    assert few.estimate().value == 1.0


def test_unasked_ratings_and_pinned_turns_do_not_move_the_estimate():
    fair = counted(audits(18, True), audits(2, False), (400, None, {}))
    rated = counted(audits(18, True), audits(2, False), (200, False, {"verdict": right()}), (200, None, {}))
    assert rated.estimate() == fair.estimate()
    rated.merge(counted((90, False, {"pinned_route": True})))
    assert rated.estimate() == fair.estimate()


def test_turns_rated_before_their_audit_do_not_stand_for_unanswered_audits():
    rated = {"audit": 0.1, "verdict": right()}
    counts = counted((20, False, rated), audits(20, True, 0.1), (20, None, {"audit": 0.1}), (540, None, {}))
    # 20 of the 60 drawn turns were rated before: all wrong. The other 40 are like the 20 answered ones: right.
    assert counts.audit().value == pytest.approx(40 / 60)


def test_drawn_turns_that_were_only_rated_before_say_nothing_of_the_unanswered_ones():
    counts = counted((30, True, {"audit": 0.1, "verdict": right()}), (1, None, {"audit": 0.1}), (200, None, {}))
    assert counts.audit().value is None and counts.estimate().value is None


def test_a_period_whose_turns_are_all_graded_is_known_exactly():
    counts = counted(
        (7, True, {"asked": "unsure"}), (3, False, {"asked": "unsure"}), audits(25, True, 1.0), audits(5, False, 1.0)
    )
    assert counts.estimate().value == pytest.approx(32 / 40)
    assert counts.estimate().ci95 == pytest.approx((32 / 40, 32 / 40))


def test_the_calibration_error_by_hand():
    unsure = a_turn("hm", asked="unsure")
    counts = StrataCounts()
    for i in range(10):
        counts.add(with_confidence(unsure, 0.6), i < 4)
    for i in range(90):
        drawn = {"audit": 0.3, "verdict": AUDIT} if i < 30 else {}
        counts.add(with_confidence(a_turn("hm", **drawn), 0.95), i < 27 if i < 30 else None)
    # 10 % of the turns: sure of 60 %, right on 40 %. 90 %: sure of 95 %, right on an estimated 90 %.
    assert counts.calibration_error == pytest.approx(0.1 * 0.2 + 0.9 * 0.05)
    assert counted((9, True, {"asked": "unsure"}), audits(5, True)).calibration_error is None


def with_confidence(turn, confidence):
    return replace(turn, decision=replace(turn.decision, ranking=(("code", confidence), ("vision", 1 - confidence))))


def test_the_mean_over_all_possible_draws_is_the_truth():
    truth = [True, True, False, True, False]
    values = []
    for drawn in itertools.product([False, True], repeat=len(truth)):
        counts = StrataCounts()
        for is_right, is_drawn in zip(truth, drawn, strict=True):
            counts.add(a_turn(audit=0.5 if is_drawn else 0.0, verdict=AUDIT), is_right if is_drawn else None)
        if any(drawn):
            values.append(counts.audit().value)
    assert sum(values) / len(values) == pytest.approx(3 / 5)


CASES = st.lists(
    st.tuples(
        st.integers(1, 30),
        st.sampled_from([True, False, None]),
        st.sampled_from(
            [
                {},
                {"asked": "unsure"},
                {"asked": "worth"},
                {"pinned_route": True},
                {"audit": 0.2, "verdict": AUDIT},
                {"audit": 0.7, "verdict": AUDIT},
                {"audit": 0.2, "verdict": right()},
            ]
        ),
    ),
    max_size=8,
)


@given(CASES, CASES)
def test_an_estimate_lies_in_its_interval_and_merged_counts_are_the_counts_of_all(first, second):
    whole, merged = counted(*first, *second), counted(*first)
    merged.merge(counted(*second))
    for found, same in ((whole.estimate(), merged.estimate()), (whole.audit(), merged.audit())):
        assert found.n == same.n and found.ci95 == pytest.approx(same.ci95)
        assert found.value == (None if same.value is None else pytest.approx(same.value))
        if found.value is not None:
            assert -1e-9 <= found.ci95[0] <= found.value + 1e-9 and found.value - 1e-9 <= found.ci95[1] <= 1 + 1e-9
    rows = whole.to_dict()["strata"]
    assert [row["name"] for row in rows] == list(STRATA)
    assert sum(row["turns"] for row in rows) == sum(n for n, _, _ in (*first, *second))
    assert all(0 <= row["graded"] <= row["turns"] for row in rows)


@given(st.lists(st.integers(1, 3000), max_size=14), st.floats(0.1, 10))
def test_the_probability_of_an_audit_gives_the_wanted_number_on_a_usual_day(days, wanted):
    probability = audit_probability(days, wanted)
    assert 0 < probability <= 1
    usual = sum(days) / len(days) if days else 30
    assert probability == 1 or probability * max(1, usual) == pytest.approx(wanted)


def test_simulated_months_with_voluntary_bias_hold_the_truth():
    found = [month((seed, Person(RATED_WRONG, 0.6, audits_a_day=4.0))) for seed in range(60)]
    assert all(one.audits >= MIN_AUDITS for one in found)
    assert sum(one.low <= one.truth <= one.high for one in found) >= 53
    assert abs(sum(one.estimate - one.truth for one in found)) / 60 < 0.015
