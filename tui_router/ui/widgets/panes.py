"""The panes at the side: decision, accuracy, models, observer."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from textwrap import shorten, wrap
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content

from tui_router.core.clock import local
from tui_router.core.fleet import Fleet
from tui_router.core.statistics import wilson
from tui_router.core.text import one_line
from tui_router.core.types import Decision, Observation, Reason, Turn
from tui_router.ui.widgets.chart import Chart, Scale, Series
from tui_router.ui.widgets.lines import Lines, PaneHeader, Part, SplitLine, accuracy, bar, line, percent

if TYPE_CHECKING:
    from tui_router.backends.health import ModelStatus
    from tui_router.learning.online_learner import CorrectionEffect
    from tui_router.store.schema import Counters


class Pane(Vertical):
    """A named part of the side column. Takes the focus, so that `z` can enlarge it."""

    ALLOW_MAXIMIZE = True
    can_focus = True
    title = ""

    def __init__(self, **more: Any) -> None:
        super().__init__(classes="pane", **more)
        self.head = PaneHeader(self.title)

    def on_focus(self) -> None:
        self.head.refresh()

    def on_blur(self) -> None:
        self.head.refresh()


_ROWS, _TALL = 14, 50
"""Rows of the decision pane, so that observer and models keep theirs in 40 rows; from the second height on it may have more."""
_BARS, _UNLIKELY, _REASONS = 4, 0.02, 3
"""Routes that get a bar, the probability from which on they do, and reasons that are shown. Chosen by hand, not measured."""


class DecisionPane(Pane):
    """A bar per route, the reasons, and the time it took."""

    title = "Decision"

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self._chosen, self._bars, self._why = SplitLine(), Lines(), Lines(classes="gap")
        self._turn: Turn | None = None
        self._fleet: Fleet | None = None
        self._threshold = 0.0
        self._effect: CorrectionEffect | None = None

    def compose(self) -> ComposeResult:
        yield from (self.head, self._chosen, self._bars, self._why)

    def on_mount(self) -> None:
        self._chosen.display = self._why.display = False
        self._bars.set_lines(
            line(("The first request shows its route here: a bar", "$muted")),
            line(("for each route, the reasons, the time it took.", "$muted")),
        )

    def on_resize(self) -> None:
        if self._turn is not None and self._fleet is not None:
            self._draw(self._turn, self._fleet, self._threshold)

    def show_turn(self, turn: Turn, fleet: Fleet, threshold: float) -> None:
        """Show the decision of a turn; draws only when something of it changed."""
        old = self._turn
        same = old is not None and (old.id, old.route, old.decision, old.shadows) == (
            turn.id,
            turn.route,
            turn.decision,
            turn.shadows,
        )
        if not same or (self._fleet, self._threshold) != (fleet, threshold):
            self._draw(turn, fleet, threshold)

    def _draw(self, turn: Turn, fleet: Fleet, threshold: float) -> None:
        self._turn, self._fleet, self._threshold = turn, fleet, threshold
        decision = turn.decision
        style = "$caution" if decision.confidence < threshold else "$accent"
        name = f"{decision.router} {decision.version[:4]}"
        self.head.set_status(line((name, "$muted"), (f"  {decision.elapsed_ms:.2f} ms", "$muted")))
        self._chosen.display = self._why.display = True
        self._chosen.set_text(
            line((decision.route, f"{style} bold"), (" → ", "$muted"), (decision.model, "$strong bold")),
            line((percent(decision.confidence), f"{style} bold")),
        )
        bars = self._ranking(decision, fleet, style)
        self._bars.set_lines(*bars)
        self._why.set_lines(*self._reasons(turn, self._rows_left(len(bars))))

    def _rows_left(self, used: int) -> int:
        """Rows for the reasons, so that the panes below keep theirs; no limit where the pane has the screen alone."""
        screen = self.screen
        alone = self.has_class("-maximized") or screen.has_class("-narrow") or screen.size.height >= _TALL
        return 100 if alone else _ROWS - used - 3  # the header, the chosen route, and the empty line

    def _ranking(self, decision: Decision, fleet: Fleet, style: str) -> list[Content]:
        """A bar for each route that is likely enough, and the others in one line."""
        likely = [(route, p) for route, p in decision.ranking if p >= _UNLIKELY][:_BARS] or list(decision.ranking[:1])
        longest = max(len(name) for name, _ in likely)
        width = max(8, self.size.width - longest - 8)
        rows = []
        for place, (route, p) in enumerate(likely):
            first = place == 0
            rows.append(
                line(
                    (f"{fleet.digit(route) or ' '} ", "$muted"),
                    (f"{route:<{longest + 1}}", "$strong" if first else "$muted"),
                    bar(p, width, style if first else "$muted"),
                    (f"{percent(p):>5}", "$strong" if first else "$muted"),
                )
            )
        rest = sorted(decision.ranking[len(likely) :], key=lambda item: fleet.digit(item[0]) or 10)
        if rest:
            digits = " ".join(str(fleet.digit(name)) for name, _ in rest if fleet.digit(name))
            most = max(p for _, p in rest)
            share = f"<{_UNLIKELY:.0%}" if most < _UNLIKELY else percent(most)
            names = ", ".join(name for name, _ in rest)
            if len(digits) + len(names) + len(share) + 4 > self.size.width:
                names = f"{len(rest)} other routes"
            space = max(1, self.size.width - len(digits) - 2 - len(names) - len(share))
            rows.append(line((f"{digits}  {names}{' ' * space}{share}", "$muted")))
        return rows

    def show_effect(self, effect: CorrectionEffect) -> None:
        """Show what a verdict changed, as long as its turn is shown."""
        self._effect = effect
        self.on_resize()

    def _learned(self, effect: CorrectionEffect) -> list[Content]:
        """Where this request goes now, the similar ones that moved with it, and whether unrelated ones did."""
        still = effect.after == effect.before
        verb = "still goes to" if still else "now goes to"
        label: Part = ("so far   ", "$muted") if still else ("learned  ", "$right")
        text = wrap(f"this request {verb} {effect.after} {percent(effect.confidence)}", max(20, self.size.width - 9))
        rows = [line(label if place == 0 else f"{'':<9}", (part, "$strong")) for place, part in enumerate(text)]
        for moved in effect.moved[:2]:
            room = max(12, self.size.width - 9 - len(moved.after) - 5)
            rows.append(
                line(("moved    ", "$muted"), f"‘{one_line(moved.text, room)}’ ", ("→ ", "$muted"), moved.after)
            )
        if effect.alike:
            rows.append(line(f"{'':<9}", (f"{len(effect.moved)} of {effect.alike} similar requests moved", "$muted")))
        others = f"{effect.controls_moved} of {effect.controls} unrelated requests moved"
        style = "$caution" if effect.controls_moved else "$muted"
        return [*rows, line(f"{'':<9}", (others if effect.controls else "no unrelated requests yet", style))]

    def _reasons(self, turn: Turn, most: int) -> list[Content]:
        """What a verdict changed, the reasons, and what the shadows decided, in at most so many rows."""
        decision, width = turn.decision, max(20, self.size.width)
        learned = self._learned(self._effect) if self._effect is not None and self._effect.turn == turn.id else []
        ends: list[Content] = []
        if decision.classified:
            text = one_line(decision.classified, max(12, width - 28))
            size = f" of {len(turn.request.text):,} chars"
            ends.append(line((f"{'read':<9}", "$muted"), f"‘{text}’", (size, "$muted")))
        if turn.route != decision.route:
            ends.append(line((f"{'chosen':<9}", "$muted"), (turn.route, "$strong"), (" by you", "$muted")))
        for shadow in turn.shadows:
            agrees = shadow.route == decision.route
            ends.append(
                line(
                    (f"{'shadow':<9}", "$muted"),
                    f"{shadow.router} {shadow.route} {percent(shadow.confidence)}  ",
                    ("agrees" if agrees else "differs", "$muted" if agrees else "$caution"),
                )
            )
        room = most - len(learned) - len(ends)
        reasons = list(decision.reasons[: _REASONS if most < 100 else 5])
        reasons.sort(key=lambda reason: not _speaks_for(reason, decision.route))
        whole = [_reason_rows(reason, decision.route, width) for reason in reasons]
        while sum(map(len, whole)) > max(1, room):  # first one row each, the longest first; then fewer of them
            longest = max(range(len(whole)), key=lambda place: len(whole[place]))
            if len(whole[longest]) > 1:
                whole[longest] = _reason_rows(reasons[longest], decision.route, width, most=1)
            elif len(whole) > 1:
                whole.pop()
            else:
                break
        rows, shown = [], ""
        for reason, parts in zip(reasons, whole, strict=False):
            word = "because" if _speaks_for(reason, decision.route) else "but"
            label = f"{'' if word == shown else word:<9}"
            rows += [line((label if place == 0 else " " * 9, "$muted"), part) for place, part in enumerate(parts)]
            shown = word
        return [*learned, *rows, *ends]


def _speaks_for(reason: Reason, route: str) -> bool:
    return reason.route == route and reason.weight >= 0


def _reason_rows(reason: Reason, route: str, width: int, most: int = 9) -> list[Content]:
    """A reason with its weight, cut after a whole word when it takes more rows than it may."""
    room = width - 9 - 5
    about = "" if reason.route == route else f" ({reason.route})"
    weight = f"{reason.weight:+.1f}".replace("-", "−") if reason.weight else ""
    parts = wrap(one_line(reason.text, 200) + about, room) or [""]
    if len(parts) > most:
        parts = [*parts[: most - 1], shorten(" ".join(parts[most - 1 :]), room, placeholder=" …")]
    first, *others = parts
    return [line(f"{first:<{room}} ", (f"{weight:>4}", "$muted")), *(line(part) for part in others)]


_SETTLED = 8
"""Rated turns after which a running accuracy is drawn: the first few swing from 0 to 100. Chosen by hand, not measured."""


class AccuracyPane(Pane):
    """How often the champion was right on the rated turns, with its interval."""

    title = "Accuracy"

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.chart = Chart(id="chart")
        self._empty = Lines(
            line(
                ("Rate a turn with ", "$muted"),
                ("y", "$text"),
                (" or ", "$muted"),
                ("n", "$text"),
                (" and the line begins.", "$muted"),
            ),
            line(("Unrated turns never count as right.", "$muted")),
        )
        self._legend = Lines()

    def compose(self) -> ComposeResult:
        yield from (self.head, self._empty, self.chart, self._legend)

    def on_mount(self) -> None:
        self.chart.display = self._legend.display = False
        self.head.set_status("no verdicts yet")

    def show_accuracy(
        self,
        counters: Counters,
        graded: Sequence[tuple[int, bool]],
        router: str,
        shadows: Mapping[str, Sequence[tuple[int, bool]]],
    ) -> None:
        """Show the running accuracy.

        Args:
            counters: Of all rated turns.
            graded: (turn, right?) of the newest rated turns, oldest first.
            router: The champion.
            shadows: Router -> the same of the turns on which it is known whether it was right.
        """
        rated, right = counters.rated, counters.right
        low, high = wilson(right, rated)
        parts: list[Part] = (
            [(f"━ {router} ", "$s1"), *accuracy(right, rated, low, high)] if rated else [("no verdicts yet", "$muted")]
        )
        self.head.set_status(line(*parts))
        self._empty.display = not rated
        self.set_class(bool(rated), "-rated")
        self.chart.display = self._legend.display = bool(rated)
        if not rated:
            return
        n, hits = rated - len(graded), right - sum(hit for _, hit in graded)
        first = n + 1
        xs, ys, lows, highs = list[float](), list[float](), list[float](), list[float]()
        for _, hit in graded:
            n, hits = n + 1, hits + hit
            band = wilson(hits, n)
            xs.append(n)
            ys.append(100 * hits / n)
            lows.append(100 * band[0])
            highs.append(100 * band[1])
        if len(xs) > 2 * _SETTLED and xs[0] < _SETTLED:  # the first few swing from 0 to 100 and squeeze the rest
            xs, ys, lows, highs = (values[_SETTLED:] for values in (xs, ys, lows, highs))
            first = int(xs[0])
        floor = max(0.0, min(90.0, min(lows) // 10 * 10)) if lows else 0.0
        ticks = {floor: f"{floor:.0f}", (floor + 100) / 2: f"{(floor + 100) / 2:.0f}", 100.0: "100"}
        last = max(first + 1, rated, 10)
        middle = (first + rated) // 2
        x_ticks = {
            float(first): str(first),
            **({float(middle): str(middle)} if rated - first > 20 else {}),
            float(rated): f"{rated} rated",
        }
        places = {turn: float(rated - len(graded) + i) for i, (turn, _) in enumerate(graded, 1)}
        drawn = [
            _shadow(found, places, color, first) for found, color in zip(shadows.values(), ("s2", "s3"), strict=False)
        ]
        floor = min([floor, *(min(one.ys) // 10 * 10 for one in drawn if one.ys)])
        ticks = {floor: f"{floor:.0f}", (floor + 100) / 2: f"{(floor + 100) / 2:.0f}", 100.0: "100"}
        lines = [Series(xs, ys, "s1", low=lows, high=highs), *(one for one in drawn if one.ys)]
        self.chart.set_series(lines, Scale(first, last, x_ticks), Scale(floor, 100, ticks))
        rates = {route: tally for route, tally in counters.by_route.items() if tally.rated}
        worst = sorted(rates.items(), key=lambda item: item[1].right / item[1].rated)[: int(len(rates) > 1)]
        shown: list[Content] = []
        for (name, found), color in zip(shadows.items(), ("s2", "s3"), strict=False):
            n, hits = len(found), sum(hit for _, hit in found)
            if n:
                shown.append(
                    line((f"╌ {name} ", f"${color}"), *accuracy(hits, n, *wilson(hits, n)), (" shadow", "$muted"))
                )
        for route, tally in worst:
            lo, hi = wilson(tally.right, tally.rated)
            shown.append(line((f"lowest: {route} ", "$muted"), *accuracy(tally.right, tally.rated, lo, hi)))
        self._legend.set_lines(*shown)


def _shadow(found: Sequence[tuple[int, bool]], places: Mapping[int, float], color: str, first: int) -> Series:
    """The running accuracy of a shadow, at the places of the turns that are shown."""
    xs, ys, hits = list[float](), list[float](), 0
    for n, (turn, hit) in enumerate(found, 1):
        hits += hit
        if (x := places.get(turn)) is not None and x >= first and n > _SETTLED:
            xs.append(x)
            ys.append(100 * hits / n)
    return Series(xs, ys, color, dash=2)


_ROOMY = 100
"""Width from which the models say what their server calls them, and how that was matched."""


class ModelsPane(Pane):
    """State, context and speed of every model of the fleet."""

    title = "Models"

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self._rows = Lines()
        self._shown: tuple[Mapping[str, ModelStatus], Fleet, bool] | None = None

    def on_resize(self) -> None:
        if self._shown is not None:
            self.show_models(*self._shown)

    def compose(self) -> ComposeResult:
        yield from (self.head, self._rows)

    def on_mount(self) -> None:
        self.head.set_status("… checking")

    def show_models(self, models: Mapping[str, ModelStatus], fleet: Fleet, checked: bool) -> None:
        """Show the states."""
        self._shown = (models, fleet, checked)
        ready = sum(m.ready for m in models.values())
        self.head.set_status("not checked" if not checked else "ctx  tok/s" if ready else f"0 of {len(models)}")
        longest = max((len(name) for name in models), default=10) + 1
        self._rows.set_lines(*(self._row(m, fleet, longest) for m in models.values()))

    def _row(self, model: ModelStatus, fleet: Fleet, longest: int) -> Content:
        sign, style, word = _STATES[model.state]
        if model.state == "busy" and model.answering:
            word = "answering"
        if model.state == "loading" and model.since:
            word = (
                f"loading {model.progress:.0%}" if model.progress else f"loading {time.monotonic() - model.since:.0f} s"
            )
        name_style = "$muted" if model.state in ("down", "unknown") else "$text"
        parts: list[Part] = [(f"{sign} ", style), (f"{model.name:<{longest}}", name_style)]
        if model.state == "down":
            why = one_line(model.error, 60) or "down"
            room = max(8, self.size.width - longest - 2)
            parts.append((shorten(why, room, placeholder=" …"), "$muted" if why == "no server" else "$wrong"))
            return line(*parts)
        context = f"{model.context // 1024}k" if model.context >= 1024 else str(model.context or "")
        speed = f"{model.tokens_per_second:.0f}" if model.tokens_per_second else ""
        width = self.size.width
        known_as = f"{one_line(model.served_as, 60)} ({model.how})" if width >= _ROOMY and model.served_as else ""
        room = max(10, width - longest - 2 - 11 - len(known_as))
        parts += [
            (f"{word:<{room}}", style if model.state in ("busy", "loading") else "$muted"),
            (known_as, "$muted"),
            (f"{context:>5}{speed:>6}", "$muted"),
        ]
        return line(*parts)


_STATES = {
    "loaded": ("●", "$right", "ready"),
    "loadable": ("◐", "$right", "not loaded"),
    "loading": ("…", "$caution", "loading"),
    "busy": ("●", "$accent", "busy"),
    "down": ("○", "$wrong", "down"),
    "unknown": ("…", "$muted", "not checked"),
}

LEVELS = {
    "info": ("·", "$muted"),
    "good": ("✓", "$right"),
    "caution": ("!", "$caution"),
    "wrong": ("✗", "$wrong"),
}


_ROOMY_FEED = 14
"""Rows from which on an entry of the feed is shown whole; below, one line of it, so that three entries stand there."""


class ObserverPane(Pane):
    """Events and the observer's remarks, newest first."""

    title = "Observer"

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self._rows = Lines()
        self._seen: list[Observation] = []

    def compose(self) -> ComposeResult:
        yield from (self.head, self._rows)

    def on_mount(self) -> None:
        self.head.set_status("events")
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def show_mode(self, mode: str) -> None:
        """Show whether a model observes, and how often."""
        self.head.set_status(mode)

    def add(self, observation: Observation) -> None:
        """A new event."""
        self.show_observations([observation, *self._seen])

    def show_observations(self, observations: Sequence[Observation]) -> None:
        """Show these, newest first."""
        self._seen = list(observations)[:30]
        if self.is_mounted:
            self._draw()

    def _draw(self) -> None:
        rows: list[Content] = []
        width = max(20, self.size.width)
        for seen in self._seen:
            sign, style = LEVELS[seen.level]
            clock = f"{local(seen.at):%H:%M}"
            tag = one_line(seen.tag, 40)
            rows.append(line((f"{sign} ", style), f"{tag:<{max(1, width - 8)}} ", (clock, "$muted")))
            text = wrap(one_line(seen.text, 400), width - 2)
            if len(text) > 1 and self.size.height < _ROOMY_FEED:
                text = [shorten(" ".join(text), width - 2, placeholder=" …")]
            rows += [line((f"  {part}", "$muted")) for part in text]
        if not rows:
            rows = [
                line(("Servers that come and go, fallbacks and", "$muted")),
                line(("repairs are reported here.", "$muted")),
            ]
        self._rows.set_lines(*rows)
