"""`dataset generate`: requests, and conversations with tools, that a served model writes. Stopped, it goes on where it was."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING

import msgspec

from tui_router.cli.shared import DONE, FAILED, UsageError, complain, emit, open_engine, run_async

if TYPE_CHECKING:
    from tui_router.app.generation_service import GenerationOrder
    from tui_router.datasets.synthetic.batches import GenerationTally

_NOUNS = {"routing": "requests", "tool-use": "conversations with tools"}


def generate(args: Namespace) -> int:
    """Have data written, or go on with an order that was stopped. Raises StoreError."""
    if args.tools and args.kind != "tool-use":
        raise UsageError("--tools goes with --kind tool-use")
    return run_async(_generate(args))


async def _generate(args: Namespace) -> int:
    from tui_router.app.generation_service import GenerationOrder, OrderError, carry_out, open_order, writer_of
    from tui_router.backends.backend_errors import BackendError

    def progress(order: GenerationOrder, kept: int, tally: GenerationTally) -> bool:
        if not args.json:
            print(f"{kept}/{order.wanted} kept, {tally.written} written, {tally.tokens:,} tokens", file=sys.stderr)
        return True

    engine = await open_engine(args)
    try:
        await engine.health.look()
        order = await engine.in_store(lambda: open_order(engine.folder))
        if args.n or order is None:
            model = args.model or writer_of(engine)
            order = GenerationOrder(kind=args.kind, wanted=args.n or 100, model=model, tools=str(args.tools or ""))
        elif args.model:
            order = msgspec.structs.replace(order, model=args.model)
        made = await carry_out(engine, order, progress)
    except OrderError as error:
        raise UsageError(str(error)) from error
    except BackendError as error:
        return complain(f"{error}; what was kept stays; to go on: tui-router dataset generate", FAILED)
    finally:
        await engine.close()
    if args.json:
        emit({**msgspec.to_builtins(made.tally), "model": made.order.model, "seconds": made.seconds})
        return DONE if made.done else FAILED
    print(
        f"{made.tally.kept} {_NOUNS[made.order.kind]} written by {made.order.model} are kept; "
        f"{made.tally.tokens:,} tokens, {made.seconds:.0f} s"
    )
    for why, n in sorted(made.tally.refused.items(), key=lambda item: -item[1]):
        print(f"  {n} refused: {why}")
    return DONE if made.done else FAILED
