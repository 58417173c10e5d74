"""One chart widget: plotext draws the lines, the strips are kept, the theme gives the colours.

A line keeps its band: the band is painted as the background of the cells, so that no line hides it. Series are thinned
to two points a column before plotext sees them (minimum and maximum, so that spikes survive); a figure of its own is
made for every build, because plotext's module-level one is shared by all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.color import Color
from textual.strip import Strip
from textual.widget import Widget

_FRAME = set("─│┤├┬┴┌┐└┘┼ ")
_EIGHTHS = " ▁▂▃▄▅▆▇█"


class Series(Struct, frozen=True):
    """One line, with an optional band around it."""

    xs: Sequence[float]
    ys: Sequence[float]
    color: str
    """Name of a theme variable."""
    mark: str = ""
    """A sign at every point instead of a line."""
    dash: int = 0
    """0: a line; k: one point in every k columns."""
    low: Sequence[float] = ()
    high: Sequence[float] = ()


class Scale(Struct, frozen=True):
    """An axis: its ends, and the labels at some of its values."""

    first: float
    last: float
    ticks: Mapping[float, str]


def thin(xs: Sequence[float], ys: Sequence[float], columns: int) -> tuple[list[float], list[float]]:
    """At most two points a column: the least and the greatest of each."""
    n = len(ys)
    if n <= 2 * columns:
        return list(xs), list(ys)
    kept: list[int] = []
    for column in range(columns):
        low, high = column * n // columns, (column + 1) * n // columns
        part = ys[low:high]
        kept += sorted({low + part.index(min(part)), low + part.index(max(part))})
    return [xs[i] for i in kept], [ys[i] for i in kept]


class Chart(Widget):
    """Lines on top, bands under them; frame in `rule`, numerals in `muted`."""

    DEFAULT_CSS = "Chart { width: 1fr; height: 1fr; }"

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self._series: tuple[Series, ...] = ()
        self._x = self._y = Scale(0, 1, {})
        self._version = 0
        self._key: object = None
        self._strips: list[Strip] = []

    def set_series(self, series: Sequence[Series], x: Scale, y: Scale) -> None:
        """Show these series; the first is drawn on top, with its band."""
        self._series, self._x, self._y = tuple(series), x, y
        self._version += 1
        self.refresh()

    def render_line(self, y: int) -> Strip:
        key = (self._version, self.size, self.app.theme)
        if key != self._key:
            self._key, self._strips = key, self._build()
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width, self.rich_style)

    def _rgb(self, name: str) -> tuple[int, int, int]:
        return Color.parse(self.app.theme_variables[name]).rgb

    def _build(self) -> list[Strip]:
        width, height = self.size
        if width < 12 or height < 3 or not self._series:
            return []
        text = self._draw(width, height)
        base, frame = self.rich_style, Style(color=self.app.theme_variables["rule"])
        grid: list[list[tuple[str, Style]]] = []
        for row in text.split("\n")[:height]:
            cells = [
                (char, (base + (seg.style or Style())) + (frame if char in _FRAME else Style()))
                for seg in Text.from_ansi(row).render(self.app.console)
                if seg.text != "\n"
                for char in seg.text
            ][:width]
            grid.append(cells + [(" ", base)] * (width - len(cells)))
        self._paint_band(grid, height - 2)
        return [Strip(Segment(char, style) for char, style in row).simplify() for row in grid]

    def _draw(self, width: int, height: int) -> str:
        from plotext._figure import _figure_class

        figure = _figure_class()
        figure.plotsize(width, height)
        figure._set_size(width, height)
        figure.canvas_color("default")
        figure.axes_color("default")
        figure.ticks_color(self._rgb("muted"))
        figure.xaxes(True, False)
        figure.yaxes(True, False)
        figure.xlim(self._x.first, self._x.last)
        figure.ylim(self._y.first, self._y.last)
        figure.xticks(list(self._x.ticks), list(self._x.ticks.values()))
        figure.yticks(list(self._y.ticks), list(self._y.ticks.values()))
        columns = width - 6
        dot = (self._y.last - self._y.first) / max(1, (height - 2) * 4 - 2)
        above = sorted(enumerate(self._series), key=lambda one: (bool(one[1].mark), -one[0]))  # signs over lines
        for _, series in above:
            color = self._rgb(series.color)
            xs, ys = thin(series.xs, series.ys, columns)
            if series.mark:
                figure.scatter(list(series.xs), list(series.ys), marker=series.mark, color=color)
                continue
            if series.dash or len(xs) == 1:
                kept = slice(None, None, max(1, series.dash))
                figure.scatter(xs[kept], ys[kept], marker="braille", color=color)
                continue
            for lift in (0.0, dot) if series.low else (0.0,):  # the first line is two dots high
                figure.plot(xs, [y + lift for y in ys], marker="braille", color=color)
        return str(figure.build())

    def _paint_band(self, grid: list[list[tuple[str, Style]]], rows: int) -> None:
        champion = self._series[0]
        background = self.rich_style.bgcolor
        if not champion.low or background is None:
            return
        ground = Color.from_rich_color(background)
        band = ground.blend(Color.parse(self.app.theme_variables[champion.color]), 0.24).rich_color
        start = next((i for i, (char, _) in enumerate(grid[0]) if char in "│┤┼"), 0) + 1
        columns = len(grid[0]) - start
        scale = rows / ((self._y.last - self._y.first) or 1)
        for column in range(columns):
            x = self._x.first + (self._x.last - self._x.first) * (column + 0.5) / columns
            if not champion.xs[0] <= x <= champion.xs[-1] + 1:
                continue
            low = (_at(champion.xs, champion.low, x) - self._y.first) * scale
            high = (_at(champion.xs, champion.high, x) - self._y.first) * scale
            for row in range(rows):
                bottom = rows - 1 - row
                if low >= bottom + 1 or high <= bottom:
                    continue
                char, style = grid[row][start + column]
                part = max(0.0, low - bottom), min(1.0, high - bottom)
                grid[row][start + column] = _cell(char, style, part, band, ground)


def _cell(char: str, style: Style, part: tuple[float, float], band: Any, ground: Color) -> tuple[str, Style]:
    """A cell of which the band covers the part from `low` to `high`."""
    low, high = part
    if char == " " and low <= 0 and high < 1:
        return _EIGHTHS[round(high * 8)], style + Style(color=band)
    if char == " " and high >= 1 and low > 0:
        return _EIGHTHS[round(low * 8)], style + Style(color=ground.rich_color, bgcolor=band)
    enough = 0.5 if char != " " else 0.25  # a band that is thinner than a cell is still a band
    return (char, style + Style(bgcolor=band)) if high - low >= enough else (char, style)


def _at(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    """The value of a series at x, between its points."""
    from bisect import bisect_left

    i = bisect_left(xs, x)
    if i == 0:
        return ys[0]
    if i >= len(xs):
        return ys[-1]
    share = (x - xs[i - 1]) / ((xs[i] - xs[i - 1]) or 1)
    return ys[i - 1] + share * (ys[i] - ys[i - 1])
