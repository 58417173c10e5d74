"""The main screen under a pilot: what a person sees and what ends up in the store."""

import asyncio

import pytest
from msgspec.structs import replace
from textual.widgets import Markdown

from tests.worlds import a_turn, right
from tui_router.store.store import Store
from tui_router.ui.app import RouterApp
from tui_router.ui.options import Options
from tui_router.ui.screens.chat import keyboard


async def test_type_see_the_route_read_the_answer_and_rate(face):
    async with face() as f:
        await f.ask("write a python function")
        await f.see(
            "code >99% → qwen3-coder-30b",
            "A sketch, from the demo",
            "‘write a python function’",
            "Right route?",
        )
        await f.pilot.press("y")
        await f.see("✓ right, saved", "100% [21-100] n=1")
        assert f.verdict().rating == "right" and f.verdict().route == "code"
        await f.pilot.press("u")
        await f.see("undone, saved", "no verdicts yet")
        assert f.verdict() is None


async def test_typing_right_after_an_answer_is_not_a_verdict_and_loses_no_character(face, monkeypatch):
    monkeypatch.setattr(keyboard, "TYPING_S", 30)  # a busy machine types slowly
    async with face() as f:
        for text in ("yes, but make it shorter", "no way", "can you also", "cool"):
            await f.ask("write a python function")
            await f.type(text)
            await f.until(lambda text=text: f.chat.widgets.prompt.area.text == text, f"{text!r} in the prompt")
            assert not f.chat.widgets.route_menu.display and not f.chat.widgets.comment_menu.display
            f.chat.widgets.prompt.area.clear()
        assert all(t.verdict is None for t in f.store.turns())


async def test_the_correction_picker(face):
    async with face() as f:
        await f.ask("write a python function")
        await f.pilot.press("n")
        await f.see("Which route was right?", "none of these", "decided")
        await f.pilot.press("3")
        await f.see("↻ reasoning, saved")
        assert (f.verdict().rating, f.verdict().route) == ("wrong", "reasoning")
        await f.ask("hello")
        await f.pilot.press("n")
        await f.pilot.pause(0.6)
        await f.type("vis")
        await f.see("› vis")
        await f.pilot.press("enter")
        await f.see("↻ vision, saved")
        await f.pilot.press("n", "escape")
        await f.until(lambda: not f.chat.widgets.route_menu.display)
        assert f.verdict(2).route == "vision"
        await f.pilot.press("n", "7")
        await f.see("Write which route is missing")
        await f.type("a legal route")
        await f.pilot.press("enter")
        await f.see("✗ wrong, saved")
        assert (f.verdict(2).route, f.verdict(2).comment) == (None, "a legal route")


async def test_a_comment_asks_what_it_is_about(face):
    async with face() as f:
        await f.ask("write a python function")
        await f.pilot.press("c")
        await f.see("What is this comment about?", "bad answer")
        await f.pilot.pause(0.6)
        await f.pilot.press("2")
        await f.see("Write what was bad about the answer")
        await f.type("too long")
        await f.pilot.press("enter")
        await f.see("✗ bad answer, saved")
        verdict = f.verdict()
        assert (verdict.kind, verdict.rating, verdict.route, verdict.comment) == (
            "answer",
            "wrong",
            None,
            "too long",
        )
        assert f.store.counters().rated == 0
        await f.ask("hello")
        await f.pilot.press("y")
        await f.see("✓ right, saved")
        await f.pilot.press("c")
        await f.pilot.pause(0.6)
        await f.pilot.press("3")
        await f.type("fine")
        await f.pilot.press("enter")
        await f.until(lambda: f.verdict(2).comment == "fine")
        assert (f.verdict(2).rating, f.verdict(2).kind) == ("right", "route")


async def test_an_unsure_decision_asks_before_anything_is_sent(face):
    async with face(threshold=1.0) as f:
        await f.type("write a python function")
        await f.pilot.press("enter")
        await f.see("? not sure: code >99%, below your 100%", "Not sent yet")
        assert not [r for r in f.server.requests if r.method == "POST"]
        await f.pilot.press("3")
        await f.see("reasoning <1% → ministral-14b-reasoning", "Step by step")
        assert (f.verdict().kind, f.verdict().route) == ("chosen", "reasoning")
        await f.type("tell me about boats and hats")
        await f.pilot.press("enter")
        await f.see("? not sure")
        await f.pilot.press("escape")
        await f.see("cancelled, not sent")
        await f.type("write a python function")
        await f.pilot.press("enter")
        await f.until(lambda: f.chat.verdicts.keyboard.asking.startswith("3-"))
        await f.pilot.press("enter")
        await f.until(lambda: f.verdict(3) is not None)
        assert f.verdict(3).kind == "accepted" and f.store.counters().rated == 2


