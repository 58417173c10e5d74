"""Measures speed and memory on this machine: `python -m benchmarks [NAME ...] [--requests FILE] [--turns N]`."""

from __future__ import annotations

import argparse
import platform
import sys
from pathlib import Path

from benchmarks import datasets, insight, learned, replay, rules, screen, store

ON_REQUESTS = {"rules": rules, "learned": learned}
ON_TURNS = {"replay": replay, "store": store, "datasets": datasets, "insight": insight, "screen": screen}


def main() -> int:
    """Run the benchmarks that were named, or all; returns the exit code."""
    known = [*ON_REQUESTS, *ON_TURNS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(known)} (all)")
    parser.add_argument("--requests", type=Path, metavar="FILE", help='JSONL with "text" (default: requests made here)')
    parser.add_argument("--turns", type=int, metavar="N", default=100_000, help="stored turns (100,000)")
    args = parser.parse_args()
    if unknown := [name for name in args.names if name not in known]:
        parser.error(f"there is no benchmark {unknown[0]!r}; known: {', '.join(known)}")
    print(f"{platform.platform()}, Python {platform.python_version()}")
    for name in args.names or known:
        print(f"\n== {name}")
        if name in ON_REQUESTS:
            ON_REQUESTS[name].run(args.requests)
        else:
            ON_TURNS[name].run(args.turns)
    return 0


if __name__ == "__main__":
    sys.exit(main())
