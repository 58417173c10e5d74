"""Navigation: which turn is selected, which pane is open or enlarged, and who has the keys."""

from __future__ import annotations

from collections.abc import Callable

from textual.screen import Screen
from textual.widget import Widget

from tui_router.core.types import Turn
from tui_router.ui.screens.chat.chat_widgets import ChatWidgets
from tui_router.ui.screens.chat.conversation import ConversationController
from tui_router.ui.screens.chat.verdicts import VerdictController
from tui_router.ui.widgets.code_blocks import code_blocks
from tui_router.ui.widgets.conversation_view import ConversationView
from tui_router.ui.widgets.panes import Pane


class NavigationController:
    """Owns the selection, the open tab of a narrow screen, and the place of the last search.

    Args:
        screen: Has the focus and the enlarged pane.
        widgets: Of the main screen.
        conversation: Has the turns.
        verdicts: Is told which turn is selected and who has the keys.
        redraw: Called when another turn is to be shown.
    """

    def __init__(
        self,
        screen: Screen[None],
        widgets: ChatWidgets,
        conversation: ConversationController,
        verdicts: VerdictController,
        redraw: Callable[[], None],
    ) -> None:
        self._screen, self._widgets, self._redraw = screen, widgets, redraw
        self._conversation, self._verdicts = conversation, verdicts
        self.selected = ""
        """The id of the turn that is selected in browse."""
        self._tab = 1
        self._last_search = ""
        self._copied_block = ("", 0)
        """(turn, place) of the code block that was copied last."""
        self._clipboard_explained = False
        self._edited = ""
        self._return_to_prompt = False
        """The prompt had the keys when a pane was enlarged."""

    def current(self) -> Turn | None:
        """The turn that the strips and the decision pane show: the selected one in browse, else the newest."""
        chosen = self._conversation.turn(self.selected) if self._verdicts.browsing else None
        return chosen or self._conversation.turn(self._conversation.newest)

    # -- who has the keys ----------------------------------------------------------------------------------------
    def write(self) -> None:
        """Give the keys to the prompt."""
        self._verdicts.write_mode()
        if self._tab != 1:
            self.choose_tab(1)
        self._widgets.prompt.area.focus()
        self._redraw()

    def browse(self) -> None:
        """Give the keys to the conversation, or to the decision pane while there is none."""
        self._verdicts.browse_mode()
        self._select_shown()
        (self._widgets.conversation if self._conversation.cards else self._widgets.decision).focus()
        self._redraw()

    def focus_moved(self, widget: Widget) -> None:
        """Tab or a click moved the focus: a pane is for browsing, the prompt for writing."""
        begins_to_browse = not self._verdicts.browsing and not self._verdicts.keyboard.overlay
        if widget is self._widgets.prompt.area:
            self._verdicts.write_mode()
        elif begins_to_browse and isinstance(widget, Pane | ConversationView):
            self._verdicts.browse_mode()
            self._select_shown()
        self._redraw()

    # -- turns ---------------------------------------------------------------------------------------------------
    def remember(self, turn_id: str) -> None:
        """A turn that was just sent is where browsing begins."""
        self.selected = turn_id

    def _select_shown(self) -> None:
        if self.selected not in self._conversation.cards:
            self.selected = self._conversation.newest
        self._verdicts.turn_selected(self.selected)

    def clicked(self, turn_id: str) -> None:
        """A click on a turn selects it."""
        self.selected = turn_id
        self.browse()

    def move(self, where: str) -> None:
        """Select the `next`, `previous`, `first` or `last` turn."""
        order = list(self._conversation.cards)
        if not order:
            return
        place, last = order.index(self.selected) if self.selected in order else len(order) - 1, len(order) - 1
        places = {"next": min(place + 1, last), "previous": max(place - 1, 0), "first": 0, "last": last}
        self._select(order[places[where]])

    def _select(self, turn_id: str) -> None:
        self.selected = turn_id
        self._verdicts.forget_saved()
        self._verdicts.turn_selected(turn_id)
        self._widgets.conversation.release_anchor()
        self._conversation.cards[turn_id].scroll_visible(animate=False)
        self._redraw()

    def find(self, text: str) -> bool:
        """Select the newest turn that holds a text; asked again for the same text, the one before it.

        Returns False when no turn holds it.
        """
        found = self._conversation.holding(text)
        if not found:
            return False
        order = list(self._conversation.cards)
        before: list[str] = []
        if self.selected in order and text.lower() == self._last_search:
            before = [turn for turn in found if order.index(turn) < order.index(self.selected)]
        self._last_search = text.lower()
        self.browse()
        self._select(before[-1] if before else found[-1])
        return True

    def toggle_thoughts(self) -> None:
        """Fold or unfold the reasoning of the selected turn."""
        if card := self._conversation.cards.get(self.selected):
            card.toggle_thoughts()

    # -- copying and editing -------------------------------------------------------------------------------------
    def copy(self, what: str) -> None:
        """Copy the shown turn's `answer`, its `request`, or a code `block`: asked again, the next one."""
        turn = self.current()
        if turn is None:
            return
        answer = turn.answer.text if turn.answer is not None else ""
        if what == "block":
            blocks = code_blocks(answer)
            if not blocks:
                self._screen.notify("this answer holds no code block", markup=False)
                return
            copied_turn, copied = self._copied_block
            place = (copied + 1) % len(blocks) if copied_turn == turn.id else 0
            self._copied_block = (turn.id, place)
            self._put_on_clipboard(blocks[place], f"code block {place + 1} of {len(blocks)}")
        elif what == "request":
            self._put_on_clipboard(turn.request.typed or turn.request.text, "the request")
        elif answer:
            self._put_on_clipboard(answer, "the answer")
        else:
            self._screen.notify("there is no answer to copy; X copies the request", markup=False)

    def _put_on_clipboard(self, text: str, what: str) -> None:
        self._screen.app.copy_to_clipboard(text)
        hint = (
            ""
            if self._clipboard_explained
            else ". Nothing to paste? Your terminal must allow OSC 52 to set the clipboard"
        )
        self._clipboard_explained = True
        self._screen.notify(f"copied {what}, {len(text):,} characters{hint}", markup=False)

    def edit(self) -> None:
        """Put the shown turn's request into the prompt; sent, it sees the conversation before that turn."""
        turn = self.current()
        if turn is not None:
            self.write()
            self._widgets.prompt.area.fill(turn.request.typed or turn.request.text)
            self._edited = turn.id

    def edited(self) -> str:
        """The turn whose request was brought back for editing and is sent now, or an empty text."""
        edited, self._edited = self._edited, ""
        return edited

    def forget_edit(self) -> None:
        """The prompt was emptied: what is written next is a request of its own."""
        self._edited = ""

    # -- panes ---------------------------------------------------------------------------------------------------
    def choose_tab(self, tab: int) -> None:
        """Open a pane of a narrow screen: 1 is the conversation, then decision, accuracy, models, observer."""
        widgets, screen = self._widgets, self._screen
        panes: list[Widget] = [
            widgets.conversation,
            widgets.decision,
            widgets.accuracy,
            widgets.models,
            widgets.observer,
        ]
        self._tab = tab
        screen.set_class(tab != 1, "-pane")
        for number in range(2, 6):
            screen.set_class(number == tab, f"-pane-{number}")
        widgets.tabs.set_tab(tab)
        if self._verdicts.browsing:
            panes[tab - 1].focus()

    def show_models(self) -> None:
        """Show the models in full: their tab on a narrow screen, their pane enlarged on a wide one."""
        if self._screen.has_class("-narrow"):
            self.choose_tab(4)
        else:
            self._enlarge(self._widgets.models)

    def toggle_enlarged(self) -> None:
        """Let the pane that has the focus fill the screen, or give an enlarged one its place back."""
        if self._screen.maximized is not None:
            self._screen.minimize()
        else:
            focused = self._screen.focused
            self._enlarge(focused if isinstance(focused, Pane) else self._widgets.decision)

    def _enlarge(self, pane: Pane) -> None:
        self._return_to_prompt = not self._verdicts.browsing
        self._screen.maximize(pane)

    def minimized(self) -> None:
        """An enlarged pane has its place again; so have the keys."""
        if self._return_to_prompt:
            self._return_to_prompt = False
            self.write()