async def test_earlier_turns_are_selected_and_rated_again(face):
    async with face() as f:
        await f.ask("hello")
        await f.ask("write a python function")
        await f.pilot.press("escape", "k")
        assert f.chat.navigation.selected.startswith("1-")
        await f.pilot.press("y")
        await f.until(lambda: f.verdict(1) is not None)
        await f.pilot.press("n")
        await f.see("Which route was right?")
        await f.pilot.press("2")
        await f.until(lambda: f.verdict(1).rating == "wrong")
        assert len(f.store.history("1")) == 2
        await f.pilot.press("i")
        await f.type("y")
        await f.pilot.pause(0.7)
        assert f.chat.widgets.prompt.area.text == "y" and f.verdict(2) is None


async def test_alt_y_rates_the_newest_while_writing(face):
    async with face() as f:
        await f.ask("hello")
        await f.type("something else")
        await f.pilot.press("alt+y")
        await f.until(lambda: f.verdict() is not None)
        assert f.chat.widgets.prompt.area.text == "something else"


async def test_escape_twice_stops_a_running_answer(face):
    async with face(speed=0.3) as f:
        await f.type("write a python function")
        await f.pilot.press("enter")
        await f.see("● answering")
        await f.pilot.press("escape", "escape")
        await f.see("stopped by you; what came is kept")
        assert f.store.find("1").state == "stopped"
        await f.until(lambda: f.server.stopped == 1)


async def test_no_feedback_removes_rating_everywhere(face):
    async with face(feedback=False) as f:
        await f.ask("hello")
        assert "Right route?" not in f.screen()
        await f.type("yes")
        assert f.chat.widgets.prompt.area.text == "yes"
        await f.pilot.press("alt+y", "escape", "y", "n")
        await f.pilot.pause(0.6)
        assert f.verdict() is None and "y n c" not in f.screen() and not f.chat.widgets.route_menu.display


async def test_no_server_says_what_was_looked_for_and_routing_works(face):
    async with face(server=False) as f:
        await f.see("No model server answered.", "^T   try the demo", "refused")
        await f.pilot.press("escape")
        await f.see("Ask anything.")
        await f.ask("goto amazon.com")
        await f.see("tool_use 97% → gpt-oss-20b", "no model server answers")
        await f.pilot.press("y")
        await f.see("✓ right, saved")
        await f.pilot.press("ctrl+t")
        await f.see("DEMO")
        await f.until(
            lambda: f.chat.conversation.engine is not None and any(m.ready for m in f.app.engine.health.models.values())
        )
        await f.ask("hello")
        assert f.store.counters().turns == 1, "the demo has a store of its own"


async def test_a_fallback_is_explained_on_the_card_and_in_the_feed(face):
    async with face() as f:
        f.server.faults["qwen/qwen3-coder-30b"] = "status_500"
        await f.ask("write a python function")
        await f.see("served by gpt-oss-20b: qwen3-coder-30b failed (The model has", "! fallback")


HOSTILE = "[@click=app.quit]here[/] [/INST] \x1b]52;c;ZXZpbA==\x07 \x1b[2J \u202eold \x9b3J"


async def test_hostile_text_is_harmless_in_every_pane(face):
    async with face(threshold=0.0) as f:
        f.server.faults["*"] = "hostile"
        f.chat.widgets.prompt.area.fill("hello " + HOSTILE)
        await f.pilot.press("enter")
        await f.until(lambda: f.store.find("1") is not None and f.store.find("1").state == "done")
        f.app.engine.context.notice("caution", "tag" + HOSTILE, HOSTILE)
        f.app.notify(HOSTILE, title=HOSTILE, markup=False)
        await f.pilot.pause(0.3)
        for keys in ([], ["n"], ["escape"], ["escape"], ["ctrl+o"]):
            await f.pilot.press(*keys)
            await f.pilot.pause(0.2)
            drawn = f.screen()
            assert not set(drawn) & {chr(c) for c in (*range(9), *range(11, 32), 127, *range(0x80, 0xA0), 0x202E)}
        assert f.app.is_running
        await f.pilot.press("escape")
        await f.see("[@click=app.quit]here[/] and [/INST]")


