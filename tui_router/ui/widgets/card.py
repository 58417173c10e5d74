"""A card: one turn of the conversation. A coloured edge says the verdict; then request, route, answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from tui_router.core.fleet import Fleet
from tui_router.core.text import StreamCleaner, clean, one_line
from tui_router.core.types import Answer, Turn
from tui_router.ui.widgets.answer_parser import answer_parser
from tui_router.ui.widgets.lines import Lines, Part, SplitLine, Version, bar, key_versions, keys, line, percent

if TYPE_CHECKING:
    from textual.widgets import Markdown

_FLUSH_S = 1 / 12
_TYPING_S, _LONGEST_S = 0.25, 10.0
"""While keys come at shorter intervals than the first, a stream is drawn at intervals of the second only."""
_LIVE = ("routed", "answering")
_REQUEST_LINES = 30
"""Lines of a request that are shown before the rest is folded."""
_BROWSE_KEYS = (("x", "copy"), ("b", "copy block"), ("X", "copy request"), ("e", "edit"), ("r", "retry"))
_SHORT = 56
"""Characters of a request that fit beside the turn's number on the narrowest column; a longer one is wrapped."""
_USUAL_WIDTH = 70
"""Of an answer, before it is known."""


class Card(Vertical):
    """One turn on the screen.

    Args:
        turn: To show.
        fleet: Names the models and digits of the routes.
        threshold: Confidence below which a decision asks, 0 to 1.
        last_key_at: When the newest key was pressed, monotonic seconds.
    """

    DEFAULT_CSS = "Card { height: auto; }"

    class Chosen(Message):
        """The card was clicked."""

        def __init__(self, turn_id: str) -> None:
            super().__init__()
            self.turn_id = turn_id

    class AnswerReady(Message):
        """The whole answer is known and a blank stands in its place; it is drawn when it comes near the window."""

    def __init__(self, turn: Turn, fleet: Fleet, threshold: float, last_key_at: Callable[[], float]) -> None:
        super().__init__(classes="card")
        self._last_key_at = last_key_at
        self.turn, self.fleet, self.threshold = turn, fleet, threshold
        self.mark = ""
        """A verdict that is shown but not written yet: `y`, `n` or `u`."""
        self.phase = ""
        self.phase_model = ""
        self.fraction: float | None = None
        self.live = False
        """This process is answering it."""
        self.thoughts_open = False
        self._began = time.monotonic()
        self._whole_request = _is_long(turn.request.text)
        """The request takes more than one line: it is shown whole, and the verdict stands in the route's line."""
        self._head, self._route, self._notes = SplitLine(classes="card-head"), SplitLine(), Lines(classes="card-notes")
        self._request = Static(markup=False, classes="card-request")
        self._keys = Lines(keys(*_BROWSE_KEYS), classes="card-keys")
        self._thoughts, self._ask = Lines(classes="card-thoughts"), Lines(classes="card-ask")
        self._markdown: Markdown | None = None
        self._blank = Static(classes="card-blank")
        """In the place of an answer that is not drawn."""
        self._cleaner = StreamCleaner()
        self._waiting: list[str] = []
        self._written_text = ""
        self._reasoning = ""
        self._lock = asyncio.Lock()
        self._drawing = self._afresh = False
        self._drawn_at = 0.0
        self._whole = False
        """The answer stands here from its first to its last word."""
        self._settling = False
        """The answer has ended, and its last piece is being drawn."""
        self._there = False

    def compose(self) -> ComposeResult:
        if self._whole_request:
            with Horizontal(classes="card-words"):
                yield Static(line(("› ", "$muted")), markup=False, classes="card-sign")
                yield self._request
        else:
            yield self._head
        yield from (self._route, self._notes, self._ask, self._thoughts, self._blank, self._keys)

    def on_mount(self) -> None:
        self._there, self._blank.display, self._keys.display = True, False, False
        self.show(self.turn)

    def on_click(self) -> None:
        self.post_message(self.Chosen(self.turn.id))

    def show_mark(self, mark: str) -> None:
        """Show a verdict that is not saved yet: `y`, `n` or `u`; an empty mark removes it."""
        self.mark = mark
        self.refresh_lines()

    # -- what it shows -------------------------------------------------------------------------------------------
    def show(self, turn: Turn) -> None:
        """Show the turn as it is now."""
        self.turn = turn
        if not self._there:
            return
        answer = turn.answer
        if answer is not None and answer.reasoning:
            self._reasoning = clean(answer.reasoning)
        self.refresh_lines()
        if answer is not None and turn.state not in _LIVE and not self.live:
            self._finish(answer)

    def refresh_lines(self) -> None:
        """Draw the lines above the answer again."""
        if not self._there:
            return
        turn = self.turn
        if self._whole_request:
            self._request.update(self._request_text())
            self._route.set_text(self._route_line(), self._verdict())
        else:
            text = one_line(turn.request.text) or "(no text)"
            self._head.set_text(line(("› ", "$muted"), (text, "$strong bold")), self._verdict())
            self._route.set_text(self._route_line())
        notes = self._note_lines()
        self._notes.display = bool(notes)
        self._notes.set_lines(*notes)
        self._ask.display = turn.state == "asking"
        if turn.state == "asking":
            self._ask.set_lines(*self._ask_lines())
        self._show_thoughts()
        self.set_class(turn.state == "asking", "-ask")
        edge = self.mark or self._edge()
        self.set_class(edge in ("y", "right"), "-right")
        self.set_class(edge in ("n", "wrong"), "-wrong")

    def _request_text(self) -> Content:
        """The request as it was typed; of a very long one the beginning, and how much more there is."""
        lines = clean(self.turn.request.text).strip("\n").expandtabs(4).split("\n")
        if self.thoughts_open or len(lines) <= _REQUEST_LINES:
            return line(("\n".join(lines), "$strong"))
        more = f"▸ {len(lines) - _REQUEST_LINES:,} more lines; t shows them"
        return line(("\n".join(lines[:_REQUEST_LINES]), "$strong"), (f"\n{more}", "$muted"))

    def show_keys(self, shown: bool) -> None:
        """Show what can be done with the turn while it is selected."""
        if self._there:
            self._keys.display = shown

    def _edge(self) -> str:
        verdict = self.turn.verdict
        if self.mark == "u" or verdict is None or verdict.kind == "accepted":
            return ""
        return verdict.rating or ""

    def _verdict(self) -> Content:
        turn, verdict = self.turn, self.turn.verdict
        if self.mark == "y":
            return line(("✓ right", "$right"))
        if self.mark == "u" or verdict is None:
            return line((f"turn {turn.id.partition('-')[0]}", "$muted"))
        if verdict.kind == "note":
            return line(("note", "$muted"))
        if verdict.kind == "answer":
            return line(("✗ bad answer", "$wrong"))
        if verdict.kind == "accepted":
            return line(("≈ accepted", "$muted"))
        if verdict.rating == "right":
            own_route = turn.route != turn.decision.route
            return line((f"✓ {turn.route} right" if own_route else "✓ right", "$right"))
        return line((f"↻ {verdict.route}" if verdict.route else "✗ wrong", "$wrong"))

    def _route_line(self) -> Content:
        turn, dispatch, answer = self.turn, self.turn.dispatch, self.turn.answer
        decision = turn.decision
        if turn.state == "asking":
            sure, below = percent(decision.confidence), percent(self.threshold)
            if sure == below:
                sure = f"{decision.confidence:.1%}"
            sure = f"not sure: {decision.route} {sure}, below your {below}"
            return line(("? ", "$caution bold"), (sure, "$caution"))
        served = dispatch.served if dispatch and dispatch.served else turn.pinned_model or self.fleet_model(turn.route)
        p = decision.probability(turn.route)
        parts: list[Part] = [
            turn.route,
            f" {percent(p)}" if not turn.pinned_route else " (your choice)",
            (" → ", "$muted"),
            served,
        ]
        if answer is not None and answer.first_token_ms is not None:
            parts.append((f"   {answer.first_token_ms / 1000:.1f} s", "$muted"))
            if answer.tokens_per_second:
                parts.append((f"  {answer.tokens_per_second:>4.0f} tok/s", "$muted"))
        if turn.state in _LIVE and self.live:
            parts.append((f"   {self._phase_words()}", "$accent"))
        return line(*parts)

    def fleet_model(self, route: str) -> str:
        """The primary model of a route that may have left the fleet since."""
        found = self.fleet.by_route.get(route)
        return found.model if found else self.turn.decision.model

    def _phase_words(self) -> str:
        seconds = int(time.monotonic() - self._began)
        clock = f" {seconds} s" if seconds else ""
        words = {
            "streaming": "● answering",
            "searching": "… looking for servers",
            "loading": "… loading",
            "reading": "… reading",
            "queued": "… queued",
            "slow": "… waiting",
        }
        word = words.get(self.phase, "… waiting")
        if self.fraction is not None and self.phase in ("loading", "reading"):
            word += f" {self.fraction:.0%}"
        return word + clock

    def _note_lines(self) -> list[Content]:
        turn, dispatch, answer = self.turn, self.turn.dispatch, self.turn.answer
        notes: list[str] = []
        if dispatch is not None and dispatch.served and dispatch.served != dispatch.intended:
            hop = next((h for h in dispatch.hops if h.model == dispatch.intended), None)
            notes.append(
                f"served by {dispatch.served}: {dispatch.intended} {_reason(hop.reason) if hop else 'was not asked'}"
            )
        if dispatch is not None and dispatch.note:
            notes.append(dispatch.note)
        if self.phase == "slow" and self.live:
            notes.append(f"no answer yet. ^S asks {self.phase_model} instead, esc esc stops")
        if turn.state == "interrupted" and answer:
            notes.append(f"interrupted: {answer.error}. What came is kept; esc, then r retries")
        elif turn.state == "stopped":
            notes.append("stopped by you; what came is kept")
        elif turn.state == "failed" and answer:
            notes.append(f"{answer.error}")
        elif turn.state == "cancelled":
            notes.append("cancelled, not sent")
        elif turn.state == "unanswered":
            notes.append("not sent to any model")
        elif turn.state in _LIVE and not self.live:
            notes.append("no answer saved")
        if answer is not None and answer.finish == "length":
            notes.append("cut off: the model's context is full, or max_tokens was reached")
        if turn.request.attachments:
            notes.append("with " + ", ".join(one_line(a.path.rpartition("/")[2], 40) for a in turn.request.attachments))
        if turn.source != "screen":
            notes.append(f"from the {turn.source}")
        if turn.verdict is not None and turn.verdict.comment:
            notes.append(f"‘{one_line(turn.verdict.comment, 120)}’")
        return [line(("! ", "$caution"), (one_line(note, 300), "$muted")) for note in notes]

    def _ask_lines(self) -> list[Content]:
        ranking = self.turn.decision.ranking
        lines = [line("")]
        for place, (name, p) in enumerate(ranking[:3]):
            style = "$caution" if place == 0 else "$muted"
            model = self.fleet_model(name) if name in self.fleet.by_route else ""
            lines.append(
                line(
                    (f"{self.fleet.digit(name)}  ", "$accent bold"),
                    (f"{name:<14}", "$strong" if place == 0 else "$text"),
                    bar(p, 14, style),
                    (f"{percent(p):>5}  ", "$strong" if place == 0 else "$muted"),
                    (model, "$muted"),
                )
            )
        rest = sorted((name for name, _ in ranking[3:]), key=lambda name: self.fleet.digit(name) or 10)
        if rest:
            digits = " ".join(str(self.fleet.digit(name)) for name in rest if self.fleet.digit(name))
            most = ranking[3][1]
            under = "each under 1%" if most < 0.01 else f"{percent(most)} or less"
            lines.append(line((digits, "$accent bold"), (f"  {', '.join(rest)}: {under}", "$muted")))
        return lines

    # -- the answer ------------------------------------------------------------------------------------------------
    def answering(self, phase: str, model: str, fraction: float | None) -> None:
        """What the turn waits for."""
        self.phase, self.phase_model, self.fraction = phase, model, fraction
        self.refresh_lines()

    def begin_live(self) -> None:
        """This process starts to answer the turn."""
        self.live, self._began = True, time.monotonic()

    def feed(self, text: str, reasoning: str) -> None:
        """A piece of the answer. Drawn at most twelve times a second, and less often when drawing takes longer."""
        if reasoning:
            self._reasoning += clean(reasoning)
        if text:
            self._waiting.append(self._cleaner.feed(text))
        self._draw_soon(_FLUSH_S)

    def reset(self, into_thoughts: bool) -> None:
        """Take back the text shown so far: it was reasoning, or it came from a model that failed."""
        taken = self._written_text + "".join(self._waiting)
        self._reasoning = self._reasoning + taken if into_thoughts else ""
        self._waiting.clear()
        self._written_text, self._cleaner, self._afresh = "", StreamCleaner(), True
        self._draw_soon(0.0)

    def _draw_soon(self, delay: float) -> None:
        if not self._drawing:
            self._drawing = True
            self.set_timer(max(delay, _FLUSH_S), self._draw)

    async def _draw(self) -> None:
        now = time.monotonic()
        if now - self._last_key_at() < _TYPING_S and now - self._drawn_at < _LONGEST_S:
            self.set_timer(_FLUSH_S, self._draw)
            return
        self._drawn_at, started = now, time.perf_counter()
        await self._write()
        self.call_after_refresh(self._drawn, started)

    def _drawn(self, started: float) -> None:
        """Let the next drawing wait four times as long as this one took: the keys come first."""
        self._drawing = False
        if self._waiting or self._afresh:
            self._draw_soon(4 * (time.perf_counter() - started))

    async def _write(self) -> None:
        """Put what waits into the answer."""
        async with self._lock:
            if self._afresh and self._markdown is not None:
                await self._markdown.remove()
                self._markdown = None
            self._afresh = False
            text = "".join(self._waiting)
            self._waiting.clear()
            if text and self.is_mounted:
                if self._markdown is None:
                    self._markdown = _markdown("")
                    await self.mount(self._markdown, before=self._keys)
                self._written_text += text
                await self._markdown.append(text)
            if self._reasoning:
                self._show_thoughts()

    def end_live(self, turn: Turn) -> None:
        """The answer has ended. Its last piece takes a moment to draw; a verdict may come meanwhile."""
        self.turn = turn
        if self._settling:
            self.refresh_lines()
            return
        self._settling = True
        self._waiting.append(self._cleaner.close())
        self.run_worker(self._settle(turn), group="card", description=f"end of turn {turn.id}", exit_on_error=False)

    async def _settle(self, turn: Turn) -> None:
        calls = _proposals(turn.answer.tool_calls) if turn.answer else ""
        if calls:
            self._waiting.append(calls)
        await self._write()
        self.live, self.phase = False, ""
        self._whole = self._markdown is not None
        self._settling = False
        self.show(self.turn)

    def _finish(self, answer: Answer) -> None:
        """Have a whole answer drawn, unless it was streamed here already."""
        text = _whole_text(answer)
        if not self._whole and text.strip():
            self._whole = True
            self._put_blank(_height(text, self.size.width or _USUAL_WIDTH))
            self.post_message(self.AnswerReady())

    def _put_blank(self, height: int) -> None:
        self._blank.styles.height = height
        self._blank.display = True

    async def draw_answer(self) -> bool:
        """Draw an answer that was blank; returns whether it was."""
        if not self._blank.display or self.turn.answer is None or not self.is_attached:
            return False
        self._markdown = _markdown(_whole_text(self.turn.answer))
        with self.app.batch_update():
            await self.mount(self._markdown, before=self._keys)
            self._blank.display = False
        return True

    async def blank_answer(self) -> None:
        """Leave a blank in the place of an answer that has ended."""
        drawn, ended = self._markdown, self._whole and not self.live and self.turn.state not in _LIVE
        if drawn is not None and ended and self.turn.answer is not None:
            self._put_blank(drawn.outer_size.height)
            self._markdown = None
            await drawn.remove()

    def toggle_thoughts(self) -> None:
        """Fold or unfold the reasoning, and the end of a very long request."""
        self.thoughts_open = not self.thoughts_open
        self.refresh_lines()

    def _show_thoughts(self) -> None:
        text = self._reasoning.strip()
        self._thoughts.display = bool(text)
        if not text:
            return
        words = len(text.split())
        head = line((f"{'▾' if self.thoughts_open else '▸'} reasoning, {words:,} words", "$muted"))
        if not self.thoughts_open:
            self._thoughts.set_lines(head)
            return
        self._thoughts.set_lines(head, *(line((part, "$muted")) for part in text.splitlines()))
        self._thoughts.styles.text_wrap = "wrap"


