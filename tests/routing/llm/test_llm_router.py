"""Routers that ask a model: the question, and what is made of an answer, or of none."""

import pytest

from tests.worlds import SHIPPED
from tui_router.core.letter_choice import LetterChoice
from tui_router.core.types import Message, Request
from tui_router.routing.llm.llm_router import LLMRouter, question


class FixedChooser:
    """Gives one answer, and keeps what it was asked."""

    def __init__(self, chosen):
        self.chosen, self.asked = chosen, []

    async def choose(self, messages, letters, deadline_s):
        self.asked.append((messages, letters, deadline_s))
        return self.chosen


def router(chosen):
    return LLMRouter("llm", SHIPPED.fleet, "gemma-3-1b", FixedChooser(chosen))


async def test_the_letters_are_the_routes_and_the_probabilities_sum_to_one():
    asked = router(LetterChoice("B", {"B": 0.6, "A": 0.3}))
    decision = await asked.decide(Request(text="write a python function"))
    assert (decision.route, decision.model, decision.router) == ("code", "qwen3-coder-30b", "llm")
    assert sum(p for _, p in decision.ranking) == pytest.approx(1) and len(decision.ranking) == 6
    assert decision.confidence == pytest.approx(0.6 / 0.9, abs=0.01)
    (system, user), letters, _ = asked.chooser.asked[0]
    assert letters == "ABCDEF" and "B = code: " in system.content and user.content.endswith("Letter:")


async def test_without_probabilities_the_choice_is_taken_with_reserve():
    decision = await router(LetterChoice("F")).decide(Request(text="hello"))
    assert decision.route == "simple_chat" and decision.confidence == pytest.approx(0.7)


@pytest.mark.parametrize("chosen", [None, LetterChoice("Z")])
async def test_no_answer_is_no_decision(chosen):
    assert await router(chosen).decide(Request(text="hello")) is None


def test_the_question_shows_the_conversation_the_image_and_not_the_whole_paste():
    past = (Message("user", "write a quicksort"), Message("assistant", "def ..."))
    asked = question(Request(text="x" * 100_000, history=past, has_image=True))
    assert "Earlier request: write a quicksort" in asked and "An image is attached." in asked and len(asked) < 2500


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_question_before_or_after_a_long_paste_is_shown(where):
    parts = ["why does this test fail", "log line\n" * 5000]
    asked = question(Request(text="\n".join(parts if where == "before" else parts[::-1])), 1000)
    assert "why does this test fail" in asked and " ... " in asked and len(asked) < 1100


def test_a_change_of_the_routes_changes_the_version():
    from tui_router.config.settings import parse_config

    other = parse_config('[routes.code]\ndescription = "knitting"\n', None, {}).fleet
    assert (
        LLMRouter("llm", other, "m", FixedChooser(None)).version
        != LLMRouter("llm", SHIPPED.fleet, "m", FixedChooser(None)).version
    )
