"""The conversation: cards below each other, of which those near the window have their answers drawn.

A paragraph of an answer is a widget of 50 kB, and a conversation has thousands of them. So an answer far away is a blank of
its height; it is drawn before it comes into view, and blank again when it has been left far behind.
"""

from __future__ import annotations

from collections.abc import Callable

from textual import events
from textual.containers import Vertical, VerticalScroll

from tui_router.ui.widgets.card import Card

_NEAR, _FAR = 1, 3
"""Heights of the window: an answer is drawn within the first, and blank beyond the second."""


class CardList(Vertical):
    """The cards, oldest first."""

    def on_resize(self) -> None:
        # An anchored ConversationView follows its end without firing watch_scroll_y: listen for the new height instead.
        if isinstance(self.parent, ConversationView):
            self.parent.draw_near_soon()


class ConversationView(VerticalScroll):
    """The conversation, scrolling.

    Args:
        column: Its cards.
        on_key: Gets each key first; True when the key is used up.
        id: Of the widget.
    """

    def __init__(self, column: CardList, on_key: Callable[[events.Key], bool], id: str) -> None:
        super().__init__(column, id=id)
        self._column, self._press = column, on_key
        self._draw_due = False

    def follow_end(self) -> None:
        """Scroll to the end, and stay there while the answer grows."""
        self.anchor()
        self.scroll_end(animate=False)

    def on_key(self, event: events.Key) -> None:
        if self._press(event):
            event.stop()
            event.prevent_default()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self.draw_near_soon()

    def on_resize(self) -> None:
        self.draw_near_soon()

    def on_show(self) -> None:
        self.draw_near_soon()

    def on_card_answer_ready(self, event: Card.AnswerReady) -> None:
        event.stop()
        self.draw_near_soon()

    def draw_near_soon(self) -> None:
        """Something has moved: draw the answers that are near the window now, with the next refresh."""
        if not self._draw_due:
            self._draw_due = True
            self.call_after_refresh(self._draw_near)

    async def _draw_near(self) -> None:
        """Draw the answers near the window, and leave those far from it blank."""
        self._draw_due = False
        top, height = self.scroll_offset.y, self.size.height
        drawn_above: list[tuple[Card, int]] = []
        if not height:
            return
        for card in self._column.query_children(Card):
            region = card.virtual_region
            apart = max(top - region.bottom, region.y - top - height, 0)
            if apart <= _NEAR * height:
                if await card.draw_answer():
                    drawn_above += [(card, region.height)] if region.bottom <= top else []
                    self.draw_near_soon()  # it may be less high than its blank: then others are near now
            elif apart > _FAR * height:
                await card.blank_answer()
        if drawn_above:
            self.call_after_refresh(self._keep_place, drawn_above)

    def _keep_place(self, drawn: list[tuple[Card, int]]) -> None:
        """What stands in the window stays there, however high the answers above it are."""
        grown = sum(card.virtual_region.height - before for card, before in drawn if card.is_mounted)
        if grown:
            self.scroll_to(y=self.scroll_y + grown, animate=False, immediate=True)
