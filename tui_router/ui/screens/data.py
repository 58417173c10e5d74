"""F4: training data. What there is, what is wrong with it, and how it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.content import Content
from textual.widget import Widget

from tui_router.core.clock import local, now
from tui_router.core.text import one_line
from tui_router.ui.screens.room import Room, Table
from tui_router.ui.widgets.lines import bar, line

if TYPE_CHECKING:
    from tui_router.core.example import Example, Source
    from tui_router.datasets.doctor import Checkup, Trouble
    from tui_router.datasets.export import Choice, Exported
    from tui_router.engine import Engine

_KINDS: tuple[tuple[Trouble, str], ...] = (
    ("suspect", "perhaps the wrong route"), ("conflict", "the same request, two routes"),
    ("private", "private data"), ("duplicate", "repetitions"),
)  # fmt: skip
_MOST = 200
_SOURCES: tuple[tuple[Source, ...], ...] = (
    ("verdict",),
    ("verdict", "imported"),
    ("verdict", "imported", "generated", "seed"),
)


class DataScreen(Room):
    """Examples, their faults, and the way out."""

    BINDINGS: ClassVar = [
        Binding("f4", "leave", "chat", show=False, id="leave_data"),
        Binding("1", "kind(0)", "suspects", id="data_suspects"),
        Binding("2", "kind(1)", "conflicts", id="data_conflicts"),
        Binding("3", "kind(2)", "private", id="data_private"),
        Binding("4", "kind(3)", "repetitions", id="data_repetitions"),
        Binding("f", "cycle('form')", "format", id="data_format"),
        Binding("t", "cycle('target')", "target", id="data_target"),
        Binding("o", "cycle('sources')", "sources", id="data_sources"),
        Binding("p", "cycle('private')", "private data", id="data_privacy"),
        Binding("x", "export", "export", id="data_export"),
    ]

    name_shown = "F4 Data"
    keys_shown = (
        ("1-4", "kind"),
        ("f t o p", "format, target, sources, private data"),
        ("x", "export"),
        ("esc", "chat"),
    )

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        from tui_router.datasets.export import Choice

        self.examples: list[Example] = []
        self.checkup: Checkup | None = None
        self.kind = 0
        self.choice: Choice = Choice(sources=_SOURCES[2])
        self.sources = Table("Validated examples", "data-sources")
        self.balance = Table("By route", "data-balance")
        self.out = Table("Export", "data-export")
        self.queue = Table("Doctor", "data-doctor")

    def left(self) -> Iterable[Widget]:
        return (self.queue,)

    def right(self) -> Iterable[Widget]:
        return self.sources, self.balance, self.out

    def on_mount(self) -> None:
        super().on_mount()
        self._show_choice()
        self.run_worker(self._read(), group="data", exclusive=True, exit_on_error=False)

    def action_kind(self, place: int) -> None:
        """Show another kind of findings."""
        self.kind = place
        self._show_findings()

    def action_cycle(self, what: str) -> None:
        """The next format, target, choice of sources, or way with private data."""
        from msgspec.structs import replace

        from tui_router.datasets.formats import FORMATS, TARGETS

        known: dict[str, tuple[object, ...]] = {
            "form": FORMATS, "target": TARGETS, "sources": _SOURCES, "private": ("mask", "drop", "keep"),
        }  # fmt: skip
        values = known[what]
        value = values[(values.index(getattr(self.choice, what)) + 1) % len(values)]
        self.choice = replace(self.choice, **{what: value})
        self._show_choice()

    def action_export(self) -> None:
        """Write the dataset into a new folder of the data folder."""
        if self.examples:
            self.run_worker(self._export(), group="export", exclusive=True, exit_on_error=False)

    # -- reading -------------------------------------------------------------------------------------------------
    async def _read(self) -> None:
        """All examples, and what the doctor says of those that no seed gave."""
        from tui_router.datasets.doctor import check
        from tui_router.datasets.sources import collected
        from tui_router.routers.learned import LearnedRouter

        turns = await self.turns_since(0)
        store = self.engine.store
        if turns is None or store is None:
            self.say("the store cannot be read")
            return
        kept = await self.engine.in_store(lambda: list(store.examples()))
        fleet = self.engine.config.fleet
        self.examples = await asyncio.to_thread(collected, turns, kept, fleet)
        self._show_sources()
        own = [example for example in self.examples if example.source != "seed"]
        self.checkup = await asyncio.to_thread(lambda: check(own, fleet, LearnedRouter.as_shipped(fleet)))
        self._show_findings()
        self._show_sources()

    def _show_sources(self) -> None:
        from collections import Counter

        from tui_router.core.example import GOAL

        counts = Counter(example.source for example in self.examples)
        done = counts["verdict"]
        self.sources.head.say(f"{done} of {GOAL}")
        rest = ", ".join(f"{source} {n:,}" for source, n in counts.items()) or "none"
        self.sources.rows.put(
            line(bar(min(1.0, done / GOAL), 40, "$right" if done >= GOAL else "$s1")), line((rest, "$muted")),
            line(("Verdicts make them: y, or n with the right route.", "$muted")) if done < GOAL else line(""),
        )  # fmt: skip
        routes = Counter(e.route for e in self.examples if e.source != "seed")
        most = max(routes.values(), default=1)
        missing = self.checkup.starving if self.checkup else {}
        self.balance.rows.put(
            *(
                line(
                    f"{r.name:<13}{routes[r.name]:>6,}  ", bar(routes[r.name] / most, 14, "$s1"),
                    (f"  {missing[r.name]} missing" if r.name in missing else "", "$caution"),
                )
                for r in self.engine.config.fleet.routes
            )
        )  # fmt: skip
        self.say(f"{len(self.examples):,} examples")

    def _show_findings(self) -> None:
        kind, title = _KINDS[self.kind]
        tabs: list[Content] = []
        if self.checkup is None:
            self.queue.rows.put(line(("looking …", "$muted")))
            return
        for place, (name, says) in enumerate(_KINDS):
            chosen = place == self.kind
            mark = line(
                (f"{place + 1} {says}", "$accent bold" if chosen else "$muted"),
                (f" {len(self.checkup.of(name))}", "$strong"),
            )
            tabs.append(mark)
        own = [example for example in self.examples if example.source != "seed"]
        found = self.checkup.of(kind)
        self.queue.head.say(title)
        rows = [*tabs, line("")]
        for one in found[:_MOST]:
            example = own[one.place]
            where = f"turn {example.origin.partition('-')[0]}" if example.source == "verdict" else example.source
            rows.append(line((f"{where:<10} ", "$muted"), one_line(example.text, 80)))
            rows.append(line((f"{'':<11}{example.route}: ", "$muted"), (one.says, "$caution")))
        if not found:
            rows.append(line(("none", "$muted")))
        if len(found) > _MOST:
            rows.append(line((f"and {len(found) - _MOST:,} more: tui-router dataset check --limit N", "$muted")))
        self.queue.rows.put(*rows)

    # -- the way out ---------------------------------------------------------------------------------------------
    def _folder(self) -> Path:
        stamp = local(now()).strftime("%Y%m%d-%H%M%S")
        return self.engine.folder / "exports" / f"{stamp}-{self.choice.form}-{self.choice.target}"

    def _show_choice(self, said: str = "") -> None:
        c = self.choice
        rows = [
            line(("f ", "$accent bold"), ("format   ", "$muted"), c.form), line(("t ", "$accent bold"), ("target   ", "$muted"), c.target),
            line(("o ", "$accent bold"), ("sources  ", "$muted"), ", ".join(c.sources)),
            line(("p ", "$accent bold"), ("private  ", "$muted"), c.private),
        ]  # fmt: skip
        self.out.rows.put(*rows, line(""), line((said or "x writes it with its card", "$strong" if said else "$muted")))

    async def _export(self) -> None:
        from tui_router.datasets.export import ExportError, export
        from tui_router.routers.learned import LearnedRouter

        folder, fleet, choice = self._folder(), self.engine.config.fleet, self.choice

        def tell(done: int, of: int) -> None:
            self.app.call_from_thread(self._show_choice, f"writing … {done / max(1, of):.0%}")

        def work() -> Exported:
            return export(self.examples, fleet, choice, folder, LearnedRouter.as_shipped(fleet).sketcher, tell)

        self._show_choice("comparing …")
        try:
            made = await asyncio.to_thread(work)
        except ExportError as error:
            self._show_choice(one_line(str(error), 200))
            return
        parts = ", ".join(f"{part} {n:,}" for part, n in made.parts.items())
        self._show_choice(f"{sum(made.parts.values()):,} written: {parts}")
        self.notify(str(folder), title="exported", markup=False)
