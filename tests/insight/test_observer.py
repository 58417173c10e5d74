"""The observer's replies: a remark is shown only when it is about what the model was shown."""

import json

import pytest

from tests.worlds import SHIPPED, a_turn, right, wrong
from tui_router.insight.findings import find_findings
from tui_router.insight.metrics import metrics_of
from tui_router.insight.observer import SCHEMA, TAGS, build_prompt, parse_reply

TURNS = [
    a_turn("write a python function", id="7-abc", verdict=right("code")),
    a_turn("hello \x1b[31mthere", id="8-abd", verdict=wrong("general_chat")),
    a_turn("goto amazon.com", id="9-abe"),
]
PROMPT = build_prompt(TURNS, metrics_of(TURNS, SHIPPED.fleet), find_findings(TURNS, SHIPPED.fleet, 0.7, effects=False))


def a_reply(remark="Turn 8 was taken for small talk.", tag="correction_needed", turns=(8,), **more):
    return json.dumps({"tag": tag, "remark": remark, "turns": list(turns), **more})


def test_it_is_shown_the_turns_the_counts_and_the_findings():
    text = PROMPT.messages[0].content
    assert "8, simple_chat" in text and "wrong, right is general_chat: hello" in text and "\x1b" not in text
    assert "turns: 3, rated: 2" in text and "right route: 50% of 2 rated" in text and "no significant findings" in text


@pytest.mark.parametrize(("tag", "level"), TAGS.items())
def test_a_remark_about_a_shown_turn_is_accepted(tag, level):
    made = parse_reply(f"Sure!\n```json\n{a_reply(tag=tag)}\n```", PROMPT)
    assert (made.tag, made.level, made.turns) == (tag, level, ("8-abd",))
    assert tag in SCHEMA["properties"]["tag"]["enum"]


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("all is well", "no JSON"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("{" * 5000 + "}" * 5000, "no JSON"),
        (a_reply(tag="praise"), "an unknown tag"),
        (json.dumps({"tag": ["x"], "remark": "y", "turns": []}), "an unknown tag"),
        (a_reply(remark="  "), "no remark"),
        (json.dumps({"tag": "all_good", "turns": []}), "no remark"),
        (a_reply(remark="x" * 10_000), "too long"),
        (a_reply(turns=("8",)), "turns that are no numbers"),
        (a_reply(turns=(True,)), "turns that are no numbers"),
        (a_reply(turns=(12,)), "a turn that it was not shown"),
        (a_reply("Accuracy fell to 31% lately."), "a number that it was not shown"),
        (a_reply("Turn 12 repeats turn 8."), "a number that it was not shown"),
    ],
)
def test_every_other_reply_is_dropped_with_its_reason(reply, why):
    assert parse_reply(reply, PROMPT) == why


def test_escape_sequences_and_markup_are_text():
    made = parse_reply(a_reply("\x1b]0;evil\x07\x1b[2JTurn 8 [@click=app.quit]here[/] was odd\nvery"), PROMPT)
    assert made.text == "Turn 8 [@click=app.quit]here[/] was odd very"