async def test_a_turn_from_another_process_appears(face):
    async with face() as f:
        other = await asyncio.to_thread(Store, f.folder)
        turn = await asyncio.to_thread(other.record, a_turn("goto example.org", source="command line"))
        await f.see("goto example.org", "from the command line")
        await asyncio.to_thread(other.rate, turn.id, right("tool_use"))
        await f.see("✓ right", "100% [21-100] n=1")
        await asyncio.to_thread(other.close)


async def test_sessions_are_resumed_with_their_turns(face):
    async with face() as f:
        await f.ask("write a rust function that parses csv")
        await f.type("/new")
        await f.pilot.press("enter")
        await f.see("Ask anything.")
        await f.ask("hello")
        assert f.store.counters().turns == 2 and len(f.store.sessions()) == 2
        await f.pilot.press("ctrl+o")
        await f.see("Sessions", "write a rust function that parses csv")
        await f.pilot.press("down", "enter")
        await f.until(lambda: f.chat.conversation.session.startswith("1-"))
        await f.see("code")
        await f.ask("now make it shorter")
        body = [r.body for r in f.server.requests if r.path == "/v1/chat/completions"][-1]
        assert body["messages"][0]["content"] == "write a rust function that parses csv"


async def test_slash_commands(face, tmp_path):
    async with face(threshold=0.0) as f:
        for text, said in (
            ("/model nope", "there is no model 'nope'; known: gpt-oss-20b"),
            ("/model gpt-oss-20b", "pinned: model gpt-oss-20b"),
            ("/charts", "there is no /charts; known: /health"),
        ):
            await f.type(text)
            await f.pilot.press("enter")
            await f.until(lambda said=said: any(said in n.message for n in f.app._notifications), said)
        await f.ask("hello")
        assert f.store.find("1").dispatch.served == "gpt-oss-20b"
        await f.type("/model")
        await f.pilot.press("enter")
        await f.ask("//etc is a folder")
        assert f.store.find("2").request.text == "/etc is a folder"
        await f.type("/help")
        await f.pilot.press("enter")
        await f.see("Rating, while the prompt is empty")


async def test_images_by_word_by_command_and_by_paste(face, tmp_path):
    picture = tmp_path / "my cat.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 40)
    async with face() as f:
        from textual import events

        f.chat.widgets.prompt.area.post_message(events.Paste(str(picture)))
        await f.until(lambda: f.chat.widgets.prompt.area.text.startswith("@image"))
        await f.type("what is it")
        await f.pilot.press("enter")
        await f.until(lambda: f.store.find("1") is not None and f.store.find("1").state == "done")
        turn = f.store.find("1")
        assert (
            turn.route == "vision"
            and turn.request.attachments[0].path == str(picture)
            and turn.request.text == "what is it"
        )
        await f.ask("@image nothing.png what is it")
        assert f.store.find("2").route == "vision" and not f.store.find("2").request.attachments
        assert any("there is no file nothing.png" in n.message for n in f.app._notifications)


async def test_a_huge_paste_is_one_line_and_is_sent_whole(face):
    from textual import events

    text = "\n".join(f"line {i} of the log" for i in range(2000))
    async with face() as f:
        f.chat.widgets.prompt.area.post_message(events.Paste(text))
        await f.see("[pasted text 1: 2,000 lines")
        await f.pilot.press("enter")
        await f.until(lambda: f.store.find("1") is not None)
        assert f.store.find("1").request.text == text
        await f.see("read     ‘line 0")


async def test_history_and_new_lines(face):
    async with face() as f:
        await f.ask("hello")
        await f.pilot.press("up")
        assert f.chat.widgets.prompt.area.text == "hello"
        await f.pilot.press("down", "a", "ctrl+j", "b")
        assert f.chat.widgets.prompt.area.text == "a\nb"


@pytest.mark.parametrize("size", [(80, 24), (60, 15), (200, 60)])
async def test_sizes(face, size):
    async with face(size=size) as f:
        await f.ask("write a python function")
        await f.see("qwen3-coder-30b")
        if size[0] < 100:
            await f.see("1 Chat", "code >99%")
            await f.pilot.press("escape", "4")
            await f.see("MODELS", "ministral-14b-reasoning")
            await f.pilot.press("1")
        assert f.chat.widgets.prompt.region.width > 20 and f.chat.widgets.prompt.region.bottom < size[1]


async def test_too_small_a_window_says_so_and_lives(face):
    async with face(size=(100, 30)) as f:
        await f.ask("hello")
        await f.pilot.resize_terminal(52, 12)
        await f.see("make me larger (now 52x12, need 60x15)")
        await f.pilot.resize_terminal(100, 30)
        await f.see("hello")


