"""The strips of the screen: the top line, the tabs, the decision in one line, the keys that work now."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from textual.content import Content

from tui_router.core.fleet import Fleet
from tui_router.core.types import Turn
from tui_router.ui.widgets.lines import Lines, Part, SplitLine, accuracy, bar, line, percent

TABS = ("Chat", "Decision", "Accuracy", "Models", "Observer")


class Summary(Struct, frozen=True):
    """What the top line says."""

    ready: int = 0
    models: int = 0
    checked: bool = False
    """A server has been checked, or none is to be."""
    rated: int = 0
    right: int = 0
    low: float = 0.0
    high: float = 1.0
    demo: bool = False
    trouble: str = ""


class StatusLine(SplitLine):
    """The top line: name, screens, models, accuracy; short below 98 columns."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.summary = Summary()

    def set_summary(self, summary: Summary) -> None:
        """Show another state; draws only when it differs."""
        if summary != self.summary:
            self.summary = summary
            self.refresh()

    def render(self) -> Content:
        wide, s = self.size.width >= 98, self.summary
        left: list[Part] = [("tui-router", "$strong bold"), "   " if wide else "  "]
        left += [("F2 " if wide else "", "$muted"), ("Chat", "$accent bold underline")]
        left += (
            [
                (f"  {key} {name}", "$muted")
                for key, name in (("F3", "Stats"), ("F4", "Data"), ("F5", "Train"), ("F6", "Export"))
            ]
            if wide
            else []
        )
        if s.demo:
            left += [
                "   ",
                ("DEMO", "$caution bold"),
                (" pretend models" if wide else "", "$muted"),
            ]
        right: list[Part] = []
        if s.trouble:
            right += [("✗ ", "$wrong"), (s.trouble, "$text"), "   "]
        if not s.checked:
            right += [("… ", "$muted"), ("looking for servers" if wide else "looking", "$muted")]
        elif s.ready == 0:
            right += [("○ ", "$wrong"), ("no server", "$text")]
        else:
            sign = ("● ", "$right") if s.ready == s.models else ("◐ ", "$caution")
            right += [sign, (f"{s.ready}/{s.models} models" if wide else f"{s.ready}/{s.models}", "$text")]
        right += ["   " if wide else "  ", *accuracy(s.right, s.rated, s.low, s.high)]
        self.left, self.right = line(*left), line(*right)
        return super().render()


class Tabs(Lines):
    """Below 100 columns the panes are tabs."""

    def set_tab(self, tab: int) -> None:
        """Mark the open tab, counted from 1."""
        parts: list[Part] = []
        for number, name in enumerate(TABS, 1):
            style = "$accent bold" if number == tab else "$muted"
            parts += [(f"{number} {name}", style), "   "]
        self.set_lines(line(*parts))


def decision_strip(turn: Turn, fleet: Fleet, threshold: float) -> tuple[Content, Content]:
    """The decision in one line, for narrow screens."""
    decision = turn.decision
    style = "$caution" if decision.confidence < threshold else "$accent"
    parts: list[Part] = [
        (decision.route, f"{style} bold"),
        (f" {percent(decision.confidence)} ", "$strong"),
        bar(decision.confidence, 12, style, track=True),
        (" → ", "$muted"),
        (decision.model, "$strong"),
    ]
    if len(decision.ranking) > 1:
        second, p = decision.ranking[1]
        parts += [(f"  {second} {percent(p)}", "$muted")]
    differ = [s.router for s in turn.shadows if s.route != decision.route]
    return line(*parts), line((f"{differ[0]} differs" if differ else "", "$caution"))


class KeysBar(SplitLine):
    """The keys that work right now, most used first; the last two stay when there is no room for all."""

    def set_keys(self, pairs: list[tuple[str, str]]) -> None:
        """Show these keys and what they do; draws only when they differ."""
        if pairs != self._pairs:
            self._pairs = pairs
            self.refresh()

    _pairs: list[tuple[str, str]] = []  # noqa: RUF012  # replaced, never changed

    def render(self) -> Content:
        pairs = list(self._pairs)
        while len(pairs) > 2 and sum(len(k) + len(w) + 3 for k, w in pairs) > self.size.width + 2:
            del pairs[-3 if len(pairs) > 2 else -1]
        parts: list[Part] = []
        for key, word in pairs:
            parts += [(key, "$strong bold"), (f" {word}", "$muted"), "  "]
        self.left = line(*parts)
        return super().render()
