"""The tables of F3, and which turns are behind each of their numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct
from textual.content import Content
from textual.widget import Widget

from tui_router.core.fleet import Fleet
from tui_router.core.types import Turn
from tui_router.core.verdicts import decision_was_right
from tui_router.ui.widgets.lines import Part, accuracy, bar, line, percent

if TYPE_CHECKING:
    from tui_router.insight.metrics import LogHistogram, Metrics, Rate

Wanted = Callable[[Turn], bool]
_OFTEN = 0.2
"""Share of a right route from which on a cell of the confusion stands out."""
_SELECTED = "$accent bold reverse"


class Opening(Struct, frozen=True):
    """A number that opens the turns behind it."""

    title: str
    wanted: Wanted
    row: int
    pane: Widget


class Openings:
    """All numbers that open, in reading order, and the selected one."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._all: list[Opening] = []
        self._at = -1
        self._row = 0
        self._pane: Widget | None = None

    def begin(self) -> Openings:
        """The tables are drawn anew."""
        self._all.clear()
        self._row = 0
        return self

    def of(self, pane: Widget) -> Openings:
        """What follows stands in this pane."""
        self._pane = pane
        return self

    def row(self) -> None:
        """What follows stands in the next row."""
        self._row += 1

    def cell(self, text: str, style: str, title: str, wanted: Wanted) -> Part:
        """A number, marked when it is selected."""
        assert self._pane is not None
        self._all.append(Opening(title, wanted, self._row, self._pane))
        if len(self._all) - 1 != self._at:
            return (text, style)
        bare = text.strip()
        before, _, after = text.partition(bare)
        return line(before, (bare, _SELECTED), after)

    @property
    def selected(self) -> Opening | None:
        """The selected number."""
        return self._all[self._at] if 0 <= self._at < len(self._all) else None

    @property
    def pane(self) -> Widget | None:
        """Where it stands."""
        return self.selected.pane if self.selected is not None else None

    def move(self, down: int, right: int) -> None:
        """To another number: within its row, or to the first one of another row."""
        if not self._all:
            return
        if self.selected is None:
            self._at = 0
        elif right:
            self._at = (self._at + right) % len(self._all)
        else:
            rows = sorted({one.row for one in self._all})
            row = rows[(rows.index(self.selected.row) + down) % len(rows)]
            self._at = next(place for place, one in enumerate(self._all) if one.row == row)


def rate_parts(rate: Rate) -> list[Part]:
    """A share with its interval, or `no data`."""
    if rate.value is None:
        return [("no data", "$muted")]
    return accuracy(rate.hits, rate.n, *rate.ci95)


def _padded(parts: list[Part], width: int) -> Content:
    made = line(*parts)
    return line(made, " " * max(int(width > 0), width - made.cell_length))


def _rate_cell(rate: Rate, width: int, cells: Openings, title: str, wanted: Wanted) -> Content:
    """A share whose per cent opens its turns."""
    if rate.value is None:
        return _padded([("no data", "$muted")], width)
    first, *rest = accuracy(rate.hits, rate.n, *rate.ci95)
    assert isinstance(first, tuple)
    return _padded([cells.cell(first[0], first[1], title, wanted), *rest], width)


def routes(m: Metrics, cells: Openings, *, roomy: bool) -> list[Content]:
    """By route: turns, precision and recall.

    Precision: of the turns sent to the route, the share that belonged there. Recall: of those that belonged there, the
    share that was sent there.
    """
    from tui_router.insight.metrics import Rate
    from tui_router.routing.ensemble.grading import grade

    fleet = cells.fleet

    def decided(route: str, rated: bool) -> Wanted:
        return lambda t: (
            t.state != "cancelled"
            and fleet.names.get(t.decision.route, t.decision.route) == route
            and (not rated or decision_was_right(t) is not None)
        )

    def labelled(route: str) -> Wanted:
        return lambda t: (made := grade(t, fleet)) is not None and made.label == route

    most = max(m.route_turns.values(), default=1) or 1
    space = f"{'':<13}" if roomy else ""
    rows = [line((f"{'':<13}{'turns':>7}  {space}{'precision':<22}{'recall':<20}", "$muted"))]
    for route in fleet.routes:
        cells.row()
        name, count = route.name, m.route_turns.get(route.name, 0)
        parts: list[Part] = [f"{name:<13}"]
        parts.append(
            cells.cell(f"{count:>7,}", "", f"sent to {name}", decided(name, False)) if count else f"{count:>7}"
        )
        parts.append("  ")
        parts += [bar(count / most, 12, "$s1"), " "] if roomy else []
        right, found = m.precision.get(name, Rate()), m.recall.get(name, Rate())
        parts.append(_rate_cell(right, 22, cells, f"rated, sent to {name}", decided(name, True)))
        parts.append(_rate_cell(found, 0, cells, f"belongs to {name}", labelled(name)))
        rows.append(line(*parts))
    cells.row()
    asked = _rate_cell(m.asked, 22, cells, "asked you first", lambda t: bool(t.asked))
    cells.row()
    other = _rate_cell(m.fallbacks, 22, cells, "served by a fallback", _instead)
    return [
        *rows,
        line(""),
        line((f"{'asked you first':<22}", "$muted"), asked),
        line((f"{'served by a fallback':<22}", "$muted"), other),
    ]


def _instead(turn: Turn) -> bool:
    made = turn.dispatch
    return made is not None and made.served is not None and made.served != made.intended


