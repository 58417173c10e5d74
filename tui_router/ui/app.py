"""The application: themes, global keys, the palette of actions, and the engine's coming and going."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.driver import Driver
from textual.filter import LineFilter
from textual.screen import Screen
from textual.worker import Worker

from tui_router.core import assets
from tui_router.core.text import one_line
from tui_router.ui import theme
from tui_router.ui.control_filter import ControlFilter
from tui_router.ui.options import Options
from tui_router.ui.screens.chat.screen import ChatScreen
from tui_router.ui.widgets import glyphs
from tui_router.ui.widgets.worker_faults import report_fault

if TYPE_CHECKING:
    from textual.widgets import Markdown

    from tui_router.app.engine import Engine
    from tui_router.config.settings import Config
    from tui_router.demo.server import DemoServer
    from tui_router.training.runs import Run
    from tui_router.ui.screens.panel_screen import PanelScreen

_POLL_S = 0.4
_ENDING_SIGNALS = ("SIGHUP", "SIGTERM", "SIGINT", "SIGQUIT")
_AFTER_PAINT_S = 0.05
"""Seconds after the first paint until the heavy modules are imported, so that the paint and the first key come first."""


def _freeze_garbage_collector() -> None:
    """Exempt what the start has created from garbage collection: a full collection of it delays a key by 100 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(2_000, 1_000_000, 1_000_000)


