"""F3: how the router does. Every chart has its numbers beside it; every number has its n and its interval."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.content import Content
from textual.widget import Widget

from tui_router.core.statistics import wilson
from tui_router.ui.screens.room import Room, Table
from tui_router.ui.widgets.chart import Scale, Series
from tui_router.ui.widgets.chart_pane import ChartPane
from tui_router.ui.widgets.lines import Part, accuracy, bar, line, percent

if TYPE_CHECKING:
    from tui_router.engine import Engine
    from tui_router.insight.metrics import Metrics, Rate

_PERIODS: tuple[tuple[str, int], ...] = (("today", 1), ("7 days", 7), ("30 days", 30), ("all", 0))
_ROOMY = 78
"""Width from which the routes get a bar each."""
_COLORS = ("s1", "s2", "s3", "s4")
_OFTEN = 0.2
"""Share of a right route from which on a cell of the confusion stands out."""
_SETTLED = 8
"""Graded turns from which on a running accuracy is drawn: the first few swing from 0 to 100."""


class AccuracyOverTime(ChartPane):
    """The running accuracy of every router, the leader's with its band."""

    title = "Accuracy over the rated turns"

    def __init__(self) -> None:
        super().__init__("over-time")

    def put(self, metrics: Metrics, leader: str) -> None:
        """Draw what was graded."""
        lines = sorted(metrics.running.items(), key=lambda item: item[0] != leader)
        longest = max((len(found) for _, found in lines), default=0)
        self.chart.display = longest >= 2
        series, legend = [], []
        floor = 1.0
        for color, (name, found) in zip(_COLORS, lines, strict=False):
            made, low = _running(found, color, band=name == lines[0][0])
            floor = min(floor, low)
            series.append(made)
            hits = sum(right for _, right in found)
            legend.append(line((f"━ {name} ", f"${color}"), *accuracy(hits, len(found), *wilson(hits, len(found)))))
        if not lines:
            legend = [line(("No turn of this period has a verdict that tells the right route.", "$muted"))]
        self.legend.put(*legend)
        if longest < 2:
            return
        bottom = max(0.0, min(90.0, floor * 100 // 10 * 10))
        ticks = {bottom: f"{bottom:.0f}", (bottom + 100) / 2: f"{(bottom + 100) / 2:.0f}", 100.0: "100"}
        self.chart.put(
            series, Scale(1, longest, {1.0: "1", float(longest): f"{longest} graded"}), Scale(bottom, 100, ticks)
        )


def _running(found: list[tuple[int, bool]], color: str, *, band: bool) -> tuple[Series, float]:
    """(a running accuracy in per cent, its lowest point as a share)."""
    xs, ys, lows, highs = list[float](), list[float](), list[float](), list[float]()
    hits = 0
    skip = _SETTLED if len(found) > 2 * _SETTLED else 0
    for n, (_, right) in enumerate(found, 1):
        hits += right
        if n > skip:
            low, high = wilson(hits, n)
            xs.append(n)
            ys.append(100 * hits / n)
            lows.append(100 * low)
            highs.append(100 * high)
    floor = min(lows if band else ys, default=100.0) / 100
    return (Series(xs, ys, color, low=lows, high=highs) if band else Series(xs, ys, color, dash=2)), floor


class StatsScreen(Room):
    """Counts of a period."""

    BINDINGS: ClassVar = [
        Binding("f3", "leave", "chat", show=False, id="leave_stats"),
        Binding("1", "period(0)", "today", id="stats_today"),
        Binding("2", "period(1)", "7 days", id="stats_week"),
        Binding("3", "period(2)", "30 days", id="stats_month"),
        Binding("4", "period(3)", "all", id="stats_all"),
        Binding("r", "report", "report", id="stats_report"),
    ]
    name_shown = "F3 Stats"
    keys_shown = (
        ("1-4", "period"), ("r", "report"), ("tab", "panes"), ("z", "enlarge"), ("esc", "chat"), ("F1", "help"),
    )  # fmt: skip

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.period = 1
        self.over_time = AccuracyOverTime()
        self.per_route = Table("By route", "per-route")
        self.confusion = Table("Right route, and what was decided", "confusion")
        self.calibration = Table("Confidence and how often it was right", "calibration")
        self.models = Table("Models", "stats-models")

    def left(self) -> Iterable[Widget]:
        return self.over_time, self.per_route

    def right(self) -> Iterable[Widget]:
        return self.calibration, self.confusion, self.models

    def on_mount(self) -> None:
        super().on_mount()
        self._stop = self.engine.listen(self._told)
        self.action_period(self.period)

    def on_unmount(self) -> None:
        self._stop()

    def _told(self, event: object) -> None:
        """A verdict came: count again, but not more often than a person can read."""
        from tui_router.events import EffectEvent, LeaderEvent, TurnEvent

        if isinstance(event, TurnEvent | EffectEvent | LeaderEvent):
            self.set_timer(0.2, lambda: self.action_period(self.period))

    def action_period(self, place: int) -> None:
        """Show another period."""
        self.period = place
        self.run_worker(self._count(), group="stats", exclusive=True, exit_on_error=False)

    def action_report(self) -> None:
        """The period's report."""
        from tui_router.ui.screens.report import ReportScreen

        self.app.push_screen(ReportScreen(self.engine, _PERIODS[self.period][1] or 3650))

    async def _count(self) -> None:
        from tui_router.insight.metrics import measured

        self._title("counting …")
        turns = await self.turns_since(_PERIODS[self.period][1])
        if turns is None:
            self._title("the store cannot be read")
            return
        self._show(await asyncio.to_thread(measured, turns, self.engine.config.fleet))

    def _title(self, text: str) -> None:
        marks = [
            (f" {i} {name} ", "$accent bold" if i == self.period + 1 else "$muted")
            for i, (name, _) in enumerate(_PERIODS, 1)
        ]
        self.say(text, *marks)

    def _show(self, m: Metrics) -> None:
        warned = "   only bad turns seem to be rated: the accuracy says little" if m.biased else ""
        self._title(f"{m.turns:,} turns, {m.verdicts.hits:,} rated{warned}")
        self.over_time.put(m, self.engine.racing.leader)
        self.over_time.head.say(line(*_rate(m.accuracy)))
        self.per_route.rows.put(*self._routes(m))
        self.calibration.head.say(f"ECE {m.ece:.3f}" if m.ece is not None else "no data")
        self.calibration.rows.put(*_calibration(m))
        self.confusion.rows.put(*self._confused(m))
        self.models.rows.put(*_models(m))

    def _routes(self, m: Metrics) -> list[Content]:
        from tui_router.insight.metrics import Rate

        most = max(m.routes.values(), default=1) or 1
        roomy = self.per_route.size.width >= _ROOMY
        space = f"{'':<13}" if roomy else ""
        rows = [line((f"{'':<13}{'turns':>7}  {space}{'decided rightly':<22}{'found':<20}", "$muted"))]
        for route in self.engine.config.fleet.routes:
            count = m.routes[route.name]
            parts: list[Part] = [f"{route.name:<13}{count:>7,}  "]
            parts += [bar(count / most, 12, "$s1"), " "] if roomy else []
            right, found = m.by_route.get(route.name, Rate()), m.recall.get(route.name, Rate())
            rows.append(line(*parts, _padded(_rate(right), 22), *_rate(found)))
        asked, served = _rate(m.asked), _rate(m.fallbacks)
        return [
            *rows,
            line(""),
            line(("asked first   ", "$muted"), *asked),
            line(("another model ", "$muted"), *served),
        ]

    def _confused(self, m: Metrics) -> list[Content]:
        """A heat map: a row for each right route, a column for each decided one, what is often stands out."""
        names = [r.name for r in self.engine.config.fleet.routes]
        if not m.confusion:
            return [line(("no data", "$muted"))]
        rows = [line((f"{'':<13}" + "".join(f"{name[:5]:>6}" for name in names), "$muted"))]
        for right in names:
            n = sum(m.confusion[right, decided] for decided in names)
            parts: list[Part] = [f"{right:<13}"]
            for decided in names:
                count = m.confusion[right, decided]
                often = " bold on $raised" if n and count / n >= _OFTEN else ""
                style = ("$right" if right == decided else "$wrong") + often if count else "$muted"
                parts.append((f"{count or '·':>6}", style))
            rows.append(line(*parts))
        return rows


def _rate(rate: Rate) -> list[Part]:
    if rate.value is None:
        return [("no data", "$muted")]
    return accuracy(rate.hits, rate.n, *rate.ci95)


def _padded(parts: list[Part], width: int) -> Content:
    made = line(*parts)
    return line(made, " " * max(1, width - made.cell_length))


def _calibration(m: Metrics) -> list[Content]:
    if not m.accuracy.n:
        return [line(("no data", "$muted"))]
    rows = [line((f"{'confidence':<12}{'right':<34}", "$muted"))]
    for total, rate in m.bins:
        if rate.value is None:
            continue
        mean = total / rate.n
        rows.append(line(f"{percent(mean):>5}       ", bar(rate.value, 14, "$s1"), " ", *_rate(rate)))
    return rows


def _models(m: Metrics) -> list[Content]:
    from tui_router.insight.metrics import middle

    if not m.models:
        return [line(("no data", "$muted"))]
    rows = [line((f"{'':<24}{'served':>7}{'failed':>7}{'tok/s':>7}", "$muted"))]
    for name, counts in sorted(m.models.items(), key=lambda item: -item[1]["served"]):
        speed = middle(m.tokens_per_second[name])
        failed = (f"{counts['failed'] or '':>7}", "$caution")
        rows.append(
            line(f"{name[:23]:<24}{counts['served']:>7,}", failed, f"{speed:>7.0f}" if speed is not None else "")
        )
    return rows
