"""kill -9 on writers: `python -m tests.store.kills --kills N` (`make faults`). Two writers each round.

Each writer prints the id of what was acknowledged after the store has returned. After the kill every acknowledged
turn and verdict must be there, and the store must open without repair.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_WRITER = """
import sys
from pathlib import Path
from tests.worlds import a_turn, right
from tui_router.store.store import Store
store = Store(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    turn = store.record(a_turn("hello"))
    sys.stdout.write(f"turn {turn.id}\\n"); sys.stdout.flush()
    store.rate(turn.id, right("simple_chat"))
    sys.stdout.write(f"verdict {turn.id}\\n"); sys.stdout.flush()
"""


def run(kills: int, folder: Path, seed: int = 1) -> dict[str, int]:
    """Kill that many writers, two at a time; returns what was found."""
    from tui_router.store.store import Store

    dice = random.Random(seed)
    found = {
        "kills": 0,
        "acknowledged": 0,
        "lost_turns": 0,
        "lost_verdicts": 0,
        "unreadable": 0,
        "wrong_counters": 0,
    }
    acknowledged: dict[str, set[str]] = {"turn": set(), "verdict": set()}
    while found["kills"] < kills:
        writers = [
            subprocess.Popen([sys.executable, "-c", _WRITER, str(folder)], stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        for writer in writers:
            assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
        time.sleep(dice.uniform(0.0, 0.15))
        for writer in writers:
            writer.kill()
        for writer in writers:
            out, _ = writer.communicate()
            for line in out.splitlines(keepends=True):
                kind, _, identity = line.partition(" ")
                if line.endswith("\n"):
                    acknowledged[kind].add(identity.strip())
            found["kills"] += 1
        store = Store(folder)
        found["unreadable"] += bool(store.repaired)
        found["wrong_counters"] += store.counters() != store.recount()
        there = {t.id: t.verdict for t in store.turns()}
        found["lost_turns"] += len(acknowledged["turn"] - there.keys())
        found["lost_verdicts"] += sum(there.get(i) is None for i in acknowledged["verdict"])
        store.close()
    found["acknowledged"] = len(acknowledged["turn"]) + len(acknowledged["verdict"])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(args.kills, Path(folder) / "store")
    sys.stdout.write(", ".join(f"{name} {count}" for name, count in found.items()) + "\n")
    bad = sum(count for name, count in found.items() if name not in ("kills", "acknowledged"))
    return int(bool(bad) or not found["acknowledged"])


if __name__ == "__main__":
    sys.exit(main())
