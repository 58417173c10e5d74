"""The strips of the screen: the top line, the tabs, the decision in one line, the keys that work now."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from textual.content import Content

from tui_router.core.fleet import Fleet
from tui_router.core.types import Turn
from tui_router.ui.widgets.lines import Lines, Part, SplitLine, Version, accuracy, bar, keys, line, percent

SCREENS = (("F2", "Chat"), ("F3", "Stats"), ("F4", "Data"), ("F5", "Train"), ("F6", "Export"))
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
    """The top line: name, screens, models, accuracy; shorter where there is no room for all.

    Args:
        here: The name of the screen that it stands on, as in SCREENS.
    """

    def __init__(self, here: str, **more: Any) -> None:
        super().__init__(**more)
        self.summary, self._here = Summary(), here

    def set_summary(self, summary: Summary) -> None:
        """Show another state; draws only when it differs."""
        if summary != self.summary:
            self.summary = summary
            self.refresh()

    def render(self) -> Content:
        s = self.summary
        name = line(("tui-router", "$strong bold"))
        keyed = line(*(_screen_name(key, title, here=title == self._here) for key, title in SCREENS))
        bare = line("  ", (self._here, "$accent bold underline"))
        demo = line(("   DEMO", "$caution bold")) if s.demo else line()
        spoken = line(demo, (" pretend models", "$muted")) if s.demo else line()
        long, short = self._right(wide=True), self._right(wide=False)
        self._versions = [
            (line(name, keyed, spoken), long),
            (line(name, keyed, demo), long),
            (line(name, keyed, demo), short),
            (line(name, bare, demo), short),
            (line(bare, demo), short),
        ]
        return super().render()

    def _right(self, *, wide: bool) -> Content:
        s = self.summary
        parts: list[Part] = []
        if s.trouble:
            parts += [("✗ ", "$wrong"), (s.trouble, "$text"), "   "]
        if not s.checked:
            parts += [("… ", "$muted"), ("looking for servers" if wide else "looking", "$muted")]
        elif s.ready == 0:
            parts += [("○ ", "$wrong"), ("no server", "$text")]
        else:
            sign = ("● ", "$right") if s.ready == s.models else ("◐ ", "$caution")
            parts += [sign, (f"{s.ready}/{s.models} models" if wide else f"{s.ready}/{s.models}", "$text")]
        return line(*parts, "   " if wide else "  ", *accuracy(s.right, s.rated, s.low, s.high))


def _screen_name(key: str, title: str, *, here: bool) -> Content:
    return line((f"  {key} ", "$muted"), (title, "$accent bold underline" if here else "$muted"))


class Tabs(Lines):
    """Below 120 columns the panes are tabs."""

    def set_tab(self, tab: int) -> None:
        """Mark the open tab, counted from 1."""
        parts: list[Part] = []
        for number, name in enumerate(TABS, 1):
            parts += ["   "] if parts else []
            parts.append((f"{number} {name}", "$accent bold" if number == tab else "$muted"))
        self.set_lines(line(*parts))


def decision_strip(turn: Turn, fleet: Fleet, threshold: float) -> list[Version]:
    """The decision in one line, for narrow screens; shorter versions leave out the second route and the bar."""
    decision = turn.decision
    style = "$caution" if decision.confidence < threshold else "$accent"
    route = line((decision.route, f"{style} bold"), (f" {percent(decision.confidence)} ", "$strong"))
    share = bar(decision.confidence, 12, style, track=True)
    model = line((" → ", "$muted"), (decision.model, "$strong"))
    second = line()
    if len(decision.ranking) > 1:
        name, p = decision.ranking[1]
        second = line((f"  {name} {percent(p)}", "$muted"))
    differ = [s.router for s in turn.shadows if s.route != decision.route]
    right = line((f"{differ[0]} differs" if differ else "", "$caution"))
    return [
        (line(route, share, model, second), right),
        (line(route, share, model), right),
        (line(route, model), right),
        (line(route, model), line()),
    ]


class KeysBar(SplitLine):
    """The keys that work right now, most used first; the last two stay when there is no room for all."""

    def set_keys(self, pairs: list[tuple[str, str]], mode: str = "") -> None:
        """Show these keys and what they do, behind the word for what the keyboard does now; draws only what differs."""
        fewer = [[*pairs[:n], *pairs[-2:]] for n in range(len(pairs) - 3, -1, -1)]
        lead = line((f"{mode}  ", "$accent bold")) if mode else line()
        self.set_versions(
            [(line(lead, keys(*some, gap="  ", style="$strong bold")), line()) for some in (pairs, *fewer)]
        )
