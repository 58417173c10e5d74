"""Choosing a letter: from llama.cpp's own server for real, and from replies in every documented form."""

import time

import pytest

from tests.worlds import SHIPPED
from tui_router.backends.health import Health
from tui_router.backends.served_chooser import ServedLetterChooser, read
from tui_router.config.settings import BackendSetting
from tui_router.core.types import Message

MESSAGES = (Message("system", "Choose."), Message("user", "write a python function"))


def reply(content, logprobs=None):
    return {"choices": [{"message": {"content": content}, "logprobs": logprobs}]}


def sampled(**p):
    return {"content": [{"token": "B", "top_probs": [{"token": k, "prob": v} for k, v in p.items()]}]}


def told(**logprob):
    return {"content": [{"token": "B", "top_logprobs": [{"token": k, "logprob": v} for k, v in logprob.items()]}]}


@pytest.mark.parametrize(
    ("given", "letter", "probabilities"),
    [
        (reply("B", sampled(B=0.9, A=0.1, x=0.2)), "B", {"B": 0.9, "A": 0.1}),
        (reply("", sampled(C=0.9)), "C", {"C": 0.9}),
        (reply('{"route" :\n "B"}'), "B", None),
        (reply(" b\n"), "B", None),
        (reply("The answer is C."), "C", None),
        (reply("B", {"content": [{"token": "B", "top_logprobs": []}]}), "B", None),
        (
            reply("B", told(B=-0.1054, A=-2.3026)),
            "B",
            {"B": pytest.approx(0.9, abs=1e-3), "A": pytest.approx(0.1, abs=1e-3)},
        ),
        (reply("B", told(Sure=-0.01, B=-4.6)), "B", None),
    ],
)
def test_every_form_of_an_answer(given, letter, probabilities):
    chosen = read(given, "ABCDEF")
    assert (chosen.letter, chosen.probabilities) == (letter, probabilities)


@pytest.mark.parametrize(
    "given", [None, [], {}, {"error": "x"}, reply(None), reply('{"route": "Z"}'), reply('{"route": 3}'), reply("hm")]
)
def test_what_is_no_answer(given):
    assert read(given, "ABCDEF") is None


@pytest.mark.engine
async def test_a_real_server_is_held_to_the_letters_and_tells_its_probabilities(engine_url):
    health = Health(SHIPPED.fleet, [BackendSetting(name="llama-server", url=engine_url)])
    try:
        await health.look()
        chosen = await ServedLetterChooser(health, "gemma-3-1b").choose(MESSAGES, "ABCDEF", 5.0)
        assert chosen.letter in "ABCDEF"
        assert chosen.probabilities and set(chosen.probabilities) <= set("ABCDEF")
        assert sum(chosen.probabilities.values()) == pytest.approx(1, abs=0.05)
    finally:
        await health.close()


@pytest.mark.engine
async def test_a_model_that_is_not_loaded_is_not_asked(engine_url):
    health = Health(SHIPPED.fleet, [BackendSetting(name="llama-server", url=engine_url)])
    try:
        await health.look()
        start = time.monotonic()
        assert await ServedLetterChooser(health, "gpt-oss-20b").choose(MESSAGES, "ABCDEF", 5.0) is None
        assert time.monotonic() - start < 1
    finally:
        await health.close()
