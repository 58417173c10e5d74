"""How the dashboard feels in a real terminal, beside a bare Textual app: start, echo, memory, idle. Linux."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import store
from tests.e2e.terminal import Terminal
from tests.worlds import a_turn
from tui_router.core.types import Answer
from tui_router.store.store import Store

FLOOR = [sys.executable, str(Path(__file__).parent / "floor_app.py")]
PROGRAM = [str(Path(sys.executable).parent / "tui-router")]
PROBE = "~"


def run(turns: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        _report("peer: bare Textual app", FLOOR, path / "home")
        _report("tui-router --demo", [*PROGRAM, "--demo"], path / "home")
        store.fill(path / "store", turns)
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.doubles.lmstudio", "--speed", "1.43", "--fault", "endless"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        url = server.stdout.readline().split()[1]
        fleet = path / "fleet.toml"
        fleet.write_text(
            f'[backends."LM Studio"]\nurl = "{url}"\n[backends.Ollama]\nremove = true\n[backends.llama-server]\nremove = true\n'
            "[models.gemma-3-1b]\nmax_tokens = 100000\n"
        )
        try:
            _streaming(
                f"while an answer streams at 200 tokens/s, {turns:,} turns stored",
                [*PROGRAM, "--data-dir", str(path / "store"), "--config", str(fleet)],
                path / "home",
            )
            _memory(path, fleet)
            _conversation(path)
            _training(path, fleet)
        finally:
            server.kill()


def _memory(path: Path, fleet: Path) -> None:
    """What the program holds when the person's own model is fitted, at once and after every screen was opened."""
    from tui_router.learning.online_learner import PERSONAL_FILE

    own = path / "store" / "learned" / PERSONAL_FILE
    command = [*PROGRAM, "--data-dir", str(path / "store"), "--config", str(fleet)]
    terminal = opened(command, path / "home")
    terminal.until(own.exists, "the fit of the own model", 300)
    terminal.settle_for(20)  # the verdicts that a start left for later are learned bit by bit
    terminal.kill()
    terminal = opened(command, path / "home")
    terminal.see("6/6 models", seconds=60)
    terminal.settle_for(10)
    print("  tui-router with as many turns, 2,000 lessons and a model of one's own")
    print(f"    RSS {_rss_mb(terminal.pid):.0f} MB", end="")
    for key in ("f3", "f4", "f5", "f6"):
        terminal.press(key)
        terminal.settle_for(8)
    terminal.press("f2")
    print(f", after every screen {_rss_mb(terminal.pid):.0f} MB")
    terminal.kill()


def _training(path: Path, fleet: Path) -> None:
    """The same while a model is trained on the same cores, as the app would start it."""
    from tests.training import world

    data = world.dataset(path / "data")
    base = world.base(path / "base", data)
    run = world.new_run(path / "store", world.recipe_for(base, steps=100_000), data)
    run.start()
    try:
        while not run.curve().steps:
            time.sleep(0.5)
        command = [*PROGRAM, "--data-dir", str(path / "store"), "--config", str(fleet)]
        terminal = opened(command, path / "home")
        terminal.see("6/6 models", seconds=60)
        terminal.press("x")
        terminal.settle_for(2.0)
        lags = echo(terminal)
        print("  tui-router while a model is trained on the same cores")
        print(f"    echo p50 {at(lags, 0.5):.1f} ms   p95 {at(lags, 0.95):.1f} ms   n={len(lags)}")
        print(
            f"    the training was {'still running' if run.is_running() else 'over'} at the end, at step {run.curve().steps[-1].step}"
        )
        terminal.kill()
    finally:
        run.kill()


def _conversation(path: Path) -> None:
    """A conversation of 60 answers of 250 words each, opened at its end."""
    paragraph = (
        "It is fast enough, and `it` allocates a **tuple** for every part of a line that it reads from the file. "
    )
    text = "\n\n".join([*[paragraph * 2] * 5, *[f"- {paragraph}"] * 4, "```python\nx = 1\n```"])
    talk, session = Store(path / "talk"), ""
    for i in range(60):
        session = talk.record(a_turn(f"part {i}", session, answer=Answer(text=text))).session
    talk.close()
    terminal = opened([*PROGRAM, "--no-health-check", "--data-dir", str(path / "talk")], path / "home")
    terminal.see("not checked", seconds=60)
    terminal.settle_for(2)
    terminal.press("\x0f")
    terminal.see("60 turns")
    terminal.press("enter")
    terminal.settle_for(5)
    lags = echo(terminal)
    print("  tui-router in a conversation of 60 answers of 250 words")
    print(f"    echo p50 {at(lags, 0.5):.1f} ms   p95 {at(lags, 0.95):.1f} ms   RSS {_rss_mb(terminal.pid):.0f} MB")
    terminal.kill()


