"""Count the way of one request and of one verdict through the program: `python scripts/trace_request.py`.

The dashboard runs without a terminal, on the demo's servers and a store made here. A request is followed from enter to
its stored answer, a verdict from `y` to the decision of the next request. Counted are the calls of functions of
tui_router (the demo's servers left out), the files that they stand in, how often a call leaves its file, and how often
the parts of the main screen were drawn; `-v` lists the functions that were called most. The counts differ by a few per
cent from run to run: an answer comes in pieces whose number depends on the machine.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from textual.pilot import Pilot

import tui_router
from tui_router.app.engine import Engine
from tui_router.ui.app import RouterApp
from tui_router.ui.options import Options

PACKAGE = str(Path(tui_router.__file__).parent)
DEMO = str(Path(PACKAGE) / "demo")
DRAWN = (
    "StatusLine.render",
    "StatusLine.set_summary",
    "KeysBar.render",
    "KeysBar.set_keys",
    "KeyLine.render",
    "DecisionPane.show_turn",
    "Card.refresh_lines",
)


class Trace:
    """The calls of one piece of work, on the threads of the screen and of the store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.calls: Counter[CodeType] = Counter()
        self.hand_overs = 0

    def __enter__(self) -> Trace:
        self._engine.at_store(lambda: sys.setprofile(self._seen))
        sys.setprofile(self._seen)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        self._engine.at_store(lambda: sys.setprofile(None))

    def _seen(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or not ours(code) or code.co_name in ("<genexpr>", "<lambda>", "<listcomp>", "<dictcomp>"):
            return
        self.calls[code] += 1
        caller = frame.f_back
        if caller is not None and ours(caller.f_code) and caller.f_code.co_filename != code.co_filename:
            self.hand_overs += 1

    def report(self, title: str) -> None:
        files = {code.co_filename for code in self.calls}
        out = sys.stdout.write
        out(f"{title}: {self.calls.total():,} calls in {len(files)} files, {self.hand_overs:,} from file to file\n")
        drawn = Counter[str]()
        for code, n in self.calls.items():
            drawn[code.co_qualname] += n
        out("  drawn: " + ", ".join(f"{name} {drawn[name]}" for name in DRAWN if drawn[name]) + "\n")
        if "-v" in sys.argv:
            for name, n in drawn.most_common(40):
                out(f"    {n:>5}  {name}\n")


def ours(code: CodeType) -> bool:
    return code.co_filename.startswith(PACKAGE) and not code.co_filename.startswith(DEMO)


async def until(pilot: Pilot[None], there: Callable[[], bool]) -> None:
    for _ in range(3000):
        if there():
            return
        await pilot.pause(0.01)
    raise SystemExit("it did not come")


async def follow(folder: Path) -> None:
    app = RouterApp(Options(demo=True, data_dir=folder))
    app.set_interval = _no_clock(app)  # type: ignore[method-assign]  # what comes by the clock is no part of the way
    async with app.run_test(size=(120, 40)) as pilot:
        await until(
            pilot, lambda: app.engine is not None and sum(m.ready for m in app.engine.health.models.values()) == 6
        )
        await pilot.press(*"write a python function")
        await pilot.pause(1.0)
        engine = app.engine
        assert engine is not None

        def stored(number: int) -> Callable[[], bool]:
            def there() -> bool:
                turn = engine.at_store(lambda: engine.opened().find(str(number)))
                return turn is not None and turn.state == "done"

            return there

        with Trace(engine) as request:
            await pilot.press("enter")
            await until(pilot, lambda: bool(engine.live))
            await until(pilot, lambda: not engine.live)
            await pilot.pause(0.5)
        assert stored(1)()
        with Trace(engine) as verdict:
            await pilot.press("y")
            await pilot.pause(0.7)
            await until(pilot, lambda: bool(engine.at_store(lambda: engine.opened().counters()).rated))
            await pilot.pause(0.5)
        with Trace(engine) as decision:
            await pilot.press(*"hello")
            await pilot.press("enter")
            await until(pilot, lambda: bool(engine.live))
        request.report("a request, from enter to the store")
        verdict.report("a verdict, from y to what it taught")
        decision.report("the next request, from its first letter to its decision")
        await until(pilot, lambda: not engine.live)
        await app._stop_engine()


def _no_clock(app: RouterApp) -> Any:
    return lambda *_, **__: None


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(follow(Path(folder) / "store"))


if __name__ == "__main__":
    main()
