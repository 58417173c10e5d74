"""Servers that come, go, are slow or broken: what is known of the models of the fleet."""

import asyncio
import time

import pytest

from tests.doubles.lmstudio import LMStudio
from tests.doubles.raw import http, raw_server
from tests.doubles.scripted import ScriptedServer, answer
from tests.worlds import SHIPPED
from tui_router.backends.backend_errors import BackendError
from tui_router.backends.dispatch import Dispatcher, DispatchOrder
from tui_router.backends.health import Health, look_for_tool
from tui_router.backends.listing import ServedModel
from tui_router.backends.stream import Progress
from tui_router.config.settings import BackendSetting, Settings, ToolSetting
from tui_router.core.fleet import Model
from tui_router.core.types import Message

SMALL, CODER = "gemma-3-1b", "qwen3-coder-30b"


@pytest.fixture
async def watch():
    made = []

    def health(fleet=SHIPPED.fleet, **servers):
        settings = [BackendSetting(name=name, url=url) for name, url in servers.items()]
        made.append(Health(fleet, settings))
        return made[-1]

    yield health
    for one in made:
        await one.close()


@pytest.fixture
async def double():
    server = LMStudio(speed=400)
    yield server, await server.start()
    await server.close()


async def until(condition, within_s=5.0):
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


async def test_the_states_of_the_models_of_the_fleet(watch, double):
    health = watch(studio=double[1])
    assert {m.state for m in health.models.values()} == {"unknown"}
    await health.look()
    states = {name: m.state for name, m in health.models.items()}
    assert states[SMALL] == "loaded" and states["gpt-oss-20b"] == "loadable"
    assert health.models[SMALL].served_as == "google/gemma-3-1b" and health.models[SMALL].backend == double[1]
    assert health.backends[0].status.latency_ms > 0 and health.backends[0].kind == "lmstudio"


async def test_a_server_that_goes_and_comes_back_is_told_once_each(watch, double):
    server, url = double
    health, told = watch(studio=url), []
    health.on_event = lambda level, tag, text: told.append((level, tag))
    await health.look()
    await server.close()
    await health.look()
    await health.look()
    assert health.models[SMALL].state == "down" and health.models[SMALL].error == "no server"
    await server.start(int(url.rpartition(":")[2]))
    await health.look()
    assert told == [("good", "server_up"), ("wrong", "server_down"), ("good", "server_up")]
    assert health.models[SMALL].state == "loaded"


async def test_another_program_on_the_same_port_is_found_out_again(watch, double):
    server, url = double
    health = watch(studio=url)
    await health.look()
    await server.close()
    await health.look()
    other = ScriptedServer(models=("some-7b",))
    await other.start(port=int(url.rpartition(":")[2]))
    await health.look()
    assert health.backends[0].kind == "openai" and health.models[SMALL].state == "down"
    await other.close()


async def test_a_silent_server_delays_and_hides_no_other(watch, double):
    async with raw_server(keep_open=True) as silent:
        health, began = watch(silent=silent, studio=double[1]), time.monotonic()
        health.start(60)
        await until(lambda: health.models[SMALL].state == "loaded", 2.5)
        assert time.monotonic() - began < 2.5 and health.backends[0].status.reachable is None
        health.watch(Model(name="other-7b"))
        health.refresh()
        assert health.status("other-7b").state == "unknown", "the silent server may have it"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[" * 200_000,
        b"null",
        b"NaN",
        b'{"data": 5}',
        b'{"data": [null, 7, {"id": 5}, {"id": null}]}',
        b'{"models": {"a": "b"}}',
        b"\xff\xfe\x00",
        b"<!doctype html><title>Home</title>",
        b'{"data": [{"id": "x", "owned_by": {"a": 1}, "max_model_len": "x"}], "version": []}',
    ],
)
async def test_a_broken_server_is_named_and_the_healthy_one_is_used(watch, double, body):
    async with raw_server(http(body)) as broken:
        health = watch(broken=broken, studio=double[1])
        await health.look()
        assert health.models[SMALL].state == "loaded" and health.backends[1].status.reachable
        status = health.backends[0].status
        assert status.reachable or broken in status.error
        await health.look()  # and it is asked again


async def test_a_reader_that_fails_on_a_reply_does_not_end_the_looking(watch, double, monkeypatch):
    from tui_router.backends import health as health_module

    async def broken(client):
        raise ZeroDivisionError

    monkeypatch.setattr(health_module, "detect", broken)
    health = watch(studio=double[1])
    await health.look()
    assert "cannot be read (ZeroDivisionError)" in health.backends[0].status.error


async def test_a_server_with_an_empty_list_is_up(watch):
    async with raw_server(http(b'{"object": "list", "data": null}')) as url:
        health = watch(empty=url)
        await health.look()
        assert health.backends[0].status.reachable and health.models[SMALL].error == "not on empty"


async def test_a_login_in_an_address_stands_in_no_status(watch, double):
    health = watch(studio=double[1].replace("//", "//me:pa55word@"))
    await health.look()
    assert health.models[SMALL].backend == double[1] == health.backends[0].status.url
    await double[0].close()
    await health.look()
    assert "pa55word" not in repr(health.backends[0].status) + repr(health.models)


