"""The main screen: conversation, rating strip, prompt; decision, accuracy, models and events at the side.

It shows what the engine tells and asks the engine to act. What the keys mean is decided by `ui.rating.Desk`.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, ClassVar

from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import Screen
from textual.widget import Widget

from tui_router.core.clock import now
from tui_router.core.statistics import wilson
from tui_router.core.text import one_line
from tui_router.core.types import Turn, Verdict
from tui_router.ui import rating
from tui_router.ui.rating import Desk
from tui_router.ui.screens.help import COMMANDS
from tui_router.ui.widgets import bars
from tui_router.ui.widgets.bars import KeysBar, Summary, Tabs, Top
from tui_router.ui.widgets.card import Card, rate_line
from tui_router.ui.widgets.lines import Head, Rows, Split, keys, line
from tui_router.ui.widgets.overlays import NONE, Chooser, Menu, Picker
from tui_router.ui.widgets.panes import AccuracyPane, DecisionPane, ModelsPane, ObserverPane, Pane
from tui_router.ui.widgets.prompt import HINT, Prompt, PromptText
from tui_router.ui.widgets.welcome import Welcome

if TYPE_CHECKING:
    from tui_router.engine import Engine, Event

MOST_CARDS = 60
SMALLEST = (60, 15)


class Talk(VerticalScroll):
    """The conversation. Its keys are the desk's."""

    def on_key(self, event: events.Key) -> None:
        screen = self.screen
        if isinstance(screen, ChatScreen) and screen.press(event):
            event.stop()
            event.prevent_default()


