"""F4 under a pilot: the examples are those of the verdicts, doubts are settled by keys, and an export lies in the data folder."""

import asyncio

from tests.datasets.synthetic.test_requests import Served
from tests.datasets.tool_dialogues import some
from tui_router.core.example import Example
from tui_router.datasets.sources import all_examples
from tui_router.ui.app import RouterApp
from tui_router.ui.options import Options


def own(f):
    fleet = f.app.engine.config.fleet
    return [
        e
        for e in all_examples(f.store.turns(), f.store.training.examples(), fleet, f.store.training.edits())
        if e.source != "seed"
    ]


async def test_from_a_verdict_to_an_export(face):
    async with face(threshold=0.0) as f:
        await f.ask("write to jo@firm.example about the rent")
        await f.pilot.press("n", "2")
        await f.until(lambda: f.verdict(1) is not None)
        await f.pilot.press("f4")
        await f.see("1 of 200", "1 possibly mislabelled", "3 private data 1", "1 of 20 distinct")
        await f.pilot.press("3")
        await f.see("contains 1 e-mail")
        await f.pilot.press("x")
        await f.see("F6 Export", "PREVIEW")
        await f.until(lambda: f.app.screen.dataset.examples)
        await f.pilot.press("down", "right", "down", "right", "down", "left", "x")
        await f.see("sharegpt", "1 examples")
        (card,) = (f.folder / "exports").glob("*-sharegpt-model/README.md")
        assert "Private data" in card.read_text()
        (rows,) = [p for p in card.parent.glob("*.jsonl") if p.stat().st_size]
        assert "[e-mail]" in rows.read_text() and "ROUTE_TO=qwen3-coder-30b" in rows.read_text()
        await f.pilot.press("f2")
        await f.see("↻ code")


async def test_conversations_with_tools_are_shown_and_exported(face):
    async with face() as f:
        await f.app.engine.in_store(lambda: f.store.training.keep_dialogues(some()))
        await f.pilot.press("f4")
        await f.see("conversations with tools 2")
        await f.pilot.press("f6")
        await f.see("content       requests")
        await f.until(lambda: f.app.screen.dataset.dialogues)
        await f.pilot.press("right")
        await f.see("conversations with tools", "tool_calls")
        await f.pilot.press("down", "right", "x")
        await f.see("function_call", "2 conversations")
        (card,) = (f.folder / "exports").glob("*-sharegpt-tools/README.md")
        assert "Conversations with tool calls" in card.read_text()


async def test_doubts_are_settled_and_undone_by_keys(face):
    async with face(threshold=0.0) as f:
        await f.ask("write a python function that sorts a list")
        await f.pilot.press("n", "6")  # a slip: it is code
        await f.until(lambda: f.verdict(1) is not None)
        await f.app.engine.in_store(
            lambda: f.store.training.keep_examples(
                [
                    Example(
                        text="fix this rust borrow checker error", route="simple_chat", source="imported", origin="a:1"
                    )
                ]
            )
        )
        await f.pilot.press("f4")
        await f.see("1 possibly mislabelled 2", "write a python function", "simple_chat")
        await f.pilot.press("l")
        await f.see("suggested")
        await f.pilot.press("enter")
        await f.until(lambda: f.verdict(1).route == "code" or f.verdict(1).rating == "right")
        await f.see("1 possibly mislabelled 1")
        await f.pilot.press("d")
        await f.see("1 possibly mislabelled 0")
        assert [e.text for e in own(f)] == ["write a python function that sorts a list"]
        await f.pilot.press("u")
        await f.see("1 possibly mislabelled 1")
        assert len(own(f)) == 2
        await f.pilot.press("e")
        await f.see("1 possibly mislabelled 0")
        assert len(own(f)) == 2
        await f.pilot.press("u", "u")
        await f.see("1 possibly mislabelled 2")
        assert f.verdict(1).route == "simple_chat"


async def test_search_finds_an_example_and_relabels_it(face):
    async with face(threshold=0.0) as f:
        kept = [
            Example(text=f"about the {word}", route="code", source="imported", origin=f"a:{word}")
            for word in ("rent", "tax")
        ]
        await f.app.engine.in_store(lambda: f.store.training.keep_examples(kept))
        await f.pilot.press("f4")
        await f.until(lambda: f.app.screen.checkup is not None, "the audit")
        await f.pilot.press("slash", *"tax", "enter")
        await f.see("5 all examples 1", "matching tax", "about the tax")
        await f.pilot.press("l", "3")
        await f.until(
            lambda: {e.text: e.route for e in own(f)} == {"about the rent": "code", "about the tax": "reasoning"}
        )


async def test_nothing_rated_says_how_examples_are_made(face):
    async with face(size=(80, 24)) as f:
        await f.pilot.press("f4")
        await f.see("F4 Data", "1 possibly mislabelled 0")
        await f.until(lambda: f.app.screen.checkup is not None, "the audit")
        await f.pilot.press("e", "d", "l", "u", "j")
        await f.see("1 possibly mislabelled 0", "none")


async def test_a_served_model_writes_requests_by_one_key(tmp_path):
    served = Served()
    file = tmp_path / "fleet.toml"
    names = "".join(f'[backends."{name}"]\nremove = true\n' for name in ("LM Studio", "Ollama", "llama-server"))
    file.write_text(f'{names}[backends.here]\nurl = "http://127.0.0.1:{served.server.server_port}"\nkind = "openai"\n')
    app = RouterApp(Options(data_dir=tmp_path / "store", config=file))
    async with app.run_test(size=(120, 40)) as pilot:

        async def until(holds):
            async with asyncio.timeout(30):
                while not holds():
                    await pilot.pause(0.05)

        await until(lambda: app.engine is not None and app.engine.health.models["gpt-oss-20b"].ready)
        await pilot.press("f4")
        await until(lambda: getattr(app.screen, "checkup", None) is not None)
        screen = app.screen
        await pilot.press("g")
        await until(lambda: app.screen is not screen)
        await pilot.press("ctrl+u", "3", "enter")
        await until(lambda: sum(e.source == "generated" for e in screen.examples.values()) == 3)
        assert "generated 3" in str(screen.sources.rows.render())
        assert not (tmp_path / "store" / "generation.json").exists()
    served.server.shutdown()