async def test_a_loaded_model_is_preferred_over_one_that_must_be_loaded(watch):
    first, second = LMStudio(preloaded=()), LMStudio(preloaded=("google/gemma-3-1b",))
    health = watch(first=await first.start(), second=await second.start())
    await health.look()
    backend, served, how = health.find(SHIPPED.fleet.models[SMALL])
    assert (backend.setting.name, served.state, how) == ("second", "loaded", "alias")
    await first.close()
    await second.close()


async def test_what_dispatch_reports_is_seen_at_once(watch, double):
    health, changes = watch(studio=double[1]), []
    await health.look()
    health.on_change = lambda: changes.append(health.models[SMALL].state)
    health.answering(SMALL, 1)
    health.answering(SMALL, 0, 0.5)
    health.answering(SMALL, -1)
    assert changes == ["busy", "loading", "loaded"]
    health.measured(SMALL, 12.0, 60.0)
    assert (health.models[SMALL].latency_ms, health.models[SMALL].tokens_per_second) == (12.0, 60.0)
    health.failed(SMALL, health.backends[0], BackendError("down", "gone"))
    assert health.models[SMALL].state == "down" and health.backends[0].down_until > time.monotonic()


async def test_a_model_that_is_not_in_the_fleet_can_be_watched(watch, double):
    health = watch(studio=double[1])
    health.watch(Model(name="gemma-3-1b-router", aliases=("google/gemma-3-1b",)))
    await health.look()
    assert health.status("gemma-3-1b-router").state == "loaded" and health.status("other") is None
    assert "gemma-3-1b-router" not in health.models


async def test_requests_at_a_time(watch, double):
    health = watch(studio=double[1])
    await health.look()
    backend = health.backends[0]
    assert backend.slots(ServedModel(id="a", slots=4), "a")._value == 1, "LM Studio shares its context among slots"
    backend.listing = type(backend.listing)("vllm", ())
    assert backend.slots(ServedModel(id="b", slots=4), "b")._value == 4


# -- a request before the first look ----------------------------------------------------------------------------------
def order(route="simple_chat"):
    return DispatchOrder(route=SHIPPED.fleet.route(route), messages=(Message("user", "hello"),))


async def serve(health, events=None, wait_s=2):
    dispatcher = Dispatcher(SHIPPED.fleet, health, Settings(first_byte_s=wait_s, load_s=wait_s, idle_s=wait_s))
    async with asyncio.timeout(15):
        return await dispatcher.serve(order(), (events if events is not None else []).append)


async def test_a_request_before_the_first_look_waits_for_the_server_that_has_its_model(watch):
    async with raw_server(keep_open=True) as silent:
        server, events = ScriptedServer(answer), []
        health, began = watch(silent=silent, healthy=await server.start()), time.monotonic()
        health.start(60)
        outcome = await serve(health, events)
        assert outcome.answer.text == "Hello there" and Progress("looking") in events
        assert time.monotonic() - began < 2.5, "the silent server was not waited for"
        await server.close()


async def test_a_request_before_the_first_look_waits_until_all_were_asked(watch):
    async with raw_server(http(b"{}", "404 Not Found"), pause_s=0.1) as other:
        health = watch(other=other)
        health.start(60)
        outcome = await serve(health)
        assert outcome.failed and health.all_asked and "no model server can be used" in outcome.answer.error


async def test_a_request_has_the_servers_asked_if_nobody_does(watch, double):
    health = watch(studio=double[1])
    outcome = await serve(health)
    assert outcome.answer.text and outcome.dispatch.served == SMALL


async def test_a_server_that_lists_nothing_while_it_answers_us_is_not_down(watch):
    gate = asyncio.Event()

    class OneAtATime(ScriptedServer):
        async def _handle(self, request, reply):
            if request.method == "GET" and self.posts:
                await gate.wait()
            await super()._handle(request, reply)

    async def slowly(request, reply):
        await reply.start_stream()
        await gate.wait()
        await reply.end_stream()

    server = OneAtATime(slowly)
    health = watch(one=await server.start())
    await health.look()
    serving = asyncio.ensure_future(serve(health, wait_s=9))
    await until(lambda: server.posts)
    await health.look()
    assert health.backends[0].status.reachable and health.models[SMALL].ready
    gate.set()
    await serving
    await server.close()


async def test_closing_ends_a_look_that_hangs_and_never_fails(watch):
    async with raw_server(keep_open=True) as silent:
        health = watch(silent=silent)
        health.start(60)
        await asyncio.sleep(0.05)
        async with asyncio.timeout(2):
            await health.close()
        await health.close()


async def test_tools_are_there_or_not(double):
    found = await look_for_tool(ToolSetting(name="playwright", url=double[1]))
    assert found == {"name": "playwright", "url": double[1], "reachable": True, "error": ""}
    await double[0].close()
    gone = await look_for_tool(ToolSetting(name="playwright", url=double[1]))
    assert not gone["reachable"] and "nothing answers" in gone["error"]
