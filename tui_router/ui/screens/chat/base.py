"""The main screen's widgets, and how they are drawn from what the engine knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import Screen

from tui_router.core.statistics import wilson
from tui_router.core.text import one_line, plural
from tui_router.core.types import Turn
from tui_router.ui.keyboard import KeyboardState
from tui_router.ui.widgets import bars
from tui_router.ui.widgets.bars import KeysBar, StatusLine, Summary, Tabs
from tui_router.ui.widgets.card import Card, rate_line
from tui_router.ui.widgets.conversation_view import CardList, ConversationView
from tui_router.ui.widgets.lines import Lines, PaneHeader, SplitLine, keys, line
from tui_router.ui.widgets.overlays import CommentMenu, RouteMenu
from tui_router.ui.widgets.panes import AccuracyPane, DecisionPane, ModelsPane, ObserverPane
from tui_router.ui.widgets.prompt import Prompt
from tui_router.ui.widgets.welcome import Welcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui_router.app.engine import Engine
    from tui_router.store.store import Store


T = TypeVar("T")
MOST_CARDS = 60
SMALLEST = (60, 15)


class ChatBase(Screen[None]):
    """What is on the screen. Decides nothing."""

    AUTO_FOCUS = "#prompt-text"

    BINDINGS: ClassVar = [Binding("escape", "escape", "browse", show=False, id="browse")]

    def __init__(self, *, feedback: bool = True) -> None:
        super().__init__()
        self.feedback = feedback
        self.desk = KeyboardState(feedback=feedback)
        self.engine: Engine | None = None
        self.session = ""
        self.pinned_model = self.pinned_route = ""
        self.cards: dict[str, Card] = {}
        self.selected = ""
        self.newest = ""
        self.demo = False
        self.typed_at = 0.0
        """When the newest key came, monotonic seconds."""
        self._saved = ""
        self._error = ""
        self._note: tuple[str, str] | None = None
        self._draft = ""
        self._queued: list[str] = []
        self._tab = 1
        self._trouble = ""
        self._went_on = False
        self._was_writing = False
        """The prompt had the keys when a pane was enlarged."""
        self._find = ""
        self._health_due = False
        self._numbers_due = False
        self.top, self.tabs, self.keys_bar = StatusLine(id="top"), Tabs(id="tabs"), KeysBar(id="keys")
        self.column = CardList(id="cards")
        self.talk, self.welcome = ConversationView(self.column, id="talk"), Welcome(id="welcome")
        self.strip, self.rate = SplitLine(id="strip"), SplitLine(id="rate")
        self.prompt = Prompt(id="prompt")
        self.decision, self.accuracy = DecisionPane(id="decision"), AccuracyPane(id="accuracy")
        self.models, self.observer = ModelsPane(id="models"), ObserverPane(id="observer")
        self.picker, self.chooser = RouteMenu(id="picker"), CommentMenu(id="chooser")
        self.session_list = Lines(classes="gap")
        self.small = Lines(id="small")

    def compose(self) -> ComposeResult:
        yield self.top
        yield self.tabs
        with Vertical(id="body"):
            with Vertical(id="sessions"):
                yield PaneHeader("Sessions", "^O")
                yield self.session_list
            with Vertical(classes="side"):
                yield from (self.decision, self.accuracy, self.models, self.observer)
            yield from (self.welcome, self.talk, self.strip, self.rate, self.prompt)
        yield self.small
        yield self.keys_bar
        yield self.picker
        yield self.chooser

    def on_mount(self) -> None:
        self.tabs.show(1)
        self.prompt.area.focus()
        self.refresh_keys()

    def on_resize(self, event: events.Resize) -> None:
        width, height = event.size
        small = width < SMALLEST[0] or height < SMALLEST[1]
        self.set_class(small, "-small")
        if small:
            self.small.put(
                line((f"make me larger (now {width}x{height}, need {SMALLEST[0]}x{SMALLEST[1]})", "$strong"))
            )
        self.call_after_refresh(self.refresh_strips)

    def current(self) -> Turn | None:
        """The turn that the strips and the decision pane speak of: the selected one, else the newest."""
        card = self.cards.get(self.selected if self.desk.mode == "browse" else "") or self.cards.get(self.newest)
        return card.turn if card else None

    def refresh_strips(self) -> None:
        """Draw the decision, the rating strip, the top line and the keys again."""
        turn, engine = self.current(), self.engine
        narrow = self.has_class("-narrow")
        self.strip.display = turn is not None and narrow
        if turn is not None and engine is not None:
            self.decision.put(turn, engine.config.fleet, engine.threshold)
            self.strip.put(*bars.decision_strip(turn, engine.config.fleet, engine.threshold))
        self._refresh_rate(turn)
        marked = turn.id if turn is not None else ""
        for turn_id, card in self.cards.items():
            card.set_class(turn_id == marked, "-now")
        self.refresh_top()
        self.refresh_keys()

    def _refresh_rate(self, turn: Turn | None) -> None:
        engine = self.engine
        if turn is None or engine is None:
            self.rate.display = False
            return
        if self._note is not None:
            what = {"note": "a note", "answer": "what was bad about the answer", "none": "what is missing"}[
                self._note[1]
            ]
            self.rate.display = True
            self.rate.put(line((f"Say {what}   ", "$caution bold"), keys(("⏎", "save"), ("esc", "cancel"))))
            return
        if turn.id == self.desk.asking:
            self.rate.display = True
            pairs = (("⏎", "send"), (f"1-{len(engine.config.fleet.routes)}", "another"), ("esc", "cancel"))
            self.rate.put(
                line(("Not sent yet   ", "$caution bold"), keys(*pairs)),
                line((f"turn {turn.id.partition('-')[0]}", "$muted")),
            )
            return
        shows = (
            self.feedback and (self.desk.mode == "browse" or self.desk.target == turn.id) and turn.state != "cancelled"
        )
        self.rate.display = shows
        if not shows:
            return
        card = self.cards.get(turn.id)
        left, right = rate_line(
            card.mark if card else "", self._saved == turn.id, self._error if self._saved == turn.id or self._error else "", turn,
            rated=turn.verdict is not None,
        )  # fmt: skip
        if self.desk.mode == "writing":
            left = keys(("alt+y", "right"), ("alt+n", "wrong"), ("alt+c", "comment"))
            if turn.verdict is not None:
                self.rate.display = False
        self.rate.put(left, right)

    def refresh_top(self) -> None:
        """Draw the top line again."""
        engine = self.engine
        if engine is None:
            self.top.show(Summary(trouble="store" if self._trouble else ""))
            return
        models = engine.health.models.values()
        ready = sum(m.ready for m in models)
        counters = self._counters
        low, high = wilson(counters[1], counters[0])
        looked = not engine.health.checked or any(b.status.reachable is not None for b in engine.health.backends)
        self.top.show(
            Summary(
                ready=ready, models=len(models), looked=looked, rated=counters[0], right=counters[1], low=low, high=high,
                demo=self.demo, trouble="not saved" if engine.unsaved else "",
            )
        )  # fmt: skip

    _counters = (0, 0)

    async def read_store(self, question: Callable[[Store], T]) -> T | None:
        """Ask the store something; None when it is not there (any more), or cannot answer."""
        from tui_router.store.store_errors import StoreError

        engine = self.engine
        store = engine.store if engine is not None else None
        if engine is None or store is None:
            return None
        try:
            return await engine.in_store(lambda: question(store))
        except (StoreError, RuntimeError):  # RuntimeError: the store's thread has ended
            return None

    async def refresh_numbers(self) -> None:
        """Read the counters and draw the accuracy again."""
        self._numbers_due = False
        found = await self.read_store(lambda store: (store.counters(), store.graded(400)))
        engine = self.engine
        if found is None or engine is None:
            return
        counters, graded = found
        self._counters = (counters.rated, counters.right)
        self.accuracy.put(counters, graded, engine.router_service.champion, engine.router_service.shadow_grades())
        self.refresh_top()

    def _refresh_health(self) -> None:
        self._health_due = False
        engine = self.engine
        if engine is None:
            return
        self.models.put(engine.health.models, engine.config.fleet, engine.health.checked)
        looked = engine.health.checked and all(b.status.reachable is not None for b in engine.health.backends)
        if looked and not any(b.status.reachable for b in engine.health.backends):
            if not self._went_on:
                self.welcome.no_server([b.status for b in engine.health.backends])
        elif not self._trouble:
            self.welcome.ready()
        self.refresh_top()
        self.refresh_keys()

    def second(self) -> None:
        """A second has passed: count on what is running."""
        for card in self.cards.values():
            if card.live:
                card.refresh_lines()
        if self.engine is not None:
            watching = self.engine.insights
            self.observer.mode(f"{watching.mode}, the counts alone" if watching.trouble else watching.mode)
        if self.engine is not None and any(m.state == "loading" for m in self.engine.health.models.values()):
            self.models.put(self.engine.health.models, self.engine.config.fleet, self.engine.health.checked)

    async def refresh_sessions(self) -> None:
        """Draw the list of conversations again."""
        sessions = await self.read_store(lambda store: store.sessions(12))
        rows = []
        for session in sessions or ():
            mark = "● " if session.id == self.session else "  "
            title = one_line(session.title, 24) or "(no text)"
            rows.append(line((mark, "$accent"), (title, "$strong bold" if session.id == self.session else "$text")))
            rows.append(line((f"  {plural(session.turns, 'turn')}, {session.rated} rated", "$muted")))
        self.session_list.put(*(rows or [line(("none yet", "$muted"))]))

    def refresh_keys(self) -> None:
        """Draw the keys that work now."""
        self.keys_bar.show(self._keys())

    def _keys(self) -> list[tuple[str, str]]:
        desk, engine = self.desk, self.engine
        running = bool(engine and engine.live.get(self.newest) and engine.live[self.newest].task)
        ends = [("F1", "help"), ("^P", "all actions")]
        if desk.overlay in ("picker", "chooser"):
            return [("⏎", "confirm"), ("esc", "close"), *ends]
        if desk.mode == "browse":
            pairs = [("esc", "stop answer")] if running else []
            if self.feedback:
                pairs += [("y n c", "rate"), *([("u", "undo")] if desk.rated else [])]
            return [
                *pairs,
                ("j k", "turns"),
                ("i", "write"),
                ("z", "enlarge"),
                ("?", "help"),
                ("^P", "all actions"),
            ]
        if engine is not None and not self.cards and not self._went_on and self._no_server():
            return [("^R", "look again"), ("^T", "try the demo"), ("esc", "go on"), *ends]
        if desk.asking and desk.mode == "rating":
            return [("⏎", "send"), ("1-6", "another route"), ("esc", "cancel"), *ends]
        pairs = [("⏎", "send" if self.prompt.area.text else "next" if desk.mode == "rating" else "send")]
        pairs.append(("esc", "browse, stop" if running else "browse"))
        return [*pairs, ("^O", "sessions"), *ends]

    def _no_server(self) -> bool:
        engine = self.engine
        return bool(engine and engine.health.checked and not any(b.status.reachable for b in engine.health.backends))
