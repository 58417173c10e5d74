"""F4 under a pilot: the examples are those of the verdicts, and an export lies in the data folder."""

from tests.ui.test_chat import face  # noqa: F401  # the fixture


async def test_from_a_verdict_to_an_export(face):  # noqa: F811
    async with face(threshold=0.0) as f:
        await f.ask("write to jo@firm.example about the rent")
        await f.pilot.press("n", "2")
        await f.until(lambda: f.verdict(1) is not None)
        await f.pilot.press("f4")
        await f.see("1 of 200", "1 perhaps the wrong route", "3 private data 1", "19 missing")
        await f.pilot.press("3")
        await f.see("holds 1 e-mail")
        await f.pilot.press("o", "f", "t", "x")
        await f.see("format   sharegpt", "target   model", "1 written: ")
        (card,) = (f.folder / "exports").glob("*-sharegpt-model/README.md")
        assert "Private data" in card.read_text()
        (rows,) = [p for p in card.parent.glob("*.jsonl") if p.stat().st_size]
        assert "[e-mail]" in rows.read_text() and "ROUTE_TO=qwen3-coder-30b" in rows.read_text()
        await f.pilot.press("escape")
        await f.see("↻ code")


async def test_nothing_rated_says_how_examples_are_made(face):  # noqa: F811
    async with face(size=(80, 24)) as f:
        await f.pilot.press("f4")
        await f.see("F4 Data", "1 perhaps the wrong route 0")
        await f.until(lambda: f.app.screen.checkup is not None, "the doctor")
        await f.pilot.press("o", "x")
        await f.until(lambda: "no example to write" in str(f.app.screen.out.rows.render()), "the sentence")
