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


# -- framing -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "life",
    [
        b": ping\n\n",
        b":\n\n",
        b"data:\n\n",
        b"data: \n\n",
        b"data: ping\n\n",
        b"data: [keep-alive]\n\n",
        b"data: null\n\n",
        b"data: {}\n\n",
        b"data: []\n\n",
        b"data: 1\n\n",
        b'data: ""\n\n',
        b"event: ping\ndata: anything\n\n",
        b'event: heartbeat\ndata: {"at": 5}\n\n',
        b'data: {"type": "ping"}\n\n',
        b"data: : OPENROUTER PROCESSING\n\n",
        b"retry: 3000\n\n",
        b"id: 7\n\n",
        b"event: message\n\n",
        b"\n\n\n\n",
        b'data: {"choices": []}\n\n',
        b'data: {"choices": null, "usage": null}\n\n',
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_signs_of_life_are_ignored(life, first):
    chunks = (life, frame({"content": "Hel"})) if first else (frame({"content": "Hel"}), life)
    assert read(*chunks, life, frame({"content": "lo"}), frame({}, "stop"), life)[0] == "Hello"


WHOLE = {
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Whole."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4},
}


@pytest.mark.parametrize("cut", [1, 7, 10_000])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("before", ["", "\ufeff", "\n\n  "])
def test_a_whole_completion_where_a_stream_was_asked_for(cut, indent, before):
    data = (before + json.dumps(WHOLE, indent=indent)).encode()
    text, _, stream = read(*(data[i : i + cut] for i in range(0, len(data), cut)))
    assert (text, stream.finish, stream.completion_tokens, stream.model) == ("Whole.", "stop", 4, "m")


def test_a_whole_completion_without_a_finish_reason_is_whole():
    assert read(json.dumps({"choices": [{"message": {"content": "Whole."}}]}).encode())[0] == "Whole."


def test_json_lines_without_data():
    lines = [{"choices": [{"delta": {"content": c}}]} for c in ("Hel", "lo")]
    lines += [{"choices": [{"delta": {}, "finish_reason": "stop"}]}]
    assert read("\n".join(map(json.dumps, lines)).encode())[0] == "Hello"


def test_a_message_or_a_text_in_place_of_a_delta():
    def event(choice):
        return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"

    assert read(event({"message": {"content": "Whole."}, "finish_reason": "stop"}))[0] == "Whole."
    assert read(event({"text": "Old "}), event({"text": "style.", "finish_reason": "stop"}))[0] == "Old style."
    repeated = event({"message": {"content": "Hello"}, "finish_reason": "stop"})
    assert read(frame({"content": "Hel"}), frame({"content": "lo"}), repeated)[0] == "Hello", "repeated at the end"


def test_a_second_choice_is_not_mixed_in():
    other = b'data: {"choices": [{"index": 1, "delta": {"content": "other"}}]}\n\n'
    assert read(frame({"content": "one"}), other, frame({}, "stop"))[0] == "one"


@pytest.mark.parametrize(
    ("chunk", "kind", "said"),
    [
        (b"<!doctype html><html>", "server", "a web page"),
        (b'{"error": "Unexpected endpoint or method."}', "not_found", "Unexpected endpoint"),
        (b'{"detail": "Not authenticated: invalid api key"}', "auth", "Not authenticated"),
        (b"data: Internal Server Error\n\n", "broken", "not JSON: Internal Server Error"),
        (b'data: {"choices": [{"error": {"message": "Compute error."}}]}\n\n', "server", "Compute error."),
        (b'data: {"choices": [{"delta": {"error": "Compute error."}}]}\n\n', "server", "Compute error."),
        (
            b'data: {"choices": [{"delta": {}, "finish_reason": "error"}]}\n\n',
            "server",
            "ended the answer with an error",
        ),
        (b'event: error\ndata: {"message": "boom"}\n\n', "server", "boom"),
        (b"event: error\ndata: {}\n\n", "server", "error"),
        (b'data: {"error": {"message": "' + b"x" * 100_000 + b'"}}\n\n', "server", "xxx"),
    ],
)
def test_errors_in_a_good_reply(chunk, kind, said):
    error = failure(chunk)
    assert error.failure == kind and said in str(error) and len(str(error)) < 500


def test_what_comes_after_the_end_does_no_harm():
    assert read(frame({"content": "x"}, "stop"), b"data: [DONE]\n\n", b"data: [DONE]\n\n")[0] == "x"
    stream = ChatStream()
    list(stream.feed(frame({"content": "x"}, "stop")))
    assert stream.complete


@pytest.mark.parametrize(
    "more",
    [
        {"tool_calls": 5},
        {"tool_calls": [5, None, {"index": "x", "function": 7}]},
        {"function_call": []},
        {"role": {"a": 1}},
        {"reasoning_content": 5, "reasoning": None, "reasoning_details": "x"},
        {"refusal": {"x": []}},
        {"content": 5},
        {"content": {"a": {"b": {"c": {}}}}},
        {"content": [[[[[["deep"]]]]]]},
        {"content": [None, 1, {"type": "image_url"}, {"type": "text"}, {"type": ["text"]}]},
    ],
)
def test_fields_of_other_types_are_as_if_absent(more):
    assert read(frame({"content": "Hel"}), frame(more), frame({"content": "lo"}), frame({}, "stop"))[0] == "Hello"


@pytest.mark.parametrize(
    "data",
    [
        {"choices": 1},
        {"choices": {"delta": {}}},
        {"choices": [None, 1, "x", []]},
        {"choices": [{"delta": [], "finish_reason": 7, "index": "x"}]},
        {"choices": [], "prompt_progress": {"total": 10, "processed": None}},
        {"choices": [], "prompt_progress": {"total": "x", "processed": -5}},
        {"choices": [], "usage": {"prompt_tokens": -1, "completion_tokens": 1e300}},
        {"choices": [], "usage": 7, "model": ["x"]},
        {"choices": [{"delta": {"content": None}, "finish_reason": None, "logprobs": [[[]]]}]},
    ],
)
def test_frames_of_other_types_are_skipped(data):
    chunk = b"data: " + json.dumps(data).encode() + b"\n\n"
    text, _, stream = read(chunk, frame({"content": "Hello"}), chunk, frame({}, "stop"))
    assert text == "Hello" and stream.prompt_tokens is None and stream.completion_tokens is None


def test_a_finish_reason_that_is_none():
    _, _, stream = read(frame({"content": "x"}, "null"), frame({"content": "y"}, ""), b"data: [DONE]\n\n")
    assert stream.finish == ""


def test_nesting_without_an_end_is_a_fault_of_the_server():
    assert failure(b"data: " + b"[" * 200_000 + b"\n\n").failure == "broken"


# -- reasoning ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("<think>", "</think>"),
        ("<thinking>", "</thinking>"),
        ("<Thought>", "</Thought>"),
        ("<reasoning>", "</reasoning>"),
        ("<seed:think>", "</seed:think>"),
        ("[THINK]", "[/THINK]"),
        ("◁think▷", "◁/think▷"),
        ("<|begin_of_thought|>", "<|end_of_thought|>"),
        ("<|START_THINKING|>", "<|END_THINKING|>"),
        ("<|channel>thought\n", "<channel|>"),
        ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
        ("<|start|>assistant<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ],
)
@pytest.mark.parametrize("cut", [1, 3, 5, 1000])
def test_the_marks_of_served_models(opening, closing, cut):
    whole = f"{opening}I add İ 17 and 4: a < b [x] <|y|>{closing}\n\nIt is `21`."
    pieces = [whole[i : i + cut] for i in range(0, len(whole), cut)]
    text, reasoning, _ = read(*(frame({"content": p}) for p in pieces), frame({}, "stop"))
    assert text.strip() == "It is `21`." and reasoning.strip() == "I add İ 17 and 4: a < b [x] <|y|>"


def test_the_end_of_a_harmony_answer_is_no_text():
    whole = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>{}<|return|>"
    for cut in (1, 4, 500):
        pieces = [whole[i : i + cut] for i in range(0, len(whole), cut)]
        assert read(*(frame({"content": p}) for p in pieces), frame({}, "stop"))[:2] == ("{}", "Hm.")


@pytest.mark.parametrize(
    "answer",
    [
        "To end a block the model writes `</think>` and then it answers.",
        "It ends at </think>, they say.",
        "```\n<think>\nhm\n</think>\n```\nThat is all.",
        "Mistral ends it by [/THINK]",
        "</think>",
        "a <think> b </think> c",
        "<div>[x]</div> [THIN",
        "The mark <|channel|> is of harmony.",
    ],
)
@pytest.mark.parametrize("cut", [1, 4, 1000])
def test_marks_in_an_answer_are_text(answer, cut):
    pieces = [answer[i : i + cut] for i in range(0, len(answer), cut)]
    assert read(*(frame({"content": p}) for p in pieces), frame({}, "stop"))[:2] == (answer, "")


@pytest.mark.parametrize("cut", [1, 4, 1000])
def test_marks_in_code_are_text_even_of_a_model_that_reasons(cut):
    for answer in ("It ends by `</think>` there.", "```\nx </think>\n```\nSo.", "``a`` and `b </think>` c"):
        pieces = [answer[i : i + cut] for i in range(0, len(answer), cut)]
        assert read(*(frame({"content": p}) for p in pieces), frame({}, "stop"), reasons=True)[:2] == (answer, "")


def test_a_quoted_mark_in_the_reasoning_does_not_end_it():
    for cut in (1, 5, 1000):
        whole = "<think>They ask about `</think>` and so on.</think>It is a mark."
        pieces = [whole[i : i + cut] for i in range(0, len(whole), cut)]
        got = read(*(frame({"content": p}) for p in pieces), frame({}, "stop"))
        assert got[:2] == ("It is a mark.", "They ask about `</think>` and so on.")


def test_where_the_reasoning_has_a_field_of_its_own_marks_are_text():
    chunks = frame({"reasoning_content": "Hm."}), frame({"content": "It is </think> there."}), frame({}, "stop")
    assert read(*chunks, reasons=True)[:2] == ("It is </think> there.", "Hm.")


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning_content": "Hm."},
        {"reasoning": "Hm."},
        {"thinking": "Hm."},
        {"reasoning": {"content": "Hm."}},
        {"reasoning_content": ["Hm", "."]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "Hm."}]},
        {"reasoning_details": [{"type": "reasoning.summary", "summary": "Hm."}]},
        {"reasoning_content": "Hm.", "reasoning": "Hm."},
        {"content": [{"type": "thinking", "thinking": "Hm."}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]},
        {"content": [{"type": "reasoning", "text": "Hm."}]},
        {"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}]},
        {"content": "<think>Hm.</think>"},
    ],
)
def test_reasoning_in_every_shape(delta):
    said = frame({"content": [{"type": "text", "text": "It is "}, {"type": "output_text", "text": "21."}]})
    assert read(frame(delta), said, frame({}, "stop"))[:2] == ("It is 21.", "Hm.")


