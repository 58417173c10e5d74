"""Streamed replies in all the shapes that servers send."""

import json

import pytest

from tui_router.backends.backend_errors import BackendError, classify
from tui_router.backends.stream import ChatStream, Delta
from tui_router.backends.thinking import ThinkSplitter


def frame(delta=None, finish=None, **more):
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice], "model": "m", **more}).encode() + b"\n\n"


def read(*chunks, reasons=False):
    stream, text, reasoning = ChatStream(reasons=reasons), "", ""
    events = [e for chunk in chunks for e in stream.feed(chunk)] + list(stream.close())
    for event in events:
        if isinstance(event, Delta):
            if event.retracted:
                text, reasoning = "", reasoning + text
            text, reasoning = text + event.text, reasoning + event.reasoning
    return text, reasoning, stream


def test_a_plain_answer_with_usage_after_the_end():
    text, _, stream = read(
        frame({"role": "assistant", "content": None}),
        frame({"content": "Hel"}),
        frame({"content": "lo"}),
        frame({}, "stop"),
        b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":9}}\n\ndata: [DONE]\n\n',
    )
    assert (text, stream.finish, stream.prompt_tokens, stream.completion_tokens, stream.model) == (
        "Hello",
        "stop",
        5,
        9,
        "m",
    )


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_in_a_field_of_its_own(field):
    assert read(frame({field: "Let me see"}), frame({"content": "42"}), frame({}, "stop"))[:2] == (
        "42",
        "Let me see",
    )


@pytest.mark.parametrize("cut", range(1, 30))
def test_reasoning_between_tags_however_it_is_cut(cut):
    whole = "<think>Let me see</think>\nAnswer <think> is 42"
    parts = [whole[i : i + cut] for i in range(0, len(whole), cut)]
    assert read(*(frame({"content": p}) for p in parts), frame({}, "stop"))[:2] == (
        "Answer <think> is 42",
        "Let me see",
    )


def test_a_closing_tag_alone_ends_the_reasoning_of_a_model_that_is_known_to_reason():
    chunks = frame({"content": "Hm, so "}), frame({"content": "</think>42"}), frame({}, "stop")
    assert read(*chunks, reasons=True)[:2] == ("42", "Hm, so ")
    assert read(*chunks)[:2] == ("Hm, so </think>42", "")


def test_less_than_signs_are_not_swallowed():
    splitter = ThinkSplitter()
    pieces = [splitter.feed(p) for p in ("a < b and b <", "/ c", " done <")] + [splitter.close()]
    assert "".join(p.text for p in pieces) == "a < b and b </ c done <"


def test_tool_calls_are_merged_from_pieces():
    _, _, stream = read(
        frame({"tool_calls": [{"index": 0, "id": "1", "function": {"name": "get_time", "arguments": "{"}}]}),
        frame({"tool_calls": [{"index": 0, "function": {"arguments": '"zone":"UTC"}'}}]}),
        frame({}, "tool_calls"),
    )
    assert json.loads(stream.tool_calls[0]) == {"name": "get_time", "arguments": '{"zone":"UTC"}'}


def failure(*chunks):
    with pytest.raises(BackendError) as caught:
        read(*chunks)
    return caught.value


def test_an_error_frame_in_a_200_is_an_error_of_its_kind():
    overflow = b'event: error\ndata: {"error":{"message":"Input does not fit in context length. The input has 31430 tokens"}}\n\n'
    assert failure(overflow).failure == "overflow"
    assert failure(b'data: {"error":"Compute error."}\n\n').failure == "server"
    assert failure(b"event: error\ndata: boom\n\n").failure == "server"


def test_endings():
    assert failure(b"").failure == "empty"
    assert failure(frame({}, "stop")).failure == "empty"
    assert failure(frame({"content": "Hel"})).failure == "broken"
    assert failure(b"data: {garbage\n\n").failure == "broken"
    assert read(frame({"content": "x"}), b"data: [DONE]\n\n")[0] == "x"
    assert read(frame({"content": "x"}), frame({}, "length"))[2].finish == "length"


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (401, "An LM Studio API token is required", "auth"),
        (404, "No models loaded. Please load a model", "not_found"),
        (400, "model 'nope' not found", "not_found"),
        (
            400,
            "request (15003 tokens) exceeds the available context size (1024 tokens), try increasing it",
            "overflow",
        ),
        (200, "Trying to keep the first 8000 tokens when context the overflows", "overflow"),
        (400, "This model's maximum context length is 4096", "overflow"),
        (500, "image input is not supported - hint: you may need to provide the mmproj", "capability"),
        (503, "Loading model", "loading"),
        (429, "slow down", "busy"),
        (400, "unknown field stream_options", "bad_request"),
        (500, "The model has crashed without additional information. (Exit code: 6)", "server"),
    ],
)
def test_errors_are_told_apart(status, message, kind):
    assert classify(status, message).failure == kind


def test_what_a_server_wants_is_remembered():
    assert classify(400, "unknown field stream_options").correction == "stream_options"
    assert classify(503, "x", "7").retry_after_s == 7
