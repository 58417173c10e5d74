"""The second belt: whatever a widget renders, no control character reaches the terminal as content.

The first is `core.text.clean`, where text enters. This one replaces C0, DEL, C1 and bidirectional controls in every
rendered line of the app, whichever widget it comes from.
"""

from __future__ import annotations

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_BAD = {c: 0xFFFD for c in (*range(32), 127, *range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))}


class Scrub(LineFilter):
    """Replaces control characters in rendered text."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The line without control characters."""
        return [
            segment
            if segment.control or segment.text.isprintable()
            else Segment(segment.text.translate(_BAD), segment.style)
            for segment in segments
        ]
