"""The conversation: cards below each other, of which those near the window have their answers drawn.

A paragraph of an answer is a widget of 50 kB, and a conversation has thousands of them. So an answer far away is a blank of
its height; it is drawn before it comes into view, and blank again when it has been left far behind.
"""

from __future__ import annotations

from textual import events
from textual.containers import Vertical, VerticalScroll

from tui_router.ui.widgets.card import Card

_NEAR, _FAR = 1, 3
"""Heights of the window: an answer is drawn within the first, and blank beyond the second."""


class CardList(Vertical):
    """The cards. While the conversation follows its end, it is scrolled without a word; that its height changes is heard."""

    def on_resize(self) -> None:
        if isinstance(self.parent, ConversationView):
            self.parent.look_soon()


class ConversationView(VerticalScroll):
    """The conversation. Its keys are the desk's."""

    def __init__(self, column: CardList, id: str) -> None:
        super().__init__(column, id=id)
        self._column = column
        self._looks = False
        """It will soon be looked which answers are near."""

    def on_key(self, event: events.Key) -> None:
        press = getattr(self.screen, "press", None)
        if press is not None and press(event):
            event.stop()
            event.prevent_default()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self.look_soon()

    def on_resize(self) -> None:
        self.look_soon()

    def on_show(self) -> None:
        self.look_soon()

    def on_card_stands(self, event: Card.Stands) -> None:
        """An answer is there, not drawn yet."""
        event.stop()
        self.look_soon()

    def look_soon(self) -> None:
        """Something has moved: see which answers are near the window now."""
        if not self._looks:
            self._looks = True
            self.call_after_refresh(self._look)

    async def _look(self) -> None:
        """Draw the answers near the window, and leave those far from it blank."""
        self._looks = False
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
                    self.look_soon()  # it may be less high than its blank: then others are near now
            elif apart > _FAR * height:
                await card.blank_answer()
        if drawn_above:
            self.call_after_refresh(self._keep_place, drawn_above)

    def _keep_place(self, drawn: list[tuple[Card, int]]) -> None:
        """What stands in the window stays there, however high the answers above it are."""
        grown = sum(card.virtual_region.height - before for card, before in drawn if card.is_mounted)
        if grown:
            self.scroll_to(y=self.scroll_y + grown, animate=False, immediate=True)
