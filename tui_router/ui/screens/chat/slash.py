"""The main screen's slash commands and sessions."""

from __future__ import annotations

import shlex

from textual import work

from tui_router.core.text import one_line
from tui_router.ui.screens.chat.verdicts import ChatRating
from tui_router.ui.screens.help import COMMANDS
from tui_router.ui.widgets.prompt import HINT


class ChatCommands(ChatRating):
    """What a line that starts with a slash does."""

    def _command(self, text: str) -> None:
        name, _, rest = text.strip().partition(" ")
        rest = rest.strip()
        match name:
            case "/help":
                self.app.call_later(self.app.run_action, "help")
            case "/stats":
                self.app.call_later(self.app.run_action, "stats")
            case "/analyze":
                self.app.call_later(self.app.run_action, "report")
            case "/observer":
                self.app.call_later(self.app.run_action, "observer")
            case "/new":
                self.new_session()
            case "/health":
                self.app.call_later(self.app.run_action, "look_again")
                self._choose_tab(4) if self.has_class("-narrow") else self.enlarge(self.models)
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
                self.notify(
                    f"there is no {one_line(name, 40)}; known: {known}. // sends a slash",
                    severity="warning",
                    markup=False,
                )

    def _pin(self, kind: str, name: str) -> None:
        engine = self.engine
        known = (
            []
            if engine is None
            else list(engine.config.fleet.models if kind == "model" else engine.config.fleet.by_route)
        )
        if name and name not in known:
            self.notify(
                f"there is no {kind} {one_line(name, 40)!r}; known: {', '.join(known)}",
                severity="warning",
                markup=False,
            )
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
        before = (
            [t for t in hits if list(self.cards).index(t) < list(self.cards).index(self.selected)]
            if self.selected in self.cards
            else []
        )
        self.desk.mode = "browse"
        self._browse()
        self._select_turn(before[-1] if before and wanted == self._find else hits[-1])
        self._find = wanted

    def new_session(self) -> None:
        """A new conversation: later requests do not see the earlier ones."""
        self.run_worker(self._go_on(""), group="session", exit_on_error=False)

    @work(group="session", exit_on_error=False)
    async def open_sessions(self) -> None:
        """Choose an earlier conversation and go on with it."""
        from tui_router.ui.screens.sessions import NEW, SessionsScreen

        sessions = await self.read_store(lambda store: store.sessions(200))
        if sessions is None:
            return
        chosen = await self.app.push_screen_wait(SessionsScreen(sessions, self.session))
        if chosen:
            await self._go_on("" if chosen == NEW else chosen)

    async def _go_on(self, session: str) -> None:
        await self.open_session(session)
        self.write()
