"""F5 and F6, driven by keys, over a real training."""

import asyncio
import os
import shutil
import signal
from contextlib import contextmanager

import pytest

from tests.training import world
from tui_router.training.runs import all_runs
from tui_router.ui.app import RouterApp
from tui_router.ui.options import Options
from tui_router.ui.screens.export import ExportScreen
from tui_router.ui.screens.quit_dialog import QuitDialog
from tui_router.ui.screens.train import TrainScreen

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def open_app(tmp_path):
    """The dashboard of the made-up company, with its engine."""
    file = tmp_path / "fleet.toml"
    file.write_text(world.FLEET)

    def make():
        return RouterApp(Options(data_dir=tmp_path / "store", config=file, health_checks=False))

    return make


async def until(pilot, holds, seconds=60.0):
    async with asyncio.timeout(seconds):
        while not holds():
            await pilot.pause(0.05)


@contextmanager
def held(run):
    """The training stands still meanwhile, however fast the machine is; it has not ended."""
    process = int((run.folder / "pid").read_text())
    os.kill(process, signal.SIGSTOP)
    try:
        assert run.is_running()
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def shown(screen):
    """All text of a screen, as a person reads it."""
    return "\n".join("".join(segment.text for segment in strip) for strip in screen._compositor.render_strips())


async def open_room(app, pilot, key, kind):
    await until(pilot, lambda: app.engine is not None and app.engine.router_service.learner is not None)
    await pilot.press(key)
    await until(pilot, lambda: isinstance(app.screen, kind))
    await pilot.pause(0.2)
    return app.screen


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_a_recipe_is_filled_in_by_keys(open_app, size):
    app = open_app()
    async with app.run_test(size=size) as pilot:
        screen = await open_room(app, pilot, "f5", TrainScreen)
        assert "gemma-3-1b" in shown(screen) and "NEW RUN" in shown(screen)
        await pilot.press("right", "down", "down", "enter")
        await pilot.press("ctrl+u", *"/nowhere/base", "enter")
        form = screen.form
        assert form.recipe.base.endswith("/nowhere/base") and form.recipe_name == "gemma-3-270m"
        for _ in range(7):
            await pilot.press("down")
        await pilot.press("enter", *"many", "enter")
        assert "no value of this field" in shown(screen)
        await pilot.press("escape")
        assert app.screen is screen and form.recipe.learning_rate == 3e-4
        await pilot.press("f")
        await until(pilot, lambda: "no example to write" in str(screen.preflight.rows.render()), 20)
        store = app.engine.store
        await app.engine.in_store(lambda: store.training.keep_examples(world.examples()))
        await pilot.press("f")
        await until(pilot, lambda: screen.found is not None)
        await pilot.pause(0.2)
        assert not screen.found.ready
        assert "neither a folder nor an id of the hub" in str([note.message for note in screen.found.notes])


async def test_a_run_is_started_watched_left_and_found_again(open_app, base, tmp_path):
    app = open_app()
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await open_room(app, pilot, "f5", TrainScreen)
        screen.form.recipe = world.recipe_for(base, steps=25)
        screen.form.sources = 0
        store = app.engine.store
        await app.engine.in_store(lambda: store.training.keep_examples(world.examples()))
        await pilot.press("s")
        await until(
            pilot, lambda: any(b'"step":3,' in file.read_bytes() for file in tmp_path.glob("store/runs/*/events.jsonl"))
        )
        with held(all_runs(tmp_path / "store")[0]):
            await until(pilot, lambda: screen.at == 0 and screen.seen and len(screen.seen[0].curve.steps) >= 3)
            await pilot.pause(0.3)
            assert "LOSS" in shown(screen) and "tok/s" in shown(screen) and "of 25" in shown(screen)
            await pilot.press("v", "m", "escape")
            await pilot.press("ctrl+q")
            await until(pilot, lambda: isinstance(app.screen, QuitDialog))
            await pilot.press("k")
            await until(pilot, lambda: not app.is_running)
    again = open_app()
    async with again.run_test(size=(120, 40)) as pilot:
        screen = await open_room(again, pilot, "f5", TrainScreen)
        await until(pilot, lambda: screen.seen and screen.seen[0].state == "done")
        curve = screen.seen[0].curve
        assert [s.step for s in curve.steps] == list(range(1, 26))
        if screen.at == -1:
            await pilot.press("right_square_bracket")
        await until(pilot, lambda: screen.seen[0].verdict is not None)
        await pilot.pause(0.2)
        assert screen.seen[0].verdict.checks[0].name in shown(screen)
        await pilot.press("w", *"first", "enter")
        await until(pilot, lambda: all_runs(tmp_path / "store")[0].record.notes == "first")


async def test_a_run_whose_process_was_killed_says_so(open_app, full, tmp_path):
    home = tmp_path / "store" / "runs" / full.folder.name
    shutil.copytree(full.folder, home)
    shutil.rmtree(home / "artifact")
    events = home / "events.jsonl"
    events.write_bytes(b"".join(events.read_bytes().splitlines(keepends=True)[:30]) + b'{"event":"step","st')
    app = open_app()
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await open_room(app, pilot, "f5", TrainScreen)
        await until(pilot, lambda: bool(screen.seen))
        await pilot.press("right_square_bracket")
        await pilot.pause(0.2)
        assert "ended without an error message" in shown(screen) and screen.seen[0].curve.steps
        await pilot.press("delete", "delete")
        await until(pilot, lambda: not home.exists())


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_a_model_and_a_dataset_leave_by_keys(open_app, full, tmp_path, size):
    shutil.copytree(full.folder, tmp_path / "store" / "runs" / full.folder.name)
    app = open_app()
    async with app.run_test(size=size) as pilot:
        screen = await open_room(app, pilot, "f6", ExportScreen)
        store = app.engine.store
        await app.engine.in_store(lambda: store.training.keep_examples(world.examples()))
        await screen.read()
        await pilot.pause(0.2)
        assert "DATASET" in shown(screen) and "ROUTE_TO=" in str(screen.preview.rows.render())
        await pilot.press("down", "down", "right", "x")
        await until(pilot, lambda: list((tmp_path / "store" / "exports").glob("*-messages-model/README.md")))
        await pilot.press("m", "down", "right", "right", "x")
        await until(pilot, lambda: screen.router.made is not None)
        await pilot.pause(0.2)
        assert screen.router.made.parity.same_route == screen.router.made.parity.n
        if size[0] == 120:
            assert "llama-server -m" in shown(screen)
        await pilot.press("c")
