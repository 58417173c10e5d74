"""Carrying out an order of generated requests: a served model writes, the sieve chooses, the store keeps, batch by batch.

An order lies in the data folder until it is carried out, so whatever stops it, the next time goes on with what is missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tui_router.backends.writer import Writer

if TYPE_CHECKING:
    from tui_router.core.example import Example
    from tui_router.datasets.generation import Tally
    from tui_router.engine import Engine

ORDER = "generation.json"
_TOKENS, _TEMPERATURE, _DEADLINE_S = 1500, 0.9, 300.0


class OrderError(ValueError):
    """Nobody can write; the message says why."""


class Order(Struct, frozen=True):
    """An order that is not carried out yet."""

    kind: str
    wanted: int
    kept: int
    model: str


class Outcome(Struct, frozen=True):
    """What came of it."""

    order: Order
    tally: Tally
    seconds: float

    @property
    def done(self) -> bool:
        """Whether there are as many as were wanted."""
        return self.order.kept >= self.order.wanted


def open_order(folder: Path) -> Order | None:
    """The order that was not carried out to its end; None without one."""
    try:
        return msgspec.json.decode((folder / ORDER).read_bytes(), type=Order)
    except (OSError, msgspec.DecodeError):
        return None


def writer_of(engine: Engine) -> str:
    """The model that writes when none is named: a loaded one before others, a large one before small ones.

    Raises OrderError.
    """
    fleet, states = engine.config.fleet, engine.health.models
    ready = [m for m in fleet.models.values() if states[m.name].ready]
    if not ready:
        raise OrderError("no model is served that could write; tui-router --health shows what is missing")
    return max(ready, key=lambda m: (states[m.name].state == "loaded", m.size_bytes)).name


async def carry_out(engine: Engine, order: Order, tell: Callable[[Order, Tally], bool]) -> Outcome:
    """Have the requests written that an order still wants.

    Args:
        engine: With its store open.
        order: New, or what `open_order` found.
        tell: Hears how it goes after each batch; returns whether to go on.

    Raises:
        OrderError: the fleet has no such model.
        BackendError: the model is not there, or does not answer; what was kept stays.
    """
    from tui_router.datasets.generation import SCHEMA, Sieve, generate
    from tui_router.datasets.sources import collected
    from tui_router.routers.learned import LearnedRouter
    from tui_router.routers.rules import RulesRouter

    fleet, store, path = engine.config.fleet, engine.opened(), engine.folder / ORDER
    if order.model not in fleet.models:
        raise OrderError(f"the fleet has no model {order.model!r}; known: {', '.join(fleet.models)}")
    known = await engine.in_store(lambda: collected(store.turns(), store.examples(), fleet))
    learned = LearnedRouter.as_shipped(fleet)
    sieve = await engine.in_store(lambda: Sieve(known, fleet, learned.sketcher, [learned, RulesRouter(fleet)]))
    writer, start, held = Writer(engine.health, order.model), time.monotonic(), [order]

    def write_order() -> None:
        part = path.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(held[-1]))
        part.replace(path)

    async def keep(examples: list[Example]) -> None:
        def work() -> None:
            store.keep_examples(examples)
            held.append(replace(held[-1], kept=held[-1].kept + len(examples)))
            write_order()

        await engine.in_store(work)

    await engine.in_store(write_order)
    tally = await generate(
        lambda messages: writer.write(
            messages, SCHEMA, max_tokens=_TOKENS, temperature=_TEMPERATURE, deadline_s=_DEADLINE_S
        ),
        order.model, fleet, order.wanted - order.kept, known, sieve, keep, lambda tally: tell(held[-1], tally),
    )  # fmt: skip
    made = Outcome(held[-1], tally, time.monotonic() - start)
    if made.done:
        await engine.in_store(lambda: path.unlink(missing_ok=True))
    return made
