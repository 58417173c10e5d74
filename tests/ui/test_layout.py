"""Nothing on a screen is cut inside a word, the panes share their height, and an enlarged pane gives its place back."""

import re

import pytest

from tui_router.core.types import Observation
from tui_router.ui.widgets.lines import cut_to_words, line

SIZES = [(80, 24), (100, 30), (120, 40), (160, 48), (200, 60)]
CUT = re.compile(r"\w…")


def cut_lines(f):
    """The lines of the screen in which a word is cut, or that a widget shows beyond the screen's edge."""
    found = [text for text in f.screen().splitlines() if CUT.search(text)]
    width = f.app.size.width
    found += [text for text in f.screen().splitlines()[-1:] if "…" in text]  # keys are left out, never cut
    return found + [repr(w) for w in f.app.screen.query("Lines, SplitLine") if w.display and w.region.right > width]


@pytest.mark.parametrize("size", SIZES)
async def test_no_screen_cuts_inside_a_word(face, size):
    async with face(size=size) as f:
        assert not cut_lines(f)
        await f.ask("hello")
        await f.pilot.press("y")
        await f.see("✓ right, saved")
        await f.ask("write a haiku")
        await f.pilot.press("n")
        await f.see("Which route was right?")
        assert not cut_lines(f)
        await f.pilot.press("3")
        await f.see("↻ reasoning, saved")
        assert not cut_lines(f)
        await f.pilot.press("escape")
        await f.pilot.pause(0.1)
        assert not cut_lines(f)
        if size[0] < 120:
            for tab in "2345":
                await f.pilot.press(tab)
                await f.pilot.pause(0.1)
                assert not cut_lines(f), f"tab {tab}"
        for key, title in (
            ("f1", "Writing"),
            ("f3", "F3 Stats"),
            ("f4", "F4 Data"),
            ("f5", "F5 Train"),
            ("f6", "F6 Export"),
        ):
            await f.pilot.press(key)
            await f.see(title)
            await f.pilot.pause(0.3)
            assert not cut_lines(f), title
            await f.pilot.press("escape")
            await f.pilot.pause(0.1)


def fill_feed(f):
    for place in range(5):
        text = f"something happened to server number {place}, and this sentence says at length what that was"
        f.chat.status.add_observation(
            Observation(at=f"2026-01-02T03:0{place}:00+00:00", tag=f"event_{place}", text=text, level="info")
        )


async def test_the_feed_keeps_three_entries_beside_a_decision_of_three_reasons(face):
    async with face() as f:
        for _ in range(2):
            await f.ask("write a python function")
            await f.pilot.press("y")
            await f.see("✓ right, saved")
        fill_feed(f)
        decision, feed = f.chat.widgets.decision, f.chat.widgets.observer
        await f.see("event_4", "event_3", "event_2")
        assert decision.size.height <= 14 and "because" in f.screen()
        assert feed.region.bottom <= f.chat.widgets.keys_bar.region.y
        assert f.chat.widgets.accuracy.chart.size.height >= 3


async def test_an_enlarged_pane_gives_its_place_back_exactly(face):
    async with face(threshold=0.0) as f:
        await f.ask("write a python function")
        fill_feed(f)
        await f.pilot.press("escape")
        await f.pilot.pause(0.2)
        before = f.screen()
        for leave in ("z", "escape"):
            await f.pilot.press("z")
            await f.until(lambda: f.chat.maximized is f.chat.widgets.decision)
            await f.see("DECISION", "F2 Chat", "z enlarge")
            assert "╱" not in f.screen()
            await f.pilot.press(leave)
            await f.until(lambda: f.chat.maximized is None)
            await f.until(lambda: f.screen() == before, "the screen as it was")


@pytest.mark.parametrize("width", range(2, 40))
def test_a_text_is_cut_after_whole_words(width):
    text = "served by gemma-3-1b: qwen3-coder-30b failed"
    cut = cut_to_words(line(text), width).plain
    if width >= 8:
        assert len(cut) <= width and all(word in text.split() for word in cut.replace(" …", "").split())