async def test_a_pane_is_enlarged_and_made_small_again(face):
    async with face() as f:
        await f.ask("hello")
        await f.pilot.press("escape", "z")
        assert f.chat.maximized is f.chat.widgets.decision
        await f.pilot.press("escape")
        await f.until(lambda: f.chat.maximized is None)


async def test_after_slash_health_the_prompt_has_the_keys_again(face):
    async with face() as f:
        await f.type("/health")
        await f.pilot.press("enter")
        await f.until(lambda: f.chat.maximized is f.chat.widgets.models)
        await f.see("google/gemma-3-1b (alias)")
        await f.pilot.press("escape")
        await f.until(lambda: f.chat.maximized is None)
        await f.type("what's up?")
        assert f.chat.widgets.prompt.area.text == "what's up?"


async def test_reasoning_is_folded_and_shown_on_request(face):
    async with face() as f:
        await f.ask("goto amazon.com")
        await f.see("▸ reasoning, ")
        assert "The person asks about" not in f.screen()
        await f.pilot.press("escape", "t")
        await f.see("The person asks about goto amazon.com.")


async def test_a_wrong_fleet_file_is_told_and_the_app_starts(tmp_path):
    file = tmp_path / "fleet.toml"
    file.write_text("[settings]\nconfidence_threshold = 9")
    app = RouterApp(Options(demo=True, data_dir=tmp_path / "store", config=file))
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        for _ in range(200):
            if app.engine is not None:
                break
            await pilot.pause(0.02)
        assert any("expected a number from 0 to 1, found 9" in n.message for n in app._notifications)
        await app._stop_engine()


async def test_links_of_models_open_only_web_addresses_and_only_when_confirmed(face, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    async with face() as f:
        markdown = Markdown("x")
        for href in ("file:///etc/passwd", "javascript:alert(1)"):
            f.app.on_markdown_link_clicked(Markdown.LinkClicked(markdown, href))
        for key in ("escape", "enter"):
            f.app.on_markdown_link_clicked(Markdown.LinkClicked(markdown, "https://example.org/a"))
            await f.see("Open this address in your browser?", "https://example.org/a")
            assert not opened
            await f.pilot.press(key)
        await f.until(lambda: opened == ["https://example.org/a"], "the browser")


@pytest.mark.parametrize("name", ["router-dark", "router-light", "router-high"])
def test_every_text_colour_can_be_read_on_every_ground(name):
    from textual.color import Color

    from tui_router.ui import theme

    palette = {"router-dark": theme.DARK, "router-light": theme.LIGHT, "router-high": theme.HIGH}[name]
    least = 7.0 if name == "router-high" else 4.5
    for ground in ("bg", "surface", "raised"):
        for ink in ("text", "strong", "muted", "accent", "right", "wrong", "caution", "s1", "s2", "s3", "s4"):
            light, dark = sorted(
                (_light(Color.parse(palette[ink])), _light(Color.parse(palette[ground]))), reverse=True
            )
            assert light / dark >= least, f"{ink} on {ground}: {light / dark:.2f}"


def _light(color):
    parts = [x / 255 / 12.92 if x <= 10 else ((x / 255 + 0.055) / 1.055) ** 2.4 for x in color.rgb]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2] + 0.05


async def test_a_verdict_that_comes_while_the_last_piece_is_drawn_stays(face):
    async with face() as f:
        await f.ask("write a python function")
        (card,) = f.chat.conversation.cards.values()
        done, write = card.turn, card._write
        drawing, writes = asyncio.Event(), []

        async def slow():
            writes.append(1)
            if len(writes) == 1:  # whoever comes while it is drawn does not wait for it
                await drawing.wait()
                await write()

        card._write, card.live = slow, True
        f.chat.conversation.show_turn(done)
        f.chat.conversation.show_turn(replace(done, verdict=right("code")))
        await f.pilot.pause(0.1)
        drawing.set()
        await f.pilot.pause(0.1)
        await f.until(lambda: not card.live, "the end")
        assert card.turn.verdict is not None and card.turn.verdict.rating == "right"


async def test_keys_before_the_engine_is_there_are_not_lost(tmp_path):
    app = RouterApp(Options(data_dir=tmp_path / "store", health_checks=False))
    async with app.run_test(size=(120, 40)) as pilot:
        assert app.chat.conversation.engine is None
        await pilot.press("ctrl+o")
        for _ in range(300):
            if type(app.screen).__name__ == "SessionsScreen":
                break
            await pilot.pause(0.02)
        else:
            raise AssertionError("the sessions did not come")
