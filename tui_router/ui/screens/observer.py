"""The observer's feed: servers, findings, remarks; and the turns that each is about."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import wrap
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.content import Content
from textual.widget import Widget

from tui_router.core.clock import local
from tui_router.core.text import one_line, plural
from tui_router.core.types import Observation
from tui_router.ui.screens.panel_screen import LinesPane, ListScreen
from tui_router.ui.widgets.lines import line
from tui_router.ui.widgets.panes import LEVELS

if TYPE_CHECKING:
    from tui_router.app.engine import Engine
    from tui_router.app.insight_service import ObserverMode

_MOST = 400
_SHOWN_LEVELS = ("", "wrong", "caution", "good", "info")
_MODES: tuple[ObserverMode, ...] = ("off", "passive", "active")
MODE_SAYS = {"off": "off", "passive": "every fifth turn", "active": "every turn"}


class ObserverScreen(ListScreen):
    """Events, newest first, by level and tag."""

    BINDINGS: ClassVar = [
        Binding("enter", "open", "show turns", id="observer_open", tooltip="Show the turns that the entry is about"),
        Binding("t", "tag", "tag", id="observer_tag", tooltip="Show entries of the next tag only"),
        Binding("v", "level", "level", id="observer_level", tooltip="Show entries of the next level only"),
        Binding(
            "m",
            "mode",
            "off, passive, active",
            id="observer_mode",
            tooltip="Observe no turn, every fifth turn, every turn",
        ),
    ]
    screen_name = "Observer"
    around, before = 14, 3
    shown_keys = (("jk", "move"), ("⏎", "show turns"), ("t", "tag"), ("v", "level"), ("m", "mode"), ("esc", "chat"))

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.seen: list[Observation] = []
        self.tag = self.level = ""
        self.feed, self.state = LinesPane("Feed", "observer-feed"), LinesPane("Observer", "observer-state")

    def left(self) -> Iterable[Widget]:
        return (self.feed,)

    def right(self) -> Iterable[Widget]:
        return (self.state,)

    def on_mount(self) -> None:
        super().on_mount()
        self._stop = self.engine.listen(self._on_event)
        self.run_worker(self._read(), group="observer", exclusive=True, exit_on_error=False)

    def on_unmount(self) -> None:
        self._stop()

    def _on_event(self, event: object) -> None:
        from tui_router.app.events import NoticeEvent

        if isinstance(event, NoticeEvent):
            self.seen.insert(0, event.observation)
            self._show()

    async def _read(self) -> None:
        from tui_router.store.store_errors import StoreError

        try:
            self.seen = await self.engine.in_store(lambda: self.engine.opened().observations(_MOST))
        except (StoreError, RuntimeError):  # RuntimeError: the store's thread has ended
            self.set_status("the store cannot be read")
            return
        self._show()

    # -- showing -------------------------------------------------------------------------------------------------
    def _fitting(self) -> list[Observation]:
        return [
            one
            for one in self.seen
            if (not self.tag or one.tag == self.tag) and (not self.level or one.level == self.level)
        ]

    def _show(self) -> None:
        fitting = self._fitting()
        only = " ".join(part for part in (self.level and f"level {self.level}", self.tag and f"tag {self.tag}") if part)
        self.set_status(f"{plural(len(fitting), 'event')}{f', {only} only' if only else ''}")
        rows: list[Content] = []
        width = max(30, self.feed.size.width - 4)
        for one, here in self.shown(fitting):
            rows += self._entry(one, width, here=here)
        self.feed.rows.set_lines(*(rows or [line(("none", "$muted"))]))
        self._show_state()

    def _entry(self, one: Observation, width: int, *, here: bool) -> list[Content]:
        sign, style = LEVELS[one.level]
        when = f"{local(one.at):%m-%d %H:%M}"
        by = {"": "", "counts": "  from statistics"}.get(one.by, f"  {one.by}")
        turns = ", ".join(turn.partition("-")[0] for turn in one.turns[:6])
        head = line(
            ("› " if here else "  ", "$accent bold"),
            (f"{sign} ", style),
            (one_line(one.tag, 30), "$strong bold" if here else "$text"),
            (f"  {when}{by}", "$muted"),
            (f"  turns {turns}" if turns else "", "$accent"),
        )
        return [
            head,
            *(line((f"    {part}", "$text" if here else "$muted")) for part in wrap(one_line(one.text, 400), width)),
        ]

    def _show_state(self) -> None:
        watching = self.engine.insights
        remarks, ms, tokens = watching.cost
        rows = [
            line(("mode     ", "$muted"), (watching.mode, "$accent bold"), (f"  {MODE_SAYS[watching.mode]}", "$muted")),
            line(("model    ", "$muted"), watching.model),
        ]
        if watching.trouble:
            rows += [line((part, "$caution")) for part in wrap(watching.trouble, 44)]
        if remarks:
            rows.append(
                line(
                    ("cost     ", "$muted"),
                    f"{plural(remarks, 'run')}, {ms / remarks / 1000:.1f} s, {tokens / remarks:,.0f} tokens each",
                )
            )
        dropped = sum(watching.dropped.values())
        rows.append(line(("dropped  ", "$muted"), plural(dropped, "remark") if dropped else "0"))
        rows += [line((f"         {why} {count}", "$muted")) for why, count in sorted(watching.dropped.items())]
        rows += [line("")] + [
            line((part, "$muted"))
            for part in wrap("Remarks are dropped when they name a turn or number that the model was not shown.", 44)
        ]
        self.state.rows.set_lines(*rows)

    # -- acting --------------------------------------------------------------------------------------------------
    def action_tag(self) -> None:
        """Only the next tag; after the last one, all."""
        tags = ["", *dict.fromkeys(one.tag for one in self.seen)]
        self.tag, self.at = tags[(tags.index(self.tag) + 1) % len(tags)] if self.tag in tags else "", 0
        self._show()

    def action_level(self) -> None:
        """Only the next level; after the last one, all."""
        self.level, self.at = _SHOWN_LEVELS[(_SHOWN_LEVELS.index(self.level) + 1) % len(_SHOWN_LEVELS)], 0
        self._show()

    def action_mode(self) -> None:
        """Observe no turn, every fifth turn, every turn."""
        watching = self.engine.insights
        watching.set_mode(_MODES[(_MODES.index(watching.mode) + 1) % len(_MODES)])
        self._show()

    def action_open(self) -> None:
        """Show the turns that the entry is about."""
        one = self.selected(self._fitting())
        if one is not None and one.turns:
            from tui_router.ui.screens.turns import TurnsScreen

            self.app.push_screen(TurnsScreen(self.engine, one_line(one.tag, 30), ids=one.turns))
