"""F3 under a pilot: the numbers are those of the verdicts that were given by keys."""


async def test_stats_follow_from_exactly_the_verdicts(face):
    async with face(threshold=0.0) as f:
        await f.ask("write a python function")
        await f.pilot.press("y")
        await f.until(lambda: f.verdict(1) is not None)
        await f.ask("hello")
        await f.pilot.press("n", "2")
        await f.until(lambda: f.verdict(2) is not None)
        await f.ask("goto amazon.com")
        await f.pilot.press("f3")
        await f.see("3 turns, 2 rated", "50% [9-91] n=2", "learned 50%", "rules 50%", "CONFUSION")
        await f.pilot.press("4")
        await f.until(lambda: f.app.screen.period == 3)
        await f.see("3 turns, 2 rated")
        await f.pilot.press("r")
        await f.see("Router report", "3 turns, 2 rated.", "of rated turns: 50% [9-91]")
        await f.pilot.press("s")
        await f.until(lambda: list((f.folder / "reports").glob("*.md")), "the file")
        await f.pilot.press("escape", "escape")
        await f.see("Right route?")


async def test_an_empty_store_has_no_numbers(face):
    async with face(size=(80, 24)) as f:
        await f.type("/stats")
        await f.pilot.press("enter")
        await f.see("0 turns, 0 rated", "No turn of this period has a verdict")
        assert "nan" not in f.screen().lower()
        await f.pilot.press("f2")
        await f.see("Ask anything.")


async def test_the_shadow_is_on_the_main_screen_too(face):
    async with face(threshold=0.0) as f:
        await f.ask("write a python function")
        await f.pilot.press("y")
        await f.see("╌ rules 100% [21-100] n=1 shadow")


async def test_a_correction_says_what_it_changed(face):
    async with face(threshold=0.0) as f:
        await f.ask("summarise the meeting notes from monday")
        decided = f.store.find("1").decision
        await f.pilot.press("n", str(f.app.engine.config.fleet.digit(decided.ranking[1][0])))
        await f.see(f"learned  this request now goes to {decided.ranking[1][0]}")
