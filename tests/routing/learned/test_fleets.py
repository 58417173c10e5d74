"""Fleets of all kinds: every way to decide, to learn and to fit works, whatever routes a person has."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.sets import rows
from tests.worlds import SHIPPED
from tui_router.config.settings import parse_config
from tui_router.core.fleet import Fleet
from tui_router.core.types import Message, Request
from tui_router.routing.labels import Label
from tui_router.routing.learned import personal_training, seeds
from tui_router.routing.learned.learned_router import LearnedRouter
from tui_router.routing.learned.personal_model import (
    FORM_FEATURES,
    RowIndex,
    pack_personal_model,
    unpack_personal_model,
)
from tui_router.routing.rules.rules_router import RulesRouter

OWN = (
    ("legal", "contracts, clauses and tenancy law"),
    ("cooking", "recipes, ingredients, how long something bakes"),
    ("garden", "plants, soil, pruning and pests"),
    ("music", "chords, scales, practising an instrument"),
    ("travel", "visas, luggage, what to see in a city"),
    ("sport", "training plans, rules of games"),
    ("pets", "feeding and training dogs and cats"),
    ("money", "budgets, savings, insurance"),
    ("school", "homework, exams, lesson plans"),
    ("health", "sleep, first aid, exercise"),
    ("crafts", "knitting, woodwork, paint"),
    ("stars", "planets, telescopes, the night sky"),
)
SHIPPED_NAMES = [route.name for route in SHIPPED.fleet.routes]
REQUESTS = [
    Request(text=""),
    Request(text="write a python function"),
    Request(text="what's this?", has_image=True),
    Request(text="how long do I bake a sourdough loaf"),
    Request(
        text="and the second one?", history=(Message("user", "two recipes for lasagne"), Message("assistant", "Here."))
    ),
    Request(
        text="make it shorter",
        history=(Message("user", "look at this", has_image=True), Message("assistant", "A cat?")),
    ),
]


def fleet_of(shipped: list[str], own: int, renamed: list[str]) -> Fleet:
    """A fleet of some shipped routes, some of them renamed, and some of a person's own."""
    lines = [f"[routes.{name}]\nremove = true\n" for name in SHIPPED_NAMES if name not in shipped or name in renamed]
    for name in renamed:
        lines.append(f'[routes.my_{name}]\nwas = "{name}"\ndescription = "as before"\nmodel = "gemma-3n-e4b"\n')
    for name, description in OWN[:own]:
        lines.append(f'[routes.{name}]\ndescription = "{description}"\nmodel = "gemma-3n-e4b"\n')
    if len(shipped) + own == 1:  # a fleet.toml must have two routes; a router works with one as well
        lines.append('[routes.spare]\ndescription = "nothing"\nmodel = "gemma-3n-e4b"\n')
    fleet = parse_config("".join(lines), None, {}).fleet
    return replace(fleet, routes=tuple(route for route in fleet.routes if route.name != "spare"))


@st.composite
def fleets(draw):
    """From 1 to 12 routes: all own, all shipped, mixed, renamed."""
    shipped = draw(st.lists(st.sampled_from(SHIPPED_NAMES), unique=True, max_size=6))
    own = draw(st.integers(0 if shipped else 1, 12 - len(shipped)))
    renamed = draw(st.lists(st.sampled_from(shipped), unique=True)) if shipped else []
    return fleet_of(shipped, own, renamed)


def check_decisions(router, fleet):
    names = {route.name for route in fleet.routes}
    together = list(router.rankings(REQUESTS))
    for request, many in zip(REQUESTS, together, strict=True):
        one = router.decide(request)
        assert {name for name, _ in one.ranking} == names and one.reasons
        assert sum(p for _, p in one.ranking) == pytest.approx(1, abs=1e-5)
        assert dict(many) == pytest.approx(dict(one.ranking), abs=2e-5)
    assert [made.route for made in router.decide_many(REQUESTS)] == [router.decide(one).route for one in REQUESTS]


@settings(max_examples=25, deadline=None)
@given(fleets(), st.integers(0, 2**32 - 1))
def test_any_fleet_decides_and_learns(fleet, seed):
    rules = RulesRouter(fleet)
    check_decisions(rules, fleet)
    router = LearnedRouter(fleet, rules)
    check_decisions(router, fleet)
    dice = random.Random(seed)
    for key, request in enumerate(REQUESTS, 1):
        router.learn(
            Label(key=key, request=request, route=dice.choice(fleet.routes).name, negative=dice.random() < 0.2)
        )
    check_decisions(router, fleet)
    for key in range(1, len(REQUESTS) + 1):
        router.forget(key)
    assert not router.memory.user_items()


PERSONAL = {
    "all own": ([], 5, []),
    "one own": ([], 1, []),
    "all shipped": (SHIPPED_NAMES, 0, []),
    "mixed and renamed": (["code", "vision"], 3, ["code"]),
    "one shipped, of which no seed is fitted": (["vision"], 2, []),
}


@pytest.fixture(scope="module")
def few_seeds():
    """A tenth of the seeds: a fit takes a tenth of the time."""
    some = seeds.load()[::10]
    patch = pytest.MonkeyPatch()
    patch.setattr(seeds, "load", lambda: some)
    yield some
    patch.undo()


@pytest.mark.parametrize("kind", PERSONAL.values(), ids=PERSONAL)
def test_a_personal_model_of_any_fleet_decides(kind, few_seeds):
    fleet = fleet_of(*kind)
    dice = random.Random(1)
    labels = [
        Label(key=key, request=request, route=dice.choice(fleet.routes).name)
        for key, (_, request) in enumerate(rows("corrections")[:30], 1)
    ]
    router = personal_training.with_labels(fleet, RulesRouter(fleet), labels)
    assert router.personal is not None
    check_decisions(router, fleet)
    again = unpack_personal_model(pack_personal_model(router.personal))
    check_decisions(LearnedRouter(fleet, RulesRouter(fleet), personal=again), fleet)
    other = parse_config("", None, {}).fleet  # the fleet changed since it was fitted
    check_decisions(LearnedRouter(other, RulesRouter(other), personal=again), other)


def test_an_empty_index_is_similar_to_nothing():
    none = np.zeros((0, 8), np.float32), np.zeros((0, FORM_FEATURES), np.float32)
    index = RowIndex.of(*none, np.zeros(FORM_FEATURES, np.float32), np.ones(FORM_FEATURES, np.float32))
    requests = np.ones((3, 8), np.float32), np.ones((3, FORM_FEATURES), np.float32)
    assert index.similarity(*requests).shape == (3, 0)
    assert index.max_similarity(*requests).tolist() == [0, 0, 0]
