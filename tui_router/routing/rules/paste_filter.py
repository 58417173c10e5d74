"""Keep of a request what the person typed, without what tools and pastes have put around it.

Harnesses wrap their own text in tags (`<system-reminder>`, `<tool_result>`), people quote mails (`> ...`) and paste logs.
Left in, a thousand pasted words drown the one sentence that says what is wanted. Of long pastes the first lines are kept:
that there is a log, or code, is evidence as well.
"""

from __future__ import annotations

import re

_WRAPPED = re.compile(
    r"<(?P<tag>[a-z]+[-_][a-z_-]+|reminder|context|environment|attachment|document|stdout|stderr|output)\b[^<>]{0,200}>"
    r".*?</(?P=tag)>",
    re.IGNORECASE | re.DOTALL,
)
_QUOTED = re.compile(r"(?:^[ \t]{0,3}>[^\n]*(?:\n|\Z)){2,}", re.MULTILINE)
_LOG_LINE = re.compile(
    r"\s*(?:[\[(]?\d{4}-\d\d-\d\d[T ]|\[?\d\d:\d\d:\d\d|(?:[\[<(]?(?:DEBUG|INFO|WARN(?:ING)?|ERROR|FATAL|TRACE)\b)|at [\w.$<>]+\(|File \"|"
    r"\w{3} [ \d]\d \d\d:\d\d:\d\d )"
)
_FENCE = re.compile(r"^```[^\n]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
LOG_LINES, FENCE_LINES = 3, 12
"""Lines of a pasted log, and of a fenced block, that are kept."""


def user_text(text: str) -> str:
    """Return the text without what tools and pastes added; the whole text when nothing else is in it."""
    rest = text
    if "</" in rest:
        rest = _WRAPPED.sub("\n", rest)
    if "\n" in rest.strip():
        if ">" in rest:
            rest = _QUOTED.sub("", rest)
        if "```" in rest:
            rest = _FENCE.sub(_shorter_fence, rest)
        rest = _shorter_logs(rest)
    return rest if any(map(str.isalnum, rest)) else text


def _shorter_fence(found: re.Match[str]) -> str:
    lines = found[0].splitlines()
    return found[0] if len(lines) <= FENCE_LINES + 2 else "\n".join([*lines[: FENCE_LINES + 1], "```"])


def _shorter_logs(text: str) -> str:
    lines = text.splitlines(keepends=True)
    if len(lines) <= LOG_LINES:
        return text
    kept, run = [], 0
    for line in lines:
        run = run + 1 if _LOG_LINE.match(line) else 0
        if run <= LOG_LINES:
            kept.append(line)
    return "".join(kept)
