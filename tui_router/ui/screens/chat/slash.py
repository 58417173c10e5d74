"""Slash commands: what a line of the prompt does that begins with `/`."""

from __future__ import annotations

import shlex

from textual.screen import Screen

from tui_router.core.text import one_line
from tui_router.ui.screens.chat.chat_widgets import ChatWidgets
from tui_router.ui.screens.chat.conversation import ConversationController
from tui_router.ui.screens.chat.navigation import NavigationController
from tui_router.ui.screens.help import COMMANDS

_ACTIONS = {
    "/help": "help",
    "/stats": "stats",
    "/analyze": "report",
    "/observer": "observer",
    "/new": "new_session",
}
"""Commands that are an action of the app."""


class SlashCommands:
    """Completes slash commands while they are typed, and runs them.

    Args:
        screen: Shows notifications and reaches the app's actions.
        widgets: Of the main screen.
        conversation: Pins models and routes.
        navigation: Finds turns and shows panes.
    """

    def __init__(
        self,
        screen: Screen[None],
        widgets: ChatWidgets,
        conversation: ConversationController,
        navigation: NavigationController,
    ) -> None:
        self._screen, self._widgets = screen, widgets
        self._conversation, self._navigation = conversation, navigation

        self._dismissed = ""
        """The text whose completion was closed with escape."""

    # -- completion ----------------------------------------------------------------------------------------------
    def complete(self, text: str) -> None:
        """Show the commands that begin with what was typed; anything but the name of a command closes the list."""
        named = text.startswith("/") and text.split() == [text] and text != self._dismissed
        self._dismissed = self._dismissed if text == self._dismissed else ""
        self._widgets.commands.show_commands([pair for pair in COMMANDS if pair[0].startswith(text)] if named else [])

    def press(self, key: str) -> bool:
        """Handle a key while the list is open; True when it is used up."""
        menu, area = self._widgets.commands, self._widgets.prompt.area
        if not menu.is_open or key not in ("up", "down", "tab", "enter", "escape"):
            return False
        if key in ("up", "down"):
            menu.move(1 if key == "down" else -1)
            return True
        if key == "escape":
            self._dismissed = area.text
            menu.show_commands([])
            return True
        name, _, argument = menu.highlighted.partition(" ")
        if key == "enter" and (name == area.text or not argument):
            area.fill(name)
            menu.show_commands([])
            return False  # the prompt submits it
        area.fill(f"{name} " if argument else name)
        return True

    # -- running -------------------------------------------------------------------------------------------------
    def run(self, text: str) -> None:
        """Run a command line; an unknown command is answered with the known ones."""
        name, _, rest = text.strip().partition(" ")
        rest = rest.strip()
        match name:
            case _ if name in _ACTIONS:
                self._run_action(_ACTIONS[name])
            case "/health":
                self._run_action("look_again")
                self._navigation.show_models()
            case "/image":
                path = shlex.quote(rest) if "'" not in rest and " " in rest else rest
                self._widgets.prompt.area.fill(f"@image {path} " if rest else "@image ")
            case "/model" | "/route":
                self._pin(name[1:], rest)
            case "/find":
                if not self._navigation.find(rest):
                    self._screen.notify(f"no turn of this conversation holds {one_line(rest, 40)!r}", markup=False)
            case _:
                known = ", ".join(command.split()[0] for command, _ in COMMANDS)
                self._screen.notify(
                    f"there is no {one_line(name, 40)}; known: {known}. // sends a slash",
                    severity="warning",
                    markup=False,
                )

    def _run_action(self, name: str) -> None:
        self._screen.app.call_later(self._screen.app.run_action, name)

    def _pin(self, kind: str, name: str) -> None:
        conversation = self._conversation
        if problem := conversation.pin(kind, one_line(name, 40)):
            self._screen.notify(problem, severity="warning", markup=False)
            return
        pins = (("model", conversation.pinned_model), ("route", conversation.pinned_route))
        pinned = ", ".join(f"{what} {value}" for what, value in pins if value)
        self._widgets.prompt.set_hint(f"pinned: {pinned}.  /{kind} alone unpins" if pinned else "")
        self._screen.notify(f"pinned: {pinned}" if pinned else "nothing is pinned", markup=False)
