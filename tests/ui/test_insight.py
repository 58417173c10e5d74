"""Stats, report, observer under a pilot: numbers open their turns, turns are rated again, a proposal is tried and applied."""

import tomllib

from tests.worlds import a_turn, right, wrong
from tui_router.config import settings
from tui_router.config.settings import load_config
from tui_router.core.clock import now
from tui_router.core.label_edit import effective_edits
from tui_router.core.types import Observation
from tui_router.insight.report_files import Reports


async def filled(f):
    """Twenty right turns, and twelve in which `summarise` should have gone to reasoning."""

    def work():
        for _ in range(20):
            turn = f.store.record(a_turn("write a python function"))
            f.store.rate(turn.id, right("code"))
        for i in range(12):
            turn = f.store.record(a_turn(f"summarise the zorble {i}"))
            f.store.rate(turn.id, wrong("reasoning"))

    await f.app.engine.in_store(work)


async def test_every_number_opens_its_turns_and_they_are_rated_there(face):
    async with face(observer="passive") as f:
        await filled(f)
        await f.pilot.press("f3")
        await f.see("32 turns, 32 rated")
        await f.pilot.press("down", "down")
        await f.until(lambda: f.app.screen.openings.selected is not None)
        titles = set()
        for _ in range(60):
            titles.add(f.app.screen.openings.selected.title)
            await f.pilot.press("right")
        assert {
            "sent to code",
            "rated, sent to general_chat",
            "belongs to reasoning",
            "reasoning, sent to general_chat",
            "rules was wrong",
        } <= titles
        while f.app.screen.openings.selected.title != "reasoning, sent to general_chat":
            await f.pilot.press("left")
        await f.pilot.press("enter")
        await f.see("reasoning, sent to general_chat: 12 turns", "summarise the zorble 11", "✗ wrong → reasoning")
        await f.pilot.press("j", "y")
        await f.until(lambda: f.verdict(31).rating == "right")
        await f.see("8% [1-35] n=12")
        await f.pilot.press("u")
        await f.until(lambda: f.verdict(31).rating == "wrong")
        await f.pilot.press("n", "2")
        await f.until(lambda: f.verdict(31).route == "code")
        await f.pilot.press("h")
        await f.see("turn 31 counts twice in datasets")
        (ruling,) = effective_edits(await f.app.engine.in_store(f.store.training.edits)).values()
        assert ruling.kind == "value"
        await f.pilot.press("escape")
        await f.see("32 turns, 32 rated")


async def test_a_proposal_is_tried_applied_and_undone(face, tmp_path, monkeypatch):
    own = tmp_path / "fleet.toml"
    own.write_text('# mine\n[settings]\ntheme = "router-dark" # dark\n')
    async with face(router="rules") as f:  # the learned router has learned the corrections: nothing is left to propose
        await filled(f)
        await f.ask("write a python class for a queue")
        session = f.chat.conversation.session
        monkeypatch.setattr(settings, "config_dir", lambda: tmp_path)
        await f.type("/analyze")
        await f.pilot.press("enter")
        await f.see("Router report, ", "wrong decisions for general_chat", "add trigger", "fixes 12")
        await f.pilot.press("enter")
        await f.see("summarise the zorble 3")
        await f.pilot.press("escape")
        while "words" not in f.app.screen.report.findings[f.app.screen.at].toml:
            await f.pilot.press("j")
        await f.pilot.press("t")
        await f.see(
            "fixes 12, breaks 0; 0 unrated turns would change route; 33 turns",
            "general_chat → reasoning",
            'words = ["summarise"]',
        )
        old = f.app.engine
        await f.pilot.press("a")
        await f.see("applied")
        await f.until(lambda: "summarise" in own.read_text())
        assert "# mine" in own.read_text() and "# dark" in own.read_text()
        changed = load_config(own).fleet
        assert any(t.name == "summarise" for t in changed.route("reasoning").triggers)
        await another_engine(f, old)
        await f.see("write a python class for a queue")  # the conversation is still there, and goes on
        assert f.chat.conversation.session == session
        await f.type("/analyze")
        await f.pilot.press("enter")
        await f.see("Router report, ")
        old = f.app.engine
        await f.pilot.press("u")
        await f.until(lambda: "summarise" not in own.read_text())
        assert tomllib.loads(own.read_text()) == {"settings": {"theme": "router-dark"}}
        await another_engine(f, old)


async def another_engine(f, old):
    """Wait until the app goes on with the changed fleet."""
    await f.until(
        lambda: f.app.engine not in (None, old) and f.app.chat.conversation.engine is f.app.engine, "the engine again"
    )


async def test_kept_reports_are_listed_and_opened(face):
    async with face() as f:
        await filled(f)
        reports = Reports(f.folder)
        reports.folder.mkdir()
        (reports.folder / "2026-01-02.md").write_text("# An old one\n\nIt was quiet.")
        await f.pilot.press("f3")
        await f.see("32 turns")
        await f.pilot.press("r")
        await f.see("1 past report", "32 turns, 32 rated")
        await f.pilot.press("left")
        await f.see("An old one", "2026-01-02, past report 1 of 1")
        await f.pilot.press("right", "s")
        await f.until(lambda: len(reports.names()) == 2, "the file")


async def test_yesterdays_report_is_written_on_the_first_use_of_a_day(face):
    async with face() as f:
        await f.app.engine.in_store(lambda: f.store.record(a_turn("hello", at="2026-03-05T12:00:00.000Z")))
        await f.until(lambda: Reports(f.folder).names() == ["2026-03-05"], "the report")
        text = Reports(f.folder).read("2026-03-05")
        assert "# Router report, 2026-03-05" in text and "1 turn, 0 rated" in text
        assert (f.folder / "reports" / "2026-03-05.json").is_file()


async def test_the_feed_filters_opens_turns_and_switches_the_observer(face):
    async with face() as f:
        await filled(f)
        for tag, level, turns in (
            ("fallback", "caution", ("3",)),
            ("edge_case", "info", ("30", "31")),
            ("server", "wrong", ()),
        ):
            one = Observation(at=now(), tag=tag, text=f"about {tag}", level=level, turns=turns, by="gemma-3-1b")
            await f.app.engine.in_store(lambda one=one: f.store.observe(one))
        await f.type("/observer")
        await f.pilot.press("enter")
        await f.see("4 events", "about server", "mode     passive", "every fifth turn", "dropped  0")
        await f.pilot.press("v")
        await f.see("1 event, level wrong only")
        await f.pilot.press("v", "v", "v")
        await f.see("level info only", "about edge_case")
        await f.pilot.press("enter")
        await f.see("edge_case: 2 turns", "summarise the zorble 9")
        await f.pilot.press("escape", "v", "t")
        await f.see("tag server only")
        await f.pilot.press("m")
        await f.see("every turn")
        assert f.app.engine.insights.mode == "active"
        await f.pilot.press("escape")
        await f.see("OBSERVER ", " active")
