"""Makes characters visible that a screen does not draw, where a name must not look like another one."""

from __future__ import annotations

import re

from tui_router.core.text import one_line

_HIDDEN = re.compile(
    "[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028\u2029\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb"
    "\U000e0000-\U000e0fff]"
)
"""Characters without a picture: zero-width, fillers, tags. Emoji's variation selectors (U+FE00-FE0F) are left alone."""


def visible(text: str) -> str:
    """Return a name on one line, clean for a terminal, each hidden character as `<U+200B>`.

    For ids, file names and links. In prose, joiners belong to words and emoji and stay.
    """
    return one_line(_HIDDEN.sub(lambda found: f"<U+{ord(found[0]):04X}>", text))
