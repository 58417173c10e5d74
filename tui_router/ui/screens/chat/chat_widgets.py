"""The widgets of the main screen and where they stand. They decide nothing; the controllers fill them."""

from __future__ import annotations

from collections.abc import Callable

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical

from tui_router.ui.widgets.bars import KeysBar, StatusLine, Tabs
from tui_router.ui.widgets.command_list import CommandList
from tui_router.ui.widgets.conversation_view import CardList, ConversationView
from tui_router.ui.widgets.lines import Lines, PaneHeader, SplitLine
from tui_router.ui.widgets.overlays import CommentMenu, RouteMenu
from tui_router.ui.widgets.panes import AccuracyPane, DecisionPane, ModelsPane, ObserverPane
from tui_router.ui.widgets.prompt import Prompt
from tui_router.ui.widgets.welcome import Welcome


class ChatWidgets:
    """Every widget of the main screen.

    Args:
        on_key: Gets each key before the prompt or the conversation; True when the key is used up.
        on_paste: Gets each pasted text and returns what is to stand in the prompt.
    """

    def __init__(self, on_key: Callable[[events.Key], bool], on_paste: Callable[[str], str]) -> None:
        self.top, self.tabs, self.keys_bar = StatusLine("Chat", id="top"), Tabs(id="tabs"), KeysBar(id="keys")
        self.cards, self.welcome = CardList(id="cards"), Welcome(id="welcome")
        self.conversation = ConversationView(self.cards, on_key, id="talk")
        self.decision_strip, self.rating_strip = SplitLine(id="strip"), SplitLine(id="rate")
        self.prompt, self.commands = Prompt(on_key, on_paste, id="prompt"), CommandList(id="commands")
        self.decision, self.accuracy = DecisionPane(id="decision"), AccuracyPane(id="accuracy")
        self.models, self.observer = ModelsPane(id="models"), ObserverPane(id="observer")
        self.route_menu, self.comment_menu = RouteMenu(id="picker"), CommentMenu(id="chooser")
        self.sessions = Lines(classes="gap")
        self.too_small = Lines(id="small")

    def compose(self) -> ComposeResult:
        """The main screen, from top to bottom; what floats comes last."""
        yield self.top
        yield self.tabs
        with Vertical(id="body"):
            with Vertical(id="sessions"):
                yield PaneHeader("Sessions", "^O")
                yield self.sessions
            with Vertical(classes="side"):
                yield from (self.decision, self.accuracy, self.models, self.observer)
            yield from (self.welcome, self.conversation, self.decision_strip, self.rating_strip)
            yield from (self.commands, self.prompt)
        yield self.too_small
        yield self.keys_bar
        yield self.route_menu
        yield self.comment_menu
