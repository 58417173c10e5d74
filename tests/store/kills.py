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
    dice = random.Random(seed)
    found = {
        "kills": 0,
        "acknowledged": 0,
        "lost_turns": 0,
        "lost_verdicts": 0,
        "unreadable": 0,
        "wrong_counters": 0,
    }
    all_of: dict[str, set[str]] = {"turn": set(), "verdict": set()}
    while found["kills"] < kills:
        new: dict[str, set[str]] = {"turn": set(), "verdict": set()}
        writers = [
            subprocess.Popen([sys.executable, "-c", _WRITER, str(folder)], stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        for writer in writers:
            assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
        time.sleep(dice.uniform(0.0, 0.1))
        for writer in writers:
            writer.kill()
        for writer in writers:
            out, _ = writer.communicate()
            for line in out.splitlines(keepends=True):
                kind, _, identity = line.partition(" ")
                if line.endswith("\n"):
                    new[kind].add(identity.strip())
            found["kills"] += 1
        _check(folder, new, found)
        for kind, ids in new.items():
            all_of[kind] |= ids
    _check(folder, all_of, found)
    found["acknowledged"] = len(all_of["turn"]) + len(all_of["verdict"])
    return found


def _check(folder: Path, acknowledged: dict[str, set[str]], found: dict[str, int]) -> None:
    """Open the store as the next start would, and look for what was acknowledged."""
    from tui_router.store.store import Store

    store = Store(folder)
    found["unreadable"] += bool(store.repaired)
    found["wrong_counters"] += store.counters() != store.recount()
    for identity in acknowledged["turn"]:
        found["lost_turns"] += store.find(identity) is None
    for identity in acknowledged["verdict"]:
        turn = store.find(identity)
        found["lost_verdicts"] += turn is None or turn.verdict is None
    store.close()


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
