"""What people type, paste and press never ends the dashboard and never vanishes."""

import asyncio
import socket

from msgspec.structs import replace
from textual import events

from tests.worlds import SHIPPED
from tui_router.config.settings import BackendSetting
from tui_router.demo.server import DemoServer
from tui_router.ui.app import RouterApp
from tui_router.ui.options import Options
from tui_router.ui.screens.chat.keyboard import KeyboardState
from tui_router.ui.widgets.typed_text import is_text

ODD = ("~nobody-of-this-name", "file://[x", "file:///%00.png", '"', "'a", "\\", "//x", "http://[::1", "\udc80.png")


async def test_odd_pastes_stand_in_the_prompt(face):
    async with face() as f:
        area = f.chat.widgets.prompt.area
        for text in ODD:
            area.post_message(events.Paste(text))
            await f.until(lambda text=text: area.text == text, repr(text))
            area.clear()
        assert f.app.is_running


async def test_joiners_are_typed_into_words_and_emoji(face):
    typed = "می\u200cخواهم \U0001f469\u200d\U0001f467"
    async with face(threshold=0.0) as f:
        for character in typed:
            f.app.post_message(events.Key(character, character))
        await f.until(lambda: f.chat.widgets.prompt.area.text == typed, "the text")


def test_a_joiner_after_a_mark_is_typing():
    state = KeyboardState()
    state.routed("1", asking=False)
    state.press("y", "y", 1.0, True)
    state.press("\u200d", "\u200d", 1.1, True)
    assert state.pending is None and state.mode == "writing"
    assert not is_text("\x1b") and not is_text(None) and not is_text("\u202e")


async def test_a_request_before_the_first_check_of_the_servers_waits_for_it(tmp_path, monkeypatch):
    healthy, silent = DemoServer(speed=300), socket.create_server(("127.0.0.1", 0), backlog=20)
    url = await healthy.start()
    backends = (
        BackendSetting(name="workstation", url=f"http://127.0.0.1:{silent.getsockname()[1]}"),
        BackendSetting(name="LM Studio", url=url),
    )
    import tui_router.app.engine  # noqa: F401  # as the program's own loading does

    monkeypatch.setattr(RouterApp, "_load", lambda self: replace(SHIPPED, backends=backends))
    app = RouterApp(Options(data_dir=tmp_path / "store"))
    async with app.run_test(size=(120, 40)) as pilot:

        async def until(there):
            async with asyncio.timeout(60):
                while not there():
                    await pilot.pause(0.02)

        await until(lambda: app.chat.conversation.engine is not None)
        await pilot.press(*"hello", "enter")
        await until(lambda: bool(app.chat.conversation.cards))
        (card,) = app.chat.conversation.cards.values()
        if not all(b.status.reachable is not None for b in app.engine.health.backends):
            await until(lambda: "looking for servers" in str(card._route_line()) or card.turn.answer is not None)
        await until(lambda: card.turn.state == "done")
        assert card.turn.dispatch.served == "gemma-3-1b" and not card.turn.dispatch.hops
        await app._stop_engine()
    await healthy.close()
    silent.close()


async def test_a_request_that_waits_for_servers_is_stopped_by_escape_and_kept(tmp_path, monkeypatch):
    silent = socket.create_server(("127.0.0.1", 0), backlog=20)
    backend = BackendSetting(name="workstation", url=f"http://127.0.0.1:{silent.getsockname()[1]}")
    import tui_router.app.engine  # noqa: F401  # as the program's own loading does

    monkeypatch.setattr(RouterApp, "_load", lambda self: replace(SHIPPED, backends=(backend,)))
    app = RouterApp(Options(data_dir=tmp_path / "store"))
    async with app.run_test(size=(120, 40)) as pilot:
        async with asyncio.timeout(60):
            while app.chat.conversation.engine is None:
                await pilot.pause(0.02)
            await pilot.press(*"hello", "enter")
            while not app.chat.conversation.cards:
                await pilot.pause(0.02)
            (card,) = app.chat.conversation.cards.values()
            await pilot.press("escape", "escape")
            while card.turn.state not in ("unanswered", "failed"):
                await pilot.pause(0.02)
        await app._stop_engine()
    silent.close()
    assert card.turn.state == "unanswered"


async def test_a_folder_of_nobody_is_refused_with_a_sentence(face):
    async with face() as f:
        await f.pilot.press("f6")
        await f.see("F6 Export")
        await f.pilot.press("d")
        await f.see("Write it into this folder")
        await f.pilot.press("ctrl+u", *"~nobody-of-this-name/x", "enter")
        await f.until(
            lambda: any("there is no folder ~nobody" in n.message for n in f.app._notifications), "the sentence"
        )


async def test_a_fault_of_background_work_is_reported(face):
    async def broken():
        raise ZeroDivisionError("seven")

    async with face() as f:
        f.chat.run_worker(broken(), group="count", exit_on_error=False)
        await f.until(lambda: any("ZeroDivisionError: seven" in n.message for n in f.app._notifications), "the fault")


def test_what_is_pasted_is_never_read_as_a_key():
    from tui_router.ui.terminal_driver import PasteSplitter

    pasted = "write code a\x1b[31mred\x1b[0m end\x1b[A tail\x1b"
    stream = f"a\x1b[200~{pasted}\x1b[201~b\x1b[B\x1b"
    for cut in range(1, len(stream)):
        splitter = PasteSplitter()
        pieces = [*splitter.feed(stream[:cut]), *splitter.feed(stream[cut:])]
        assert "".join(text for was_pasted, text in pieces if not was_pasted) == "ab\x1b[B\x1b" or cut in (2,)
        assert cut == 2 or [text for was_pasted, text in pieces if was_pasted] == [pasted]
