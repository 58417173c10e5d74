"""Generating data: a served model writes, a filter chooses, the store keeps, a batch at a time.

An order lies in the data folder until it is done. What it has brought is counted in the store by the order's name; so it may
be stopped at any moment, and the next start goes on with exactly what is missing.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct

from tui_router.backends.json_writer import Writer

if TYPE_CHECKING:
    from tui_router.app.engine import Engine
    from tui_router.datasets.synthetic.batches import GenerationTally
    from tui_router.routing.router import Router

DataKind = Literal["routing", "tool-use"]
KINDS: tuple[DataKind, ...] = ("routing", "tool-use")
ORDER = "generation.json"
_TOKENS, _TEMPERATURE, _DEADLINE_S = 2000, 0.9, 300.0


class OrderError(ValueError):
    """An order cannot be carried out; the message says why."""


class GenerationOrder(Struct, frozen=True, kw_only=True):
    """An order of generated data."""

    kind: DataKind
    wanted: int
    model: str
    tools: str = ""
    """A file with the tools that conversations use; empty: those that come with the program."""
    name: str = msgspec.field(default_factory=lambda: secrets.token_hex(4))

    @property
    def origin(self) -> str:
        """The origin that its examples are stored with."""
        return f"generated:{self.model}:{self.name}"


class GenerationOutcome(Struct, frozen=True):
    """What an order has brought."""

    order: GenerationOrder
    kept: int
    """All that the order has brought, earlier starts included."""
    tally: GenerationTally
    seconds: float

    @property
    def done(self) -> bool:
        """Whether there are as many as were wanted."""
        return self.kept >= self.order.wanted


def open_order(folder: Path) -> GenerationOrder | None:
    """Return the order that was not carried out to its end; None without one."""
    try:
        return msgspec.json.decode((folder / ORDER).read_bytes(), type=GenerationOrder)
    except (OSError, msgspec.DecodeError):
        return None


def writer_of(engine: Engine) -> str:
    """Return the model that writes when none is named: a loaded one before others, a large one before small ones.

    Raises OrderError.
    """
    fleet, states = engine.config.fleet, engine.health.models
    ready = [m for m in fleet.models.values() if states[m.name].ready]
    if not ready:
        raise OrderError("no model is served that could write; tui-router --health shows what is")
    return max(ready, key=lambda m: (states[m.name].state == "loaded", m.size_bytes)).name


async def carry_out(
    engine: Engine, order: GenerationOrder, tell: Callable[[GenerationOrder, int, GenerationTally], bool]
) -> GenerationOutcome:
    """Have a model write what an order still wants.

    Args:
        engine: With its store open.
        order: New, or what `open_order` found.
        tell: Called after each batch with the order, what it has brought so far and the tally; returns whether to go on.

    Raises:
        OrderError: the fleet has no such model, the tools cannot be used, or another process carries out an order.
        BackendError: the model is not there, or does not answer; what was kept stays.
    """
    from filelock import FileLock, Timeout

    if order.model not in engine.config.fleet.models:
        raise OrderError(f"the fleet has no model {order.model!r}; known: {', '.join(engine.config.fleet.models)}")
    lock = FileLock(engine.folder / "generation.lock", timeout=0, thread_local=False)
    try:
        with lock:
            return await _carry_out(engine, order, tell)
    except Timeout as error:
        raise OrderError("another tui-router has data written already; wait for it, or stop it there") from error


async def _carry_out(
    engine: Engine, order: GenerationOrder, tell: Callable[[GenerationOrder, int, GenerationTally], bool]
) -> GenerationOutcome:
    from tui_router.datasets.synthetic.batches import generate

    store, path, kept = engine.opened(), engine.folder / ORDER, 0

    def count() -> int:
        there = store.training.examples() if order.kind == "routing" else store.training.dialogues()
        return sum(one.origin.endswith(f":{order.name}") for one in there)

    def begin() -> tuple[Any, int]:
        work, part = _work(engine, order), path.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(order))
        part.replace(path)
        return work, count()

    async def keep(found: list[Any]) -> None:
        nonlocal kept
        kept += await engine.in_store(
            lambda: (
                store.training.keep_examples(found) if order.kind == "routing" else store.training.keep_dialogues(found)
            )
        )

    work, kept = await engine.in_store(begin)
    writer, start = Writer(engine.health, order.model), time.monotonic()
    tally = await generate(
        lambda messages: writer.write(
            messages, work.schema, max_tokens=_TOKENS, temperature=_TEMPERATURE, deadline_s=_DEADLINE_S
        ),
        work,
        order.wanted - kept,
        keep,
        lambda tally: tell(order, kept, tally),
        f"{order.name} {kept}",
    )
    made = GenerationOutcome(order, kept, tally, time.monotonic() - start)
    if made.done:
        await engine.in_store(lambda: path.unlink(missing_ok=True))
    return made


def _work(engine: Engine, order: GenerationOrder) -> Any:
    """Return the task of an order. Raises OrderError."""
    from tui_router.datasets.sources import all_examples
    from tui_router.datasets.synthetic import tool_dialogues
    from tui_router.datasets.synthetic.requests import RequestFilter, RequestTask
    from tui_router.routing.learned.learned_router import LearnedRouter
    from tui_router.routing.rules.rules_router import RulesRouter

    fleet, store = engine.config.fleet, engine.opened()
    learned = LearnedRouter.as_shipped(fleet)
    judges: list[Router] = [learned, RulesRouter(fleet)]
    if order.kind == "routing":
        known = all_examples(store.turns(), store.training.examples(), fleet)
        return RequestTask(fleet, known, RequestFilter(known, learned.projection, judges, order.origin))
    try:
        tools = tool_dialogues.read_tools(Path(order.tools) if order.tools else None)
    except tool_dialogues.ToolsError as error:
        raise OrderError(str(error)) from error
    there, route = list(store.training.dialogues()), tool_dialogues.acting_route(fleet)
    request_filter = RequestFilter(
        (tool_dialogues.as_example(one, route) for one in there), learned.projection, judges, order.origin
    )
    return tool_dialogues.DialogueTask(fleet, tools, there, request_filter, order.origin)
