"""Pick a route by its digit."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen

from tui_router.core.fleet import Fleet
from tui_router.core.text import one_line
from tui_router.ui.widgets.lines import Lines, keys, line


class RouteDialog(ModalScreen[str]):
    """Dismisses with a route's name, or an empty string when it was cancelled."""

    BINDINGS: ClassVar = [Binding("escape", "cancel", "cancel", id="cancel_route", tooltip="Close without a route")]

    def __init__(self, fleet: Fleet, text: str, suggested: str) -> None:
        super().__init__(classes="dialog")
        self.fleet, self.text, self.suggested = fleet, text, suggested

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Lines(line((one_line(self.text, 66), "$strong bold")), line(""))
            yield Lines(
                *(
                    line(
                        (f"{place} ", "$accent bold"),
                        f"{route.name:<16}",
                        ("● suggested" if route.name == self.suggested else "", "$caution"),
                    )
                    for place, route in enumerate(self.fleet.routes[:9], 1)
                )
            )
            yield Lines(
                line(""),
                keys(("1-9", "route"), *([("⏎", "use suggestion")] if self.suggested else []), ("esc", "cancel")),
            )

    def on_key(self, event: Any) -> None:
        """A digit chooses; enter takes the suggestion."""
        routes = self.fleet.routes
        if event.key.isdigit() and 1 <= int(event.key) <= min(9, len(routes)):
            event.stop()
            self.dismiss(routes[int(event.key) - 1].name)
        elif event.key == "enter" and self.suggested:
            event.stop()
            self.dismiss(self.suggested)

    def action_cancel(self) -> None:
        """Close without a route."""
        self.dismiss("")
