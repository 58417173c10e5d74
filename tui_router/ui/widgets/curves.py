"""A training as curves: the loss with the held-out loss, another curve of choice, and the newest values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace
from textual.content import Content

from tui_router.ui.widgets.chart import Scale, Series
from tui_router.ui.widgets.chart_pane import ChartPane
from tui_router.ui.widgets.lines import Part, line

if TYPE_CHECKING:
    from tui_router.training.run_events import Curve

SMOOTHING = (0.0, 0.6, 0.9)
"""Weight of the past in the smoothed loss (an exponential mean), chosen by a key."""
VIEWS = ("held-out accuracy", "learning rate", "gradient norm")
_SPARKS = "▁▂▃▄▅▆"


class LossPane(ChartPane):
    """The loss of every step, smoothed, and the held-out loss; another run's beside it."""

    title = "Loss"

    def __init__(self) -> None:
        super().__init__("loss")

    def show_curve(self, curve: Curve, smoothing: float, other: tuple[str, Curve] | None) -> None:
        """Draw what the run has reported so far."""
        self.chart.display = bool(curve.steps)
        if not curve.steps:
            self.head.set_status("")
            self.legend.set_lines(line((curve.stage or "no steps yet", "$muted")))
            return
        steps = curve.steps
        losses = smoothed([s.loss for s in steps], smoothing)
        series = [Series([float(s.step) for s in steps], losses, "s1")]
        if curve.evals:
            series.append(Series([float(e.step) for e in curve.evals], [e.loss for e in curve.evals], "s2", mark="●"))
        if other is not None and other[1].steps:
            beside = other[1].steps
            series.append(
                Series([float(s.step) for s in beside], smoothed([s.loss for s in beside], smoothing), "s3", dash=2)
            )
        top = _top(losses)
        series = [replace(one, ys=[min(top, y) for y in one.ys]) for one in series]
        last = float(max(max(one.xs) for one in series))
        ticks = {0.0: "0.0", top / 2: f"{top / 2:.1f}", top: f"{top:.1f}"}
        self.chart.set_series(series, _steps(max(last, steps[-1].of)), Scale(0, top, ticks))
        parts: list[Part] = [("━ ", "$s1"), ("train ", "$muted"), (f"{losses[-1]:.3f}", "$strong bold")]
        if curve.evals:
            parts += [("   ● ", "$s2"), ("held out ", "$muted"), (f"{curve.evals[-1].loss:.3f}", "$strong bold")]
        self.head.set_status(line(*parts))
        beside_it: list[Part] = [(f"   ┄ run {other[0]}", "$s3")] if other is not None else []
        self.legend.set_lines(line((f"smoothing {smoothing:g}", "$muted"), *beside_it))


