"""A long conversation: only what is near the window is drawn, and nobody notices."""

import pytest
from textual.widgets import Markdown

from tests.worlds import a_turn
from tui_router.core.types import Answer

TURNS = 18


def answer(number):
    body = "\n\n".join(f"Paragraph {i} of answer {number}. It has **some** words, and `code`." for i in range(12))
    return Answer(text=f"BEGIN {number}\n\n{body}\n\n- one\n- two\n\n```\nx = {number}\n```\n\nEND {number}")


def drawn(f):
    """Numbers of the cards whose answers are drawn."""
    return [place for place, card in enumerate(f.chat.conversation.cards.values()) if card.query(Markdown)]


async def long_talk(f):
    session = ""
    with f.store.db.transaction():
        for number in range(TURNS):
            session = f.store.record(a_turn(f"say it, part {number}", session, answer=answer(number))).session
    await f.chat.open_session(session)
    await f.see(f"END {TURNS - 1}")


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_answers_far_from_the_window_are_blank(face, size):
    async with face(size=size) as f:
        await long_talk(f)
        assert TURNS - 1 in drawn(f) and 0 not in drawn(f) and len(drawn(f)) < TURNS / 2
        await f.pilot.press("escape", "g")
        await f.see("BEGIN 0")
        await f.until(lambda: TURNS - 1 not in drawn(f), "the end left blank")
        assert 0 in drawn(f) and len(drawn(f)) < TURNS / 2
        await f.pilot.press("G")
        await f.see(f"BEGIN {TURNS - 1}")


async def test_the_way_up_shows_every_line_once(face):
    async with face() as f:
        await long_talk(f)
        await f.pilot.press("escape")
        seen = []
        while f.chat.widgets.conversation.scroll_y > 0:
            f.chat.widgets.conversation.scroll_relative(y=-8, animate=False)
            for _ in range(4):
                await f.pilot.pause()
            found = [line.split("BEGIN ")[1].split()[0] for line in f.screen().splitlines() if "BEGIN " in line]
            seen += [int(one) for one in found if int(one) not in seen]
        assert seen == list(reversed(range(TURNS)))


async def test_what_is_read_stays_where_it_is_when_answers_above_it_are_drawn(face):
    async with face() as f:
        await long_talk(f)
        await f.pilot.press("escape", "k", "k", "k", "k", "k", "k")
        place = TURNS - 7
        await f.see(f"BEGIN {place}")
        rows = []
        for _ in range(40):
            await f.pilot.pause(0.02)
            rows.append(next((i for i, line in enumerate(f.screen().splitlines()) if f"BEGIN {place}" in line), None))
        assert place - 1 in drawn(f)
        assert len(set(rows[10:])) == 1 and rows[-1] is not None


async def test_an_answer_that_streamed_here_is_blank_too_when_it_is_left_behind(face):
    async with face() as f:
        await long_talk(f)
        await f.ask("write a python function")
        await f.see("A sketch, from the demo")
        newest = f.chat.conversation.cards[f.chat.conversation.newest]
        before = newest.virtual_region.height
        await f.pilot.press("escape", "g")
        await f.until(lambda: not newest.query(Markdown), "the newest left blank")
        await f.pilot.pause()
        assert newest.virtual_region.height == before
        await f.pilot.press("G")
        await f.see("A sketch, from the demo")
