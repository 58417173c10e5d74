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
