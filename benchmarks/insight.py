"""Time insight on a large store: the report on the command line, opening Stats, a verdict until its numbers change. Linux."""

from __future__ import annotations

import asyncio
import random
import re
import statistics
import subprocess
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec.structs import replace

from benchmarks.screen import PROGRAM, at, echo, opened
from tests.worlds import a_turn, right, wrong
from tui_router.core.clock import stamp
from tui_router.routing.learned import seeds
from tui_router.store.store import Store
from tui_router.ui.app import RouterApp
from tui_router.ui.options import Options
from tui_router.ui.screens.stats import StatsScreen

_DAYS = 60


def run(turns: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        _fill(path / "store", turns)
        where = ("--data-dir", str(path / "store"))
        for name in ("first time", "again"):
            for days in (1, 30):
                start = time.perf_counter()
                subprocess.run(
                    [*PROGRAM, "--analyze", "--days", str(days), "--json", *where], check=True, capture_output=True
                )
                print(f"  --analyze --days {days:<3} {name:<11} {time.perf_counter() - start:5.2f} s")
        _terminal(path)
        asyncio.run(_screen(path / "store"))


def _fill(folder: Path, count: int) -> None:
    """Fill a store with turns of the last sixty days: a shadow each, every fourth one rated, in conversations of five."""
    dice, store = random.Random(0), Store(folder)
    plain = [s for s in seeds.load() if not s.request.history][::20]
    known = [(a_turn(s.request.text, answer=None), s.route) for s in plain]
    shadows = [replace(turn.decision, router="learned", elapsed_ms=0.4) for turn, _ in known]
    start, session = datetime.now(UTC) - timedelta(days=_DAYS), ""
    for first in range(0, count, 5000):
        with store.db.transaction():
            for i in range(first, min(count, first + 5000)):
                place = dice.randrange(len(known))
                turn, route = known[place]
                when = stamp(start + timedelta(days=_DAYS * i / count))
                made = store.record(replace(turn, at=when, session=session if i % 5 else "", shadows=(shadows[place],)))
                session = made.session
                if i % 4 == 0:
                    store.rate(made.id, right(route) if route == made.decision.route else wrong(route))
    store.close()


def _terminal(path: Path) -> None:
    (path / "store" / "counted.msgpack").unlink()
    for name in ("never counted before", "counted before"):
        _open_stats(name, path)


def _open_stats(name: str, path: Path) -> None:
    terminal = opened([*PROGRAM, "--no-health-check", "--data-dir", str(path / "store")], path / "home")
    terminal.see("F1", seconds=60)
    terminal.see("n=", seconds=60)
    start = time.perf_counter()
    terminal.press("f3")
    terminal.until(lambda: bool(re.search(r"[\d,]+ turns, [\d,]+ rated", terminal.text())), "the counts", 60)
    print(f"  Stats opened, {name:<21} {time.perf_counter() - start:5.2f} s")
    terminal.press("f2")
    terminal.settle_for(1.0)
    terminal.press("x")
    lags = echo(terminal)
    print(f"    echo p50 {at(lags, 0.5):.1f} ms   p95 {at(lags, 0.95):.1f} ms   n={len(lags)}")
    terminal.press("\x7f", "\x11")
    terminal.ended(30)


async def _screen(folder: Path) -> None:
    """Time from a verdict on the disk until every number on the screen is new, without a terminal."""
    app = RouterApp(Options(data_dir=folder, health_checks=False))
    async with app.run_test(size=(120, 40)) as pilot:
        while app.engine is None or app.chat.conversation.engine is None:
            await pilot.pause(0.05)
        engine = app.engine
        await pilot.press("f3", "4")
        screen = app.screen
        assert isinstance(screen, StatsScreen)
        while screen.metrics is None or screen.metrics.turns < 1000:
            await pilot.pause(0.05)
        elapsed_ms = []
        ids = [turn.id for turn in await engine.in_store(lambda: engine.opened().recent(30))]
        for one in ids:
            old, shown = screen.metrics, asyncio.Event()
            put = screen.models.rows.set_lines

            def put_and_tell(*rows: object, put: object = put, shown: asyncio.Event = shown, old: object = old) -> None:
                put(*rows)  # type: ignore[operator]
                if screen.metrics is not old:
                    shown.set()

            screen.models.rows.set_lines = put_and_tell  # type: ignore[method-assign]
            await engine.rate(one, wrong("vision"))
            start = time.perf_counter()
            await shown.wait()
            elapsed_ms.append((time.perf_counter() - start) * 1000)
            screen.models.rows.set_lines = put  # type: ignore[method-assign]
            await pilot.pause(0.2)
        elapsed_ms.sort()
        p50, p95 = statistics.median(elapsed_ms), at(elapsed_ms, 0.95)
        print(f"  a verdict until every number is new: p50 {p50:.0f} ms, p95 {p95:.0f} ms, n={len(elapsed_ms)}")
        await app._stop_engine()
