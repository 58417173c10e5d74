"""Every format out and back, with hostile text, and read by the real library."""

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worlds import SHIPPED
from tui_router.core.example import Example
from tui_router.core.types import Message
from tui_router.datasets.formats import (
    FORMATS,
    TARGETS,
    RowError,
    completion,
    dropped_by,
    example_of,
    format_of,
    line_of,
    row_of,
    system_prompt,
)
from tui_router.routing.llm.llm_router import trained_prompt

FLEET = SHIPPED.fleet
HOSTILE = [
    'line\nbreak "quoted", comma',
    "NUL \0 here",
    "\u202eright to left",
    "half \ud800 pair",
    "x" * 100_000,
    " spaces ",
    "\r\n",
    "é😀",
]
ROUTES = [r.name for r in FLEET.routes]

texts = st.text(st.characters(exclude_categories=[]), min_size=1, max_size=60)
messages = st.builds(Message, st.sampled_from(["user", "assistant"]), texts)
examples = st.builds(
    Example,
    text=texts,
    route=st.sampled_from(ROUTES),
    source=st.sampled_from(["verdict", "seed", "imported"]),
    origin=st.sampled_from(["", "12-abc"]),
    session=st.sampled_from(["", "3-def"]),
    history=st.tuples(messages) | st.just(()),
    has_image=st.booleans(),
    has_code=st.booleans(),
    weight=st.sampled_from([1.0, 0.5]),
)


@pytest.mark.parametrize("form", [f for f in FORMATS if f != "csv"])
@settings(max_examples=60, deadline=None)
@given(example=examples, target=st.sampled_from(["route", "letter"]))
def test_what_goes_out_comes_back(form, example, target):
    line = line_of(row_of(example, FLEET, form, target), form)
    line.encode()
    assert example_of(json.loads(line), form) == example


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("form", FORMATS)
def test_hostile_text(form, text):
    example = Example(text=text, route="code", source="imported")
    row = row_of(example, FLEET, form, "route")
    if form != "csv":
        assert example_of(json.loads(line_of(row, form)), form) == example
        return
    (read,) = csv.reader(io.StringIO(line_of(row, form).encode().decode(), newline=""))
    assert read == [text.replace("\ud800", "�"), "code"]


@pytest.mark.parametrize("form", ["messages", "sharegpt", "hf", "alpaca"])
def test_the_label_is_the_only_thing_that_the_assistant_says(form):
    history = (Message("user", "what is this", has_image=True), Message("assistant", "an old answer"))
    row = row_of(Example(text="and that?", route="vision", source="verdict", history=history), FLEET, form, "route")
    if form == "alpaca":
        assert row["output"] == "ROUTE_TO=vision" and "an old answer" in row["input"] and row["text"] == "and that?"
        return
    turns = row["conversations"] if form == "sharegpt" else row["messages"]
    said = [(turn.get("from") or turn["role"], turn.get("value") or turn["content"]) for turn in turns]
    assert [speaker for speaker, _ in said] in (["system", "human", "gpt"], ["system", "user", "assistant"])
    assert said[2][1] == "ROUTE_TO=vision"
    assert said[1][1] == (
        "Earlier conversation:\nuser: what is this\n[an image is attached]\nassistant: an old answer\n\nRequest:\nand that?"
    )


def test_rows_of_older_exports_with_the_conversation_as_messages_come_back():
    messages = [
        ("system", "x"),
        ("user", "before"),
        ("assistant", "an answer"),
        ("user", "now"),
        ("assistant", "ROUTE_TO=code"),
    ]
    row = {"messages": [{"role": r, "content": c} for r, c in messages], "route": "code", "source": "verdict"}
    example = example_of(row, "messages")
    assert example.text == "now" and [m.content for m in example.history] == ["before", "an answer"]


@pytest.mark.parametrize("text", ["=1+1", "+49 30", "-2 degrees", "@bob hi", '=HYPERLINK("http://x.example")'])
def test_a_cell_of_csv_is_no_formula_and_comes_back(text):
    row = row_of(Example(text=text, route="code", source="imported"), FLEET, "csv", "route")
    assert row["request"] == f"'{text}" and example_of(row, "csv").text == text


def test_csv_says_what_it_drops():
    example = Example(
        text="x", route="code", source="verdict", history=(Message("user", "y"),), has_image=True, weight=0.5
    )
    assert dropped_by("csv", example) == ["the conversation before", "has_image", "weight"]
    assert not any(dropped_by(form, example) for form in FORMATS if form != "csv")


def test_targets():
    example = Example(text="goto amazon.com", route="tool_use", source="seed")
    said = {target: completion(example, FLEET, target) for target in TARGETS}
    assert said["route"] == "ROUTE_TO=tool_use" and said["model"] == "ROUTE_TO=gpt-oss-20b"
    assert said["letter"] == "A" and said["detailed"] == "ROUTE_TO=tool_use\nMODEL=gpt-oss-20b\nTOOLS=yes"
    assert "A=tool_use B=code " in system_prompt(FLEET, "letter") and "- gpt-oss-20b: " in system_prompt(FLEET, "model")


@pytest.mark.parametrize("form", FORMATS)
def test_a_row_is_known_by_its_columns(form):
    row = row_of(Example(text="hello", route="simple_chat", source="seed"), FLEET, form, "route")
    assert format_of(row) == ("messages" if form == "hf" else form)


def test_what_is_no_row_of_ours_says_so():
    with pytest.raises(RowError, match="not a row of the format messages: its last two messages"):
        example_of({"messages": [{"role": "user", "content": "x"}], "route": "code"}, "messages")
    assert format_of({"a": 1}) is None


def test_a_row_of_letters_is_the_question_that_the_tuned_router_asks():
    example = Example(text="hello", route="simple_chat", source="seed", history=(Message("user", "before"),))
    asked = trained_prompt([r.name for r in FLEET.routes]).messages(example.request)
    row = row_of(example, FLEET, "messages", "letter")
    assert [m["content"] for m in row["messages"]] == [*(m.content for m in asked), "F"]