class RouterApp(App[None]):
    """The dashboard."""

    TITLE = "tui-router"
    CSS_PATH = [assets.style("app.tcss"), assets.style("chat.tcss"), assets.style("panel_screens.tcss")]  # noqa: RUF012  # Textual's own way
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide"), (150, "-xwide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall")]  # noqa: RUF012
    ENABLE_COMMAND_PALETTE = True
    BINDINGS = [  # noqa: RUF012
        Binding("f1", "help", "help", id="help", tooltip="What every key does", priority=True),
        Binding("f2", "chat", "Chat", id="chat", tooltip="The conversation"),
        Binding("f3", "stats", "Stats", id="stats", tooltip="Accuracy, routes, calibration, models"),
        Binding("f4", "data", "Data", id="data", tooltip="Review training data and fix labels"),
        Binding("f5", "train", "Train", id="train", tooltip="Train a router, test it, promote it"),
        # With priority: a text area selects a line with this key.
        Binding(
            "f6", "export", "Export", id="export", tooltip="Write datasets and trained routers to files", priority=True
        ),
        Binding("ctrl+o", "sessions", "sessions", id="sessions", tooltip="Earlier conversations", priority=True),
        Binding(
            "ctrl+r",
            "look_again",
            "check again",
            id="look_again",
            tooltip="Check the servers now",
            priority=True,
        ),
        Binding(
            "ctrl+t", "try_demo", "demo", id="try_demo", tooltip="Six pretend models, nothing is kept", priority=True
        ),
        Binding(
            "ctrl+s",
            "use_next_model",
            "next model",
            id="use_next_model",
            tooltip="Skip to fallback model",
            priority=True,
        ),
        Binding(
            "alt+y",
            "rate_newest('y')",
            "right",
            id="rate_right",
            tooltip="The newest route was right",
            priority=True,
        ),
        Binding(
            "alt+n",
            "rate_newest('n')",
            "wrong",
            id="rate_wrong",
            tooltip="The newest route was wrong",
            priority=True,
        ),
        Binding(
            "alt+c",
            "rate_newest('c')",
            "comment",
            id="rate_comment",
            tooltip="Comment on the newest turn",
            priority=True,
        ),
        Binding("ctrl+q", "quit", "quit", id="quit", tooltip="Leave", priority=True),
    ]

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.options = options
        self.engine: Engine | None = None
        self.demo: DemoServer | None = None
        self._stop_listening: Callable[[], None] = lambda: None
        self._ending = False
        self._then: Callable[[], None] | None = None
        """What a key asked for before the engine was there; done when it is."""
        for one in theme.THEMES:
            self.register_theme(one)
        self.theme = "router-dark"
        self.animation_level = "none"
        glyphs.choose("auto")

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return theme.variables_for(self.current_theme)

    def get_line_filters(self) -> list[LineFilter]:
        return [*super().get_line_filters(), ControlFilter()]

    def get_driver_class(self) -> type[Driver]:
        chosen = super().get_driver_class()
        if chosen.__name__ != "LinuxDriver":  # Windows and the web have drivers of their own
            return chosen
        from tui_router.ui.terminal_driver import TerminalDriver

        return TerminalDriver

    def get_default_screen(self) -> Screen[None]:
        return ChatScreen(feedback=self.options.feedback)

    @property
    def chat(self) -> ChatScreen:
        """The conversation's screen."""
        screen = self.screen_stack[0]
        assert isinstance(screen, ChatScreen)
        return screen

    def on_mount(self) -> None:
        self._handle_signals()
        self.call_after_refresh(self.set_timer, _AFTER_PAINT_S, self._boot)

    # -- being ended from outside --------------------------------------------------------------------------------
    def _handle_signals(self) -> None:
        """End in order when asked to by a signal: what came of an answer is kept, the terminal is restored."""
        if self.is_headless:
            return
        for name in _ENDING_SIGNALS:
            number = getattr(signal, name, None)
            with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows; not the main thread
                if number is not None:
                    asyncio.get_running_loop().add_signal_handler(number, self._end, 128 + number)

    def on_terminal_closed(self) -> None:
        """The terminal is gone: end as after a hang-up."""
        self._end(128 + 1)

    def _end(self, code: int) -> None:
        if not self._ending:
            self._ending = True
            self.run_worker(self._quit(code), group="engine", description="quit", exit_on_error=False)

    # -- the engine ------------------------------------------------------------------------------------------------
    def _boot(self) -> None:
        self.run_worker(self._start_engine(self.options.demo), group="engine", description="start", exit_on_error=False)
        self.set_interval(_POLL_S, self._poll)
        self.set_interval(1.0, self._tick)

    async def _start_engine(self, demo: bool) -> None:
        from tui_router.store.store_errors import StoreError

        config = await asyncio.to_thread(self._load)
        glyphs.choose(config.settings.ascii)
        if self.theme == "router-dark":
            self.theme = config.settings.theme
        for problem in config.problems[:6]:
            self.notify(
                str(problem),
                title="fleet.toml is wrong; the last good one is used",
                severity="error",
                markup=False,
                timeout=20,
            )
        try:
            await self._run_engine(config, demo)
        except (StoreError, OSError) as error:
            self.chat.status.report_trouble(one_line(str(error), 300))

    def _load(self) -> Config:
        """Read the configuration and import what is heavy, outside the event loop."""
        from msgspec.structs import replace

        import tui_router.app.engine  # noqa: F401  # the import is the point
        from tui_router.config.folders import state_folder
        from tui_router.config.settings import load_or_last_good

        config = load_or_last_good(self.options.config, state_folder(self.options.data_dir))
        settings = config.settings
        if self.options.threshold is not None:
            settings = replace(settings, confidence_threshold=self.options.threshold)
        if self.options.observer:
            settings = replace(settings, observer=self.options.observer)
        return replace(config, settings=settings)

    async def _run_engine(self, config: Config, demo: bool, session: str = "") -> None:
        from tui_router.app.engine import Engine
        from tui_router.config.folders import store_folder

        if demo:
            from tui_router.demo.server import DemoServer, demo_backend

            self.demo = DemoServer()
            config = config.with_only_backend(demo_backend(await self.demo.start()))
        folder, note = store_folder(self.options.data_dir, demo)
        engine = Engine(
            config,
            folder,
            health_checks=self.options.health_checks,
            interactive=True,
            feedback=self.options.feedback,
        )
        self._stop_listening = engine.listen(self.chat.on_engine)
        try:
            await engine.open()
        except BaseException:
            await engine.close()
            raise
        self.engine = engine
        if (running := await self._running_training()) is not None:
            self.notify(f"run {running.id} is training; F5 shows it", title="training", markup=False)
        if note:
            self.notify(note, title="another data folder", severity="warning", markup=False, timeout=15)
        await self.chat.attach(engine, demo=demo, session=session)
        engine.start_health()
        engine.insights.start()
        self.call_after_refresh(_freeze_garbage_collector)
        if self._then is not None:
            then, self._then = self._then, None
            then()

    async def _stop_engine(self) -> None:
        engine, self.engine = self.engine, None
        if engine is not None:
            await engine.close()
        self._stop_listening()
        if self.demo is not None:
            await self.demo.close()
            self.demo = None

    async def _poll(self) -> None:
        from tui_router.store.store_errors import StoreError

        if self.engine is not None and self.engine.store is not None:
            try:
                await self.engine.poll()
            except StoreError as error:
                self.chat.status.report_trouble(one_line(str(error), 200))

    def _tick(self) -> None:
        self.chat.tick()

    # -- actions ---------------------------------------------------------------------------------------------------
    def action_help(self) -> None:
        """What every key does, those of the open screen first."""
        from tui_router.ui.screens.help import HelpScreen
        from tui_router.ui.screens.panel_screen import PanelScreen

        if not isinstance(self.screen, HelpScreen):
            shown = self.screen
            first = shown.screen_name if isinstance(shown, PanelScreen) else ""
            self.push_screen(HelpScreen(self.options.feedback, first))

    def action_chat(self) -> None:
        """Back to the conversation."""
        while len(self.screen_stack) > 1:
            self.pop_screen()
        self.chat.navigation.write()

    def _enter(self, make: Callable[[Engine], PanelScreen]) -> None:
        """Open a screen beside the conversation; before the engine is there, as soon as it is."""
        if self.engine is None:
            self._then = partial(self._enter, make)
            return
        screen = make(self.engine)
        if type(self.screen) is not type(screen):
            self.action_chat()
            self.push_screen(screen)

    def action_stats(self) -> None:
        """Stats."""
        from tui_router.ui.screens.stats import StatsScreen

        self._enter(StatsScreen)

    def action_data(self) -> None:
        """Training data."""
        from tui_router.ui.screens.data import DataScreen

        self._enter(DataScreen)

    def action_train(self) -> None:
        """Train a router."""
        from tui_router.ui.screens.train import TrainScreen

        self._enter(TrainScreen)

    def action_export(self) -> None:
        """Write datasets and trained routers to files."""
        from tui_router.ui.screens.export import ExportScreen

        self._enter(ExportScreen)

    def action_report(self) -> None:
        """The report of today."""
        from tui_router.ui.screens.report import ReportScreen

        self._enter(lambda engine: ReportScreen(engine, 1))

    def action_observer(self) -> None:
        """Events and the observer's remarks."""
        from tui_router.ui.screens.observer import ObserverScreen

        self._enter(ObserverScreen)

    def action_reload(self) -> None:
        """Read fleet.toml again and go on with it."""
        self.run_worker(self._reload(), group="engine", description="reload", exit_on_error=False)

    async def _reload(self) -> None:
        from tui_router.store.store_errors import StoreError

        demo = self.demo is not None
        config = await asyncio.to_thread(self._load)
        session = self.chat.conversation.session
        self.action_chat()
        await self._stop_engine()
        await self.chat.detach()
        try:
            await self._run_engine(config, demo, session)
        except (StoreError, OSError) as error:
            self.chat.status.report_trouble(one_line(str(error), 300))

    def action_sessions(self) -> None:
        """Earlier conversations."""
        if self.chat.conversation.engine is None:
            self._then = self.action_sessions
        elif len(self.screen_stack) == 1:
            self.chat.open_sessions()

    def action_look_again(self) -> None:
        """Check the servers now."""
        if self.engine is not None:
            self.run_worker(self.engine.health.look(), group="health", description="look again", exit_on_error=False)

    def action_try_demo(self) -> None:
        """Leave the real servers for the pretend ones."""
        if self.demo is None:
            self.run_worker(self._switch_to_demo(), group="engine", description="demo", exit_on_error=False)

    async def _switch_to_demo(self) -> None:
        config = self.engine.config if self.engine is not None else await asyncio.to_thread(self._load)
        await self._stop_engine()
        await self.chat.detach()
        await self._run_engine(config, demo=True)

    def action_use_next_model(self) -> None:
        """Skip a model that does not answer for the next one of its route."""
        self.chat.conversation.use_next_model()

    def action_rate_newest(self, mark: str) -> None:
        """Rate the newest turn from anywhere."""
        if len(self.screen_stack) == 1:
            self.chat.verdicts.rate_newest(mark)

    def action_new_session(self) -> None:
        """Start another conversation."""
        self.chat.new_session()

    def action_set_theme(self, name: str) -> None:
        """Change the colours."""
        self.theme = name

    async def action_quit(self) -> None:
        """Stop what runs, write what is due, and quit; a training may go on in the background."""
        from tui_router.ui.screens.quit_dialog import QuitDialog

        if isinstance(self.screen, QuitDialog):
            return
        if (running := await self._running_training()) is None:
            await self._quit()
            return

        def answered(answer: str | None) -> None:
            if answer == "pause":
                running.request_stop("pause")
            if answer in ("keep", "pause"):
                self.run_worker(self._quit(), group="engine", description="quit", exit_on_error=False)

        self.push_screen(QuitDialog(running.id), answered)

    async def _running_training(self) -> Run | None:
        """The run that is training now."""
        from tui_router.training import RUNS

        if self.engine is None or not (self.engine.folder / RUNS).is_dir():
            return None
        from tui_router.training.runs import all_runs

        folder = self.engine.folder
        return await asyncio.to_thread(lambda: next((run for run in all_runs(folder)[:5] if run.is_running()), None))

    async def _quit(self, code: int = 0) -> None:
        await self.chat.before_quit()
        try:
            await self._stop_engine()
        finally:
            self.exit(return_code=code)

    async def action_write_logs(self) -> None:
        """Write the routing logs of today."""
        if self.engine is not None:
            paths = await self.engine.write_logs()
            written = ", ".join(path.name for path in paths) or "nothing new to write"
            self.notify(written, title=f"logs in {self.engine.folder / 'logs'}", markup=False)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every action: those of the open screen first, then those of the whole program."""
        if isinstance(screen, ChatScreen):
            yield from (SystemCommand(title, meaning, work) for title, meaning, work in screen.commands())
        else:
            yield from self._commands_of(screen)
        yield SystemCommand("Chat", "Back to the conversation", self.action_chat)
        yield SystemCommand("Start a new conversation", "Clears the context", self.action_new_session)
        yield SystemCommand("Sessions", "Open an earlier conversation", self.action_sessions)
        yield SystemCommand("Stats", "Accuracy, routes, calibration, models", self.action_stats)
        yield SystemCommand(
            "Report", "Today: what goes wrong, and what a change of fleet.toml would do", self.action_report
        )
        yield SystemCommand("Observer", "Events and the observer's remarks; off, passive, active", self.action_observer)
        yield SystemCommand("Data", "Review training data and fix labels", self.action_data)
        yield SystemCommand("Train", "Train a router, test it, promote it", self.action_train)
        yield SystemCommand("Export", "Write datasets and trained routers to files", self.action_export)
        yield SystemCommand("Check servers", "Ask every server what it serves, now", self.action_look_again)
        yield SystemCommand("Reload", "Read fleet.toml again", self.action_reload)
        yield SystemCommand("Try the demo", "Six pretend models, nothing is kept", self.action_try_demo)
        yield SystemCommand("Skip to fallback model", "When a model does not answer", self.action_use_next_model)
        if self.options.feedback:
            rate = self.action_rate_newest
            yield SystemCommand("Route was right", "Rate the newest turn", partial(rate, "y"))
            yield SystemCommand("Route was wrong", "Rate the newest turn, pick the right route", partial(rate, "n"))
            yield SystemCommand("Comment", "Wrong route, bad answer, or a note", partial(rate, "c"))
        yield SystemCommand("Write the routing logs", "JSON Lines, one file a day", self.action_write_logs)
        for name in self.available_themes:
            if name.startswith("router-") and name != self.theme:
                title = f"Theme: {name.removeprefix('router-')}"
                yield SystemCommand(title, "Change the colours", partial(self.action_set_theme, name))
        yield SystemCommand("Help", "What every key does", self.action_help)
        yield SystemCommand("Quit", "Leave tui-router", self.action_quit)

    def _commands_of(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The keys of a screen as commands."""
        for place in type(screen).__mro__:
            for binding in vars(place).get("BINDINGS", ()):
                if place.__module__.startswith("tui_router.") and isinstance(binding, Binding) and binding.tooltip:
                    work = partial(self.run_action, binding.action, screen)
                    title = f"{binding.description[:1].upper()}{binding.description[1:]}"
                    yield SystemCommand(title, binding.tooltip, work)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        report_fault(self, event)

    def on_markdown_link_clicked(self, event: Markdown.LinkClicked) -> None:
        """Links come from models: only web addresses open, and only after the address was shown and confirmed."""
        import webbrowser

        from tui_router.ui.screens.confirm_dialog import ConfirmDialog

        href = event.href
        if not href.startswith(("https://", "http://")):
            self.notify(one_line(href, 200), title="not opened: not a web address", severity="warning", markup=False)
            return

        def answered(agreed: bool | None) -> None:
            if agreed:
                webbrowser.open(href)

        self.push_screen(ConfirmDialog("Open this address in your browser?", href, "open"), answered)


def run_dashboard(options: Options) -> int:
    """Run the dashboard until it is left; returns the exit code."""
    app = RouterApp(options)
    app.run()
    return app.return_code or 0
