"""Every parser of what servers send takes linear time and bounded memory, and reads anything without an exception."""

import gc
import json
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backends.campaign import campaign
from tests.core.test_json_value import ANYTHING
from tests.doubles.raw import http, raw_server
from tui_router.backends.backend_errors import BackendError, classify, message_of
from tui_router.backends.client import Client
from tui_router.backends.images import find
from tui_router.backends.listing import LISTERS, detect
from tui_router.backends.matching import readings
from tui_router.backends.served_chooser import read as read_choice
from tui_router.backends.sse import SSEDecoder
from tui_router.backends.stream import ChatStream
from tui_router.backends.thinking import ThinkSplitter
from tui_router.core.json_value import JsonValue, decode_json, object_in_prose

CHUNK = 1000


def decode(data):
    decoder = SSEDecoder()
    for start in range(0, len(data), CHUNK):
        decoder.feed(data[start : start + CHUNK])
    decoder.close()


def stream(data):
    reader = ChatStream(reasons=True)
    for start in range(0, len(data), CHUNK):
        list(reader.feed(data[start : start + CHUNK]))
    with suppress(BackendError):
        list(reader.close())


def split(text, size=20):
    splitter = ThinkSplitter(reasons=True)
    for start in range(0, len(text), size):
        splitter.feed(text[start : start + size])
    splitter.close()


def event(delta):
    return b"data: " + json.dumps({"choices": [{"delta": delta}]}).encode() + b"\n\n"


PARSERS = {
    "blank lines": (decode, lambda n: b"\n" * (40 * n)),
    "lines of CR": (decode, lambda n: b"\r" * (40 * n)),
    "one long line": (decode, lambda n: b"data: " + b"x" * (150 * n)),
    "many data lines": (decode, lambda n: b"data: x\n" * (10 * n)),
    "comments": (decode, lambda n: b": ping\n\n" * (10 * n)),
    "deltas": (stream, lambda n: event({"content": "word "}) * n),
    "reasoning": (stream, lambda n: event({"reasoning": "word "}) * n),
    "calls": (stream, lambda n: event({"tool_calls": [{"index": 0, "function": {"arguments": "word "}}]}) * n),
    "whole JSON": (stream, lambda n: json.dumps({"choices": [{"message": {"content": "x" * (100 * n)}}]}).encode()),
    "blanks before": (stream, lambda n: b" " * (40 * n)),
    "think": (split, lambda n: "<think>" + "a < b ` " * (8 * n) + "</think>"),
    "open": (split, lambda n: "a < b ` </thin " * (5 * n)),
    "closing marks": (split, lambda n: "`</think>` " * (5 * n)),
    "blank text": (split, lambda n: " \n" * (20 * n)),
    "harmony": (split, lambda n: "<|channel|>final<|message|>" + "<|en a " * (8 * n)),
    "JSON": (decode_json, lambda n: "[" + "1," * (50 * n) + "1]"),
    "open JSON": (decode_json, lambda n: "[" * (1000 * n)),
    "prose": (object_in_prose, lambda n: "{ a " * (400 * n)),
    "message of an error": (lambda text: message_of(JsonValue({"error": text})), lambda n: "{ prompt " * (100 * n)),
    "words of an error": (lambda text: classify(400, text), lambda n: "prompt image role system " * (200 * n)),
    "typed images": (find, lambda n: "@image ....,,,, " * (2 * n)),
    "a typed name": (find, lambda n: "@image " + "a.," * (300 * n)),
    "an id": (readings.__wrapped__, lambda n: "q4_k_" * (20 * n)),
    "a path": (readings.__wrapped__, lambda n: "a_1b/" * (20 * n)),
}


@pytest.mark.parametrize("name", PARSERS)
def test_twice_the_input_takes_twice_the_time(name):
    """The ratio for a doubling, out of two of them: the fastest of some runs, in time of this process; three tries."""
    parse, make = PARSERS[name]

    def took(n):
        data, best = make(n), float("inf")
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                began = time.process_time()
                parse(data)
                best = min(best, time.process_time() - began)
        finally:
            gc.enable()
        return best

    size = 400
    while took(size) < 0.003 and size < 4_000:  # long enough to be measured
        size *= 2
    ratios = []
    for _ in range(3):
        ratios.append((took(4 * size) / took(size)) ** 0.5)
        if ratios[-1] <= 2.5:
            return
    raise AssertionError(f"{name}: {ratios}")


