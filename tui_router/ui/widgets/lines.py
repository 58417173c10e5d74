"""The small parts that every screen is made of: lines, bars, keys, pane headers. Text is never read as markup."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textual.app import RenderResult
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from tui_router.ui.widgets.glyphs import shown

Part = str | tuple[str, str] | Content


def line(*parts: Part) -> Content:
    """Put a line together: `line("plain", ("text", "$accent bold"), ...)`. Texts of others must be cleaned before."""
    return Content.assemble(
        *(p if isinstance(p, Content) else shown(p) if isinstance(p, str) else (shown(p[0]), p[1]) for p in parts)
    )


def bar(p: float, width: int, style: str = "$accent", track: bool = False) -> Content:
    """A half-height bar in half-cell steps, full only at 1. Print its number beside it.

    Args:
        p: Share, 0 to 1.
        width: Cells.
        style: Of the filled part.
        track: Draw the rest as a thin line, for a share of a goal.
    """
    halves = min(round(p * width * 2), width * 2 - (p < 1))
    if track:
        halves = halves // 2 * 2  # a gap between bar and track would look broken
    full, half = divmod(max(halves, int(p > 0)), 2)
    rest = width - full - half
    return line(("━" * full + "╸" * half, style), ("─" * rest if track else " " * rest, "$rule"))


def keys(*pairs: tuple[str, str], gap: str = "   ", style: str = "$accent bold") -> Content:
    """Keys and what they do now: letter in the accent, word in muted."""
    parts: list[Part] = []
    for i, (key, word) in enumerate(pairs):
        parts += [gap] if i else []
        parts += [(key, style), (f" {word}", "$muted")]
    return line(*parts)


def percent(p: float) -> str:
    """A probability: `81%`; `<1%` instead of `0%`, `>99%` instead of a certainty that it is not."""
    return "<1%" if 0 < p < 0.005 else ">99%" if 0.995 <= p < 1 else f"{p:.0%}"


def accuracy(right: int, rated: int, low: float, high: float) -> list[Part]:
    """`87% [82-91] n=143`, or `no verdicts yet`."""
    if not rated:
        return [("no verdicts yet", "$muted")]
    return [
        (f"{right / rated:.0%}", "$strong bold"),
        (f" [{low * 100:.0f}-{high * 100:.0f}] n={rated:,}", "$muted"),
    ]


Version = tuple[Content, Content]
"""What stands at the left and at the right of a line."""


def key_versions(lead: Content, pairs: Sequence[tuple[str, str]], right: Content) -> list[Version]:
    """Return a line of keys, and shorter ones for when there is no room: closer, without the right part, with fewer keys."""
    versions = [(line(lead, "  ", keys(*pairs, gap=gap)), right) for gap in ("   ", "  ")]
    fewer = [(line(lead, "  ", keys(*pairs[:n], gap="  ")), line()) for n in range(len(pairs), 0, -1)]
    return [*versions, *fewer]


def cut_to_words(content: Content, width: int) -> Content:
    """Return a text that is too wide, cut after a whole word, with `…` where something is left out."""
    content = content.rstrip()
    if content.cell_length <= width:
        return content
    kept = content.truncate(max(0, width - 2))
    end = kept.plain.rfind(" ")
    return line(kept[: end if end > 0 else len(kept)].rstrip(), (" …", "$muted"))


class SplitLine(Widget):
    """One line: left part, filler, right part. The left part gives way to the right one, in whole words."""

    DEFAULT_CSS = "SplitLine { height: 1; width: 1fr; }"
    fill = " "

    def __init__(self, left: Content | str = "", right: Content | str = "", **more: Any) -> None:
        super().__init__(**more)
        self._versions: list[Version] = [(_content(left), _content(right))]

    def set_text(self, left: Content | str, right: Content | str = "") -> None:
        """Show other parts."""
        self.set_versions([(_content(left), _content(right))])

    def set_versions(self, versions: list[Version]) -> None:
        """Show the first of these that fits; when none does, the last one, cut."""
        if versions != self._versions:
            self._versions = versions
            self.refresh()

    def render(self) -> Content:
        width = self.size.width
        fitting = (one for one in self._versions if _needed(one) <= width)
        left, right = next(fitting, self._versions[-1])
        gap = 1 if right.cell_length else 0
        left = cut_to_words(left, max(0, width - right.cell_length - gap))
        free = max(0, width - left.cell_length - right.cell_length)
        filler = " " * free
        if self.fill != " " and free >= 4:
            filler = f" {self.fill * (free - 2)} " if gap else f" {self.fill * (free - 1)}"
        return line(left, (filler, "$rule"), right)


def _needed(version: Version) -> int:
    """Cells that a version takes, with two between its parts: with one they would read as one text."""
    left, right = version
    return left.cell_length + right.cell_length + (2 if right.cell_length else 0)


class PaneHeader(SplitLine):
    """A pane's header: NAME ────────── the one number that matters."""

    fill = "─"

    def __init__(self, title: str, right: Content | str = "", **more: Any) -> None:
        super().__init__("", right, **more)
        self.title = title.upper()
        self._right = _content(right)

    def render(self) -> Content:
        pane = self.parent
        focused = isinstance(pane, Widget) and pane.has_focus
        self._versions = [(line((self.title, "$accent bold" if focused else "$strong bold")), self._right)]
        return super().render()

    def set_title(self, title: str) -> None:
        """Show another name."""
        if self.title != title.upper():
            self.title = title.upper()
            self.refresh()

    def set_status(self, right: Content | str) -> None:
        """Show another number at the right."""
        shown = line((right, "$muted")) if isinstance(right, str) else right
        if shown != self._right:
            self._right = shown
            self.refresh()


class Lines(Static):
    """Lines of aligned text; one that is too wide is cut after a whole word rather than wrapped."""

    DEFAULT_CSS = "Lines { height: auto; width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }"

    def __init__(self, *lines: Content | str, **more: Any) -> None:
        self._shown = _joined(lines)
        super().__init__(self._shown, markup=False, **more)

    def set_lines(self, *lines: Content | str) -> None:
        """Show other lines. The screen is laid out again only when their number changes."""
        shown = _joined(lines)
        if shown == self._shown and shown.spans == self._shown.spans:
            return
        same_height = shown.plain.count("\n") == self._shown.plain.count("\n")
        self._shown = shown
        self.update(shown, layout=not same_height or self.styles.text_wrap == "wrap")

    def render(self) -> RenderResult:
        width = self.content_size.width
        if self.styles.text_wrap == "wrap" or not width:
            return super().render()
        return _joined(tuple(cut_to_words(part, width) for part in self._shown.split("\n", allow_blank=True)))


class Paragraph(Static):
    """A paragraph that wraps."""

    DEFAULT_CSS = "Paragraph { height: auto; width: 1fr; }"

    def __init__(self, *parts: Part, **more: Any) -> None:
        super().__init__(line(*parts), markup=False, **more)


def _content(value: Content | str) -> Content:
    return line(value) if isinstance(value, str) else value


def _joined(lines: tuple[Content | str, ...]) -> Content:
    return Content("\n").join([_content(part) for part in lines])
