"""F3: how often the router is right. Every number has its n and its interval, and opens the turns behind it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.widget import Widget

from tui_router.core.statistics import wilson
from tui_router.core.text import plural
from tui_router.ui.screens.panel_screen import LinesPane, PanelScreen, first_day
from tui_router.ui.screens.stats_rows import Openings, calibration, confusion, models, rate_parts, routers, routes
from tui_router.ui.widgets.chart import Scale, Series
from tui_router.ui.widgets.chart_pane import ChartPane
from tui_router.ui.widgets.lines import accuracy, line

if TYPE_CHECKING:
    from tui_router.app.engine import Engine
    from tui_router.insight.metrics import Metrics

_PERIODS: tuple[tuple[str, int], ...] = (("today", 1), ("7 days", 7), ("30 days", 30), ("all", 0))
_ROOMY = 78
"""Width from which the routes get a bar each."""
_COLORS = ("s1", "s2", "s3", "s4")
_SETTLED = 8
"""Rated turns from which on a running accuracy is drawn: the first few swing from 0 to 100. Chosen by hand, not measured."""
_PARTIAL_S, _DAYS_S = 0.25, 20.0
"""Seconds between two pictures of a count that takes long, and between two pictures of the days."""
_POINTS = 240
"""Points of a running accuracy that are drawn: more than any chart has columns."""


class AccuracyOverTime(ChartPane):
    """The running accuracy of every router, the champion's with its band."""

    title = "Accuracy over the rated turns"

    def __init__(self) -> None:
        super().__init__("over-time")

    def show_metrics(self, metrics: Metrics, champion: str) -> None:
        """Draw the accuracy of each router over the rated turns."""
        lines = sorted(metrics.outcomes.items(), key=lambda item: item[0] != champion)
        longest = max((len(found) for _, found in lines), default=0)
        self.chart.display = longest >= 2
        series, legend = [], []
        floor = 1.0
        for color, (name, found) in zip(_COLORS, lines, strict=False):
            made, low = _running(found, color, band=name == lines[0][0])
            floor = min(floor, low)
            series.append(made)
            hits = sum(found)
            legend.append(line((f"━ {name} ", f"${color}"), *accuracy(hits, len(found), *wilson(hits, len(found)))))
        if not lines:
            legend = [line(("No turn of this period has a verdict with the right route.", "$muted"))]
        self.legend.set_lines(*legend)
        if longest < 2:
            return
        bottom = max(0.0, min(90.0, floor * 100 // 10 * 10))
        ticks = {bottom: f"{bottom:.0f}", (bottom + 100) / 2: f"{(bottom + 100) / 2:.0f}", 100.0: "100"}
        self.chart.set_series(
            series, Scale(1, longest, {1.0: "1", float(longest): f"{longest:,} rated"}), Scale(bottom, 100, ticks)
        )


def _running(found: bytearray, color: str, *, band: bool) -> tuple[Series, float]:
    """(a running accuracy in per cent, its lowest point as a share)."""
    xs, ys, lows, highs = list[float](), list[float](), list[float](), list[float]()
    sums = list(accumulate(found))
    skip = _SETTLED if len(found) > 2 * _SETTLED else 0
    every = max(1, len(found) // _POINTS)
    for n in sorted(
        {*range(skip + 1, min(len(found), 2 * _SETTLED) + 1), *range(skip + 1, len(found), every), len(found)}
    ):
        low, high = wilson(sums[n - 1], n)
        xs.append(n)
        ys.append(100 * sums[n - 1] / n)
        lows.append(100 * low)
        highs.append(100 * high)
    floor = min(lows if band else ys, default=100.0) / 100
    return (Series(xs, ys, color, low=lows, high=highs) if band else Series(xs, ys, color, dash=2)), floor


class FirstToken(ChartPane):
    """Seconds until the first token, day by day, of the models that served most."""

    title = "First token, by day"

    def __init__(self) -> None:
        super().__init__("first-token")

    def show_days(self, days: Mapping[str, Metrics]) -> None:
        """Draw the medians; a single day has a legend and no chart."""
        served = Counter({name: 0 for metrics in days.values() for name in metrics.models})
        for metrics in days.values():
            served.update({name: model.first_token_ms.n for name, model in metrics.models.items()})
        names = [name for name, count in served.most_common(len(_COLORS)) if count]
        series, legend, most = [], [], 0.0
        for color, name in zip(_COLORS, names, strict=False):
            found = [
                (place, value)
                for place, day in enumerate(days, 1)
                if (value := _first_token(days[day], name)) is not None
            ]
            xs, ys = [float(place) for place, _ in found], [value for _, value in found]
            most = max(most, *ys)
            series.append(Series(xs, ys, color))
            legend.append(
                line(
                    (f"━ {name} ", f"${color}"),
                    (f"{ys[-1]:.1f} s", "$strong bold"),
                    (f"  n={served[name]:,}", "$muted"),
                )
            )
        self.legend.set_lines(*(legend or [line(("no data", "$muted"))]))
        self.chart.display = len(days) > 1 and bool(names)
        if self.chart.display:
            first, last = next(iter(days)), next(reversed(list(days)))
            top = max(0.5, most * 1.1)
            ticks = {0.0: "0", top / 2: f"{top / 2:.1f}", top: f"{top:.1f}"}
            self.chart.set_series(
                series, Scale(1, len(days), {1.0: first[5:], float(len(days)): last[5:]}), Scale(0, top, ticks)
            )


def _first_token(metrics: Metrics, name: str) -> float | None:
    """Seconds, the median of a day."""
    model = metrics.models.get(name)
    value = model.first_token_ms.quantile(0.5) if model is not None else None
    return value / 1000 if value is not None else None


class StatsScreen(PanelScreen):
    """Counts of a period."""

    BINDINGS: ClassVar = [
        Binding("1", "period(0)", "today", id="stats_today", tooltip="Count the turns of today"),
        Binding("2", "period(1)", "7 days", id="stats_week", tooltip="Count the last 7 days"),
        Binding("3", "period(2)", "30 days", id="stats_month", tooltip="Count the last 30 days"),
        Binding("4", "period(3)", "all", id="stats_all", tooltip="Count all turns"),
        Binding("r", "report", "report", id="stats_report", tooltip="Show the period's report"),
        # With priority: where the screen scrolls as a whole, its scrolling would take the arrows.
        Binding(
            "down,j",
            "move(1, 0)",
            "next row",
            show=False,
            id="stats_down",
            tooltip="Select a number in the next row",
            priority=True,
        ),
        Binding(
            "up,k",
            "move(-1, 0)",
            "row before",
            show=False,
            id="stats_up",
            tooltip="Select a number in the row before",
            priority=True,
        ),
        Binding(
            "right,l",
            "move(0, 1)",
            "next number",
            show=False,
            id="stats_right",
            tooltip="Select the next number",
            priority=True,
        ),
        Binding(
            "left,h",
            "move(0, -1)",
            "number before",
            show=False,
            id="stats_left",
            tooltip="Select the previous number",
            priority=True,
        ),
        Binding("enter", "open", "show turns", id="stats_open", tooltip="Show the turns behind the number"),
    ]
    screen_name = "F3 Stats"
    shown_keys = (
        ("1-4", "period"),
        ("↑↓←→", "select"),
        ("⏎", "show turns"),
        ("r", "report"),
        ("z", "enlarge"),
        ("esc", "chat"),
        ("F1", "help"),
    )

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.period = 1
        self.metrics: Metrics | None = None
        self.openings = Openings(engine.config.fleet)
        self.over_time = AccuracyOverTime()
        self.per_route = LinesPane("By route", "per-route")
        self.confusion = LinesPane("Confusion", "confusion")
        self.calibration = LinesPane("Calibration", "calibration")
        self.models = LinesPane("Models", "stats-models")
        self.first_token = FirstToken()
        self._days_due = 0.0
        self.routers = LinesPane("Routers", "stats-routers")

    def left(self) -> Iterable[Widget]:
        return self.over_time, self.per_route, self.routers

    def right(self) -> Iterable[Widget]:
        return self.calibration, self.confusion, self.models, self.first_token

    def on_mount(self) -> None:
        super().on_mount()
        self._stop = self.engine.listen(self._on_event)
        self.action_period(self.period)

    def _count_again(self) -> None:
        self.run_worker(self._count, group="stats", exclusive=True, exit_on_error=False)  # type: ignore[arg-type]

    def on_unmount(self) -> None:
        self._stop()

    def on_resize(self) -> None:
        """Some rows are wider where there is room."""
        self.call_after_refresh(self._show)

    def _on_event(self, event: object) -> None:
        """A turn or verdict was written: count again."""
        from tui_router.app.events import ChampionEvent, EffectEvent, StoreEvent, TurnEvent

        if isinstance(event, TurnEvent | EffectEvent | ChampionEvent | StoreEvent):
            self._count_again()

    def action_period(self, place: int) -> None:
        """Show another period."""
        self.period, self._days_due = place, 0.0
        self._count_again()

    def action_report(self) -> None:
        """The period's report."""
        from tui_router.ui.screens.report import ReportScreen

        self.app.push_screen(ReportScreen(self.engine, _PERIODS[self.period][1] or 3650))

    async def _count(self) -> None:
        from tui_router.store.store_errors import StoreError

        first, shown = first_day(_PERIODS[self.period][1]), time.monotonic()

        def show_progress(share: float) -> None:
            """A store that was never counted takes seconds: show the newest turns meanwhile."""
            nonlocal shown
            if time.monotonic() - shown > _PARTIAL_S:
                self.metrics, shown = self.engine.insights.counted.total(first), time.monotonic()
                self._show(f"   counting … {share:.0%}")

        try:
            await self.engine.insights.count(show_progress)
        except (StoreError, RuntimeError):  # RuntimeError: the store's thread has ended
            self._title("the store cannot be read")
            return
        self.metrics = self.engine.insights.counted.total(first)
        self._show()
        if time.monotonic() > self._days_due:  # days pass slowly
            days = self.engine.insights.counted.by_day()
            self.first_token.show_days({day: metrics for day, metrics in days.items() if day >= first})
            self._days_due = time.monotonic() + _DAYS_S

    # -- showing -------------------------------------------------------------------------------------------------
    def _title(self, text: str) -> None:
        marks = [
            (f" {i} {name} ", "$accent bold" if i == self.period + 1 else "$muted")
            for i, (name, _) in enumerate(_PERIODS, 1)
        ]
        self.set_status(text, *marks)

    def _show(self, more: str = "") -> None:
        m = self.metrics
        if m is None or not self.is_mounted:
            return
        warned = "   mostly wrong turns are rated: the accuracy is too low" if m.only_bad_rated else ""
        self._title(f"{plural(m.turns, 'turn')}, {m.rated.hits:,} rated{warned}{more}")
        self.over_time.show_metrics(m, self.engine.router_service.champion)
        self.over_time.head.set_status(line(*rate_parts(m.accuracy)))
        self._show_numbers(m)

    def _show_numbers(self, m: Metrics) -> None:
        cells = self.openings.begin()
        roomy = self.per_route.size.width >= _ROOMY
        self.per_route.rows.set_lines(*routes(m, cells.of(self.per_route), roomy=roomy))
        self.routers.rows.set_lines(*routers(m, cells.of(self.routers), self.engine.insights.cost))
        self.calibration.head.set_status(f"ECE {m.ece:.3f}" if m.ece is not None else "no data")
        self.calibration.rows.set_lines(*calibration(m, cells.of(self.calibration)))
        self.confusion.rows.set_lines(*confusion(m, cells.of(self.confusion)))
        self.models.rows.set_lines(*models(m, cells.of(self.models)))

    # -- opening -------------------------------------------------------------------------------------------------
    def action_move(self, down: int, right: int) -> None:
        """Select another number."""
        if self.metrics is None:
            return
        self.openings.move(down, right)
        self._show_numbers(self.metrics)
        if (pane := self.openings.pane) is not None:
            pane.scroll_visible(animate=False)

    def action_open(self) -> None:
        """Show the turns behind the selected number."""
        if (opening := self.openings.selected) is None:
            return
        from tui_router.ui.screens.turns import TurnsScreen

        days = _PERIODS[self.period][1]
        self.app.push_screen(TurnsScreen(self.engine, opening.title, wanted=opening.wanted, days=days))
