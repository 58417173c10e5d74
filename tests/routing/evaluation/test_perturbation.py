"""The noise that `eval --noise` makes, and how little of it moves a decision."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sets import rows
from tests.worlds import RULES, SHIPPED
from tui_router.core.types import Request
from tui_router.routing.evaluation.perturbation import KINDS, flips, noisy
from tui_router.routing.learned.learned_router import LearnedRouter


@given(st.text(max_size=80), st.sampled_from(sorted(KINDS)))
def test_noise_takes_any_text(text, kind):
    assert isinstance(KINDS[kind](text, random.Random(0)), str)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_same_noise_every_time_and_never_none(kind):
    requests = [Request(text=f"please write a small python function number {i}") for i in range(20)]
    made = noisy(requests, kind)
    assert made == noisy(requests, kind)
    assert sum(a.text != b.text for a, b in zip(requests, made, strict=True)) >= 8


def test_few_decisions_flip():
    requests = [request for _, request in rows("misleading")]
    assert flips(LearnedRouter(SHIPPED.fleet, RULES), requests)["all"] <= 0.05
