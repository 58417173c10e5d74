"""What floats above the conversation: the correction picker and the chooser of what a comment is about.

They take no focus. The keys stay with the prompt and reach them through the screen, so that a letter that turns out to
be typing loses no character on a change of focus.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tui_router.core.fleet import Fleet
from tui_router.core.text import one_line
from tui_router.core.types import Turn
from tui_router.ui.widgets.lines import Lines, SplitLine, keys, line, percent

NONE = ""
"""The choice that no route of the fleet is right."""


class MenuItem(Struct, frozen=True):
    """A line that can be chosen."""

    value: str
    digit: int
    label: Content
    words: str
    """What the filter looks in."""


class Menu(Vertical):
    """A floating list: digits choose, other characters filter, arrows move, enter confirms."""

    class Chosen(Message):
        """A line was chosen."""

        def __init__(self, menu: Menu, value: str) -> None:
            super().__init__()
            self.menu, self.value = menu, value

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self._title, self._about = SplitLine(), SplitLine()
        self._filter, self._keys = Lines(classes="menu-filter"), Lines(classes="menu-keys")
        self._list = OptionList(markup=False)
        self._list.can_focus = False
        self._choices: list[MenuItem] = []
        self._visible: list[MenuItem] = []
        self.filter_text = ""
        self.filtering = True

    def compose(self) -> ComposeResult:
        yield from (self._title, self._about, self._filter, self._list, self._keys)

    def open(
        self, title: str, turn: Turn, choices: list[MenuItem], start: int, hints: Content, *, filtering: bool
    ) -> None:
        """Show the menu."""
        self._choices, self.filter_text, self.filtering = choices, "", filtering
        self._title.set_text(line((title, "$strong bold")), line((f"turn {turn.id.partition('-')[0]}", "$muted")))
        self._about.set_text(line((one_line(turn.request.text), "$muted")))
        self._filter.display = filtering
        self._keys.set_lines(hints)
        self._fill(start)
        self.display = True

    def close(self) -> None:
        """Hide the menu."""
        self.display = False

    def on_resize(self) -> None:
        self.call_after_refresh(self._centre)

    def _centre(self) -> None:
        outer, own = self.screen.size, self.outer_size
        self.styles.offset = (
            max(0, (outer.width - own.width) // 2),
            max(0, (outer.height - own.height) // 2 - 1),
        )

    def press(self, key: str) -> None:
        """Handle a key that the screen passed on: `up`, `down`, `enter`, `backspace`, a digit or a character."""
        if key == "up":
            self._list.action_cursor_up()
        elif key == "down":
            self._list.action_cursor_down()
        elif key == "enter":
            place = self._list.highlighted
            if place is not None and place < len(self._visible):
                self._choose(self._visible[place])
        elif key == "backspace":
            self._set_filter(self.filter_text[:-1])
        elif key.isdigit() and not self.filter_text:
            chosen = next((c for c in self._choices if c.digit == int(key)), None)
            if chosen is not None:
                self._choose(chosen)
        elif self.filtering:
            self._set_filter(self.filter_text + key)

    def _set_filter(self, text: str) -> None:
        self.filter_text = text
        self._fill(0)

    def _fill(self, start: int) -> None:
        wanted = self.filter_text.lower().strip()
        self._visible = [c for c in self._choices if wanted in c.words.lower()]
        if self.filter_text:
            self._filter.set_lines(line(("› ", "$accent bold"), self.filter_text))
        else:
            self._filter.set_lines(line(("› ", "$accent bold"), ("type to filter", "$muted")))
        self._list.clear_options()
        self._list.add_options([Option(c.label) for c in self._visible])
        if self._visible:
            self._list.highlighted = min(start, len(self._visible) - 1)
        else:
            self._list.add_option(Option(line((f"nothing here matches ‘{self.filter_text}’", "$muted")), disabled=True))

    def _choose(self, choice: MenuItem) -> None:
        self.post_message(self.Chosen(self, choice.value))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_index < len(self._visible):
            self._choose(self._visible[event.option_index])


class RouteMenu(Menu):
    """The picker of `n`: which route was right?"""

    def ask(self, turn: Turn, fleet: Fleet) -> None:
        """Show the routes with their models; the second likeliest is highlighted."""
        decision = turn.decision
        choices = []
        longest = max(len(r.model) for r in fleet.routes) + 2
        for digit, route in enumerate(fleet.routes, 1):
            decided = route.name == decision.route
            label = line(
                (f"{digit if digit < 10 else ' '}  ", "$accent bold"),
                (f"{route.name:<16}", "$text"),
                (f"{route.model:<{longest}}", "$muted"),
                (f"{percent(decision.probability(route.name)):>4}", "$muted"),
                ("  decided" if decided else "", "$accent"),
            )
            choices.append(MenuItem(route.name, digit, label, f"{route.name} {route.model} {route.description}"))
        last = len(choices) + 1
        label = line(
            (f"{last if last < 10 else ' '}  ", "$accent bold"),
            (f"{'none of these':<16}", "$text"),
            ("describe what's missing", "$muted"),
        )
        choices.append(MenuItem(NONE, last, label, "none of these missing describe"))
        second = next((name for name, _ in decision.ranking if name != decision.route), decision.route)
        hints = keys((f"1-{min(9, last)}", "choose"), ("↑↓", "move"), ("⏎", "confirm"), ("esc", "cancel"))
        self.open("Which route was right?", turn, choices, fleet.digit(second) - 1, hints, filtering=True)


class CommentMenu(Menu):
    """The chooser of `c`: what is the comment about?"""

    def ask(self, turn: Turn) -> None:
        """Show the three things that a comment can mean."""
        rows = (
            ("route", "wrong route", "it belonged to another model"),
            ("answer", "bad answer", "the route was fine; never counts as a wrong route"),
            ("note", "a note", "keeps the verdict as it is"),
        )
        choices = [
            MenuItem(
                value,
                digit,
                line((f"{digit}  ", "$accent bold"), (f"{name:<14}", "$text"), (what, "$muted")),
                name,
            )
            for digit, (value, name, what) in enumerate(rows, 1)
        ]
        hints = keys(("1-3", "choose"), ("↑↓", "move"), ("⏎", "confirm"), ("esc", "cancel"))
        self.open("What is this comment about?", turn, choices, 0, hints, filtering=False)