def _is_long(text: str) -> bool:
    """Whether a request is shown over several lines."""
    stripped = text.strip()
    return "\n" in stripped or len(stripped) > _SHORT


def _whole_text(answer: Answer) -> str:
    return clean(answer.text) + _proposals(answer.tool_calls)


def _height(text: str, width: int) -> int:
    """About how many lines a text takes."""
    return sum(max(1, -(-len(part) // width)) for part in text.splitlines())


def _markdown(text: str) -> Markdown:
    """An answer's widget. Imported with the first answer: the first picture does without it."""
    from textual.widgets import Markdown

    return Markdown(text, open_links=False, parser_factory=answer_parser)


def _proposals(tool_calls: tuple[str, ...]) -> str:
    """Tool calls of an answer as Markdown. They are shown, never executed."""
    if not tool_calls:
        return ""
    calls = "\n".join(clean(call) for call in tool_calls).replace("```", "` ` `")
    return f"\n\nproposes, not executed:\n\n```json\n{calls}\n```\n"


def _reason(reason: str) -> str:
    return reason if reason.startswith(("is ", "has ", "cannot ")) else f"failed ({reason})"


def _question(turn: Turn) -> str:
    if turn.audit:
        return f"Random check: was {turn.route} right?"
    if turn.asked == "worth":
        return f"A teaching question: was {turn.route} right?"
    return "Right route?"


def rating_strip(turn: Turn, *, mark: str, saved: bool, error: str) -> list[Version]:
    """The strip above the prompt for a turn that can be rated: the question, or what became of the verdict.

    Args:
        turn: As it is now.
        mark: A verdict that is shown and not saved yet, or empty.
        saved: Its newest verdict was written just now.
        error: Why the verdict could not be written, or empty.

    Returns:
        The line, and shorter ones for narrow screens.
    """
    number = line((f"turn {turn.id.partition('-')[0]}", "$muted"))
    if error:
        return [(line(("✗ not saved   ", "$wrong bold"), (one_line(error, 120), "$muted")), number)]
    if mark:
        word = {"y": "✓ right", "n": "✗ wrong", "c": "comment", "u": "undo"}[mark]
        return [(line((f"{word} …  ", "$muted")), number)]
    verdict = turn.verdict
    if verdict is None:
        question = line(("undone, saved", "$muted") if saved else (_question(turn), "$strong"))
        return key_versions(question, (("y", "right"), ("n", "wrong"), ("c", "comment"), ("⏎", "next")), number)
    if verdict.kind == "note":
        result = ("note, saved", "$muted")
    elif verdict.kind == "answer":
        result = ("✗ bad answer, saved", "$wrong bold")
    elif verdict.kind == "accepted":
        result = ("≈ accepted, saved", "$muted")
    elif verdict.rating == "right":
        result = ("✓ right, saved", "$right bold")
    else:
        result = (f"↻ {verdict.route}, saved" if verdict.route else "✗ wrong, saved", "$wrong bold")
    other = ("n", "mark wrong") if verdict.rating == "right" else ("y", "mark right")
    return key_versions(line(result), (("u", "undo"), other, ("⏎", "next")), number)
