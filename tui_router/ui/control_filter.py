"""The second belt: whatever a widget renders, no control character reaches the terminal as content.

The first is `core.text.clean`, where text enters. This one replaces C0, DEL, C1 and bidirectional controls in every
rendered line of the app, whichever widget it comes from.
"""

from __future__ import annotations

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_BAD = dict.fromkeys((*range(32), 127, *range(128, 160), *range(8234, 8239), *range(8294, 8298)), 65533)


class ControlFilter(LineFilter):
    """Replaces control characters in rendered text."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The line without control characters."""
        return [
            segment
            if segment.control or segment.text.isprintable()
            else Segment(segment.text.translate(_BAD), segment.style)
            for segment in segments
        ]
