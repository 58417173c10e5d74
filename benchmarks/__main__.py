"""`python -m benchmarks [rules|learned|replay|store|datasets|insight|screen ...] [--requests FILE] [--turns N]`."""

from __future__ import annotations

import argparse
import platform
import sys
from pathlib import Path

from benchmarks import datasets, insight, learned, replay, rules, screen, store


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "what",
        nargs="*",
        default=["rules", "learned", "replay", "store", "datasets", "insight", "screen"],
        help="rules, learned, replay, ...",
    )
    parser.add_argument("--requests", type=Path, help='JSONL with "text" for the rules; default: requests made here')
    parser.add_argument("--turns", type=int, default=100_000, help="turns stored (100,000)")
    args = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}")
    for name in args.what:
        print(f"\n== {name}")
        if name == "rules":
            rules.run(args.requests)
        elif name == "learned":
            learned.run(args.requests)
        elif name == "replay":
            replay.run(args.turns)
        elif name == "store":
            store.run(args.turns)
        elif name == "datasets":
            datasets.run(args.turns)
        elif name == "insight":
            insight.run(args.turns)
        elif name == "screen":
            screen.run(args.turns)
        else:
            parser.error(f"there is no benchmark {name!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
