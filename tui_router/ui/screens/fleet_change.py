"""A proposed change of fleet.toml: what it would do on all stored turns, before it is applied."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.content import Content
from textual.widget import Widget

from tui_router.config.folders import from_home
from tui_router.core.text import one_line, plural
from tui_router.ui.screens.panel_screen import LinesPane, ListScreen
from tui_router.ui.widgets.lines import line

if TYPE_CHECKING:
    from tui_router.app.engine import Engine
    from tui_router.insight.findings import Finding
    from tui_router.insight.replay import Move, ReplayResult

_BY = "Replayed with the champion, the router whose decision is acted on."


class FleetChangeScreen(ListScreen):
    """One proposal."""

    BINDINGS: ClassVar = [
        Binding("enter", "open", "show turn", id="change_open", tooltip="Show the selected turn"),
        Binding("a", "apply", "apply", id="change_apply", tooltip="Write the change into fleet.toml"),
    ]
    screen_name = "Try it"
    shown_keys = (("jk", "move"), ("⏎", "show turn"), ("a", "apply"), ("esc", "cancel"))

    def __init__(self, engine: Engine, finding: Finding) -> None:
        super().__init__(engine)
        self.finding = finding
        self.replayed: ReplayResult | None = None
        self.moves: list[Move] = []
        self.listed, self.change = (
            LinesPane("Turns that would change route", "change-moves"),
            LinesPane("The change", "change-lines"),
        )

    def left(self) -> Iterable[Widget]:
        return (self.listed,)

    def right(self) -> Iterable[Widget]:
        return (self.change,)

    def on_mount(self) -> None:
        super().on_mount()
        self._show_change()
        self.run_worker(self._try(), group="change", exclusive=True, exit_on_error=False)

    async def _try(self) -> None:
        from tui_router.insight.findings import simulate_change
        from tui_router.learning.changed_fleet import champion_for
        from tui_router.store.store_errors import StoreError

        self.set_status("replaying all turns …")
        fleet, toml = self.engine.config.fleet, self.finding.toml
        try:
            champion = champion_for(self.engine.router_service.loaded())
            self.replayed = found = await asyncio.to_thread(
                lambda: simulate_change(toml, self.all_turns(), fleet, champion)
            )
            otherwise = await asyncio.to_thread(self._without_rules) if found is None else ""
        except (StoreError, RuntimeError):  # RuntimeError: the store's thread has ended
            self.set_status("the store cannot be read")
            return
        if found is None:
            self.set_status(otherwise)
            self.listed.rows.set_lines(line(("This change affects no router's decisions.", "$muted")))
            return
        self.moves = sorted(found.moves, key=lambda move: (not move.fixes, not move.breaks))
        self._show()

    def _without_rules(self) -> str:
        """What a change does that does not touch the rules."""
        if self.finding.kind == "threshold_too_high":
            import tomllib

            lower = float(tomllib.loads(self.finding.toml)["settings"]["confidence_threshold"])
            asked = [turn.decision.confidence for turn in self.all_turns() if turn.asked == "unsure"]
            spared = sum(confidence >= lower for confidence in asked)
            return f"{spared} of {len(asked)} questions before sending would not have been asked"
        return f"{self.finding.n} times this model was tried; the next ones of the route would be tried instead"

    # -- showing -------------------------------------------------------------------------------------------------
    def _show_change(self) -> None:
        rows: list[Content] = []
        for part in wrap(one_line(self.finding.text, 300), 46):
            rows.append(line((part, "$text")))
        rows += [line(""), *(line((part, "$strong")) for part in wrap(self.finding.proposal, 46)), line("")]
        rows += [line((part, "$accent")) for part in self.finding.toml.splitlines()]
        rows += [
            line(""),
            line((f"in {from_home(self._path())}", "$muted")),
            line(("comments are kept; u in the report undoes it", "$muted")),
        ]
        rows += [line(""), *(line((part, "$muted")) for part in wrap(_BY, 46))]
        self.change.rows.set_lines(*rows)

    def _show(self) -> None:
        found = self.replayed
        if found is None:
            return
        unrated = f"{plural(found.unrated, 'unrated turn')} would change route"
        self.set_status(
            f"fixes {found.fixes}, breaks {found.breaks}; {unrated}; {plural(found.turns, 'turn')} replayed"
        )
        rows = [self._row(move, here=here) for move, here in self.shown(self.moves)]
        self.listed.head.set_status(f"{len(self.moves):,}")
        self.listed.rows.set_lines(*(rows or [line(("no turn would change route", "$muted"))]))

    def _row(self, move: Move, *, here: bool) -> Content:
        sign, style = ("✓", "$right") if move.fixes else ("✗", "$wrong") if move.breaks else ("·", "$muted")
        number = move.turn.partition("-")[0]
        return line(
            ("› " if here else "  ", "$accent bold"),
            (f"{sign} ", style),
            (f"{number:>6} ", "$muted"),
            f"{move.before} → {move.after}  ",
            (one_line(move.text, 90), "$strong bold" if here else "$text"),
        )

    # -- acting --------------------------------------------------------------------------------------------------
    def action_open(self) -> None:
        """Show the selected turn."""
        if (move := self.selected(self.moves)) is not None:
            from tui_router.ui.screens.turns import TurnsScreen

            self.app.push_screen(TurnsScreen(self.engine, "would change route", ids=[move.turn]))

    def _path(self) -> Path:
        from tui_router.config.settings import config_dir

        return self.engine.config.file or config_dir() / "fleet.toml"

    def action_apply(self) -> None:
        """Write the change into fleet.toml and go on with it."""
        from tui_router.config.fleet_edit import EditError, FleetEdits

        if getattr(self.app, "demo", None) is not None:
            self.notify("the demo does not change your fleet.toml", severity="warning", markup=False)
            return
        try:
            edit = FleetEdits(self.engine.folder).apply(self._path(), self.finding.toml, self.finding.proposal)
        except EditError as error:
            self.notify(one_line(str(error), 300), severity="error", markup=False, timeout=15)
            return
        self.notify(f"{one_line(edit.summary, 100)}; u in the report undoes it", title="applied", markup=False)
        self.app.call_later(self.app.run_action, "reload")
