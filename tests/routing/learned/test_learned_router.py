"""The learned router: what it decides as shipped, what a verdict changes at once, what a changed fleet loses."""

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sets import rows
from tests.worlds import RULES, SHIPPED
from tui_router.config.settings import parse_config
from tui_router.core.types import Message, Request
from tui_router.routing.evaluation.scores import expected_calibration_error
from tui_router.routing.labels import Label
from tui_router.routing.learned import seeds, shipped_model
from tui_router.routing.learned.learned_router import LearnedRouter
from tui_router.routing.rules.rules_router import RulesRouter

THRESHOLD = SHIPPED.settings.confidence_threshold


@pytest.fixture
def router():
    return LearnedRouter(SHIPPED.fleet, RULES)


@pytest.fixture(scope="module")
def shipped():
    """One that no test teaches."""
    return LearnedRouter(SHIPPED.fleet, RULES)


def say(text: str, *, image: bool = False, history: tuple[Message, ...] = ()) -> Request:
    return Request(text=text, has_image=image, history=history)


def label(key: int, text: str, route: str, **more: object) -> Label:
    return Label(key=key, request=say(text), route=route, **more)


@pytest.mark.parametrize(
    ("text", "route", "image"),
    [
        ("goto amazon.com", "tool_use", False),
        ("write a python function", "code", False),
        ("explain transformers", "reasoning", False),
        ("hello", "simple_chat", False),
        ("what's this?", "vision", True),
    ],
)
def test_the_five_requests_that_define_the_routes(shipped, text, route, image):
    decision = shipped.decide(say(text, image=image))
    assert decision.route == route
    assert decision.confidence >= 0.70
    assert decision.reasons


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=400), st.booleans())
def test_any_text_is_decided_with_probabilities_that_sum_to_one(text, image):
    decision = _ANY.decide(say(text, image=image))
    assert sum(p for _, p in decision.ranking) == pytest.approx(1, abs=1e-5)
    assert [p for _, p in decision.ranking] == sorted((p for _, p in decision.ranking), reverse=True)


_ANY = LearnedRouter(SHIPPED.fleet, RULES)


def test_the_shipped_model_is_made_from_the_shipped_seeds_rules_and_words():
    assert shipped_model.shipped().made_from == seeds.fingerprint(RULES), "run `make prior`"


def judged(router, name):
    return [(row["route"], router.decide(request)) for row, request in rows(name)]


def test_words_that_mislead(shipped):
    made = judged(shipped, "misleading")
    assert len(made) >= 300
    assert sum(d.route == route for route, d in made) / len(made) >= 0.88
    assert expected_calibration_error((d.confidence, d.route == route) for route, d in made) <= 0.05


def test_conversations_in_which_the_route_changes_stays_or_returns(shipped):
    made = judged(shipped, "conversations")
    assert len(made) >= 150
    assert sum(d.route == route for route, d in made) / len(made) >= 0.88


def test_what_nobody_would_send_on_purpose_is_asked_about(shipped):
    asked = [shipped.decide(request).confidence < THRESHOLD for _, request in rows("out_of_scope")]
    assert sum(asked) / len(asked) >= 0.90


def test_a_follow_up_keeps_its_route_and_the_reason_names_the_message(shipped):
    past = (Message("user", "write a quicksort in python"), Message("assistant", "def quicksort(xs): ..."))
    decision = shipped.decide(say("now in Rust", history=past))
    assert decision.route == "code"
    assert (
        shipped.decide(say("make it shorter", history=past))
        .reasons[0]
        .text.startswith("follows on from your last message: ‘write a")
    )


def test_an_image_of_two_turns_ago_is_still_meant(shipped):
    past = (
        Message("user", "what is on this photo?", has_image=True),
        Message("assistant", "A red car before a house."),
        Message("user", "and what colour is the house?"),
        Message("assistant", "White."),
    )
    assert shipped.decide(say("is there a person behind the car?", history=past)).route == "vision"


def test_a_new_subject_gets_a_route_of_its_own(shipped):
    past = (Message("user", "write a quicksort in python"), Message("assistant", "def quicksort(xs): ..."))
    assert shipped.decide(say("what is the capital of Australia and why was it chosen?", history=past)).route != "code"


