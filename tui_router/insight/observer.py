"""The observer: a small served model that looks at recent turns and counts, and writes one remark about them.

What it writes is not believed. A remark that names a turn or a number which it was not shown is dropped, so is one without
a tag that is known; and what is left is a text like any other that a model sends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

from tui_router.core import assets
from tui_router.core.json_value import object_in_prose
from tui_router.core.text import clean, one_line
from tui_router.core.types import Message, Turn
from tui_router.insight.findings import Finding
from tui_router.insight.metrics import Metrics

RemarkLevel = Literal["info", "good", "caution", "wrong"]
TAGS: dict[str, RemarkLevel] = {
    "pattern_detected": "caution", "edge_case": "info", "correction_needed": "caution", "high_value_data": "info",
    "model_drift": "caution", "red_flag": "wrong", "all_good": "good",
}  # fmt: skip
"""Tag -> how it is shown."""
SCHEMA: dict[str, Any] = {
    "type": "object", "required": ["tag", "remark", "turns"], "additionalProperties": False,
    "properties": {
        "tag": {"type": "string", "enum": list(TAGS)}, "remark": {"type": "string", "maxLength": 240},
        "turns": {"type": "array", "items": {"type": "integer"}, "maxItems": 6},
    },
}  # fmt: skip
TURNS = 12
"""Turns that it is shown."""
LONGEST = 240
_REQUEST = 120
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


class Remark(Struct, frozen=True):
    """What the observer said, and may be shown."""

    tag: str
    text: str
    turns: tuple[str, ...]
    """Ids of the turns that it speaks of."""

    @property
    def level(self) -> RemarkLevel:
        """How it is shown."""
        return TAGS[self.tag]


class Shown(Struct, frozen=True):
    """What the observer is shown: the question, and what it may speak of."""

    messages: tuple[Message, ...]
    turns: dict[int, str]
    """Number -> id."""
    numbers: frozenset[str]


def shown(turns: Sequence[Turn], counts: Metrics, findings: Sequence[Finding]) -> Shown:
    """The question about these turns.

    Args:
        turns: The newest, oldest first.
        counts: Of the period.
        findings: The surest first.
    """
    last = list(turns)[-TURNS:]
    template = assets.data("prompts/observer.md").read_text(encoding="utf-8")
    numbers = "\n".join(_numbers(counts))
    found = "\n".join(f"- {one.says}" for one in findings[:4]) or "- nothing that is more than chance"
    rows = "\n".join(_row(turn) for turn in last)
    text = template.format(numbers=numbers, findings=found, turns=rows)
    own = frozenset(_NUMBER.findall(f"{numbers}\n{found}\n{rows}"))
    return Shown((Message("user", text),), {turn.number: turn.id for turn in last}, own)


def _numbers(counts: Metrics) -> list[str]:
    lines = [f"- turns: {counts.turns}, rated: {counts.verdicts.hits}"]
    if counts.accuracy.n:
        lines.append(f"- right route: {counts.accuracy.value:.0%} of {counts.accuracy.n} rated")
    for route, rate in sorted(counts.by_route.items()):
        lines.append(f"- decided {route}: right {rate.hits} of {rate.n}")
    if counts.fallbacks.hits:
        lines.append(f"- another model served: {counts.fallbacks.hits} of {counts.fallbacks.n}")
    return lines


def _row(turn: Turn) -> str:
    verdict = turn.verdict
    said: str = "not rated" if verdict is None or verdict.rating is None else verdict.rating
    if verdict is not None and verdict.rating == "wrong" and verdict.route:
        said = f"wrong, right is {verdict.route}"
    return f"{turn.number}, {turn.decision.route}, {turn.decision.confidence:.0%}, {said}: {one_line(turn.request.text, _REQUEST)}"


def read(text: str, seen: Shown) -> Remark | str:
    """The remark in a reply, or why there is none to show."""
    found = object_in_prose(text)
    if found is None:
        return "no JSON"
    tag, said, turns = found.get("tag"), found.get("remark"), found.get("turns")
    if not isinstance(tag, str) or tag not in TAGS:
        return "an unknown tag"
    if not isinstance(said, str) or not said.strip():
        return "no remark"
    if len(said) > 2 * LONGEST:
        return "too long"
    if not isinstance(turns, list) or not all(isinstance(n, int) and not isinstance(n, bool) for n in turns):
        return "turns that are no numbers"
    if any(n not in seen.turns for n in turns):
        return "a turn that it was not shown"
    remark = one_line(clean(said), LONGEST)
    if any(number not in seen.numbers for number in _NUMBER.findall(remark)):
        return "a number that it was not shown"
    return Remark(tag, remark, tuple(seen.turns[n] for n in dict.fromkeys(turns)))
