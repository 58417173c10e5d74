"""`dataset generate`: requests that a served model writes. Stopped, it goes on where it was."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from tui_router.cli_shared import DONE, FAILED, UsageError, complain, emit, open_engine

if TYPE_CHECKING:
    from tui_router.core.example import Example
    from tui_router.datasets.generation import Tally
    from tui_router.engine import Engine

ORDER = "generation.json"
KINDS = ("routing",)
_TOKENS, _TEMPERATURE, _DEADLINE_S = 1500, 0.9, 300.0


class Order(Struct, frozen=True):
    """An order that is not carried out yet."""

    kind: str
    wanted: int
    kept: int
    model: str


def generate(given: dict[str, Any], args: argparse.Namespace) -> int:
    """Have requests written, or go on with an order that was stopped. Raises StoreError."""
    if args.kind not in KINDS:
        raise UsageError(f"--kind: there is no {args.kind!r}; known: {', '.join(KINDS)}")
    if args.n < 0:
        raise UsageError(f"--n is how many requests to keep, found {args.n}")
    return asyncio.run(_generate(given, args))


async def _generate(given: dict[str, Any], args: argparse.Namespace) -> int:
    engine = await open_engine(given)
    try:
        await engine.health.look()
        path = engine.folder / ORDER
        order = _read(path)
        if args.n or order is None:
            order = Order(args.kind, args.n or 100, 0, args.model or _writer_of(engine))
        elif args.model:
            order = msgspec.structs.replace(order, model=args.model)
        return await _carry_out(engine, order, path, given)
    finally:
        await engine.close()


def _read(path: Path) -> Order | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Order)
    except (OSError, msgspec.DecodeError):
        return None


def _writer_of(engine: Engine) -> str:
    """The model that writes when none is named: a loaded one before others, a large one before small ones."""
    fleet, states = engine.config.fleet, engine.health.models
    ready = [m for m in fleet.models.values() if states[m.name].ready]
    if not ready:
        raise UsageError("no model is served that could write; tui-router --health shows what is missing")
    return max(ready, key=lambda m: (states[m.name].state == "loaded", m.size_bytes)).name


async def _carry_out(engine: Engine, order: Order, path: Path, given: dict[str, Any]) -> int:
    from tui_router.backends.errors import BackendError
    from tui_router.backends.writer import Writer
    from tui_router.datasets.generation import SCHEMA, Sieve, generate
    from tui_router.datasets.sources import collected
    from tui_router.routers.learned import LearnedRouter
    from tui_router.routers.rules import RulesRouter

    fleet, store = engine.config.fleet, engine.opened()
    if order.model not in fleet.models:
        raise UsageError(f"--model: the fleet has no {order.model!r}; known: {', '.join(fleet.models)}")
    known = await engine.in_store(lambda: collected(store.turns(), store.examples(), fleet))
    learned = LearnedRouter.as_shipped(fleet)
    sieve = Sieve(known, fleet, learned.sketcher, [learned, RulesRouter(fleet)])
    writer, start, done = Writer(engine.health, order.model), time.monotonic(), order.kept

    async def keep(examples: list[Example]) -> None:
        nonlocal done
        await engine.in_store(lambda: store.keep_examples(examples))
        done += len(examples)
        part = path.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(msgspec.structs.replace(order, kept=done)))
        part.replace(path)

    def tell(tally: Tally) -> bool:
        if not given.get("json"):
            print(
                f"{order.kept + tally.kept}/{order.wanted} kept of {tally.written} written, {tally.tokens:,} tokens",
                file=sys.stderr,
            )
        return True

    try:
        tally = await generate(
            lambda messages: writer.write(messages, SCHEMA, max_tokens=_TOKENS, temperature=_TEMPERATURE, deadline_s=_DEADLINE_S),
            order.model, fleet, order.wanted - order.kept, known, sieve, keep, tell,
        )  # fmt: skip
    except BackendError as error:
        said = f"{error}; {done} of {order.wanted} are kept, tui-router dataset generate goes on"
        return complain(said, FAILED)
    if done >= order.wanted:
        await engine.in_store(lambda: path.unlink(missing_ok=True))
    seconds = time.monotonic() - start
    if given.get("json"):
        emit({**msgspec.to_builtins(tally), "model": order.model, "seconds": seconds})
    else:
        print(f"{tally.kept} requests written by {order.model} are kept; {tally.tokens:,} tokens, {seconds:.0f} s")
        for why, n in sorted(tally.refused.items(), key=lambda item: -item[1]):
            print(f"  {n} refused: {why}")
    return DONE if done >= order.wanted else FAILED