class ViewPane(ChartPane):
    """One more curve."""

    title = "Held-out accuracy"

    def __init__(self) -> None:
        super().__init__("view")
        self.view = VIEWS[0]

    def show_curve(self, curve: Curve, other: tuple[str, Curve] | None) -> None:
        """Draw what the run has reported so far."""
        self.head.set_title(self.view)
        if self.view == VIEWS[0]:
            self._accuracy(curve, other)
            return
        values = [(float(s.step), s.learning_rate if self.view == VIEWS[1] else s.grad_norm) for s in curve.steps]
        self.chart.display = bool(values)
        self.head.set_status(f"{values[-1][1]:.2g}" if values else "no data")
        self.legend.set_lines(line(("v shows another curve", "$muted")))
        if values:
            top = max(y for _, y in values) or 1.0
            ticks = {0.0: "0", top / 2: f"{top / 2:.2g}", top: f"{top:.2g}"}
            series = Series([x for x, _ in values], [y for _, y in values], "s1")
            self.chart.set_series([series], _steps(max(values[-1][0], curve.steps[-1].of)), Scale(0, top, ticks))

    def _accuracy(self, curve: Curve, other: tuple[str, Curve] | None) -> None:
        evals = curve.evals
        self.chart.display = len(evals) >= 2
        if not evals:
            self.head.set_status("no data")
            self.legend.set_lines(line(("the first evaluation comes after some steps", "$muted")))
            return
        last = evals[-1]
        low, high = last.ci95
        self.head.set_status(
            line(
                (f"{last.accuracy:.0%}", "$strong bold"), (f" [{low * 100:.0f}-{high * 100:.0f}] n={last.n}", "$muted")
            )
        )
        parts: list[Part] = [(f"ECE {last.ece:.3f}, probability on labels {last.mass:.0%}", "$muted")]
        if other is not None and other[1].evals:
            parts.append((f"   ┄ run {other[0]} {other[1].evals[-1].accuracy:.0%}", "$s3"))
        self.legend.set_lines(line(*parts))
        if len(evals) < 2:
            return
        xs = [float(e.step) for e in evals]
        series = [
            Series(
                xs,
                [100 * e.accuracy for e in evals],
                "s1",
                low=[100 * e.ci95[0] for e in evals],
                high=[100 * e.ci95[1] for e in evals],
            )
        ]
        if other is not None and other[1].evals:
            series.append(
                Series(
                    [float(e.step) for e in other[1].evals], [100 * e.accuracy for e in other[1].evals], "s3", dash=1
                )
            )
        bottom = max(0.0, min(e.ci95[0] for e in evals) * 100 // 10 * 10)
        ticks = {bottom: f"{bottom:.0f}", (bottom + 100) / 2: f"{(bottom + 100) / 2:.0f}", 100.0: "100"}
        end = max(xs[-1], float(curve.steps[-1].of) if curve.steps else 1.0)
        self.chart.set_series(series, _steps(end), Scale(bottom, 100, ticks))


def _top(losses: Sequence[float]) -> float:
    """The upper end of the loss: the first steps of a random model, ten times as high as all others, may leave the chart."""
    usual = sorted(losses)[int(len(losses) * 0.85)]
    return float(min(max(losses), max(2 * usual, 3 * losses[-1])) or 1.0)


def _steps(last: float) -> Scale:
    return Scale(1, max(2.0, last), {1.0: "1", max(2.0, last): f"{last:,.0f} steps"})


def smoothed(values: Sequence[float], weight: float) -> list[float]:
    """An exponential mean without the pull of its first value (the bias correction of Kingma and Ba 2015)."""
    found, mean = [], 0.0
    for place, value in enumerate(values, 1):
        mean = weight * mean + (1 - weight) * value
        found.append(mean / (1 - weight**place))
    return found


def spark(values: Sequence[float], width: int) -> Content:
    """The newest values as one row of small bars."""
    shown = list(values)[-width:]
    top, low = max(shown, default=0.0), min(shown, default=0.0)
    span = (top - low) or 1.0
    return line(("".join(_SPARKS[min(5, int((v - low) / span * 5.999))] for v in shown).ljust(width), "$muted"))


def now_rows(curve: Curve, width: int) -> list[Content]:
    """The newest values of a training."""
    if not curve.steps:
        return [line((curve.stage or "not started", "$muted"))]
    last = curve.steps[-1]
    of = (
        f"GPU {last.memory_bytes / 1e9:.1f} GB"
        if curve.start and curve.start.device != "cpu"
        else f"{last.memory_bytes / 1e9:.1f} GB"
    )
    rows = (
        ("learning rate", [s.learning_rate for s in curve.steps], f"{last.learning_rate:.1e}"),
        ("gradient norm", [s.grad_norm for s in curve.steps], f"{last.grad_norm:.2f}"),
        ("speed", [s.tokens_per_second for s in curve.steps], f"{last.tokens_per_second:,.0f} tok/s"),
        ("memory, peak", [float(s.memory_bytes) for s in curve.steps], of),
    )
    return [
        line((f"{name:<14}", "$muted"), spark(values, max(8, width - 30)), f"{newest:>15}")
        for name, values, newest in rows
    ]
