"""A run on the Train screen, as lines."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from textual.content import Content

from tui_router.core.text import one_line
from tui_router.ui.widgets.lines import Part, bar, line

if TYPE_CHECKING:
    from tui_router.training.gate.gate import GateResult
    from tui_router.training.run_events import Curve
    from tui_router.training.runs import Run, RunState

_LOG = 8


class Seen:
    """A run as it was read last."""

    def __init__(self, run: Run, curve: Curve) -> None:
        self.run, self.curve = run, curve
        self.offset = 0
        self.state: RunState = "new"
        self.verdict: GateResult | None = None
        self.size_bytes = 0
        self.tried = False
        """Its gate was run from here."""

    @property
    def judged(self) -> str:
        """`passed`, `refused`, or empty before the gate."""
        return "" if self.verdict is None else "passed" if self.verdict.passed else "refused"

    def read(self) -> bool:
        """Read on; whether there was anything new. Waits for the disk."""
        from tui_router.training.gate.run_gate import last_result

        before = (self.offset, self.state, self.verdict)
        self.state, self.offset = self.run.read_new_events(self.curve, self.offset)
        if self.state != "running" and before != (self.offset, self.state, self.verdict):
            self.size_bytes = self.run.size_bytes()
        if self.state == "done" and self.verdict is None:
            self.verdict = last_result(self.run)
        return before != (self.offset, self.state, self.verdict)


def about_rows(one: Seen) -> list[Content]:
    curve, recipe = one.curve, one.run.record.recipe
    rows = []
    if curve.steps:
        last = curve.steps[-1]
        left = f"  {minutes(last.seconds_left)} left" if one.state == "running" else ""
        rows.append(
            line(
                bar(last.step / max(1, last.of), 32, "$accent", track=True),
                (f" {last.step / max(1, last.of):.0%}", "$strong bold"),
                (f"  {last.step:,} of {last.of:,}{left}", "$muted"),
            )
        )
    start = curve.start
    disk = f"; {one.size_bytes / 1e6:,.0f} MB of disk" if one.size_bytes else ""
    data = f"{start.examples:,} examples, {start.backend} ({start.why})" if start else curve.stage or "starting"
    rows.append(line((f"{one_line(recipe.base, 40)}, {recipe.method}; {data}{disk}", "$muted")))
    match one.state:
        case "dead":
            rows.append(
                line(
                    ("its process ended without an error message: it crashed or ran out of memory; p resumes", "$wrong")
                )
            )
        case "paused":
            rows.append(line(("paused after a checkpoint; p resumes", "$caution")))
        case "failed":
            end = curve.end
            rows += [line((part, "$wrong")) for part in folded(getattr(end, "message", ""), 66)]
            rows += [line((part, "$muted")) for part in folded(getattr(end, "next", ""), 66)]
    return rows


def log_rows(one: Seen) -> list[Content]:
    """The newest events of a run, newest first."""
    curve = one.curve
    entries: list[tuple[float, list[Part]]] = []
    for e in curve.evals:
        low, high = e.ci95
        entries.append(
            (
                e.step + 0.5,
                [f"held out at {e.step}: {e.accuracy:.0%} [{low * 100:.0f}-{high * 100:.0f}] n={e.n}, ECE {e.ece:.3f}"],
            )
        )
    if curve.checkpoint:
        entries.append((curve.checkpoint + 0.2, [f"checkpoint kept at {curve.checkpoint}"]))
    for s in curve.steps[-3:]:
        entries.append(
            (
                float(s.step),
                [f"step {s.step}  loss {s.loss:.3f}  lr {s.learning_rate:.1e}  {s.tokens_per_second:,.0f} tok/s"],
            )
        )
    entries += [(0.0, [("! ", "$caution"), one_line(says, 70)]) for says in curve.warnings]
    rows = [line(*parts) for _, parts in sorted(entries, key=lambda item: -item[0])[:_LOG]]
    return ([line((f"… {curve.stage}", "$accent"))] if curve.stage else []) + (
        rows or [line(("nothing yet", "$muted"))]
    )


def gate_rows(one: Seen) -> list[Content]:
    plan, verdict = one.run.record.plan, one.verdict
    if verdict is None:
        asked = (
            f"better than {plan.champion}, paired, at {plan.level:.0%}",
            f"at least {plan.fewest} held-out rows",
            f"ECE {plan.most_ece:.2f} or less",
            f"no route more than {plan.floor:.0%} behind",
            f"p95 under {plan.latency_ms:.0f} ms",
        )
        return [line(("○ ", "$muted"), text) for text in asked]
    rows = [
        line(
            ("✓ " if check.passed else "✗ ", "$right" if check.passed else "$wrong"),
            (f"{check.name}: ", "$muted"),
            part,
        )
        if i == 0
        else line("  ", part)
        for check in verdict.checks
        for i, part in enumerate(folded(check.message, 38))
    ]
    n = max(1, verdict.n)
    score = line(
        (f"{verdict.candidate_right / n:.1%}", "$strong bold"),
        (f" against {verdict.champion} {verdict.baseline_right / n:.1%}, n={verdict.n}", "$muted"),
    )
    return [score, *rows, line(("g shows the result" + (", o promotes it" if verdict.passed else ""), "$muted"))]


def minutes(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )


def folded(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width) or [""]
