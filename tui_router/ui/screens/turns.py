"""The turns behind a number, a finding or a remark; they can be read and rated again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.content import Content
from textual.widget import Widget

from tui_router.core.clock import local, now
from tui_router.core.statistics import wilson
from tui_router.core.text import clean, one_line, plural
from tui_router.core.types import Turn, Verdict
from tui_router.core.verdicts import confirm, decision_was_right, judge
from tui_router.ui.screens.panel_screen import LinesPane, ListScreen
from tui_router.ui.widgets.lines import Part, accuracy, line, percent

if TYPE_CHECKING:
    from tui_router.app.engine import Engine

MOST = 200
"""The newest turns that are shown."""


class TurnsScreen(ListScreen):
    """A list of turns, newest first, and the selected one beside it.

    Args:
        engine: With its store open.
        title: What they have in common.
        ids: They, when they are known; otherwise `wanted` says which of the last `days` (0: of all) they are.
    """

    BINDINGS: ClassVar = [
        Binding("y", "right", "right", id="turns_right", tooltip="Rate the route as right"),
        Binding("n", "wrong", "wrong", id="turns_wrong", tooltip="Rate the route as wrong, and pick the right one"),
        Binding("u", "undo", "undo", id="turns_undo", tooltip="Undo the latest verdict"),
        Binding("h", "value", "high value", id="turns_value", tooltip="Give the example twice the weight in datasets"),
    ]
    screen_name = "Turns"
    around, before = 30, 6
    shown_keys = (("jk", "move"), ("y", "right"), ("n", "wrong"), ("u", "undo"), ("h", "high value"), ("esc", "back"))

    def __init__(
        self,
        engine: Engine,
        title: str,
        ids: Sequence[str] = (),
        wanted: Callable[[Turn], bool] | None = None,
        days: int = 0,
    ) -> None:
        super().__init__(engine)
        self.title, self._ids, self._wanted, self._days = title, ids, wanted, days
        self.turns: list[Turn] = []
        self._done = False
        self.listed, self.detail = LinesPane("Turns", "turns-list"), LinesPane("Turn", "turns-detail")

    def left(self) -> Iterable[Widget]:
        return (self.listed,)

    def right(self) -> Iterable[Widget]:
        return (self.detail,)

    def on_mount(self) -> None:
        super().on_mount()
        self.run_worker(self._read(), group="turns", exclusive=True, exit_on_error=False)

    # -- reading -------------------------------------------------------------------------------------------------
    async def _read(self) -> None:
        from tui_router.store.store_errors import StoreError

        try:
            await (self._find() if self._wanted is None else self._look_for(self._wanted))
        except (StoreError, RuntimeError):  # RuntimeError: the store's thread has ended
            self.set_status("the store cannot be read")
            return
        del self.turns[MOST:]
        self._done = True
        self._show()

    async def _look_for(self, wanted: Callable[[Turn], bool]) -> None:
        async for page in self.pages_since(self._days):
            self.turns += [turn for turn in page if wanted(turn)]
            self._show()
            if len(self.turns) >= MOST:
                break

    async def _find(self) -> None:
        store = self.engine.opened()
        ids = self._ids[:MOST]
        found = await self.engine.in_store(lambda: [store.find(one) for one in ids])
        self.turns = [turn for turn in found if turn is not None]

    # -- showing -------------------------------------------------------------------------------------------------
    def _show(self) -> None:
        graded = [right for turn in self.turns if (right := decision_was_right(turn)) is not None]
        hits = sum(graded)
        count = plural(len(self.turns), "turn") + ("" if self._done else " …")
        if len(self.turns) == MOST:
            count = f"the newest {MOST}"
        self.set_status(f"{self.title}: {count}")
        self.listed.head.set_status(line(*accuracy(hits, len(graded), *wilson(hits, len(graded)))))
        rows = [self._row(turn, here=here) for turn, here in self.shown(self.turns)]
        self.listed.rows.set_lines(*(rows or [line(("none" if self._done else "reading …", "$muted"))]))
        self.detail.rows.set_lines(*(self._details(turn) if (turn := self.selected(self.turns)) else ()))

    def _row(self, turn: Turn, *, here: bool) -> Content:
        sign, style = _mark(turn)
        text = one_line(turn.request.text, 120)
        return line(
            ("› " if here else "  ", "$accent bold"),
            (f"{turn.number:>6} ", "$muted"),
            (f"{sign} ", style),
            f"{turn.decision.route:<13}",
            (f"{percent(turn.decision.confidence):>5}  ", "$muted"),
            (text, "$strong bold" if here else "$text"),
        )

    def _details(self, turn: Turn) -> list[Content]:
        width = max(24, self.detail.size.width - 2)
        at = local(turn.at)
        rows: list[Content] = [
            line(f"turn {turn.number}", (f"  {at:%Y-%m-%d %H:%M}  session {turn.session.partition('-')[0]}", "$muted")),
            line(""),
        ]
        rows += _paragraph(turn.request.text, width, 10, "$strong")
        rows += [
            line(""),
            line(
                ("decided  ", "$muted"),
                f"{turn.decision.route} {percent(turn.decision.confidence)}",
                (f"  by {turn.decision.router}", "$muted"),
            ),
        ]
        rows += [
            line((f"  {reason.weight:+.1f} ", "$muted"), one_line(reason.text, width - 8))
            for reason in turn.decision.reasons[:4]
        ]
        rows += [
            line((f"{made.router:<9}", "$muted"), f"{made.route} {percent(made.confidence)}") for made in turn.shadows
        ]
        if turn.dispatch is not None and turn.dispatch.served:
            instead = turn.dispatch.served != turn.dispatch.intended
            rows.append(
                line(("served   ", "$muted"), turn.dispatch.served, (" instead" if instead else "", "$caution"))
            )
        rows.append(line(("verdict  ", "$muted"), *_verdict(turn)))
        if turn.answer is not None:
            rows += [line(""), *_paragraph(turn.answer.error or turn.answer.text, width, 8, "$muted")]
        return rows

    # -- acting --------------------------------------------------------------------------------------------------
    def action_right(self) -> None:
        """Rate the decided route as right."""
        if (turn := self.selected(self.turns)) is not None:
            self._rate(turn, confirm(turn))

    def action_wrong(self) -> None:
        """Rate the decided route as wrong, and pick the right one."""
        if (turn := self.selected(self.turns)) is None:
            return
        from tui_router.ui.screens.route_dialog import RouteDialog

        def picked(route: str | None) -> None:
            if route:
                self._rate(turn, judge(turn, route))

        self.app.push_screen(RouteDialog(self.engine.config.fleet, turn.request.text, ""), picked)

    def action_undo(self) -> None:
        """Undo the latest verdict."""
        if (turn := self.selected(self.turns)) is not None and turn.verdict is not None:
            self._rate(turn, None)

    def _rate(self, turn: Turn, verdict: Verdict | None) -> None:
        self.run_worker(self._rated(turn, verdict), group="rating", exit_on_error=False)

    async def _rated(self, turn: Turn, verdict: Verdict | None) -> None:
        from tui_router.store.store_errors import StoreError

        try:
            if not await self.engine.rate(turn.id, verdict):
                return
            found = await self.engine.in_store(lambda: self.engine.opened().find(turn.id))
        except StoreError as error:
            self.notify(one_line(str(error), 200), severity="error", markup=False)
            return
        if found is not None:
            self.turns = [found if one.id == found.id else one for one in self.turns]
        self._show()

    def action_value(self) -> None:
        """Give its example twice the weight in datasets."""
        if (turn := self.selected(self.turns)) is not None:
            self.run_worker(self._value(turn), group="rating", exit_on_error=False)

    async def _value(self, turn: Turn) -> None:
        from tui_router.core.label_edit import LabelEdit, name_of
        from tui_router.datasets.sources import example_of_turn
        from tui_router.store.store_errors import StoreError

        example = example_of_turn(turn, self.engine.config.fleet)
        if example is None:
            self.notify("rate this turn first: without a right route it is no example", markup=False)
            return
        edit = LabelEdit(at=now(), example=name_of(example), kind="value")
        try:
            await self.engine.in_store(lambda: self.engine.opened().training.record_edit(edit))
        except StoreError as error:
            self.notify(one_line(str(error), 200), severity="error", markup=False)
            return
        self.notify(f"turn {turn.number} counts twice in datasets", markup=False)


def _mark(turn: Turn) -> tuple[str, str]:
    verdict = turn.verdict
    if verdict is None or verdict.rating is None:
        return "·", "$muted"
    if (right := decision_was_right(turn)) is None:
        return "○", "$caution"
    return ("✓", "$right") if right else ("✗", "$wrong")


def _verdict(turn: Turn) -> list[Part]:
    verdict = turn.verdict
    if verdict is None:
        return [("not rated", "$muted")]
    sign, style = _mark(turn)
    word = verdict.kind if verdict.kind not in ("route", "chosen") else (verdict.rating or "")
    to = f" → {verdict.route}" if verdict.route and verdict.rating == "wrong" else ""
    return [(f"{sign} {word}{to}", style), (f"  {one_line(verdict.comment, 60)}" if verdict.comment else "", "$muted")]


def _paragraph(text: str, width: int, most: int, style: str) -> list[Content]:
    import textwrap

    lines = [part for row in clean(text[:4000]).splitlines() for part in textwrap.wrap(row, width) or [""]]
    shown = lines[:most]
    if len(lines) > most:
        shown[-1] = f"{shown[-1][: width - 2]} …"
    return [line((row, style)) for row in shown]