class ChatScreen(Screen[None]):
    """The conversation and everything beside it."""

    BINDINGS: ClassVar = [Binding("escape", "escape", "browse", show=False, id="browse")]

    def __init__(self, *, feedback: bool = True) -> None:
        super().__init__()
        self.feedback = feedback
        self.desk = Desk(feedback=feedback)
        self.engine: Engine | None = None
        self.session = ""
        self.pinned_model = self.pinned_route = ""
        self.cards: dict[str, Card] = {}
        self.selected = ""
        self.newest = ""
        self.demo = False
        self._saved = ""
        self._error = ""
        self._note: tuple[str, str] | None = None
        self._draft = ""
        self._queued: list[str] = []
        self._tab = 1
        self._trouble = ""
        self._went_on = False
        self._find = ""
        self._health_due = False
        self._numbers_due = False
        self.top, self.tabs, self.keys_bar = Top(id="top"), Tabs(id="tabs"), KeysBar(id="keys")
        self.column = Vertical(id="cards")
        self.talk, self.welcome = Talk(self.column, id="talk"), Welcome(id="welcome")
        self.strip, self.rate = Split(id="strip"), Split(id="rate")
        self.prompt = Prompt(id="prompt")
        self.decision, self.accuracy = DecisionPane(id="decision"), AccuracyPane(id="accuracy")
        self.models, self.observer = ModelsPane(id="models"), ObserverPane(id="observer")
        self.picker, self.chooser = Picker(id="picker"), Chooser(id="chooser")
        self.session_list = Rows(classes="gap")
        self.small = Rows(id="small")

    def compose(self) -> ComposeResult:
        yield self.top
        yield self.tabs
        with Horizontal(id="body"):
            with Vertical(id="sessions"):
                yield Head("Sessions", "^O")
                yield self.session_list
            with Vertical(classes="side"):
                yield from (self.decision, self.accuracy, self.models, self.observer)
            with Vertical(id="left"):
                yield from (self.welcome, self.talk, self.strip, self.rate, self.prompt)
        yield self.small
        yield self.keys_bar
        yield self.picker
        yield self.chooser

    def on_mount(self) -> None:
        self.talk.display = False
        self.tabs.show(1)
        self.prompt.area.focus()
        self.refresh_keys()

    def on_resize(self, event: events.Resize) -> None:
        width, height = event.size
        small = width < SMALLEST[0] or height < SMALLEST[1]
        self.set_class(small, "-small")
        if small:
            self.small.put(line((f"make me larger (now {width}x{height}, need {SMALLEST[0]}x{SMALLEST[1]})", "$strong")))
        self.call_after_refresh(self.refresh_strips)

    # -- the engine ------------------------------------------------------------------------------------------------
    async def attach(self, engine: Engine, *, demo: bool) -> None:
        """The engine is there: show what the store holds, and send what was typed meanwhile."""
        self.engine, self.demo, self._trouble = engine, demo, ""
        store = engine.store
        assert store is not None
        seen = await engine.in_store(lambda: store.observations(30))
        self.observer.fill(seen)
        self.models.put(engine.health.models, engine.config.fleet, engine.health.checked)
        await self.refresh_numbers()
        await self.refresh_sessions()
        self.refresh_keys()
        queued, self._queued = self._queued, []
        for text in queued:
            await self.send(text)

    async def detach(self) -> None:
        """The engine is leaving: forget what it showed."""
        self.engine, self.session, self.newest, self.selected = None, "", "", ""
        self.cards.clear()
        await self.column.remove_children()
        self.desk = Desk(feedback=self.feedback)
        self._show_talk(False)
        self.welcome.ready()
        self.observer.fill([])
        self.refresh_strips()

    def trouble(self, message: str) -> None:
        """Something that stops the work: shown until it is over."""
        self._trouble = message
        self.welcome.ready(message)
        self.notify(message, title="the store", severity="error", markup=False, timeout=30)
        self.refresh_top()

    def leaving(self) -> None:
        """The program is about to end."""
        self._act(self.desk.flush())
        self.prompt.area.read_only = True

    def on_engine(self, event: Event) -> None:
        """Everything that the engine tells."""
        from tui_router import engine as told

        match event:
            case told.TextEvent():
                card = self.cards.get(event.turn_id)
                if card is None:
                    return
                if event.reset:
                    self.run_worker(card.reset(event.reset == "retracted"), group="card", exit_on_error=False)
                card.feed(event.text, event.reasoning)
            case told.PhaseEvent():
                if card := self.cards.get(event.turn_id):
                    card.answering(event.phase, event.model, event.fraction)
            case told.TurnEvent():
                self._show_turn(event.turn)
            case told.NoticeEvent():
                self.observer.add(event.observation)
            case told.HealthEvent():
                if not self._health_due:
                    self._health_due = True
                    self.set_timer(0.1, self._refresh_health)
            case told.StoreEvent():
                self.run_worker(self._show_others(event.change), group="others", exit_on_error=False)

    async def _show_others(self, change: object) -> None:
        """Another process wrote: show its turns and verdicts."""
        from tui_router.store.store import Change

        engine = self.engine
        if engine is None or engine.store is None or not isinstance(change, Change):
            return
        store = engine.store
        for number in sorted(change.turns)[-20:]:
            turn = await engine.in_store(lambda number=number: store.find(str(number)))  # type: ignore[misc]
            if turn is not None:
                self._show_turn(turn)
        if change.observations or change.reload:
            self.observer.fill(await engine.in_store(lambda: store.observations(30)))
        await self.refresh_numbers()
        if change.sessions or change.reload:
            await self.refresh_sessions()

    def _show_turn(self, turn: Turn) -> None:
        engine = self.engine
        if engine is None and not self.cards:
            return
        card = self.cards.get(turn.id)
        if card is None:
            assert engine is not None
            if self.cards and self._is_older(turn):
                return
            card = Card(turn, engine.config.fleet, engine.threshold)
            self.cards[turn.id] = card
            self._show_talk(True)
            self.column.mount(card)
            self.newest = turn.id
            self._drop_old()
            self.call_after_refresh(self._to_end)
        ended = card.live and turn.state not in ("asking", "routed", "answering")
        if ended:
            card.end_live(turn)
        else:
            card.show(turn)
        if turn.id == self.desk.target:
            self.desk.rated = turn.verdict is not None
        if turn.id in (self.newest, self.selected):
            self.refresh_strips()
        if not self._numbers_due:
            self._numbers_due = True
            self.set_timer(0.05, self.refresh_numbers)

    def _is_older(self, turn: Turn) -> bool:
        """Whether a turn lies before everything that is shown: a verdict on it changes numbers only."""
        first = next(iter(self.cards.values())).turn
        return not turn.id.startswith("unsaved") and not first.id.startswith("unsaved") and turn.number < first.number

    def _drop_old(self) -> None:
        while len(self.cards) > MOST_CARDS:
            oldest = next(iter(self.cards))
            self.cards.pop(oldest).remove()

    def _show_talk(self, there: bool) -> None:
        self.talk.display, self.welcome.display = there, not there

    def _to_end(self) -> None:
        self.talk.anchor()
        self.talk.scroll_end(animate=False)

    # -- drawing ---------------------------------------------------------------------------------------------------
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
            what = {"note": "a note", "answer": "what was bad about the answer", "none": "what is missing"}[self._note[1]]
            self.rate.display = True
            self.rate.put(line((f"Say {what}   ", "$caution bold"), keys(("⏎", "save"), ("esc", "cancel"))))
            return
        if turn.id == self.desk.asking:
            self.rate.display = True
            pairs = (("⏎", "send"), (f"1-{len(engine.config.fleet.routes)}", "another"), ("esc", "cancel"))
            self.rate.put(line(("Not sent yet   ", "$caution bold"), keys(*pairs)), line((f"turn {turn.id.partition('-')[0]}", "$muted")))
            return
        shows = self.feedback and (self.desk.mode == "browse" or self.desk.target == turn.id) and turn.state != "cancelled"
        self.rate.display = shows
        if not shows:
            return
        card = self.cards.get(turn.id)
        left, right = rate_line(
            card.mark if card else "", self._saved == turn.id, self._error if self._saved == turn.id or self._error else "", turn,
            rated=turn.verdict is not None,
        )  # fmt: skip
        if self.desk.mode == "writing":
            left = line(("Right route?   ", "$muted"), keys(("alt+y", "right"), ("alt+n", "wrong"), ("alt+c", "comment")))
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

    async def refresh_numbers(self) -> None:
        """Read the counters and draw the accuracy again."""
        self._numbers_due = False
        engine = self.engine
        if engine is None or engine.store is None:
            return
        store = engine.store
        counters, graded = await engine.in_store(lambda: (store.counters(), store.graded(400)))
        self._counters = (counters.rated, counters.right)
        self.accuracy.put(counters, graded, engine.router.name)
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
        if self.engine is not None and any(m.state == "loading" for m in self.engine.health.models.values()):
            self.models.put(self.engine.health.models, self.engine.config.fleet, self.engine.health.checked)

    async def refresh_sessions(self) -> None:
        """Draw the list of conversations again."""
        engine = self.engine
        if engine is None or engine.store is None:
            return
        store = engine.store
        sessions = await engine.in_store(lambda: store.sessions(12))
        rows = []
        for session in sessions:
            mark = "● " if session.id == self.session else "  "
            title = one_line(session.title, 24) or "(no text)"
            rows.append(line((mark, "$accent"), (title, "$strong bold" if session.id == self.session else "$text")))
            rows.append(line((f"  {session.turns} turns, {session.rated} rated", "$muted")))
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
            return [*pairs, ("j k", "turns"), ("i", "write"), ("z", "enlarge"), ("?", "help"), ("^P", "all actions")]
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

    # -- keys ------------------------------------------------------------------------------------------------------
    def press(self, event: events.Key) -> bool:
        """A key, before any widget has it; True when it is used up."""
        area = self.prompt.area
        if event.key == "escape" and not self.cards and not self._went_on and self._no_server() and self.desk.mode == "writing":
            self._went_on = True
            self.welcome.ready()
            self.refresh_keys()
            return True
        character = event.character if event.is_printable else None
        actions = self.desk.press(event.key, character, event.time, not area.text)
        if actions is None:
            return False
        self._act(actions)
        return True

    def action_escape(self) -> None:
        """Escape where no widget used it: out of an enlarged pane, else browse."""
        if self.maximized is not None:
            self.minimize()
        elif self.desk.overlay:
            self._act(self.desk.close())
        elif self.desk.mode == "browse":
            self._stop()
        else:
            self.desk.mode = "browse"
            self._browse()

    def _act(self, actions: list[rating.Action]) -> None:
        for action in actions:
            match action:
                case rating.Insert():
                    self.prompt.area.focus()
                    self.prompt.area.insert(action.text)
                    self.refresh_strips()
                case rating.Show():
                    self._mark(action.turn, action.mark)
                case rating.Commit():
                    self._commit(action.turn, action.what)
                case rating.Open():
                    self._open(action.overlay, action.turn)
                case rating.Close():
                    self._close_overlay()
                case rating.InOverlay():
                    (self.picker if self.desk.overlay == "picker" else self.chooser).press(action.key)
                case rating.Answer():
                    self._answer_ask(action.turn, action.choice)
                case rating.Do():
                    self._do(action.what, action.value)

    def _do(self, what: str, value: str) -> None:
        match what:
            case "wait":
                self.set_timer(rating.TYPING_S, self._half_second_over)
            case "next" | "write":
                if what == "next":
                    self.desk.target = ""
                self.write()
            case "refresh":
                self.refresh_strips()
            case "browse":
                self._browse()
            case "stop":
                self._stop()
            case "select":
                self._select(value)
            case "pane":
                self._choose_tab(int(value))
            case "enlarge":
                self._enlarge()
            case "thoughts":
                if card := self.cards.get(self.selected):
                    card.toggle_thoughts()
            case "find":
                self.desk.mode = "writing"
                self.write()
                self.prompt.area.fill("/find ")
            case "note":
                self._end_note()
            case "help" | "sessions":
                self.app.call_later(self.app.run_action, what)
            case "retry":
                self.retry()

    def _half_second_over(self) -> None:
        """Behind the keys that were typed before this moment but are not handled yet: through the same queues."""
        pending = self.desk.pending
        self.app.call_later(lambda: self.prompt.area.call_later(lambda: self._settle(pending)))

    def _settle(self, pending: str | None) -> None:
        if pending is not None and self.desk.pending == pending:
            self._act(self.desk.flush())

    # -- writing -----------------------------------------------------------------------------------------------------
    def write(self) -> None:
        """Give the keys to the prompt."""
        if self.desk.mode == "browse":
            self.desk.mode = "writing"
        if self._tab != 1:
            self._choose_tab(1)
        self.prompt.area.focus()
        self.refresh_strips()

    def on_text_area_changed(self) -> None:
        """The prompt's text changed: the footer's words may change with it."""
        self.refresh_keys()

    def pasted(self, text: str) -> str:
        """A paste: the path of a picture becomes an attachment."""
        from tui_router.backends.images import pasted_path, quoted

        self._act(self.desk.close() if self.desk.overlay in ("picker", "chooser") else [])
        if self.desk.pending:
            self._mark(self.desk.target, "")
            letter, self.desk.pending = self.desk.pending, None
            self.prompt.area.insert(letter)
        self.desk.mode = "writing"
        self.refresh_strips()
        path = pasted_path(text)
        return f"@image {quoted(path)} " if path else text

    async def on_prompt_text_submitted(self, event: PromptText.Submitted) -> None:
        event.stop()
        text = event.text
        if self._note is not None:
            self._save_note(text.strip())
            return
        if not text.strip():
            return
        self.prompt.area.sent(text)
        if text.startswith("/") and not text.startswith("//"):
            self._command(text)
            return
        text = text.removeprefix("/") if text.startswith("//") else text
        if self.engine is None or self.engine.store is None:
            self._queued.append(text)
            if self._trouble:
                self.notify(self._trouble, title="not sent", severity="error", markup=False)
            return
        await self.send(text)

    async def send(self, text: str) -> None:
        """Route a request and have it answered, or ask first."""
        from tui_router.backends.images import find
        from tui_router.core.types import Request

        engine = self.engine
        assert engine is not None
        found = find(text)
        for note in found.notes:
            self.notify(note, title="no picture", severity="warning", markup=False)
        request = Request(
            text=found.text, typed=text if found.text != text else "", attachments=found.attachments,
            has_image=bool(found.attachments),
        )  # fmt: skip
        turn = await engine.begin(request, session=self.session, route=self.pinned_route, model=self.pinned_model)
        self.session = turn.session if turn.session != "unsaved" else self.session
        self._saved = self._error = ""
        asking = turn.state == "asking"
        self.desk.routed(turn.id, asking)
        self.selected = turn.id
        if not asking:
            self._send(turn.id)
        self.refresh_strips()
        self.run_worker(self.refresh_sessions(), group="sessions", exit_on_error=False)

    def _send(self, turn_id: str) -> None:
        engine = self.engine
        assert engine is not None
        if card := self.cards.get(turn_id):
            card.begin_live()
        engine.send(turn_id)

    def _answer_ask(self, turn_id: str, choice: int) -> None:
        engine = self.engine
        assert engine is not None
        routes = engine.config.fleet.routes
        if choice > len(routes):
            return
        self.desk.answered_ask()
        self.run_worker(self._resolve_ask(turn_id, choice), group="ask", exit_on_error=False)

    async def _resolve_ask(self, turn_id: str, choice: int) -> None:
        engine = self.engine
        live = engine.live.get(turn_id) if engine else None
        if engine is None or live is None:
            return
        if choice < 0:
            await engine.cancel(turn_id)
            self.desk.mode = "writing"
        else:
            route = engine.config.fleet.routes[choice - 1].name if choice else live.turn.decision.route
            await engine.choose(turn_id, route)
            self._send(turn_id)
        self.refresh_strips()

    # -- commands ----------------------------------------------------------------------------------------------------
    def _command(self, text: str) -> None:
        name, _, rest = text.strip().partition(" ")
        rest = rest.strip()
        match name:
            case "/help":
                self.app.call_later(self.app.run_action, "help")
            case "/new":
                self.new_session()
            case "/health":
                self.app.call_later(self.app.run_action, "look_again")
                self._choose_tab(4) if self.has_class("-narrow") else self.maximize(self.models)
            case "/image":
                path = shlex.quote(rest) if "'" not in rest and " " in rest else rest
                self.prompt.area.fill(f"@image {path} " if rest else "@image ")
            case "/model":
                self._pin("model", rest)
            case "/route":
                self._pin("route", rest)
            case "/find":
                self._find_text(rest)
            case _:
                known = ", ".join(command.split()[0] for command, _ in COMMANDS)
                self.notify(f"there is no {one_line(name, 40)}; known: {known}. // sends a slash", severity="warning", markup=False)

    def _pin(self, kind: str, name: str) -> None:
        engine = self.engine
        known = [] if engine is None else list(engine.config.fleet.models if kind == "model" else engine.config.fleet.by_route)
        if name and name not in known:
            self.notify(f"there is no {kind} {one_line(name, 40)!r}; known: {', '.join(known)}", severity="warning", markup=False)
            return
        if kind == "model":
            self.pinned_model = name
        else:
            self.pinned_route = name
        said = [f"{k} {v}" for k, v in (("model", self.pinned_model), ("route", self.pinned_route)) if v]
        self.prompt.area.placeholder = f"pinned: {', '.join(said)}.  /{kind} alone unpins" if said else HINT
        self.notify(f"pinned: {', '.join(said)}" if said else "nothing is pinned", markup=False)

    def _find_text(self, text: str) -> None:
        wanted = text.lower()
        hits = [
            turn_id for turn_id, card in self.cards.items()
            if wanted and wanted in f"{card.turn.request.text} {card.turn.answer.text if card.turn.answer else ''}".lower()
        ]  # fmt: skip
        if not hits:
            self.notify(f"nothing here holds {one_line(text, 40)!r}", markup=False)
            return
        before = [t for t in hits if list(self.cards).index(t) < list(self.cards).index(self.selected)] if self.selected in self.cards else []
        self.desk.mode = "browse"
        self._browse()
        self._select_turn(before[-1] if before and wanted == self._find else hits[-1])
        self._find = wanted

    def new_session(self) -> None:
        """A new conversation: later requests do not see the earlier ones."""
        self.run_worker(self._open_session(""), group="session", exit_on_error=False)

    @work(group="session", exit_on_error=False)
    async def open_sessions(self) -> None:
        """Choose an earlier conversation and go on with it."""
        from tui_router.ui.screens.sessions import NEW, SessionsScreen

        engine = self.engine
        if engine is None or engine.store is None:
            return
        store = engine.store
        sessions = await engine.in_store(lambda: store.sessions(200))
        chosen = await self.app.push_screen_wait(SessionsScreen(sessions, self.session))
        if chosen:
            await self._open_session("" if chosen == NEW else chosen)

    async def _open_session(self, session: str) -> None:
        engine = self.engine
        if engine is None or engine.store is None:
            return
        store = engine.store
        turns = await engine.in_store(lambda: store.conversation(session, MOST_CARDS)) if session else []
        self.session, self.newest, self.selected = session, "", ""
        self.desk = Desk(feedback=self.feedback)
        self.cards.clear()
        await self.column.remove_children()
        self._show_talk(bool(turns))
        for turn in turns:
            self._show_turn(turn)
        self.write()
        await self.refresh_sessions()

    # -- browsing ----------------------------------------------------------------------------------------------------
    def _browse(self) -> None:
        if not self.selected or self.selected not in self.cards:
            self.selected = self.newest
        self._tell_desk()
        self.talk.focus() if self.cards else self.decision.focus()
        self.refresh_strips()

    def _tell_desk(self) -> None:
        card = self.cards.get(self.selected)
        self.desk.selected(self.selected, bool(card and card.turn.verdict))
        if card is not None and card.turn.state == "asking" and self.engine and self.selected in self.engine.live:
            self.desk.asking = self.selected

    def _select(self, where: str) -> None:
        order = list(self.cards)
        if not order:
            return
        place = order.index(self.selected) if self.selected in order else len(order) - 1
        place = {"next": min(place + 1, len(order) - 1), "previous": max(place - 1, 0), "first": 0, "last": len(order) - 1}[where]
        self._select_turn(order[place])

    def _select_turn(self, turn_id: str) -> None:
        self.selected = turn_id
        self._saved = self._error = ""
        self._tell_desk()
        self.talk.release_anchor()
        self.cards[turn_id].scroll_visible(animate=False)
        self.refresh_strips()

    def on_card_chosen(self, event: Card.Chosen) -> None:
        """A click on a turn: browse it."""
        self.desk.mode = "browse"
        self.selected = event.turn_id
        self._browse()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Tab or a click moved the focus: a pane is browsing, the prompt is writing."""
        if event.widget is self.prompt.area:
            if self.desk.mode == "browse":
                self.desk.mode = "writing"
        elif isinstance(event.widget, Pane | Talk) and self.desk.mode != "browse" and not self.desk.overlay:
            self.desk.mode = "browse"
            if not self.selected:
                self.selected = self.newest
            self._tell_desk()
        self.refresh_strips()

    def on_key(self, event: events.Key) -> None:
        """Keys of the panes."""
        if isinstance(self.focused, Pane) and self.press(event):
            event.stop()

    def _choose_tab(self, tab: int) -> None:
        panes: list[Widget] = [self.talk, self.decision, self.accuracy, self.models, self.observer]
        self._tab = tab
        self.set_class(tab != 1, "-pane")
        for number in range(2, 6):
            self.set_class(number == tab, f"-pane-{number}")
        self.tabs.show(tab)
        if self.desk.mode == "browse":
            panes[tab - 1].focus()

    def _enlarge(self) -> None:
        if self.maximized is not None:
            self.minimize()
            return
        pane = self.focused if isinstance(self.focused, Pane) else self.decision
        self.maximize(pane)

    def _stop(self) -> None:
        self.stop_newest()

    def stop_newest(self) -> None:
        """Stop the running answer: the selected one, else the newest that runs."""
        engine = self.engine
        if engine is None:
            return
        running = [t for t, live in engine.live.items() if live.task is not None]
        if running:
            chosen = self.selected if self.selected in running else running[-1]
            self.run_worker(engine.stop(chosen), group="stop", exit_on_error=False)

    def use_next_model(self) -> None:
        """Leave a model that does not answer for the next one."""
        if self.engine is not None:
            self.engine.switch_model(self.newest)

    def retry(self) -> None:
        """Send the request of the selected turn once more, as a turn of its own."""
        card = self.cards.get(self.selected) or self.cards.get(self.newest)
        if card is None or self.engine is None:
            return
        request = card.turn.request
        self.desk.mode = "writing"
        self.write()
        self.run_worker(self.send(request.typed or request.text), group="send", exit_on_error=False)

    # -- rating ------------------------------------------------------------------------------------------------------
    def rate_newest(self, mark: str) -> None:
        """Alt with y, n or c."""
        if mark in ("y", "n", "c"):
            self._act(self.desk.rate_newest(mark, self.newest))  # type: ignore[arg-type]

    def _mark(self, turn_id: str, mark: str) -> None:
        if card := self.cards.get(turn_id):
            card.mark = mark
            card.refresh_lines()
        self.refresh_strips()

    def _commit(self, turn_id: str, what: str) -> None:
        card = self.cards.get(turn_id)
        if card is None:
            return
        if what == "undo":
            self._rate(turn_id, None)
            return
        card.mark = "y"
        card.refresh_lines()
        self._rate(turn_id, Verdict(kind="route", at=now(), rating="right", route=card.turn.decision.route))

    def _rate(self, turn_id: str, verdict: Verdict | None) -> None:
        self.run_worker(self._keep(turn_id, verdict), group="rate", description=f"rate {turn_id}", exit_on_error=False)

    async def _keep(self, turn_id: str, verdict: Verdict | None) -> None:
        """Write a verdict; the word `saved` appears when it is on the disk."""
        from tui_router.store.errors import StoreError

        engine = self.engine
        assert engine is not None
        self._error = ""
        try:
            if await engine.rate(turn_id, verdict):
                self._saved = turn_id
            else:
                self._error = engine.unsaved or "the verdict could not be kept"
        except StoreError as error:
            self._error = str(error)
        if card := self.cards.get(turn_id):
            card.mark = ""
            card.refresh_lines()
        self.refresh_strips()

    def _open(self, overlay: str, turn_id: str) -> None:
        card = self.cards.get(turn_id)
        if card is None or self.engine is None:
            self.desk.overlay = ""
            return
        if overlay == "note":
            return
        if overlay == "picker":
            self.picker.ask(card.turn, self.engine.config.fleet)
        else:
            self.chooser.ask(card.turn)
        self.add_class("-floating")
        self.refresh_keys()

    def _close_overlay(self) -> None:
        self.picker.close()
        self.chooser.close()
        self.remove_class("-floating")
        self.refresh_strips()

    def on_menu_chosen(self, event: Menu.Chosen) -> None:
        """A line of the picker or the chooser was chosen."""
        event.stop()
        turn_id = self.desk.target
        card = self.cards.get(turn_id)
        self._act(self.desk.close())
        if card is None:
            return
        if isinstance(event.menu, Chooser):
            if event.value == "route":
                self._act(self.desk.open_picker())
            else:
                self._begin_note(turn_id, event.value)
        elif event.value == NONE:
            self._begin_note(turn_id, "none")
        else:
            decided = card.turn.decision.route
            rating_ = "right" if event.value == decided else "wrong"
            self._rate(turn_id, Verdict(kind="route", at=now(), rating=rating_, route=event.value))  # type: ignore[arg-type]

    def _begin_note(self, turn_id: str, what: str) -> None:
        """The prompt takes a note; a draft in it is kept aside."""
        self._note, self._draft = (turn_id, what), self.prompt.area.whole()
        self.desk.open_note()
        self.prompt.area.clear()
        self.prompt.add_class("-note")
        self.prompt.mark.update(line("note  › "))
        self.prompt.area.placeholder = {"note": "your note", "answer": "optional", "none": "optional"}[what]
        self.prompt.area.focus()
        self.refresh_strips()

    def _save_note(self, text: str) -> None:
        assert self._note is not None
        turn_id, what = self._note
        card = self.cards.get(turn_id)
        self._end_note()
        if card is None or (what == "note" and not text):
            return
        old = card.turn.verdict
        if what == "answer":
            verdict = Verdict(kind="answer", at=now(), rating="wrong", comment=text)
        elif what == "none":
            verdict = Verdict(kind="route", at=now(), rating="wrong", comment=text)
        elif old is not None and old.kind != "note":
            verdict = Verdict(kind=old.kind, at=now(), rating=old.rating, route=old.route, comment=text, source=old.source)
        else:
            verdict = Verdict(kind="note", at=now(), comment=text)
        self._rate(turn_id, verdict)

    def _end_note(self) -> None:
        self._note = None
        self.desk.overlay = ""
        self.prompt.remove_class("-note")
        self.prompt.mark.update(line("› "))
        self.prompt.area.placeholder = HINT
        self.prompt.area.fill(self._draft) if self._draft else self.prompt.area.clear()
        self._draft = ""
        self.prompt.area.focus()
        self.refresh_strips()

