"""The observer: a small served model that is shown recent turns and counts, and writes one remark about them.

Its remarks are not trusted. One that has no known tag, or claims what the store does not confirm (`observer_claims`), is
dropped; the text of the others is handled like any text from a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

from tui_router.core import assets
from tui_router.core.json_value import object_in_prose
from tui_router.core.text import clean, one_line
from tui_router.core.types import Message, Turn
from tui_router.insight.findings import Finding
from tui_router.insight.metrics import Metrics
from tui_router.insight.observer_claims import Facts, rating_of, unsupported_claim

RemarkLevel = Literal["info", "good", "caution", "wrong"]
TAGS: dict[str, RemarkLevel] = {
    "pattern_detected": "caution",
    "edge_case": "info",
    "correction_needed": "caution",
    "high_value_data": "info",
    "model_drift": "caution",
    "red_flag": "wrong",
    "all_good": "good",
}
"""Tag of a remark -> the level at which it is shown."""
MAX_TURNS = 12
"""Newest turns that the observer is shown: chosen by hand, not measured."""
MAX_CHARS = 240
"""Characters of a remark that are shown."""
_MAX_REPLY_CHARS = 2 * MAX_CHARS
"""A longer remark is dropped: the model did not follow its instructions."""
_MAX_REMARK_TURNS = 6
_MAX_FINDINGS = 4
_REQUEST_CHARS = 120
"""Characters of a request that the observer is shown."""
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["tag", "remark", "turns"],
    "additionalProperties": False,
    "properties": {
        "tag": {"type": "string", "enum": [tag for tag in TAGS if tag != "model_drift"]},  # the tests find drift
        "remark": {"type": "string", "maxLength": MAX_CHARS},
        "turns": {"type": "array", "items": {"type": "integer"}, "maxItems": _MAX_REMARK_TURNS},
    },
}
"""JSON schema of the reply."""


class Remark(Struct, frozen=True):
    """A remark that may be shown."""

    tag: str
    text: str
    turns: tuple[str, ...]
    """Ids of the turns that it is about."""

    @property
    def level(self) -> RemarkLevel:
        """The level at which it is shown."""
        return TAGS[self.tag]


class ObserverPrompt(Struct, frozen=True):
    """What the observer is shown: the question, and the facts that its remark is checked against."""

    messages: tuple[Message, ...]
    facts: Facts


def build_prompt(turns: Sequence[Turn], counts: Metrics, findings: Sequence[Finding]) -> ObserverPrompt:
    """Build the question about the newest turns.

    Args:
        turns: Oldest first; the newest `MAX_TURNS` are shown.
        counts: Metrics of the period.
        findings: The most significant first.
    """
    newest = list(turns)[-MAX_TURNS:]
    template = assets.data("prompts/observer.md").read_text(encoding="utf-8")
    counted = "\n".join(_count_lines(counts))
    found = "\n".join(f"- {one.text}" for one in findings[:_MAX_FINDINGS]) or "- no significant findings"
    rows = "\n".join(_turn_line(turn) for turn in newest)
    text = template.format(numbers=counted, findings=found, turns=rows)
    return ObserverPrompt((Message("user", text),), Facts({turn.number: turn for turn in newest}, counts, findings))


def _count_lines(counts: Metrics) -> list[str]:
    lines = [f"- turns: {counts.turns}, rated: {counts.rated.hits}"]
    if counts.accuracy.n:
        lines.append(f"- right route: {counts.accuracy.value:.0%} of {counts.accuracy.n} rated")
    for route, rate in sorted(counts.precision.items()):
        lines.append(f"- decided {route}: right {rate.hits} of {rate.n}")
    if counts.fallbacks.hits:
        lines.append(f"- another model served: {counts.fallbacks.hits} of {counts.fallbacks.n}")
    return lines


def _turn_line(turn: Turn) -> str:
    verdict, rating = turn.verdict, rating_of(turn) or "not rated"
    if verdict is not None and rating == "wrong" and verdict.route:
        rating = f"wrong, right is {verdict.route}"
    decision, request = turn.decision, one_line(turn.request.text, _REQUEST_CHARS)
    return f"{turn.number}, {decision.route}, {decision.confidence:.0%}, {rating}: {request}"


def parse_reply(reply: str, prompt: ObserverPrompt) -> Remark | str:
    """Read the remark in a reply; returns a sentence that says why when there is none to show."""
    found = object_in_prose(reply)
    if found is None:
        return "no JSON"
    tag, remark, turns = found.get("tag"), found.get("remark"), found.get("turns")
    if not isinstance(tag, str) or tag not in TAGS:
        return "an unknown tag"
    if not isinstance(remark, str) or not remark.strip():
        return "no remark"
    if len(remark) > _MAX_REPLY_CHARS:
        return "too long"
    if not isinstance(turns, list) or not all(isinstance(n, int) and not isinstance(n, bool) for n in turns):
        return "turns that are no numbers"
    shown = prompt.facts.turns
    if any(n not in shown for n in turns):
        return "a turn that it was not shown"
    text = one_line(clean(remark), MAX_CHARS)
    if why := _unsupported_tag(tag, [shown[n] for n in turns], prompt.facts) or unsupported_claim(
        text, turns, prompt.facts
    ):
        return why
    return Remark(tag, text, tuple(shown[n].id for n in dict.fromkeys(turns)))


def _unsupported_tag(tag: str, turns: Sequence[Turn], facts: Facts) -> str:
    """What a tag claims without support; empty when it claims nothing or is confirmed."""
    ratings = [rating_of(turn) for turn in facts.turns.values()]
    trouble = bool(facts.findings or facts.counts.failed.hits or "wrong" in ratings)
    if tag == "all_good" and trouble:
        return "all good beside trouble"
    if tag == "red_flag" and not trouble:
        return "an alarm without trouble"
    if tag == "correction_needed" and "right" in map(rating_of, turns):
        return "a correction of a turn that was rated right"
    return ""
