"""F4: training data. What there is, what the label audit found, and a queue in which one key settles each issue."""

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
    ("suspect", "possibly mislabelled"),
    ("conflict", "same request, two routes"),
    ("private", "private data"),
    ("duplicate", "duplicates"),
    (None, "all examples"),
)
_SETTLED: tuple[IssueKind, ...] = ("suspect", "conflict", "private")
"""Issues that are settled when a person keeps the example as it is."""


class DataIssue:
    """One entry of a queue: an example, and what the audit found in it."""

    def __init__(self, name: str, example: Example, says: str = "", suggested: str = "", other: str = "") -> None:
        self.name, self.example, self.says, self.suggested, self.other = name, example, says, suggested, other


class DataScreen(ListScreen):
    """Examples, the issues found in them, and what a person decides about each."""

    BINDINGS: ClassVar = [
        Binding("1", "kind(0)", "suspects", id="data_suspects", tooltip="Show examples that may be mislabelled"),
        Binding("2", "kind(1)", "conflicts", id="data_conflicts", tooltip="Show requests with two routes"),
        Binding("3", "kind(2)", "private", id="data_private", tooltip="Show examples with private data"),
        Binding("4", "kind(3)", "duplicates", id="data_duplicates", tooltip="Show duplicates"),
        Binding("5", "kind(4)", "all", id="data_all", tooltip="Show all examples"),
        Binding("n", "move(1)", "next", id="data_next", tooltip="Select the next entry"),
        Binding("e", "keep", "keep", id="data_keep", tooltip="Keep the example as it is"),
        Binding("l", "relabel", "relabel", id="data_relabel", tooltip="Give the example another route"),
        Binding("d", "drop", "drop", id="data_drop", tooltip="Leave the example out of training"),
        Binding("u", "undo", "undo", id="data_undo", tooltip="Undo the last decision"),
        Binding("slash", "search", "search", id="data_search", tooltip="Find examples by text or route"),
        Binding(
            "g",
            "generate('routing')",
            "generate requests",
            id="data_generate",
            tooltip="Have a model generate requests, or stop it",
        ),
        Binding(
            "G",
            "generate('tool-use')",
            "generate tool calls",
            id="data_tool_use",
            tooltip="Have a model generate conversations with tool calls, or stop it",
        ),
        Binding("x", "app.export", "export", id="data_export", tooltip="Go to the Export screen"),
    ]

    screen_name = "F4 Data"
    around, before = 12, 3
    shown_keys = (
        ("1-5", "kind"),
        ("jk", "move"),
        ("e", "keep"),
        ("l", "relabel"),
        ("d", "drop"),
        ("u", "undo"),
        ("/", "search"),
        ("g G", "generate requests, tool calls"),
        ("x", "export"),
        ("esc", "chat"),
    )

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.examples: dict[str, Example] = {}
        """Name of an example as it was collected -> the example with every label edit so far."""
        self.checkup: AuditReport | None = None
        self.queues: list[list[DataIssue]] = []
        """The issues of each kind; the last queue holds all examples but the seeds that match the search."""
        self.kind, self.wanted = 0, ""
        self.dialogues = 0
        """How many conversations with tools there are."""
        self._there = True
        """The screen is open, so the audit goes on."""
        self._writing = False
        """A model is writing requests now."""
        self._done: list[tuple[str, str]] = []
        """What was decided here, for undo: (`edit` or `verdict`, of which example or turn)."""
        self.sources = LinesPane("Rated examples", "data-sources")
        self.balance = LinesPane("By route", "data-balance")
        self.queue = LinesPane("Label audit", "data-audit")

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
        """Read all examples, and audit those that are not seeds."""
        from tui_router.core.label_edit import effective_edits, name_of
        from tui_router.datasets.label_audit import audit
        from tui_router.datasets.sources import iter_examples, with_edits
        from tui_router.routing.learned.learned_router import LearnedRouter
        from tui_router.store.store_errors import StoreError

        fleet = self.engine.config.fleet

        def read() -> tuple[dict[str, Example], Mapping[str, LabelEdit]]:
            store = self.engine.opened()
            kept, edits = self.engine.at_store(lambda: (list(store.training.examples()), store.training.edits()))
            self.dialogues = self.engine.at_store(lambda: sum(1 for _ in store.training.dialogues()))
            held = effective_edits(edits)
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
        right = {name for name, edit in held.items() if edit.kind == "keep"}
        self.queues = [_issues(checkup, own, kind, right) for kind, _ in _KINDS if kind is not None]
        self.queues.append([])
        self._look_for(self.wanted)
        self._show_sources()

    def _own(self) -> dict[str, Example]:
        """The examples that are not seeds."""
        return {name: example for name, example in self.examples.items() if example.source != "seed"}

    def _look_for(self, wanted: str) -> None:
        """Fill the last queue with the examples that hold a text or belong to a route."""
        self.wanted, low = wanted, wanted.casefold()
        self.queues[-1] = [
            DataIssue(name, one)
            for name, one in self._own().items()
            if low in one.text.casefold() or wanted == one.route
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
            line(bar(min(1.0, done / GOAL), 40, "$right" if done >= GOAL else "$s1")),
            line((rest, "$muted")),
            line(("Rate turns (y, or n + route) to add examples.", "$muted")) if done < GOAL else line(""),
        )
        routes = Counter(example.route for example in self._own().values())
        most = max(routes.values(), default=1)
        self.balance.rows.set_lines(
            *(
                line(
                    f"{r.name:<13}{routes[r.name]:>6,}  ",
                    bar(routes[r.name] / most, 10, "$s1"),
                    (_distinct(self.checkup, r.name), "$caution"),
                )
                for r in self.engine.config.fleet.routes
            )
        )
        self.set_status(f"{len(self.examples):,} examples")

    def _show(self) -> None:
        if not self.queues:
            self.queue.rows.set_lines(line(("checking …", "$muted")))
            return
        tabs: list[Content] = []
        for place, (_, title) in enumerate(_KINDS):
            style = "$accent bold" if place == self.kind else "$muted"
            tabs.append(line((f"{place + 1} {title}", style), (f" {len(self.queues[place]):,}", "$strong")))
        issues = self.queues[self.kind]
        around = self.shown(issues)
        title = _KINDS[self.kind][1]
        self.queue.head.set_status(f"{title}: {self.at + 1} of {len(issues):,}" if issues else title)
        if self.kind == len(_KINDS) - 1 and self.wanted:
            tabs.append(line(("  matching ", "$muted"), self.wanted))
        rows: list[Content] = [*tabs, line("")]
        for issue, here in around:
            rows += self._entry(issue, here=here)
        if not issues:
            rows.append(line(("none", "$muted")))
        self.queue.rows.set_lines(*rows)

    def _entry(self, issue: DataIssue, *, here: bool) -> list[Content]:
        example = issue.example
        where = f"turn {example.origin.partition('-')[0]}" if example.source == "verdict" else example.source
        mark: Part = ("› ", "$accent bold") if here else "  "
        details: list[Part] = [(f"  {'':<11}{example.route}", "$text")]
        details += [(f": {issue.says}", "$caution")] if issue.says else []
        return [
            line(mark, (f"{where:<11}", "$muted"), (one_line(example.text, 78), "$strong bold" if here else "$text")),
            line(*details),
        ]

    # -- moving --------------------------------------------------------------------------------------------------
    def action_kind(self, place: int) -> None:
        """Another kind of issue."""
        self.kind, self.at = place, 0
        self._show()

    def action_search(self) -> None:
        """Find examples by a text or a route."""
        from tui_router.ui.screens.text_dialog import TextDialog

        def named(text: str | None) -> None:
            if text is not None and self.queues:
                self.kind, self.at = len(_KINDS) - 1, 0
                self._look_for(text)

        self.app.push_screen(TextDialog("Find examples by text or route", self.wanted), named)

    # -- generated requests --------------------------------------------------------------------------------------
    def action_generate(self, kind: DataKind) -> None:
        """Have a served model write requests or conversations with tools; while it does, stop it."""
        if self._writing:
            self._writing = False
            self.notify("Stopping after this batch. Press g to resume.", markup=False)
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
        self.app.push_screen(TextDialog(f"How many {noun} should the model generate?", "100"), named)

    async def _generate(self, kind: DataKind, wanted: int) -> None:
        from tui_router.app.generation_service import GenerationOrder, OrderError, carry_out, open_order, writer_of
        from tui_router.backends.backend_errors import BackendError
        from tui_router.store.store_errors import StoreError

        def show_progress(order: GenerationOrder, kept: int, tally: GenerationTally) -> bool:
            progress = f"{kept} of {order.wanted} kept, {tally.written} written, {tally.tokens:,} tokens"
            self.set_status(f"{order.model} is generating: {progress}; g stops")
            return self._writing

        self._writing = True
        try:
            order = open_order(self.engine.folder)
            if wanted or order is None:
                order = GenerationOrder(kind=kind, wanted=wanted, model=writer_of(self.engine))
            made = await carry_out(self.engine, order, show_progress)
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
    def _selected(self) -> DataIssue | None:
        return self.selected(self.queues[self.kind]) if self.queues else None

    def action_keep(self) -> None:
        """The example is right; the audit ignores it from now on."""
        self._settle("keep")

    def action_drop(self) -> None:
        """The example is left out of training."""
        self._settle("drop")

    def _settle(self, kind: EditKind, route: str = "") -> None:
        issue = self._selected()
        if issue is not None:
            self.run_worker(self._rule(issue, kind, route), group="edit", exit_on_error=False)

    def action_relabel(self) -> None:
        """Another route."""
        issue = self._selected()
        if issue is None:
            return
        from tui_router.ui.screens.route_dialog import RouteDialog

        def picked(route: str | None) -> None:
            if route and route != issue.example.route:
                work = self._rule(issue, "relabel", route)
                self.run_worker(work, group="edit", exit_on_error=False)

        self.app.push_screen(RouteDialog(self.engine.config.fleet, issue.example.text, issue.suggested), picked)

    async def _rule(self, issue: DataIssue, kind: EditKind, route: str) -> None:
        """Store a decision. The label of a turn is its verdict, so the routers learn the correction too."""
        from tui_router.core.label_edit import LabelEdit
        from tui_router.store.store_errors import StoreError

        example, engine = issue.example, self.engine
        try:
            if kind == "relabel" and example.source == "verdict":
                await self._rate(example, route)
                self._done.append(("verdict", example.origin))
            else:
                edit = LabelEdit(at=now(), example=issue.name, kind=kind, route=route)
                await engine.in_store(lambda: engine.opened().training.record_edit(edit))
                self._done.append(("edit", issue.name))
        except StoreError as error:
            self.notify(one_line(str(error), 200), severity="error", markup=False)
            return
        result = {"keep": "kept", "drop": "dropped"}.get(kind, f"relabelled: {route}")
        self.notify(f"{result}; u undo", markup=False)
        self._settled(issue, kind, route)

    def _settled(self, issue: DataIssue, kind: EditKind, route: str) -> None:
        """Take a settled example out of the queues, with the conflicts that it was part of."""
        from msgspec.structs import replace

        if kind == "drop":
            self.examples.pop(issue.name, None)
        elif kind == "relabel":
            self.examples[issue.name] = replace(issue.example, route=route)
        for (trouble, _), queue in zip(_KINDS[:-1], self.queues, strict=False):
            if kind != "keep" or trouble in _SETTLED:
                queue[:] = [one for one in queue if issue.name not in (one.name, one.other)]
        self._look_for(self.wanted)
        self._show_sources()

    async def _rate(self, example: Example, route: str) -> None:
        from tui_router.core.verdicts import judge
        from tui_router.store.store_errors import UnknownTurnError

        engine = self.engine
        turn = await engine.in_store(lambda: engine.opened().find(example.origin))
        if turn is None:
            raise UnknownTurnError(f"turn {example.origin} is gone")
        verdict = judge(turn, route, source="doctor")
        await engine.rate(turn.id, verdict)

    def action_undo(self) -> None:
        """Undo the last decision of this visit."""
        if self._done:
            self.run_worker(self._undo(), group="edit", exit_on_error=False)

    async def _undo(self) -> None:
        from tui_router.core.label_edit import LabelEdit
        from tui_router.store.store_errors import StoreError

        what, name = self._done.pop()
        engine = self.engine
        try:
            if what == "verdict":
                await engine.rate(name, None)
            else:
                edit = LabelEdit(at=now(), example=name, kind="undone")
                await engine.in_store(lambda: engine.opened().training.record_edit(edit))
        except StoreError as error:
            self.notify(one_line(str(error), 200), severity="error", markup=False)
            return
        self.notify("undone", markup=False)
        await self._read()


def _issues(checkup: AuditReport, own: Mapping[str, Example], trouble: IssueKind, right: set[str]) -> list[DataIssue]:
    """The queue of one kind of issue, without the examples that a person kept."""
    names = list(own)
    settled = right if trouble in _SETTLED else set()
    return [
        DataIssue(
            names[one.index],
            own[names[one.index]],
            one.message,
            one.route or "",
            names[one.other] if trouble == "conflict" and one.other is not None else "",
        )
        for one in checkup.of(trouble)
        if names[one.index] not in settled
    ]


def _distinct(checkup: AuditReport | None, route: str) -> str:
    """How many examples of a route differ enough to count, when there are too few; else nothing."""
    missing = checkup.starving.get(route, 0) if checkup is not None else 0
    if checkup is None or not missing:
        return ""
    distinct = checkup.per_route.get(route, 0)
    return f"  {distinct} of {distinct + missing} distinct"
