"""The label audit against planted faults."""

import random

from tests.sets import rows
from tests.worlds import RULES, SHIPPED
from tui_router.core.example import Example
from tui_router.datasets.label_audit import audit
from tui_router.datasets.sources import seed_examples
from tui_router.routing.learned.learned_router import LearnedRouter

FLEET = SHIPPED.fleet
ENCODER = LearnedRouter(FLEET, RULES).projection


def verdict(text, route, **more):
    return Example(text=text, route=route, source="verdict", **more)


def test_planted_label_flips_are_found():
    """Requests that the shipped router never saw, and that were written to mislead it; one label in ten turned."""
    dice = random.Random(2)
    clean = [verdict(request.text, row["route"]) for row, request in rows("misleading")]
    clean += [verdict(request.text, row["route"], history=request.history) for row, request in rows("conversations")]
    flipped = set(dice.sample(range(len(clean)), len(clean) // 10))
    names = [r.name for r in FLEET.routes if r.name != "vision"]
    dirty = [
        verdict(e.text, dice.choice([n for n in names if n != e.route]), history=e.history) if i in flipped else e
        for i, e in enumerate(clean)
    ]
    suspects = {f.index for f in audit(dirty, FLEET, ENCODER).of("suspect")}
    recall = len(suspects & flipped) / len(flipped)
    precision = len(suspects & flipped) / len(suspects)
    assert recall >= 0.7 and precision >= 0.6


def test_repetitions_conflicts_and_private_data():
    made = audit(
        [
            verdict("write a python function", "code"),
            verdict("Write a Python function!", "code"),
            verdict("write a python function.", "reasoning"),
            verdict("mail it to jo@firm.example", "tool_use"),
        ],
        FLEET,
        ENCODER,
    )
    assert [(f.index, f.other) for f in made.of("duplicate")] == [(1, 0)] or made.of("conflict")
    assert {f.index for f in made.of("conflict")} == {0, 1, 2}
    assert next(f for f in made.of("conflict") if f.index == 2).route == "code"
    assert [(f.index, f.message) for f in made.of("private")] == [(3, "contains 1 e-mail")]


def test_nothing_is_nothing():
    made = audit([], FLEET, ENCODER)
    assert made.issues == () and made.parts == ()


def test_starving_routes_say_how_many_are_missing():
    made = audit([verdict("write a python function", "code")], FLEET, ENCODER)
    assert made.per_route["code"] == 1 and made.starving["code"] == 19 and made.starving["vision"] == 20


def test_the_shipped_seeds_are_not_judged_by_the_router_that_they_made():
    assert not audit(list(seed_examples(FLEET))[::40], FLEET, ENCODER).of("suspect")