def _report(name: str, command: list[str], home: Path, runs: int = 5) -> None:
    paint_cpu, paint, ready = [], [], []
    for _ in range(runs):
        start = time.perf_counter()
        terminal = opened(command, home)
        _until_cells(terminal)
        paint.append((time.perf_counter() - start) * 1000)
        paint_cpu.append(_cpu_ms(terminal.pid))
        terminal.press(PROBE)
        terminal.see(PROBE)
        ready.append((time.perf_counter() - start) * 1000)
        if len(paint) < runs:
            terminal.kill()
    terminal.press("\x7f")
    terminal.settle_for(0.8)
    lags = echo(terminal)
    terminal.settle_for(0.8)
    before, began = _cpu_ms(terminal.pid), time.perf_counter()
    while time.perf_counter() - began < 15:
        terminal.read(0.2)
    idle = (_cpu_ms(terminal.pid) - before) / (time.perf_counter() - began) / 10
    print(f"  {name}")
    print(
        f"    first paint {statistics.median(paint):.0f} ms ({statistics.median(paint_cpu):.0f} ms CPU)   "
        f"typed key visible {statistics.median(ready):.0f} ms   RSS {_rss_mb(terminal.pid):.0f} MB   idle {idle:.2f} % CPU"
    )
    print(f"    echo p50 {at(lags, 0.5):.1f} ms   p95 {at(lags, 0.95):.1f} ms   n={len(lags)}")
    terminal.kill()


def _streaming(name: str, command: list[str], home: Path) -> None:
    terminal = opened(command, home)
    terminal.see("6/6 models", seconds=60)
    terminal.press("hello", "enter")
    terminal.see("● answering", seconds=30)
    terminal.press("x")
    terminal.settle_for(1.0)
    lags = echo(terminal, 60)
    print(f"  tui-router {name}")
    print(
        f"    echo p50 {at(lags, 0.5):.1f} ms   p95 {at(lags, 0.95):.1f} ms   n={len(lags)}   RSS {_rss_mb(terminal.pid):.0f} MB"
    )
    still = "answering" in terminal.text()  # of the model; the head of the card has scrolled away
    print(f"    the answer was {'still streaming' if still else 'over'} at the end")
    terminal.kill()


def opened(command: list[str], home: Path) -> Terminal:
    home.mkdir(exist_ok=True)
    return Terminal(command, {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "HOME": str(home)})


def echo(terminal: Terminal, keys: int = 60) -> list[float]:
    """Milliseconds from a key to its character on the screen."""
    dice, lags = random.Random(7), []
    before = _count(terminal)
    for _ in range(keys):
        start = time.perf_counter()
        terminal.press(PROBE)
        terminal.until(lambda: _count(terminal) > before, "the key", 5)
        lags.append((time.perf_counter() - start) * 1000)
        terminal.settle_for(dice.uniform(0.08, 0.16))
        terminal.press("\x7f")
        terminal.until(lambda: _count(terminal) == before, "the key's going", 5)
        terminal.settle_for(dice.uniform(0.08, 0.16))
    return sorted(lags)


def _count(terminal: Terminal) -> int:
    return sum(line.count(PROBE) for line in terminal.screen.display)


def _until_cells(terminal: Terminal) -> None:
    """Wait until there is something to see."""
    terminal.until(lambda: sum(len(line) - line.count(" ") for line in terminal.screen.display) > 20, "a picture")


def at(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))]


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _tree(int(child))


def _cpu_ms(pid: int) -> float:
    tick = 1000 / os.sysconf("SC_CLK_TCK")
    fields = [Path(f"/proc/{p}/stat").read_text().rsplit(")", 1)[1].split() for p in _tree(pid)]
    return sum((int(f[11]) + int(f[12])) * tick for f in fields)


def _rss_mb(pid: int) -> float:
    """The most that the program itself has held so far; the short-lived process of a fit is not it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
