"""What stands around the conversation: the top line, accuracy, models, observer, the list of sessions, the welcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.screen import Screen

from tui_router.core.statistics import wilson
from tui_router.core.text import one_line, plural
from tui_router.ui.screens.chat.chat_widgets import ChatWidgets
from tui_router.ui.screens.chat.store_reading import read_store
from tui_router.ui.widgets.bars import Summary
from tui_router.ui.widgets.lines import line

if TYPE_CHECKING:
    from tui_router.app.engine import Engine
    from tui_router.core.types import Observation

_NUMBERS_S, _HEALTH_S = 0.05, 0.1
"""Seconds after a change until the numbers, or the states of the servers, are drawn: what comes meanwhile is drawn with it."""
_GRADED, _OBSERVATIONS, _SESSIONS = 400, 30, 12
"""Newest rated turns in the accuracy chart, remarks in the feed, conversations in the list."""


class StatusController:
    """Owns the counts of the top line and what is known of servers and store.

    Args:
        screen: Runs timers and workers.
        widgets: Of the main screen.
        redraw: Called when the top line or the keys are to be drawn again.
    """

    def __init__(self, screen: Screen[None], widgets: ChatWidgets, redraw: Callable[[], None]) -> None:
        self._screen, self._widgets, self._redraw = screen, widgets, redraw
        self._engine: Engine | None = None
        self._demo = False
        self._counts = (0, 0)
        """Rated turns, and how many of them were right."""
        self.trouble = ""
        """What keeps the store from being used; empty when all is well."""
        self._without_server = False
        """The person goes on although no server answered."""
        self._health_due = self._numbers_due = False

    async def use_engine(self, engine: Engine, *, demo: bool) -> None:
        """Show what this engine's store holds, and its servers."""
        self._engine, self._demo, self.trouble = engine, demo, ""
        await self._read_observations()
        self._show_models()
        await self._read_numbers()

    def forget(self) -> None:
        """The engine is leaving."""
        self._engine = None
        self._widgets.welcome.ready()
        self._widgets.observer.show_observations([])

    def report_trouble(self, message: str) -> None:
        """Show what keeps the store from being used, until it is over."""
        self.trouble = message
        self._widgets.welcome.ready(message)
        self._screen.notify(message, title="the store", severity="error", markup=False, timeout=30)
        self._redraw()

    # -- numbers -------------------------------------------------------------------------------------------------
    def numbers_changed(self) -> None:
        """Read the counts again, soon."""
        if not self._numbers_due:
            self._numbers_due = True
            self._screen.set_timer(_NUMBERS_S, self._read_numbers)

    async def _read_numbers(self) -> None:
        self._numbers_due = False
        found = await read_store(self._engine, lambda store: (store.counters(), store.graded(_GRADED)))
        engine = self._engine
        if found is None or engine is None:
            return
        counters, graded = found
        self._counts = (counters.rated, counters.right)
        routers = engine.router_service
        self._widgets.accuracy.show_accuracy(counters, graded, routers.champion, routers.shadow_grades())
        self._redraw()

    def add_observation(self, observation: Observation) -> None:
        """Something happened beside the turns."""
        self._widgets.observer.add(observation)

    async def store_changed(self, *, observations: bool, sessions: bool, current_session: str) -> None:
        """Another process wrote into the store."""
        if observations:
            await self._read_observations()
        await self._read_numbers()
        if sessions:
            await self.show_sessions(current_session)

    async def _read_observations(self) -> None:
        found = await read_store(self._engine, lambda store: store.observations(_OBSERVATIONS))
        self._widgets.observer.show_observations(found or [])

    async def show_sessions(self, current: str) -> None:
        """Draw the list of conversations again."""
        sessions = await read_store(self._engine, lambda store: store.sessions(_SESSIONS))
        rows = []
        for session in sessions or ():
            here = session.id == current
            title = one_line(session.title, 24) or "(no text)"
            rows.append(line(("● " if here else "  ", "$accent"), (title, "$strong bold" if here else "$text")))
            rows.append(line((f"  {plural(session.turns, 'turn')}, {session.rated} rated", "$muted")))
        self._widgets.sessions.set_lines(*(rows or [line(("none yet", "$muted"))]))

    # -- servers -------------------------------------------------------------------------------------------------
    def health_changed(self) -> None:
        """Draw the servers and models again, soon."""
        if not self._health_due:
            self._health_due = True
            self._screen.set_timer(_HEALTH_S, self._show_health)

    def _show_health(self) -> None:
        self._health_due = False
        engine = self._engine
        if engine is None:
            return
        self._show_models()
        if self._all_checked() and self.no_server():
            if not self._without_server:
                self._widgets.welcome.no_server([b.status for b in engine.health.backends])
        elif not self.trouble:
            self._widgets.welcome.ready()
        self._redraw()

    def _show_models(self) -> None:
        if self._engine is not None:
            health = self._engine.health
            self._widgets.models.show_models(health.models, self._engine.config.fleet, health.checked)

    def _all_checked(self) -> bool:
        engine = self._engine
        return engine is not None and all(b.status.reachable is not None for b in engine.health.backends)

    def no_server(self) -> bool:
        """Whether servers are looked for and none has answered."""
        engine = self._engine
        return bool(engine and engine.health.checked and not any(b.status.reachable for b in engine.health.backends))

    @property
    def offers_demo(self) -> bool:
        """Whether the screen says that no server answered, and what to do."""
        return not self._without_server and self.no_server()

    def continue_without_server(self) -> None:
        """The person goes on: requests are routed and rated, not answered."""
        self._without_server = True
        self._widgets.welcome.ready()
        self._redraw()

    def tick(self) -> None:
        """A second has passed: count on what is loading, and say who observes."""
        engine = self._engine
        if engine is None:
            return
        insights = engine.insights
        self._widgets.observer.show_mode("from statistics only" if insights.trouble else insights.mode)
        if any(model.state == "loading" for model in engine.health.models.values()):
            self._show_models()

    # -- the top line --------------------------------------------------------------------------------------------
    def summary(self) -> Summary:
        """What the top line says."""
        engine = self._engine
        if engine is None:
            return Summary(trouble="store" if self.trouble else "")
        models = engine.health.models.values()
        rated, right = self._counts
        low, high = wilson(right, rated)
        checked = not engine.health.checked or any(b.status.reachable is not None for b in engine.health.backends)
        return Summary(
            ready=sum(model.ready for model in models),
            models=len(models),
            checked=checked,
            rated=rated,
            right=right,
            low=low,
            high=high,
            demo=self._demo,
            trouble="not saved" if engine.unsaved else "",
        )
