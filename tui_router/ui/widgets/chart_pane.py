"""A pane with a chart and the numbers under it."""

from __future__ import annotations

from textual.app import ComposeResult

from tui_router.ui.widgets.chart import Chart
from tui_router.ui.widgets.lines import Lines
from tui_router.ui.widgets.panes import Pane


class ChartPane(Pane):
    """Header, chart, legend.

    Args:
        name: Its id.
    """

    def __init__(self, name: str) -> None:
        super().__init__(id=name)
        self.chart, self.legend = Chart(id="chart"), Lines()

    def compose(self) -> ComposeResult:
        yield from (self.head, self.chart, self.legend)
