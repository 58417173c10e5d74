"""`python -m tui_router.demo [--port N] [--fault [MODEL=]NAME] [--speed X]`: the demo server as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import get_args

from tui_router.demo.server import DemoServer, Fault


async def _run(args: argparse.Namespace) -> None:
    server = DemoServer(speed=args.speed)
    for fault in args.fault:
        model, _, name = fault.rpartition("=")
        server.faults[model or "*"] = name
    sys.stdout.write(f"READY {await server.start(args.port)}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def main() -> int:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="python -m tui_router.demo", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument(
        "--fault", action="append", default=[], help=f"one of {', '.join(f for f in get_args(Fault) if f)}"
    )
    args = parser.parse_args()
    unknown = [f for f in args.fault if f.rpartition("=")[2] not in get_args(Fault)]
    if unknown:
        parser.error(f"there is no fault {unknown[0]!r}")
    try:
        asyncio.run(_run(args))
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
