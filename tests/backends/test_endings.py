"""How answers end: complete, cut, silent, by signs of life alone, or with a secret in the error."""

import asyncio
import time

import pytest
from msgspec.structs import replace

from tests.doubles.raw import chunked, http, raw_server
from tests.doubles.scripted import frame
from tests.worlds import SHIPPED
from tui_router.backends import dispatch
from tui_router.backends.dispatch import Dispatcher, DispatchOrder
from tui_router.backends.health import Backend, Health
from tui_router.backends.listing import Listing, ServedModel
from tui_router.config.settings import BackendSetting, Settings
from tui_router.core.types import Message


async def serve(*pieces, key="", person=False, pause_s=0.0, keep_open=False, settings=None, url_login=""):
    async with raw_server(*pieces, pause_s=pause_s, keep_open=keep_open) as plain:
        url = plain.replace("//", f"//{url_login}")
        health = Health(SHIPPED.fleet, [BackendSetting(name="pretend", url=url, api_key=key)])
        backend: Backend = health.backends[0]
        backend.listing = Listing("openai", (ServedModel(id="google/gemma-3-1b", state="loaded"),))
        backend.status = replace(backend.status, reachable=True)
        health.refresh()
        settings = settings or Settings(first_byte_s=1, load_s=1, idle_s=1)
        order = DispatchOrder(route=SHIPPED.fleet.route("simple_chat"), messages=(Message("user", "hello"),))
        switch = asyncio.Event() if person else None
        try:
            async with asyncio.timeout(10):
                return await Dispatcher(SHIPPED.fleet, health, settings).serve(order, lambda event: None, switch)
        finally:
            await health.close()


HELLO = frame({"content": "Hello"})


@pytest.mark.parametrize("kind", ["text/event-stream", "text/plain", "application/json", "application/x-ndjson", ""])
async def test_the_content_type_does_not_matter(kind):
    outcome = await serve(chunked(HELLO, frame({}, "stop"), kind=kind))
    assert outcome.answer.text == "Hello" and not outcome.failed


@pytest.mark.parametrize("after", [(), (b"data: [DONE]\n\n",)])
async def test_a_connection_that_breaks_after_the_end_was_said_is_a_whole_answer(after):
    outcome = await serve(chunked(HELLO, frame({}, "stop"), *after, end=False))
    assert outcome.answer.text == "Hello" and outcome.answer.finish == "stop" and not outcome.failed


async def test_a_connection_that_breaks_before_is_not():
    outcome = await serve(chunked(HELLO, end=False))
    assert outcome.interrupted and outcome.answer.text == "Hello" and "closed the connection" in outcome.answer.error


async def test_a_server_that_keeps_the_connection_open_after_the_end_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(dispatch, "_AFTER_FINISH_S", 0.1)
    began = time.monotonic()
    outcome = await serve(chunked(HELLO, frame({}, "stop"), end=False), keep_open=True, settings=Settings(idle_s=8))
    assert outcome.answer.text == "Hello" and not outcome.failed and time.monotonic() - began < 4


async def test_counts_that_come_after_the_end_are_read():
    usage = b'data: {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 9}}\n\n'
    outcome = await serve(
        chunked(HELLO, frame({}, "stop"), end=False), b"%x\r\n%s\r\n0\r\n\r\n" % (len(usage), usage), pause_s=0.1
    )
    assert outcome.answer.completion_tokens == 9


async def test_signs_of_life_alone_are_no_answer():
    alive = b"8\r\n: ping\n\n\r\n"
    outcome = await serve(
        chunked(end=False), *([alive] * 100), pause_s=0.05, settings=Settings(first_byte_s=0.4, load_s=0.4, idle_s=1)
    )
    assert outcome.failed and "only signs of life" in outcome.answer.error


@pytest.mark.parametrize(
    "pieces",
    [
        (http(b'{"error": {"message": "bad key sk-secret-0001"}}', "500 X"),),
        (http(b'{"error": {"message": "bad key sk-secret-0001"}}', "401 X"),),
        (http(b"<html>sk-secret-0001 pa55word", "502 X"),),
        (chunked(b'data: {"error": "key sk-secret-0001, login pa55word"}\n\n'),),
        (chunked(b"event: error\ndata: sk-secret-0001\n\n"),),
        (http(b'{"error": "no sk-secret-0001"}'),),
        (http(b"", "302 X", Location="http://x/?key=sk-secret-0001"),),
        (chunked(HELLO, b'data: {"error": "sk-secret-0001"}\n\n'),),
    ],
)
async def test_a_key_that_a_server_repeats_stands_in_no_record(pieces):
    outcome = await serve(*pieces, key="sk-secret-0001", url_login="me:pa55word@")
    shown = repr(outcome)
    assert outcome.failed and "secret-0001" not in shown and "pa55word" not in shown


async def test_an_answer_without_an_end_is_cut_off_and_kept(monkeypatch):
    from tui_router.backends import stream

    monkeypatch.setattr(stream, "LONGEST_ANSWER", 50)
    outcome = await serve(chunked(*([HELLO] * 50)))
    assert outcome.interrupted and outcome.answer.text == "Hello" * 10 and "longer than" in outcome.answer.error


async def test_an_answer_that_takes_too_long_is_cut_off_and_kept(monkeypatch):
    monkeypatch.setattr(dispatch, "_LONGEST_ANSWER_S", 0.3)
    piece = b"%x\r\n%s\r\n" % (len(HELLO), HELLO)
    outcome = await serve(chunked(end=False), *([piece] * 60), pause_s=0.02)
    assert outcome.interrupted and outcome.answer.text.startswith("HelloHello") and "not over" in outcome.answer.error


async def test_only_tool_calls_are_an_answer():
    call = {"tool_calls": [{"index": 0, "function": {"name": "get_weather", "arguments": "{}"}}]}
    outcome = await serve(chunked(frame(call), frame({}, "tool_calls")))
    assert not outcome.failed and outcome.answer.text == "" and "get_weather" in outcome.answer.tool_calls[0]
