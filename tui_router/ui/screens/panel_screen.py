"""What the screens beside the conversation have in common: a line at the top, one or two columns, the keys."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING, ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widget import Widget
from textual.worker import Worker

from tui_router.core.clock import local_day, now
from tui_router.core.types import Turn
from tui_router.ui.widgets.bars import SCREENS, KeysBar, StatusLine
from tui_router.ui.widgets.lines import Lines, PaneHeader, Part, SplitLine, line
from tui_router.ui.widgets.panes import Pane
from tui_router.ui.widgets.worker_faults import report_fault

if TYPE_CHECKING:
    from tui_router.app.engine import Engine

T = TypeVar("T")
_PAGE = 500


class LinesPane(Pane):
    """A pane of lines."""

    def __init__(self, title: str, name: str) -> None:
        self.title = title
        super().__init__(id=name)
        self.head = PaneHeader(title)
        self.rows = Lines()

    def compose(self) -> ComposeResult:
        yield from (self.head, self.rows)


class PanelScreen(Screen[None]):
    """A screen of its own beside the conversation."""

    BINDINGS: ClassVar = [
        Binding("escape,f2", "leave", "chat", id="leave_screen", tooltip="Go back"),
        Binding(
            "z",
            "enlarge",
            "enlarge",
            id="enlarge_pane",
            tooltip="Enlarge the pane that has the focus, or give it its place back",
        ),
    ]
    ALLOW_IN_MAXIMIZED_VIEW = "#top, #choices, #keys"
    screen_name = ""
    """`F3 Stats`, ..."""
    shown_keys: tuple[tuple[str, str], ...] = ()

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine
        self._name_in_strip = self.screen_name.rpartition(" ")[2]
        self.top, self.keys_bar = StatusLine(self._name_in_strip, id="top"), KeysBar(id="keys")
        self.choices = SplitLine(id="choices")

    def left(self) -> Iterable[Widget]:
        """What stands in the main column."""
        return ()

    def first(self) -> Widget:
        """What has the focus at first."""
        return self.query_one(".panel-left")

    def right(self) -> Iterable[Widget]:
        """What stands beside it; below it when the terminal is narrow."""
        return ()

    def compose(self) -> ComposeResult:
        yield self.top
        yield self.choices
        with VerticalScroll(classes="panel-body"):  # scrolls as a whole when narrow, column by column when wide
            yield VerticalScroll(*self.left(), classes="panel-left")
            if beside := tuple(self.right()):
                yield VerticalScroll(*beside, classes="panel-right")
        yield self.keys_bar

    def on_mount(self) -> None:
        self.keys_bar.set_keys(list(self.shown_keys))
        self.first().focus()
        self.set_status("reading …")
        self._copy_summary()
        self.set_interval(1.0, self._copy_summary)

    def _copy_summary(self) -> None:
        """Show the models and the accuracy that the conversation's top line shows."""
        self.top.set_summary(self.app.screen_stack[0].query_one(StatusLine).summary)

    def set_status(self, text: str, *marks: Part) -> None:
        """Show the screen's tabs and a sentence below the top line; on a narrow screen in its place."""
        name: Part = (f"{self.screen_name} ", "$accent")
        if self.has_class("-narrow"):
            self.choices.set_text(line(name, *marks, (f" {text}", "$muted")))
            return
        in_strip = any(self._name_in_strip == title for _, title in SCREENS)
        self.choices.set_text(line(*([] if in_strip else [name]), *marks), line((text, "$muted")))

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        report_fault(self, event)

    def action_leave(self) -> None:
        """Back."""
        self.dismiss()

    def action_enlarge(self) -> None:
        """The pane that has the focus, alone; again: all of them."""
        if self.maximized is not None:
            self.minimize()
        elif isinstance(self.focused, Pane):
            self.maximize(self.focused)

    def all_turns(self) -> Iterator[Turn]:
        """All turns, oldest first, for work in a thread of its own; verdicts can be written while it reads.

        Raises StoreError, and RuntimeError when the store's thread has ended.
        """
        store = self.engine.opened()
        newest = self.engine.at_store(store.newest_number)
        for first in range(1, newest + 1, _PAGE):
            yield from self.engine.at_store(partial(store.between, first, min(newest, first + _PAGE - 1)))

    async def pages_since(self, days: int) -> AsyncIterator[list[Turn]]:
        """The turns of the last so many days (0: all), newest first, page by page, so that verdicts can be written in between.

        Raises StoreError, and RuntimeError when the store's thread has ended.
        """
        from tui_router.store.sqlite_storage import LAST_ID

        first = first_day(days)
        before = LAST_ID
        while True:
            store = self.engine.opened()
            page = await self.engine.in_store(partial(store.recent, _PAGE, before))
            kept = [turn for turn in page if local_day(turn.at) >= first]
            yield kept
            if len(kept) < _PAGE:
                return
            before = page[-1].number
            await asyncio.sleep(0)


class ListScreen(PanelScreen):
    """A screen with a list and one selected entry. `_show` draws it again."""

    BINDINGS: ClassVar = [
        # With priority: where the screen scrolls as a whole, its scrolling would take the arrows.
        Binding("j,down", "move(1)", "next", id="list_next", tooltip="Select the next entry", priority=True),
        Binding("k,up", "move(-1)", "before", id="list_before", tooltip="Select the previous entry", priority=True),
    ]
    around, before = 24, 4
    """Entries that are shown, and how many of them stand before the selected one."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.at = 0

    def on_resize(self) -> None:
        """Lines are folded to the width."""
        self.call_after_refresh(self._show)

    def shown(self, entries: Sequence[T]) -> list[tuple[T, bool]]:
        """The entries around the selected one, each with whether it is that one."""
        self.at = max(0, min(self.at, len(entries) - 1))
        first = max(0, self.at - self.before)
        return [(entry, place == self.at) for place, entry in enumerate(entries[first : first + self.around], first)]

    def selected(self, entries: Sequence[T]) -> T | None:
        """The selected entry; None of an empty list."""
        return entries[self.at] if self.at < len(entries) else None

    def action_move(self, by: int) -> None:
        """Another entry."""
        self.at += by
        self._show()

    @abstractmethod
    def _show(self) -> None:
        """Draw the list, and the selected entry."""


def first_day(days: int) -> str:
    """The first of the last so many of the person's own days, today included; empty for all."""
    return (date.fromisoformat(local_day(now())) - timedelta(days=days - 1)).isoformat() if days else ""
