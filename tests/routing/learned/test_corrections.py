"""A correction always takes: the same request in the same place goes to the corrected route, whatever else there is."""

import pytest

from tests import random_corrections
from tests.random_corrections import Outcome, next_turn, run
from tests.worlds import RULES, SHIPPED
from tui_router.core.types import Message, Request
from tui_router.routing.labels import Label
from tui_router.routing.learned import seeds
from tui_router.routing.learned.learned_router import LearnedRouter
from tui_router.routing.learned.place import place_of


@pytest.fixture(scope="module", autouse=True)
def few_seeds():
    """A tenth of the seeds: the personal model is fitted in a tenth of the time."""
    some = seeds.load()[::10]
    patch = pytest.MonkeyPatch()
    patch.setattr(seeds, "load", lambda: some)
    for cached in (random_corrections.setup, random_corrections.texts):
        cached.cache_clear()
    yield
    patch.undo()
    for cached in (random_corrections.setup, random_corrections.texts):
        cached.cache_clear()


def test_every_correction_takes_at_once_and_leaves_unrelated_requests_alone():
    total = Outcome()
    for seed in range(50):
        total = total.plus(run(seed))
    for seed in range(50, 65):
        total = total.plus(run(seed, with_personal=True, kinds=("shipped", "all own")))
    assert total.taken == total.asked > 1000
    assert total.moved <= 0.02 * total.controls and total.controls > 50


def talk(*texts: str) -> tuple[Message, ...]:
    return tuple(message for text in texts for message in (Message("user", text), Message("assistant", "Done.")))


@pytest.fixture
def router():
    return LearnedRouter(SHIPPED.fleet, RULES)


def learn(router, request: Request, route: str, key: int = 1, **more) -> None:
    router.learn(Label(key=key, request=request, route=route, **more))


def test_the_newest_of_contradictory_corrections_wins(router):
    request = Request(text="make it shorter", history=talk("write a quicksort in python"))
    for key, route in enumerate(("general_chat", "code", "reasoning", "code", "general_chat", "tool_use"), 1):
        learn(router, request, route, key)
        assert router.decide(request).route == route
        assert router.decide(request).reasons[0].text == f"you marked this request as {route}"
    router.forget(6)
    assert router.decide(request).route == "general_chat"
    learn(router, request, "code", key=2)  # rated again: the newest verdict is on an old turn
    assert router.decide(request).route == "code"


def test_wrong_without_a_route_withdraws_the_same_label_of_before(router):
    request = Request(text="compare the two mortgage offers I got")
    learn(router, request, "tool_use", key=1)
    learn(router, request, "code", key=2)
    learn(router, request, "code", key=3, negative=True)
    assert router.decide(request).route == "tool_use"
    learn(router, request, "code", key=4)
    assert router.decide(request).route == "code"


def test_the_same_words_in_another_conversation_are_another_place(router):
    about_code = Request(text="continue", history=talk("write a quicksort in python"))
    about_trees = Request(text="continue", history=talk("write a poem about trees"))
    learn(router, about_code, "reasoning")
    assert router.decide(about_code).route == "reasoning"
    assert router.decide(about_trees).route == "general_chat"


def test_what_comes_after_a_corrected_turn_follows_its_corrected_route(router):
    request = Request(text="why is the sky blue", history=talk("book me a table for two"))
    learn(router, request, "vision")
    later = Request(text="and again?", history=(*request.history, *talk(request.text)))
    assert router.decide(later).route == "vision"
    assert next(router.rankings([later]))[0][0] == "vision"


def test_a_place_does_not_depend_on_case_space_answers_or_repetition():
    request = Request(text="Make it  shorter", history=talk("a", "b", "c", "d", "e"))
    same = Request(text="make it shorter", history=(Message("user", "x"), *request.history))
    assert place_of(request) == place_of(same) == place_of(next_turn(same, random_corrections.random.Random(1)))
    other_answers = tuple(
        Message(m.role, m.content + "!" if m.role == "assistant" else m.content) for m in request.history
    )
    assert place_of(Request(text=request.text, history=other_answers)) == place_of(request)
    assert place_of(Request(text=request.text, history=request.history, has_image=True)) != place_of(request)
    assert place_of(Request(text=request.text, history=talk("a", "b", "c", "d", "f"))) != place_of(request)