def confusion(m: Metrics, cells: Openings) -> list[Content]:
    """A heat map: a row for each right route, a column for each decided one; frequent cells stand out."""
    from tui_router.routing.ensemble.grading import grade

    fleet = cells.fleet
    names = [r.name for r in fleet.routes]
    if not m.confusion:
        return [line(("no data", "$muted"))]

    def confused(label: str, decided: str) -> Wanted:
        def wanted(turn: Turn) -> bool:
            made = grade(turn, fleet)
            return made is not None and made.label == label and made.decisions[turn.decision.router].route == decided

        return wanted

    longest = max(map(len, names))
    head = "".join(f"{fleet.digit(name) or '·':>5}" for name in names)
    rows = [line((f"{'right, sent to':<{longest + 3}}{head}", "$muted"))]
    for label in names:
        cells.row()
        found = m.confusion.get(label, {})
        n = sum(found.values())
        parts: list[Part] = [(f"{fleet.digit(label) or ' '} ", "$muted"), f"{label:<{longest + 1}}"]
        for decided in names:
            count = found.get(decided, 0)
            if not count:
                parts.append((f"{'·':>5}", "$muted"))
                continue
            often = " bold on $raised" if count / n >= _OFTEN else ""
            style = ("$right" if label == decided else "$wrong") + often
            parts.append(cells.cell(f"{count:>5}", style, f"{label}, sent to {decided}", confused(label, decided)))
        rows.append(line(*parts))
    return rows


def calibration(m: Metrics, cells: Openings) -> list[Content]:
    """How often a confidence was right."""
    from tui_router.insight.metrics import calibration_bin

    if not m.accuracy.n:
        return [line(("no data", "$muted"))]

    def within(place: int) -> Wanted:
        return lambda t: decision_was_right(t) is not None and calibration_bin(t.decision.confidence) == place

    rows = [line((f"{'confidence':<12}{'share right':<34}", "$muted"))]
    for place, (total, rate) in enumerate(m.calibration_bins):
        if rate.value is None:
            continue
        cells.row()
        mean = total / rate.n
        title = f"confidence {place * 10}-{place * 10 + 10}%"
        right = _rate_cell(rate, 22, cells, title, within(place))
        rows.append(line(f"{percent(mean):>5}       ", bar(rate.value, 14, "$s1"), " ", right))
    return rows


def models(m: Metrics, cells: Openings) -> list[Content]:
    """Use, failures, waiting and speed of each model."""
    if not m.models:
        return [line(("no data", "$muted"))]

    def served(name: str) -> Wanted:
        return lambda t: t.dispatch is not None and t.dispatch.served == name

    def failed(name: str) -> Wanted:
        return lambda t: t.dispatch is not None and any(hop.model == name for hop in t.dispatch.hops)

    rows = [line((f"{'':<17}{'served':>7}{'failed':>7}{'first':>7}{'tok/s':>6}{'load':>6}", "$muted"))]
    most = max(model.served for model in m.models.values()) or 1
    for name, model in sorted(m.models.items(), key=lambda item: -item[1].served):
        cells.row()
        rows.append(line(name))
        parts: list[Part] = [bar(model.served / most, 15, "$s1"), "  "]
        parts.append(
            cells.cell(f"{model.served:>7,}", "", f"served by {name}", served(name)) if model.served else f"{'':>7}"
        )
        parts.append(
            cells.cell(f"{model.failed:>7,}", "$caution", f"{name} failed", failed(name))
            if model.failed
            else f"{'':>7}"
        )
        rows.append(
            line(
                *parts,
                f"{_seconds(model.first_token_ms):>7}{_whole(model.tokens_per_second):>6}{_seconds(model.load_ms):>6}",
            )
        )
    return rows


def routers(m: Metrics, cells: Openings, cost: tuple[int, float, int]) -> list[Content]:
    """Each router's accuracy and latency; the observer's cost at the end.

    Args:
        m: Of the period.
        cells: Where the numbers stand.
        cost: (remarks, milliseconds, tokens) of the observer since the start.
    """
    from tui_router.insight.metrics import Rate
    from tui_router.routing.ensemble.grading import grade

    fleet = cells.fleet

    def wrong(name: str) -> Wanted:
        return lambda t: (made := grade(t, fleet)) is not None and made.right(name) is False

    longest = max(map(len, m.router_ms), default=12)
    rows = [line((f"{'':<{longest + 1}}{'accuracy':<22}{'latency p50':<14}{'p95':<20}", "$muted"))]
    for name, spread in sorted(m.router_ms.items(), key=lambda item: -m.router_accuracy.get(item[0], Rate()).n):
        cells.row()
        right = _rate_cell(m.router_accuracy.get(name, Rate()), 22, cells, f"{name} was wrong", wrong(name))
        half, most = spread.quantile(0.5) or 0.0, spread.quantile(0.95) or 0.0
        rows.append(
            line(
                f"{name:<{longest + 1}}",
                right,
                f"{f'{half:.1f} ms':<14}",
                (f"{f'{most:.1f} ms':<11}n={spread.n:,}", "$muted"),
            )
        )
    remarks, ms, tokens = cost
    if remarks:
        cost_text = f"{remarks:,} remarks, {ms / remarks / 1000:.1f} s and {tokens / remarks:,.0f} tokens each"
        rows.append(line(f"{'observer':<13}", (cost_text, "$muted")))
    return rows if len(rows) > 1 else [line(("no data", "$muted"))]


def _seconds(spread: LogHistogram) -> str:
    value = spread.quantile(0.5)
    return f"{value / 1000:.1f}s" if value is not None else ""


def _whole(spread: LogHistogram) -> str:
    value = spread.quantile(0.5)
    return f"{value:.0f}" if value is not None else ""
