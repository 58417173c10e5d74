"""F5: train a router. Data and recipe before, curves while it runs, the gate's result after."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.content import Content
from textual.widget import Widget

from tui_router.core.text import one_line
from tui_router.ui.screens.panel_screen import LinesPane, PanelScreen
from tui_router.ui.screens.train_rows import Seen, about_rows, folded, gate_rows, log_rows, minutes
from tui_router.ui.widgets.curves import SMOOTHING, VIEWS, LossPane, ViewPane, now_rows
from tui_router.ui.widgets.lines import bar, line
from tui_router.ui.widgets.recipe_form import SOURCES, RecipeForm

if TYPE_CHECKING:
    from tui_router.app.engine import Engine
    from tui_router.training.preflight import Preflight
    from tui_router.training.runs import Run

_LOOK_S = 0.5
_OVER = ("done", "failed", "dropped")
_SIGNS: dict[str, tuple[str, str]] = {
    "running": ("●", "$accent"),
    "paused": ("◐", "$caution"),
    "done": ("✓", "$right"),
    "failed": ("✗", "$wrong"),
    "dead": ("✗", "$wrong"),
    "dropped": ("○", "$muted"),
    "new": ("○", "$muted"),
}


class TrainScreen(PanelScreen):
    """The runs, one of them in full, and the form of a new one."""

    BINDINGS: ClassVar = [
        Binding("n", "new", "new run", id="train_new", tooltip="Show the form of a new run"),
        Binding("s", "start", "start", id="train_start", tooltip="Export the data, check everything, and start"),
        Binding("f", "preflight", "preflight", id="train_preflight", tooltip="Check everything without starting"),
        Binding("right_square_bracket", "run(1)", "older run", id="train_older", tooltip="Show an older run"),
        Binding("left_square_bracket", "run(-1)", "newer run", id="train_newer", tooltip="Show a newer run"),
        Binding("p", "pause", "pause, resume", id="train_pause", tooltip="Pause the run, or resume it"),
        Binding("x", "ask('keep')", "stop and keep", id="train_keep", tooltip="Stop the run and keep what it learned"),
        Binding(
            "d", "ask('drop')", "stop and drop", id="train_drop", tooltip="Stop the run and discard what it learned"
        ),
        Binding("g", "gate", "gate", id="train_gate", tooltip="Run the gate, or show its result"),
        Binding("o", "promote", "promote", id="train_promote", tooltip="Make the run champion, if it passes its gate"),
        Binding(
            "b",
            "rollback",
            "roll back",
            id="train_rollback",
            tooltip="Make the champion before the trained router champion again",
        ),
        Binding("c", "compare", "compare", id="train_compare", tooltip="Draw another run beside this one"),
        Binding("v", "view", "another curve", id="train_view", tooltip="Show another curve"),
        Binding("m", "smooth", "smoothing", id="train_smooth", tooltip="Smooth the loss more or less"),
        Binding("w", "note", "note", id="train_note", tooltip="Write a note about the run"),
        Binding("delete", "delete", "delete", id="train_delete", tooltip="Delete the run and its exports"),
    ]
    screen_name = "F5 Train"
    _NEW_KEYS = (
        ("s", "start"),
        ("f", "preflight"),
        ("↑↓←→", "recipe"),
        ("]", "past runs"),
        ("F4", "data"),
        ("esc", "chat"),
    )
    _RUN_KEYS = (
        ("p", "pause"),
        ("x", "stop, keep"),
        ("o", "promote"),
        ("g", "gate"),
        ("v", "curve"),
        ("c", "compare"),
        ("F1", "help"),
        ("n", "new"),
    )

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.seen: list[Seen] = []
        self.at = -1
        """Which run is shown in full; -1: the form of a new one."""
        self.other = -1
        """Which run is drawn beside it; -1: none."""
        self.smoothing = 1
        self.found: Preflight | None = None
        self._judging = False
        self._asked = ""
        """The action that wants its key a second time."""
        self.readiness = LinesPane("Data", "train-data")
        self.form = RecipeForm()
        self.about = LinesPane("Run", "train-about")
        self.loss, self.view = LossPane(), ViewPane()
        self.log_pane = LinesPane("Log", "train-log")
        self.now = LinesPane("Now", "train-now")
        self.preflight = LinesPane("Preflight", "train-preflight")
        self.gate = LinesPane("Gate", "train-gate")
        self.runs = LinesPane("Runs", "train-runs")

    def left(self) -> Iterable[Widget]:
        return self.about, self.form, self.loss, self.view, self.log_pane

    def right(self) -> Iterable[Widget]:
        return self.now, self.readiness, self.preflight, self.gate, self.runs

    def first(self) -> Widget:
        return self.form

    def on_mount(self) -> None:
        super().on_mount()
        self.run_worker(self._read_data(), group="train-data", exclusive=True, exit_on_error=False)
        self.run_worker(self._find(), group="train", exclusive=True, exit_on_error=False)
        self.set_interval(_LOOK_S, self._look)

    # -- reading -------------------------------------------------------------------------------------------------
    async def _find(self) -> None:
        """Find the runs; a running one is shown in full."""
        from tui_router.training.run_events import Curve
        from tui_router.training.runs import all_runs

        def work() -> list[Seen]:
            found = [Seen(run, Curve()) for run in all_runs(self.engine.folder)]
            for one in found:
                one.read()
            return found

        kept = self.seen[self.at].run.id if 0 <= self.at < len(self.seen) else ""
        self.seen = await asyncio.to_thread(work)
        running = next((i for i, one in enumerate(self.seen) if one.state == "running"), -1)
        self.at = next((i for i, one in enumerate(self.seen) if one.run.id == kept), running)
        self.other = -1
        self._show()

    async def _look(self) -> None:
        """Read what the running and unfinished runs have written since, in a thread."""
        living = [one for one in self.seen if one.state not in _OVER or one is self._shown()]
        if not self.is_current:
            return
        changed = await asyncio.to_thread(lambda: [one.read() for one in living])
        if any(changed):
            self._show()
        self._judge_if_due()

    def _judge_if_due(self) -> None:
        """Run the gate of a run that has just finished, here or while the screen was closed; once."""
        for one in self.seen:
            if one.state == "done" and one.verdict is None and not one.tried and not self._judging:
                one.tried = True
                self.run_worker(self._to_gate(one), group="gate", exit_on_error=False)
                return

    def _shown(self) -> Seen | None:
        return self.seen[self.at] if 0 <= self.at < len(self.seen) else None

    async def _read_data(self) -> None:
        """Count the examples of each route."""
        from tui_router.core.conversation import with_histories
        from tui_router.core.example import GOAL
        from tui_router.datasets.sources import examples_of_turns
        from tui_router.store.store_errors import StoreError

        fleet = self.engine.config.fleet

        def read() -> Counter[str]:
            return Counter(example.route for example in examples_of_turns(with_histories(self.all_turns()), fleet))

        try:
            counts = await asyncio.to_thread(read)
        except (StoreError, RuntimeError):  # RuntimeError: the store's thread has ended
            return
        done, most = counts.total(), max(counts.values(), default=1)
        self.readiness.head.set_status(f"{done} of {GOAL} rated examples")
        rows = [
            line(
                (f"{place} ", "$muted"), f"{r.name:<14}", bar(counts[r.name] / most, 16, "$s1"), f"{counts[r.name]:>5,}"
            )
            for place, r in enumerate(fleet.routes, 1)
        ]
        if done < GOAL:
            rows.append(line((f"under {GOAL} labels: it will hardly reflect your own use", "$caution")))
        rows.append(line(("F4 checks the labels", "$muted")))
        self.readiness.rows.set_lines(*rows)

    # -- showing -------------------------------------------------------------------------------------------------
    def _show(self) -> None:
        one = self._shown()
        fresh = one is None
        self.form.display = self.readiness.display = self.preflight.display = fresh
        for pane in (self.loss, self.view, self.log_pane, self.now, self.gate):
            pane.display = not fresh
        self.keys_bar.set_keys(list(self._NEW_KEYS if fresh else self._RUN_KEYS))
        self._show_runs()
        if one is None:
            self.set_status("a new run")
            self.about.head.set_title("New run")
            self.about.head.set_status("")
            self.about.rows.set_lines(
                line("A small model learns your routes. It becomes champion only if it"),
                line("passes its gate. Training runs in the background."),
            )
            self._show_preflight()
            return
        self.about.head.set_title("Run")
        self.about.head.set_status(one.run.id)
        self.about.rows.set_lines(*about_rows(one))
        beside = self.seen[self.other] if 0 <= self.other < len(self.seen) and self.other != self.at else None
        other = (beside.run.id, beside.curve) if beside is not None else None
        self.loss.show_curve(one.curve, SMOOTHING[self.smoothing], other)
        self.view.show_curve(one.curve, other)
        self.log_pane.rows.set_lines(*log_rows(one))
        self.now.rows.set_lines(*now_rows(one.curve, max(40, self.now.size.width)))
        self.now.head.set_status(one.curve.start.device if one.curve.start else "")
        self.gate.rows.set_lines(*gate_rows(one))
        self.gate.head.set_status(one.judged or "set before the start")
        self.set_status(f"run {one.run.id}, {one.state}")

    def _show_runs(self) -> None:
        leading = self.engine.router_service.learner.ensemble.champion_run if self.engine.router_service.learner else ""
        rows = []
        for place, one in enumerate(self.seen[:12]):
            sign, style = _SIGNS[one.state]
            last = one.curve.evals[-1] if one.curve.evals else None
            score = f"{last.accuracy:.0%} n={last.n}" if last else one.state
            state = "champion" if one.run.id == leading else one.judged
            name = "$accent bold" if place == self.at else "$s3" if place == self.other else "$text"
            rows.append(line((f"{sign} ", style), (f"{one.run.id:<21}", name), f"{score:<13}", (state, "$muted")))
            if one.run.record.notes:
                rows.append(line((f"  {one_line(one.run.record.notes, 46)}", "$muted")))
        self.runs.head.set_status(f"{len(self.seen)}")
        self.runs.rows.set_lines(*(rows or [line(("none yet", "$muted"))]))

    def _show_preflight(self) -> None:
        found = self.found
        if found is None:
            self.preflight.head.set_status("")
            self.preflight.rows.set_lines(line(("f checks everything and estimates time and memory", "$muted")))
            return
        signs = {"stop": ("✗ ", "$wrong"), "warning": ("! ", "$caution"), "note": ("· ", "$muted")}
        rows: list[Content] = []
        for note in found.notes:
            rows += [
                line(signs[note.level] if i == 0 else "  ", part) for i, part in enumerate(folded(note.message, 48))
            ]
        if found.ready:
            rows.append(line(("✓ ", "$right"), f"{found.examples:,} examples, {found.steps:,} steps"))
        if found.seconds:
            rows.append(line(("✓ ", "$right"), f"about {minutes(found.seconds)}, {found.memory_bytes / 1e9:.1f} GB"))
        self.preflight.head.set_status("ready" if found.ready else "not ready")
        self.preflight.rows.set_lines(*rows)

    # -- a new run -----------------------------------------------------------------------------------------------
    def action_new(self) -> None:
        """The form."""
        self.at = -1
        self._show()
        self.form.focus()

    def on_recipe_form_changed(self) -> None:
        """The recipe changed: an earlier preflight is out of date."""
        self.found = None
        self._show_preflight()

    def action_preflight(self) -> None:
        """Check everything without starting."""
        self.run_worker(self._prepare(start=False), group="train", exclusive=True, exit_on_error=False)

    def action_start(self) -> None:
        """Export the dataset, check everything, and start."""
        if self.at == -1:
            self.run_worker(self._prepare(start=True), group="train", exclusive=True, exit_on_error=False)

    async def _prepare(self, *, start: bool) -> None:
        from tui_router.datasets.exported_dataset import DatasetExportError
        from tui_router.store.store_errors import StoreError
        from tui_router.training import start as beginning
        from tui_router.training.preflight import preflight
        from tui_router.training.training_error import TrainingError

        config, folder, recipe = self.engine.config, self.engine.folder, self.form.recipe
        sources = SOURCES[self.form.sources]

        def look() -> tuple[Preflight, str]:
            data = beginning.own_dataset(config, folder, recipe, sources)
            return preflight(recipe, data, folder), str(data)

        self.preflight.rows.set_lines(line(("checking …", "$muted")))
        try:
            self.found, data = found, _ = await asyncio.to_thread(look)
            self._show_preflight()
            self.call_after_refresh(self.preflight.scroll_visible, animate=False)  # narrow, it lies below the form
            if not start or not found.ready:
                return

            ensemble = self.engine.router_service.loaded().ensemble

            def begin() -> None:
                from pathlib import Path

                beginning.create(folder, recipe, Path(data), found.data_hash, ensemble).start()

            await asyncio.to_thread(begin)
        except (DatasetExportError, StoreError, TrainingError, OSError) as error:
            self.preflight.rows.set_lines(*(line((part, "$wrong")) for part in folded(str(error), 48)))
            return
        self.at = 0
        await self._find()
        self.at = 0
        self._show()

    # -- a run ---------------------------------------------------------------------------------------------------
    def action_run(self, by: int) -> None:
        """An older or newer run; before the newest stands the form."""
        self.at = max(-1, min(len(self.seen) - 1, self.at + by))
        self._show()
        (self.form if self.at == -1 else self.loss).focus()

    def action_pause(self) -> None:
        """Pause a running run, go on with one that is not."""
        one = self._shown()
        if one is None:
            return
        if one.state == "running":
            one.run.request_stop("pause")
            self.notify("pausing after this step", markup=False)
            return
        if one.state in ("paused", "dead", "failed", "new"):
            self._do(lambda: one.run.start(resume=True))

    def action_ask(self, word: str) -> None:
        """Stop a running run: keep what it has learned, or (asked twice) drop it."""
        one = self._shown()
        if one is None or one.state != "running":
            return
        if word == "drop" and not self._twice("drop", "press d again to discard what this run has learned"):
            return
        one.run.request_stop("stop_and_keep" if word == "keep" else "discard")
        self.notify("stopping after this step", markup=False)

    def action_delete(self) -> None:
        """Remove a run, asked twice."""
        one = self._shown()
        if one is None or not self._twice("delete", f"press delete again to remove run {one.run.id} and its exports"):
            return
        self._do(one.run.delete)

    def _twice(self, what: str, says: str) -> bool:
        if self._asked == what:
            self._asked = ""
            return True
        self._asked = what
        self.notify(says, severity="warning", markup=False)
        self.set_timer(4.0, lambda: setattr(self, "_asked", ""))
        return False

    def _do(self, work: Callable[[], None]) -> None:
        """Do something with a run that waits for the disk; then read all runs again."""

        async def done() -> None:
            from tui_router.training.training_error import TrainingError

            try:
                await asyncio.to_thread(work)
            except (TrainingError, OSError) as error:
                self.notify(one_line(str(error), 200), severity="error", markup=False)
            await self._find()

        self.run_worker(done(), group="train", exclusive=True, exit_on_error=False)

    def action_note(self) -> None:
        """Write something down about this run."""
        one = self._shown()
        if one is None:
            return
        from tui_router.ui.screens.text_dialog import TextDialog

        def kept(text: str | None) -> None:
            if text is not None:
                self._do(lambda: one.run.set_note(text))

        self.app.push_screen(TextDialog(f"Note on run {one.run.id}", one.run.record.notes), kept)

    def action_compare(self) -> None:
        """Draw the next run beside this one."""
        if self.at == -1 or len(self.seen) < 2:
            return
        self.other += 1
        if self.other == self.at:
            self.other += 1
        if self.other >= len(self.seen):
            self.other = -1
        self._show()

    def action_view(self) -> None:
        """Another curve below the loss."""
        self.view.view = VIEWS[(VIEWS.index(self.view.view) + 1) % len(VIEWS)]
        self._show()

    def action_smooth(self) -> None:
        """More or less smoothing of the loss."""
        self.smoothing = (self.smoothing + 1) % len(SMOOTHING)
        self._show()

    # -- gate and lead -------------------------------------------------------------------------------------------
    def action_gate(self) -> None:
        """Run the gate, or show its result."""
        one = self._shown()
        if one is None or one.state != "done":
            return
        if self._judging:
            self.notify("the gate is running; some seconds more", markup=False)
            return
        if one.verdict is None:
            self.run_worker(self._to_gate(one), group="gate", exit_on_error=False)
            return
        from tui_router.ui.screens.markdown_page import MarkdownPage

        self.app.push_screen(MarkdownPage(self.engine, f"Gate of run {one.run.id}", one.run.folder / "gate.md"))

    async def _to_gate(self, one: Seen) -> None:
        from tui_router.store.store_errors import StoreError
        from tui_router.training.gate.run_gate import evaluate_run
        from tui_router.training.training_error import TrainingError

        learner = self.engine.router_service.learner
        if learner is None or self._judging:
            return
        self._judging = True
        ensemble, config, folder = learner.ensemble, self.engine.config, self.engine.folder
        self.gate.head.set_status("running the gate …")
        try:
            one.verdict = await asyncio.to_thread(
                evaluate_run, one.run, config, folder, ensemble.champion, ensemble.champion_run
            )
        except (TrainingError, StoreError, OSError) as error:
            self.notify(one_line(str(error), 200), severity="error", markup=False)
        finally:
            self._judging = False
        await self.engine.router_service.load_tuned_router()
        self._show()

    def action_promote(self) -> None:
        """Make this run champion, if it passes its gate."""
        one = self._shown()
        if one is not None and one.state == "done":
            self.run_worker(self._lead(one.run), group="gate", exclusive=True, exit_on_error=False)

    def action_rollback(self) -> None:
        """Make the champion before the trained router champion again."""
        self.run_worker(self._lead(None), group="gate", exclusive=True, exit_on_error=False)

    async def _lead(self, run: Run | None) -> None:
        from tui_router.store.store_errors import StoreError
        from tui_router.training.training_error import TrainingError

        router_service = self.engine.router_service
        try:
            lead = await (router_service.promote(run) if run is not None else router_service.rollback())
        except (TrainingError, StoreError, OSError) as error:
            self.notify(one_line(str(error), 300), severity="error", markup=False, timeout=12)
            await self._find()
            return
        self.notify(one_line(lead.reason, 200), title=f"{lead.router} is champion now", markup=False)
        await self._find()
