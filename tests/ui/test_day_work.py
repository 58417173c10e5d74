"""What a person does all day: read back, copy, edit, go on, find a command."""

import asyncio

import pytest

from tests.worlds import a_turn
from tui_router.core.types import Answer
from tui_router.store.store import Store

LONG = 'I keep a list of books.\n\nHalf of the titles differ: "Garden Birds" and\n\tBirds of the garden.\n\nWhich way would you go?'


async def test_a_request_of_several_lines_is_shown_whole(face):
    async with face(threshold=0.0) as f:
        f.chat.widgets.prompt.area.fill(LONG)
        await f.pilot.press("enter")
        await f.see(
            "› I keep a list of books.", 'Half of the titles differ: "Garden Birds" and', "    Birds of the garden."
        )
        await f.see("Which way would you go?")


async def test_a_very_long_request_is_folded_with_a_mark_and_unfolded_by_a_key(face):
    async with face(threshold=0.0, size=(120, 60)) as f:
        f.chat.widgets.prompt.area.fill("\n".join(f"line {n}" for n in range(1, 41)))
        await f.pilot.press("enter")
        await f.see("▸ 10 more lines; t shows them")
        await f.until(lambda: not f.app.engine.live, "the answer")
        await f.pilot.press("escape", "t")
        (card,) = f.chat.conversation.cards.values()
        await f.until(lambda: "line 40" in str(card._request.content), "the last line")


@pytest.fixture
def clipboard(monkeypatch):
    copied = []
    monkeypatch.setattr("textual.app.App.copy_to_clipboard", lambda self, text: copied.append(text))
    return copied


async def test_answer_code_block_and_request_are_copied_by_key(face, clipboard):
    async with face(threshold=0.0) as f:
        await f.ask("write a python function")
        await f.pilot.press("escape")
        await f.see("x copy   b copy block   X copy request   e edit   r retry")
        await f.pilot.press("x", "X", "b")
        await f.until(lambda: len(clipboard) == 3, "the copies")
        answer, request, block = clipboard
        assert answer == f.store.find("1").answer.text and request == "write a python function"
        assert block.startswith("def parse(") and "```" not in block and block in answer
        told = [n.message for n in f.app._notifications]
        assert any("OSC 52" in text for text in told) and any("code block 1 of 1" in text for text in told)
        await f.pilot.press("i")
        assert "copy block" not in f.screen()


async def test_a_turn_without_an_answer_or_a_code_block_says_so(face, clipboard):
    async with face(threshold=1.0) as f:
        await f.type("hello")
        await f.pilot.press("enter")
        await f.see("Not sent yet")
        await f.pilot.press("escape", "escape", "escape")
        await f.pilot.press("x", "b")
        await f.until(lambda: any("no code block" in n.message for n in f.app._notifications), "the sentence")
        assert not clipboard


async def test_an_edited_request_sees_the_conversation_before_it(face):
    async with face(threshold=0.0) as f:
        await f.ask("hello")
        await f.ask("write a python function")
        await f.pilot.press("escape", "e")
        assert f.chat.widgets.prompt.area.text == "write a python function"
        await f.ask(" in one line")
        turn = f.store.find("3")
        assert turn.request.text == "write a python function in one line"
        sent = [r.body for r in f.server.requests if r.path == "/v1/chat/completions"][-1]["messages"]
        asked = [m["content"] for m in sent if m["role"] == "user"]
        assert asked == ["hello", "write a python function in one line"]


async def test_an_edit_that_was_given_up_leaves_the_next_request_its_context(face):
    async with face(threshold=0.0) as f:
        await f.ask("hello")
        await f.ask("write a python function")
        await f.pilot.press("escape", "e")
        f.chat.widgets.prompt.area.clear()
        await f.pilot.pause()
        await f.ask("thanks")
        sent = [r.body for r in f.server.requests if r.path == "/v1/chat/completions"][-1]["messages"]
        assert [m["content"] for m in sent if m["role"] == "user"] == ["hello", "write a python function", "thanks"]


async def test_a_retry_does_not_see_the_first_answer(face):
    async with face(threshold=0.0) as f:
        await f.ask("hello")
        await f.ask("write a python function")
        await f.pilot.press("escape", "r")
        await f.until(lambda: f.store.find("3") is not None and f.store.find("3").state == "done", "the answer")
        sent = [r.body for r in f.server.requests if r.path == "/v1/chat/completions"][-1]["messages"]
        assert [m["content"] for m in sent if m["role"] == "user"] == ["hello", "write a python function"]


async def test_earlier_requests_come_back_after_a_restart(face):
    async with face(threshold=0.0) as f:
        await f.ask("hello")
        await f.ask("write a python function")
    async with face(threshold=0.0) as f:
        await f.pilot.press("up")
        assert f.chat.widgets.prompt.area.text == "write a python function"
        await f.pilot.press("up")
        assert f.chat.widgets.prompt.area.text == "hello"


async def test_a_slash_opens_the_commands_and_tab_completes(face):
    async with face(threshold=0.0) as f:
        await f.type("/")
        await f.see("› /health", "check servers and models", "/image PATH")
        await f.type("st")
        await f.pilot.press("tab")
        assert f.chat.widgets.prompt.area.text == "/stats"
        await f.pilot.press("escape")
        await f.until(lambda: not f.chat.widgets.commands.display, "the list to close")
        assert f.chat.widgets.prompt.area.text == "/stats"
        f.chat.widgets.prompt.area.clear()
        await f.type("/mo")
        await f.pilot.press("enter")
        assert f.chat.widgets.prompt.area.text == "/model "
        f.chat.widgets.prompt.area.clear()
        await f.type("/")
        await f.pilot.press("up", "enter")  # the last one: /help
        await f.see("Rating, while the prompt is empty")


async def test_a_notification_covers_neither_the_prompt_nor_the_strip(face):
    async with face(threshold=0.0) as f:
        await f.ask("hello")
        f.app.notify("something happened", markup=False)
        await f.see("something happened")
        lines = f.screen().splitlines()
        place = next(i for i, text in enumerate(lines) if "something happened" in text)
        assert place < f.chat.widgets.rating_strip.region.y
        await f.see("Right route?", "› Ask anything.")


async def test_a_retry_does_not_see_turns_of_other_programs(face):
    async with face(threshold=0.0) as f:
        await f.ask("write a python function")
        other = await asyncio.to_thread(Store, f.folder)
        foreign = a_turn("where do fish sleep", source="command line", answer=Answer(text="In reefs."))
        await asyncio.to_thread(other.record, foreign)
        await asyncio.to_thread(other.close)
        await f.see("where do fish sleep")
        await f.ask("now make it shorter")
        await f.pilot.press("escape", "r")
        await f.until(lambda: len(chats(f)) == 3, "the retry")
        assert chats(f)[-1] == chats(f)[-2]
        assert [m["role"] for m in chats(f)[-1]] == ["user", "assistant", "user"]


def chats(face):
    """The messages of every request that a model was sent."""
    return [r.body["messages"] for r in face.server.requests if r.path == "/v1/chat/completions"]
