"""The main screen's browsing: which turn is selected, which pane is open, who has the keys."""

from __future__ import annotations

from textual import events
from textual.widget import Widget

from tui_router.ui.screens.chat.conversation import ChatTurns
from tui_router.ui.widgets.card import Card
from tui_router.ui.widgets.conversation_view import ConversationView
from tui_router.ui.widgets.panes import Pane


class ChatBrowse(ChatTurns):
    """Moves between turns, panes and the prompt."""

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
        place = {
            "next": min(place + 1, len(order) - 1),
            "previous": max(place - 1, 0),
            "first": 0,
            "last": len(order) - 1,
        }[where]
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
        elif isinstance(event.widget, Pane | ConversationView) and self.desk.mode != "browse" and not self.desk.overlay:
            self.desk.mode = "browse"
            if not self.selected:
                self.selected = self.newest
            self._tell_desk()
        self.refresh_strips()

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
        else:
            self.enlarge(self.focused if isinstance(self.focused, Pane) else self.decision)

    def enlarge(self, pane: Pane) -> None:
        """Let a pane fill the screen; escape brings back whatever had the keys."""
        self._was_writing = self.desk.mode != "browse"
        self.maximize(pane)

    def minimize(self) -> None:
        """Give an enlarged pane its place back, and the keys to the prompt if it had them."""
        super().minimize()
        if self._was_writing:
            self._was_writing = False
            self.write()

    def retry(self) -> None:
        """Send the request of the selected turn once more, as a turn of its own."""
        card = self.cards.get(self.selected) or self.cards.get(self.newest)
        if card is None or self.engine is None:
            return
        request = card.turn.request
        self.desk.mode = "writing"
        self.write()
        self.run_worker(self.send(request.typed or request.text), group="send", exit_on_error=False)
