"""What an observer may say: only of what it was shown."""

import json

import pytest

from tests.worlds import SHIPPED, a_turn, right, wrong
from tui_router.insight.findings import find
from tui_router.insight.metrics import measured
from tui_router.insight.observer import SCHEMA, TAGS, read, shown

TURNS = [
    a_turn("write a python function", id="7-abc", verdict=right("code")),
    a_turn("hello \x1b[31mthere", id="8-abd", verdict=wrong("general_chat")),
    a_turn("goto amazon.com", id="9-abe"),
]
SEEN = shown(TURNS, measured(TURNS, SHIPPED.fleet), find(TURNS, SHIPPED.fleet, 0.7, effects=False))


def said(remark="Turn 8 was taken for small talk.", tag="correction_needed", turns=(8,), **more):
    return json.dumps({"tag": tag, "remark": remark, "turns": list(turns), **more})


def test_it_is_shown_the_turns_the_counts_and_the_findings():
    text = SEEN.messages[0].content
    assert "8, simple_chat" in text and "wrong, right is general_chat: hello" in text and "\x1b" not in text
    assert (
        "turns: 3, rated: 2" in text
        and "right route: 50% of 2 rated" in text
        and "nothing that is more than chance" in text
    )


@pytest.mark.parametrize(("tag", "level"), TAGS.items())
def test_a_remark_about_what_it_was_shown_is_taken(tag, level):
    made = read(f"Sure!\n```json\n{said(tag=tag)}\n```", SEEN)
    assert (made.tag, made.level, made.turns) == (tag, level, ("8-abd",))
    assert tag in SCHEMA["properties"]["tag"]["enum"]


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("all is well", "no JSON"), ("{", "no JSON"), ("[" * 100_000, "no JSON"), ("{" * 5000 + "}" * 5000, "no JSON"),
        (said(tag="praise"), "an unknown tag"), (json.dumps({"tag": ["x"], "remark": "y", "turns": []}), "an unknown tag"),
        (said(remark="  "), "no remark"), (json.dumps({"tag": "all_good", "turns": []}), "no remark"),
        (said(remark="x" * 10_000), "too long"),
        (said(turns=("8",)), "turns that are no numbers"), (said(turns=(True,)), "turns that are no numbers"),
        (said(turns=(12,)), "a turn that it was not shown"),
        (said("Accuracy fell to 31% lately."), "a number that it was not shown"),
        (said("Turn 12 repeats turn 8."), "a number that it was not shown"),
    ],
)  # fmt: skip
def test_everything_else_is_dropped_and_says_why(reply, why):
    assert read(reply, SEEN) == why


def test_escape_sequences_and_markup_are_text():
    made = read(said("\x1b]0;evil\x07\x1b[2JTurn 8 [@click=app.quit]here[/] was odd\nvery"), SEEN)
    assert made.text == "Turn 8 [@click=app.quit]here[/] was odd very"
