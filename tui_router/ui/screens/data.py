"""F4: training data. What there is, what the doctor doubts, and a queue in which each doubt is settled by one key."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.content import Content
from textual.widget import Widget

from tui_router.core.clock import now
from tui_router.core.example import GOAL
from tui_router.core.text import one_line
from tui_router.ui.screens.panel_screen import LinesPane, ListScreen
from tui_router.ui.widgets.lines import Part, bar, line

if TYPE_CHECKING:
    from tui_router.app.engine import Engine
    from tui_router.app.generation_service import DataKind, GenerationOrder
    from tui_router.core.example import Example
    from tui_router.core.label_edit import EditKind, LabelEdit
    from tui_router.datasets.label_audit import AuditReport, IssueKind
    from tui_router.datasets.synthetic.batches import GenerationTally

_KINDS: tuple[tuple[IssueKind | None, str], ...] = (
    ("suspect", "perhaps the wrong route"), ("conflict", "the same request, two routes"),
    ("private", "private data"), ("duplicate", "repetitions"), (None, "all examples"),
)  # fmt: skip
_SETTLED: tuple[IssueKind, ...] = ("suspect", "conflict", "private")
"""Doubts that are over when a person says that the example is right."""


class Doubt:
    """One entry of a queue."""

    def __init__(self, name: str, example: Example, says: str = "", suggested: str = "", other: str = "") -> None:
        self.name, self.example, self.says, self.suggested, self.other = name, example, says, suggested, other


class DataScreen(ListScreen):
    """Examples, their faults, and what a person says about them."""

    BINDINGS: ClassVar = [
        Binding("f4", "leave", "chat", show=False, id="leave_data"),
        Binding("1", "kind(0)", "suspects", id="data_suspects"),
        Binding("2", "kind(1)", "conflicts", id="data_conflicts"),
        Binding("3", "kind(2)", "private", id="data_private"),
        Binding("4", "kind(3)", "repetitions", id="data_repetitions"),
        Binding("5", "kind(4)", "all", id="data_all"),
        Binding("n", "move(1)", "next", id="data_next"),
        Binding("e", "keep", "keep", id="data_keep"),
        Binding("l", "relabel", "relabel", id="data_relabel"),
        Binding("d", "drop", "drop", id="data_drop"),
        Binding("u", "undo", "undo", id="data_undo"),
        Binding("slash", "search", "search", id="data_search"),
        Binding("g", "generate('routing')", "generate", id="data_generate"),
        Binding("G", "generate('tool-use')", "tool use", id="data_tool_use"),
        Binding("x", "app.export", "export", id="data_export"),
    ]

    name_shown = "F4 Data"
    around, before = 12, 3
    keys_shown = (
        ("1-5", "kind"), ("jk", "move"), ("e", "keep"), ("l", "relabel"), ("d", "drop"), ("u", "undo"), ("/", "search"),
        ("g", "generate"), ("G", "tool use"), ("x", "export"), ("esc", "chat"),
    )  # fmt: skip

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.examples: dict[str, Example] = {}
        """Name of an example before any ruling -> what the rulings so far have made of it."""
        self.checkup: AuditReport | None = None
        self.queues: list[list[Doubt]] = []
        """The doubts of each kind; the last is all examples that no seed gave and that hold what is looked for."""
        self.kind, self.wanted = 0, ""
        self.dialogues = 0
        """Conversations with tools that there are."""
        self._there = True
        """Whether the doctor's answer is still wanted."""
        self._writing = False
        """Whether a model is writing requests now."""
        self._done: list[tuple[str, str]] = []
        """What was settled here, for undoing: (`ruling` or `verdict`, of what)."""
        self.sources = LinesPane("Validated examples", "data-sources")
        self.balance = LinesPane("By route", "data-balance")
        self.queue = LinesPane("Doctor", "data-doctor")

    def left(self) -> Iterable[Widget]:
        return (self.queue,)

    def right(self) -> Iterable[Widget]:
        return self.sources, self.balance

    def on_mount(self) -> None:
        super().on_mount()
        self._reload()

    def on_unmount(self) -> None:
        self._there = False

    def _reload(self) -> None:
        self.run_worker(self._read(), group="data", exclusive=True, exit_on_error=False)

    # -- reading -------------------------------------------------------------------------------------------------
    async def _read(self) -> None:
        """All examples, and what the doctor says of those that no seed gave."""
        from tui_router.core.label_edit import effective_edits, name_of
        from tui_router.datasets.label_audit import audit
        from tui_router.datasets.sources import iter_examples, with_edits
        from tui_router.routing.learned.learned_router import LearnedRouter
        from tui_router.store.store_errors import StoreError

        fleet = self.engine.config.fleet

        def read() -> tuple[dict[str, Example], Mapping[str, LabelEdit]]:
            store = self.engine.opened()
            kept, rulings = self.engine.at_store(lambda: (list(store.training.examples()), store.training.edits()))
            self.dialogues = self.engine.at_store(lambda: sum(1 for _ in store.training.dialogues()))
            held = effective_edits(rulings)
            raw = iter_examples(self.all_turns(), kept, fleet)
            return {name_of(one): made for one in raw for made in with_edits([one], held, fleet)}, held

        try:
            self.examples, held = await asyncio.to_thread(read)
        except (StoreError, RuntimeError):  # RuntimeError: the store's thread has ended
            self.set_status("the store cannot be read")
            return
        self._show_sources()
        own = self._own()
        self.checkup = checkup = await asyncio.to_thread(
            lambda: audit(list(own.values()), fleet, LearnedRouter.as_shipped(fleet).projection, lambda: self._there)
        )
        right = {name for name, ruling in held.items() if ruling.kind == "keep"}
        self.queues = [_doubts(checkup, own, kind, right) for kind, _ in _KINDS if kind is not None]
        self.queues.append([])
        self._look_for(self.wanted)
        self._show_sources()

    def _own(self) -> dict[str, Example]:
        """The examples that no seed gave."""
        return {name: example for name, example in self.examples.items() if example.source != "seed"}

    def _look_for(self, wanted: str) -> None:
        """Fill the last queue."""
        self.wanted, low = wanted, wanted.casefold()
        self.queues[-1] = [
            Doubt(name, one) for name, one in self._own().items() if low in one.text.casefold() or wanted == one.route
        ]
        self._show()

    # -- showing -------------------------------------------------------------------------------------------------
    def _show_sources(self) -> None:
        counts = Counter(example.source for example in self.examples.values())
        done = counts["verdict"]
        self.sources.head.set_status(f"{done} of {GOAL}")
        rest = ", ".join(f"{source} {n:,}" for source, n in counts.items()) or "none"
        rest += f"; conversations with tools {self.dialogues:,}" if self.dialogues else ""
        self.sources.rows.set_lines(
            line(bar(min(1.0, done / GOAL), 40, "$right" if done >= GOAL else "$s1")), line((rest, "$muted")),
            line(("Verdicts make them: y, or n with the right route.", "$muted")) if done < GOAL else line(""),
        )  # fmt: skip
        routes = Counter(example.route for example in self._own().values())
        most = max(routes.values(), default=1)
        missing = self.checkup.starving if self.checkup else {}
        self.balance.rows.set_lines(
            *(
                line(
                    f"{r.name:<13}{routes[r.name]:>6,}  ", bar(routes[r.name] / most, 14, "$s1"),
                    (f"  {missing[r.name]} missing" if r.name in missing else "", "$caution"),
                )
                for r in self.engine.config.fleet.routes
            )
        )  # fmt: skip
        self.set_status(f"{len(self.examples):,} examples")

    def _show(self) -> None:
        if not self.queues:
            self.queue.rows.set_lines(line(("looking …", "$muted")))
            return
        tabs: list[Content] = []
        for place, (_, says) in enumerate(_KINDS):
            style = "$accent bold" if place == self.kind else "$muted"
            tabs.append(line((f"{place + 1} {says}", style), (f" {len(self.queues[place]):,}", "$strong")))
        doubts = self.queues[self.kind]
        around = self.shown(doubts)
        title = _KINDS[self.kind][1]
        self.queue.head.set_status(f"{title}: {self.at + 1} of {len(doubts):,}" if doubts else title)
        if self.kind == len(_KINDS) - 1 and self.wanted:
            tabs.append(line(("  holding ", "$muted"), self.wanted))
        rows: list[Content] = [*tabs, line("")]
        for doubt, here in around:
            rows += self._entry(doubt, here=here)
        if not doubts:
            rows.append(line(("none", "$muted")))
        self.queue.rows.set_lines(*rows)

    def _entry(self, doubt: Doubt, *, here: bool) -> list[Content]:
        example = doubt.example
        where = f"turn {example.origin.partition('-')[0]}" if example.source == "verdict" else example.source
        mark: Part = ("› ", "$accent bold") if here else "  "
        said: list[Part] = [(f"  {'':<11}{example.route}", "$text")]
        said += [(f": {doubt.says}", "$caution")] if doubt.says else []
        return [
            line(mark, (f"{where:<11}", "$muted"), (one_line(example.text, 78), "$strong bold" if here else "$text")),
            line(*said),
        ]

    # -- moving --------------------------------------------------------------------------------------------------
    def action_kind(self, place: int) -> None:
        """Another kind of doubts."""
        self.kind, self.at = place, 0
        self._show()

    def action_search(self) -> None:
        """Examples that hold a text."""
        from tui_router.ui.screens.text_dialog import TextDialog

        def named(text: str | None) -> None:
            if text is not None and self.queues:
                self.kind, self.at = len(_KINDS) - 1, 0
                self._look_for(text)

        self.app.push_screen(TextDialog("Find examples that hold, or a route", self.wanted), named)

    # -- generated requests --------------------------------------------------------------------------------------
    def action_generate(self, kind: DataKind) -> None:
        """Have a served model write requests or conversations with tools; while it does, stop it."""
        if self._writing:
            self._writing = False
            self.notify("stopping after this batch; g goes on later", markup=False)
            return
        from tui_router.app.generation_service import open_order
        from tui_router.ui.screens.text_dialog import TextDialog

        def begin(wanted: int) -> None:
            self.run_worker(self._generate(kind, wanted), group="generate", exclusive=True, exit_on_error=False)

        if open_order(self.engine.folder) is not None:
            begin(0)
            return

        def named(text: str | None) -> None:
            if text and text.isdigit() and int(text) > 0:
                begin(int(text))

        noun = "requests" if kind == "routing" else "conversations with tools"
        self.app.push_screen(TextDialog(f"How many {noun} shall a served model write?", "100"), named)

    async def _generate(self, kind: DataKind, wanted: int) -> None:
        from tui_router.app.generation_service import GenerationOrder, OrderError, carry_out, open_order, writer_of
        from tui_router.backends.backend_errors import BackendError
        from tui_router.store.store_errors import StoreError

        def tell(order: GenerationOrder, kept: int, tally: GenerationTally) -> bool:
            said = f"{order.model} writes: {kept} of {order.wanted} kept, {tally.written} written, {tally.tokens:,} tokens; g stops"
            self.set_status(said)
            return self._writing

        self._writing = True
        try:
            order = open_order(self.engine.folder)
            if wanted or order is None:
                order = GenerationOrder(kind=kind, wanted=wanted, model=writer_of(self.engine))
            made = await carry_out(self.engine, order, tell)
        except (OrderError, BackendError, StoreError, OSError) as error:
            self.notify(one_line(str(error), 200), severity="error", markup=False)
            return
        finally:
            self._writing = False
        refused = ", ".join(f"{why} {n}" for why, n in made.tally.refused.items())
        self.notify(
            f"{made.tally.kept} kept; refused: {refused or 'none'}", title=made.order.model, markup=False, timeout=12
        )
        await self._read()

    # -- settling ------------------------------------------------------------------------------------------------
    def _hand(self) -> Doubt | None:
        return self.in_hand(self.queues[self.kind]) if self.queues else None

    def action_keep(self) -> None:
        """The example is right; the doctor is silent about it from now on."""
        self._settle("keep")

    def action_drop(self) -> None:
        """The example is not trained on."""
        self._settle("drop")

    def _settle(self, kind: EditKind, route: str = "") -> None:
        doubt = self._hand()
        if doubt is not None:
            self.run_worker(self._rule(doubt, kind, route), group="ruling", exit_on_error=False)

    def action_relabel(self) -> None:
        """Another route."""
        doubt = self._hand()
        if doubt is None:
            return
        from tui_router.ui.screens.route_dialog import RouteDialog

        def picked(route: str | None) -> None:
            if route and route != doubt.example.route:
                work = self._rule(doubt, "relabel", route)
                self.run_worker(work, group="ruling", exit_on_error=False)

        self.app.push_screen(RouteDialog(self.engine.config.fleet, doubt.example.text, doubt.suggested), picked)

    async def _rule(self, doubt: Doubt, kind: EditKind, route: str) -> None:
        """Keep what was decided. The label of a turn is its verdict, so that the routers learn the correction too."""
        from tui_router.core.label_edit import LabelEdit
        from tui_router.store.store_errors import StoreError

        example, engine = doubt.example, self.engine
        try:
            if kind == "relabel" and example.source == "verdict":
                await self._rate(example, route)
                self._done.append(("verdict", example.origin))
            else:
                ruling = LabelEdit(at=now(), example=doubt.name, kind=kind, route=route)
                await engine.in_store(lambda: engine.opened().training.record_edit(ruling))
                self._done.append(("ruling", doubt.name))
        except StoreError as error:
            self.notify(one_line(str(error), 200), severity="error", markup=False)
            return
        said = {"keep": "kept", "drop": "dropped"}.get(kind, f"relabelled: {route}")
        self.notify(f"{said}, u undoes it", markup=False)
        self._settled(doubt, kind, route)

    def _settled(self, doubt: Doubt, kind: EditKind, route: str) -> None:
        """Take an example that was decided about out of the queues; what it contradicted is contradicted no more."""
        from msgspec.structs import replace

        if kind == "drop":
            self.examples.pop(doubt.name, None)
        elif kind == "relabel":
            self.examples[doubt.name] = replace(doubt.example, route=route)
        for (trouble, _), queue in zip(_KINDS[:-1], self.queues, strict=False):
            if kind != "keep" or trouble in _SETTLED:
                queue[:] = [one for one in queue if doubt.name not in (one.name, one.other)]
        self._look_for(self.wanted)
        self._show_sources()

    async def _rate(self, example: Example, route: str) -> None:
        from tui_router.core.types import Verdict
        from tui_router.store.store_errors import UnknownTurnError

        engine = self.engine
        turn = await engine.in_store(lambda: engine.opened().find(example.origin))
        if turn is None:
            raise UnknownTurnError(f"turn {example.origin} is gone")
        right = turn.decision.route == route
        verdict = Verdict(
            kind="route",
            at=now(),
            rating="right" if right else "wrong",
            route=None if right else route,
            source="doctor",
        )
        await engine.rate(turn.id, verdict)

    def action_undo(self) -> None:
        """Take the last decision of this visit back."""
        if self._done:
            self.run_worker(self._undo(), group="ruling", exit_on_error=False)

    async def _undo(self) -> None:
        from tui_router.core.label_edit import LabelEdit
        from tui_router.store.store_errors import StoreError

        what, name = self._done.pop()
        engine = self.engine
        try:
            if what == "verdict":
                await engine.rate(name, None)
            else:
                ruling = LabelEdit(at=now(), example=name, kind="undone")
                await engine.in_store(lambda: engine.opened().training.record_edit(ruling))
        except StoreError as error:
            self.notify(one_line(str(error), 200), severity="error", markup=False)
            return
        self.notify("undone", markup=False)
        await self._read()


def _doubts(checkup: AuditReport, own: Mapping[str, Example], trouble: IssueKind, right: set[str]) -> list[Doubt]:
    """The queue of one kind of trouble; without the examples of which a person said that they are right."""
    names = list(own)
    settled = right if trouble in _SETTLED else set()
    return [
        Doubt(
            names[one.index], own[names[one.index]], one.message, one.route or "",
            names[one.other] if trouble == "conflict" and one.other is not None else "",
        )
        for one in checkup.of(trouble)
        if names[one.index] not in settled
    ]  # fmt: skip