def test_a_correction_takes_at_once_and_leaves_the_rest_alone(router):
    text = "summarise the meeting notes from monday"
    controls = [say(t) for t in ("hello", "goto amazon.com", "write a python function", "explain transformers")]
    before = [router.decide(c) for c in controls]
    wanted = next(r for r, _ in router.decide(say(text)).ranking[1:3])
    version = router.version
    router.learn(label(1, text, wanted))
    assert router.version != version
    decision = router.decide(say(text))
    assert decision.route == wanted
    assert decision.reasons[0].text == f"you marked this request as {wanted}"
    assert router.decide(say("give me a summary of monday's meeting notes")).route == wanted
    assert [router.decide(c).ranking for c in controls] == [b.ranking for b in before]


def test_rating_again_replaces_and_forgetting_restores(router):
    text = "compare the two mortgage offers I got"
    before = router.decide(say(text))
    router.learn(label(7, text, "tool_use"))
    router.learn(label(7, text, "code"))
    assert router.decide(say(text)).route == "code"
    assert len(router.memory) == 1
    router.forget(7)
    assert router.decide(say(text)).ranking == before.ranking


def test_negative_evidence_lowers_the_route_and_labels_no_other(router):
    text = "compare the two mortgage offers I got"
    before = router.decide(say(text))
    router.learn(label(3, text, before.route, negative=True))
    after = router.decide(say(text))
    assert after.probability(before.route) < before.probability(before.route)
    others = [name for name, _ in before.ranking if name != before.route]
    assert [n for n, _ in after.ranking if n != before.route] == others


FLEET = """
[models.cook]
[routes.recipes]
description = "cooking: recipes, ingredients, how long something bakes or boils"
model = "cook"
"""


def fleet(text: str):
    return parse_config(text, None, {}).fleet


def test_a_new_route_works_from_its_description_and_its_first_examples():
    made = fleet(FLEET)
    router = LearnedRouter(made, RulesRouter(made))
    described = router.decide(say("a recipe with ingredients for baking bread")).probability("recipes")
    assert described > router.decide(say("write a python function")).probability("recipes")
    for i, text in enumerate(("how do i bake a sourdough loaf", "recipe for lasagne", "how long do i boil eggs"), 1):
        router.learn(label(i, text, "recipes"))
    assert router.decide(say("how long do i boil potatoes")).route == "recipes"
    assert router.decide(say("a recipe for vegetable lasagne")).route == "recipes"
    assert router.decide(say("write a python function")).route == "code"


def test_a_renamed_route_loses_nothing():
    made = fleet(
        '[routes.code]\nremove = true\n[routes.programming]\nwas = "code"\ndescription = "code"\nmodel = "qwen3-coder-30b"\n'
    )
    decision = LearnedRouter(made, RulesRouter(made)).decide(say("write a python function"))
    assert decision.route == "programming"
    assert decision.confidence >= 0.7


def test_a_removed_route_leaves_the_others_whole():
    for name in SHIPPED.fleet.by_route:
        made = fleet(f"[routes.{name}]\nremove = true\n")
        router = LearnedRouter(made, RulesRouter(made))
        decision = router.decide(say("explain transformers" if name == "code" else "write a python function"))
        assert decision.route == ("reasoning" if name == "code" else "code")
        assert {route for route, _ in decision.ranking} == set(SHIPPED.fleet.by_route) - {name}


def test_pasted_text_does_not_outweigh_what_the_person_typed(shipped):
    log = "\n".join(f"2026-01-0{i % 9 + 1} 10:00:{i:02} ERROR db: connection refused by host" for i in range(60))
    reminder = "<system-reminder>" + "Use the python tools to read files and run code. " * 40 + "</system-reminder>"
    plain = shipped.decide(say("write me a birthday poem for my grandmother"))
    for wrapped in (
        f"{reminder}\nwrite me a birthday poem for my grandmother",
        f"write me a birthday poem for my grandmother\n{reminder}",
    ):
        decision = shipped.decide(say(wrapped))
        assert decision.route == plain.route
        assert "birthday poem" in decision.classified and "reminder" not in decision.classified
    assert shipped.decide(say(f"why does this fail?\n{log}")).classified.count("\n") < 10


def test_a_decision_uses_one_core_whichever_library_numpy_multiplies_with():
    code = (
        "from tests.worlds import SHIPPED\n"
        "from tui_router.routing.learned.learned_router import LearnedRouter\n"
        "from threadpoolctl import threadpool_info\n"
        "LearnedRouter.as_shipped(SHIPPED.fleet)\n"
        "print({one['num_threads'] for one in threadpool_info()})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "4"},
    )
    assert done.stdout == "{1}\n"
