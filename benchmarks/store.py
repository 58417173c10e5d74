"""What a verdict costs with many turns stored, beside a raw SQLite insert and plain TinyDB on the same disk."""

from __future__ import annotations

import json
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from msgspec.structs import replace
from tinydb import TinyDB

from tests.worlds import a_turn, right, wrong
from tui_router.routing.learned import seeds
from tui_router.store.store import Store


def run(turns: int) -> None:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        path = Path(folder)
        fill(path / "store", turns)
        print(f"  {turns:,} turns stored, {(path / 'store/store.db').stat().st_size / 1e6:.0f} MB")
        store = Store(path / "store")
        raw = _raw(path)
        plain = _plain(path, turns)
        document = json.dumps({"x": "y" * 740})
        dice = random.Random(1)
        times: dict[str, list[float]] = {}

        def timed(name: str, work: Callable[[], object]) -> None:
            start = time.perf_counter()
            work()
            times.setdefault(name, []).append((time.perf_counter() - start) * 1000)

        for i in range(400):
            number = str(dice.randrange(1, turns + 1))
            timed(
                "peer: raw SQLite insert (WAL, FULL)", lambda: raw.execute("INSERT INTO t(doc) VALUES(?)", (document,))
            )
            timed("verdict, counters included", partial(store.rate, number, right()))
            timed("turn recorded", lambda: store.record(a_turn("hello")))
            timed("newest 50 turns", lambda: store.recent(50))
            timed("poll for changes of others", store.poll)
            if i < 3:
                timed("peer: plain TinyDB update", lambda: plain.update({"verdict": "right"}, doc_ids=[1]))
        for name, values in times.items():
            values.sort()
            print(
                f"  {name:<40} median {statistics.median(values):9.3f} ms   p99 {values[len(values) * 99 // 100 - 1]:9.3f} ms"
            )
        verdict = statistics.median(times["verdict, counters included"])
        base = statistics.median(times["peer: raw SQLite insert (WAL, FULL)"])
        tiny = statistics.median(times["peer: plain TinyDB update"])
        print(f"  a verdict costs {verdict / base:.1f} raw inserts; plain TinyDB costs {tiny / verdict:,.0f} verdicts")
        store.close()
        print("  opening it in a fresh process: " + _opened(path / "store"))


def fill(folder: Path, turns: int) -> None:
    """A store with that many turns on the seeds' texts, in conversations of four, the first of each rated."""
    dice, store = random.Random(0), Store(folder)
    plain = [seed for seed in seeds.load() if not seed.request.history and not seed.request.has_image]
    known = [(a_turn(seed.request.text, answer=None), seed.route) for seed in plain]
    session = ""
    for start in range(0, turns, 5000):
        with store.db.transaction():
            for i in range(start, min(turns, start + 5000)):
                turn, route = dice.choice(known)
                made = store.record(replace(turn, session=session if i % 4 else ""))
                session = made.session
                if i % 4 == 0:
                    store.rate(made.id, right(route) if made.decision.route == route else wrong(route))
    store.close()


def _raw(path: Path) -> sqlite3.Connection:
    raw = sqlite3.connect(path / "raw.db", isolation_level=None)
    raw.execute("PRAGMA journal_mode=WAL")
    raw.execute("PRAGMA synchronous=FULL")
    raw.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, doc TEXT)")
    return raw


def _plain(path: Path, turns: int) -> TinyDB:
    file = path / "plain.json"
    document = {"request": "x" * 300, "answer": "y" * 400, "verdict": None}
    file.write_text(json.dumps({"_default": {str(i): document for i in range(1, turns + 1)}}))
    return TinyDB(file)


_OPEN = """
import sys, time
from pathlib import Path
from tui_router.store.store import Store
start = time.process_time()
store = Store(Path(sys.argv[1])); store.recent(50); store.counters(); store.graded(400)
cpu = time.process_time() - start
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
print(f"{cpu:.2f} s CPU, {int(peak) / 1024:.0f} MB RSS")
"""


def _opened(folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", _OPEN, str(folder)], capture_output=True, text=True, check=True)
    return done.stdout.strip()