def test_reasoning_alone_that_was_cut_by_the_length_is_an_answer_without_text():
    text, reasoning, stream = read(frame({"content": "<think>Hm"}), frame({"content": " and"}), frame({}, "length"))
    assert (text, reasoning, stream.finish) == ("", "Hm and", "length")


# -- tool calls --------------------------------------------------------------------------------------------------------
def test_tool_calls_in_other_forms():
    whole = {
        "tool_calls": [
            {"function": {"name": "a", "arguments": {"x": 1}}},
            {"function": {"name": "b", "arguments": "{}"}},
        ]
    }
    assert [json.loads(c) for c in read(frame(whole), frame({}, "tool_calls"))[2].tool_calls] == [
        {"name": "a", "arguments": '{"x": 1}'},
        {"name": "b", "arguments": "{}"},
    ]
    old = read(
        frame({"function_call": {"name": "a", "arguments": "{"}}),
        frame({"function_call": {"arguments": "}"}}),
        frame({}, "x"),
    )
    assert json.loads(old[2].tool_calls[0]) == {"name": "a", "arguments": "{}"}


# -- bounds ------------------------------------------------------------------------------------------------------------
def test_an_answer_without_an_end_is_cut_off(monkeypatch):
    from tui_router.backends import stream as module

    monkeypatch.setattr(module, "LONGEST_ANSWER", 1000)
    error = failure(*(frame({"content": "x" * 100}) for _ in range(20)))
    assert error.failure == "broken" and "longer than 1,000 characters" in str(error)
    assert failure(*(frame({"reasoning": "x" * 100}) for _ in range(20))).failure == "broken"
    call = frame({"tool_calls": [{"index": 0, "function": {"arguments": "x" * 100}}]})
    assert failure(*([call] * 20)).failure == "broken"


def test_a_million_tool_calls_are_not_kept():
    calls = frame({"tool_calls": [{"index": i, "function": {"name": "a"}} for i in range(5000)]})
    assert len(read(calls, frame({}, "stop"))[2].tool_calls) == 100