MEMORY = """
import resource, sys
from tui_router.backends.backend_errors import BackendError
from tui_router.backends.stream import ChatStream
kind, before = sys.argv[1], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
frame = b'data: {"choices": [{"delta": {"content": "' + b"word " * 20 + b'"}}]}\\n\\n'
pieces = {
    "answer": [frame * 600] * 17000,
    "line": [b"data: "] + [b"x" * 65536] * 16000,
    "json": [b'{"a": "'] + [b"x" * 65536] * 16000,
    "alive": [b": ping\\n\\n" * 8000] * 16000,
}[kind]
reader, read = ChatStream(), 0
try:
    for piece in pieces:
        read += len(piece)
        for event in reader.feed(piece):
            pass
    print("all", end=" ")
except BackendError as error:
    print(error, end=" ")
print(read, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize(
    ("kind", "said"), [("answer", "longer than"), ("line", "more than 4 MiB"), ("json", "more than 4 MiB")]
)
def test_a_gigabyte_is_cut_off_in_little_memory(kind, said):
    done = subprocess.run([sys.executable, "-c", MEMORY, kind], capture_output=True, text=True, check=True)
    megabytes = int(done.stdout.split()[-1])
    assert said in done.stdout and megabytes <= 60, done.stdout


# -- anything at all ---------------------------------------------------------------------------------------------------
NAMES = """
choices delta message content text role reasoning reasoning_content tool_calls function name arguments index finish_reason
usage prompt_tokens prompt_progress total processed error details object type data models id key status state meta n_ctx
config loaded_instances capabilities vision owned_by max_model_len version logprobs top_logprobs token logprob
"""
FIELDS = st.sampled_from(NAMES.split())
NEAR = st.recursive(
    ANYTHING,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=5),
    max_leaves=20,
)


@given(st.lists(NEAR, max_size=4), st.sampled_from(["data: ", "", "event: error\ndata: "]), st.integers(1, 40))
@settings(max_examples=150, deadline=None)
def test_any_frames_are_an_answer_or_an_error_of_the_server(frames, before, cut):
    data = "".join(f"{before}{json.dumps(one)}\n\n" for one in frames).encode()
    reader = ChatStream(reasons=True)
    try:
        for start in range(0, len(data), cut):
            list(reader.feed(data[start : start + cut]))
        list(reader.close())
    except BackendError as error:
        assert 0 < len(str(error)) < 600
    for call in reader.tool_calls:
        json.loads(call)


@given(st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_an_answer_or_an_error_of_the_server(data):
    reader = ChatStream()
    try:
        list(reader.feed(data))
        list(reader.close())
    except BackendError as error:
        assert 0 < len(str(error)) < 600


@given(st.text(alphabet="ab`\n <>/[]|thinkTHINK"), st.integers(1, 9))
@settings(max_examples=200, deadline=None)
def test_an_answer_that_begins_with_a_word_is_kept_as_it_is(text, size):
    whole, splitter = f"a{text}</think>{text}", ThinkSplitter()
    got = [splitter.feed(whole[i : i + size]) for i in range(0, len(whole), size)] + [splitter.close()]
    assert "".join(g.text for g in got) == whole


@given(st.text(max_size=60), st.text(max_size=8))
@settings(max_examples=100, deadline=None)
def test_any_cut_of_a_text_is_split_alike(text, tail):
    whole = f"<think>{text}</think>{tail}x"

    def run(size):
        splitter = ThinkSplitter()
        got = [splitter.feed(whole[i : i + size]) for i in range(0, len(whole), size)] + [splitter.close()]
        return "".join(g.reasoning for g in got), "".join(g.text for g in got)

    assert run(1) == run(3) == run(1000)


@given(NEAR)
@settings(max_examples=100, deadline=None)
def test_any_reply_is_a_choice_or_none(reply):
    chosen = read_choice(reply, "ABC")
    assert chosen is None or chosen.letter in "ABC"


@given(NEAR, st.sampled_from([200, 404, 500]))
@settings(max_examples=40, deadline=None)
def test_any_listing_is_a_listing_or_one_sentence(body, status):
    import asyncio

    async def look():
        async with raw_server(http(json.dumps(body).encode(), f"{status} X")) as url:
            client = Client(url)
            for ask in (detect, *LISTERS.values()):
                try:
                    listing = await ask(client)
                except BackendError as error:
                    assert 0 < len(str(error)) < 600
                else:
                    assert all(model.id and model.context >= 0 for model in listing.models)
            await client.close()

    asyncio.run(look())


async def test_sound_and_spoilt_listings_and_streams_of_each_protocol():
    """The long form: `python -m tests.backends.campaign`."""
    counts, wrong = await campaign(100, seed=7)
    assert not wrong, wrong[0]
    assert counts["streams read"] >= 50 and counts["listings read"] >= 50
