"""What went wrong with a server, and what kind of thing it was: the kind decides about falling back."""

from __future__ import annotations

import math
import re
from typing import Literal, NamedTuple

from tui_router.core.json_value import JsonValue, decode_json
from tui_router.core.text import one_line

Failure = Literal[
    "down",  # nobody listens, or the name is not known
    "settings",  # the address, the key or the proxy as it is set cannot be used
    "no_bytes",  # the connection broke before any byte of a reply
    "not_found",  # the server does not have or cannot load this model
    "loading",  # 503, and the server says that it is still loading or when to come back
    "busy",  # 429: too many requests
    "overflow",  # the request does not fit into the context
    "capability",  # no vision, no tools, no schema
    "auth",  # 401, 403
    "bad_request",  # 400 of our own making
    "server",  # 5xx, a crash
    "empty",  # 200, and nothing in it
    "slow",  # no first byte in time
    "idle",  # silence in the middle
    "broken",  # the stream ended or made no sense in the middle
    "image",  # an attached file cannot be read any more
]

SYSTEM_ROLE = "system role"
"""Correction: the system text is written before the first message of the user."""
WEBP = "webp"
"""Correction: WebP images are sent in another format."""

_LONGEST_MESSAGE = 400
"""Characters of a server's message that are kept."""


class BackendError(Exception):
    """A server failed. The message is one sentence for the person.

    Attributes:
        failure: What kind of failure it is.
        retry_after_s: How long the server asked to wait, if it did.
        correction: What can be changed in the request so that the server takes it: `SYSTEM_ROLE`, `WEBP`, or the name of
            a field to leave out. Empty when there is nothing.
    """

    def __init__(
        self, failure: Failure, message: str, *, retry_after_s: float | None = None, correction: str = ""
    ) -> None:
        super().__init__(message)
        self.failure, self.retry_after_s, self.correction = failure, retry_after_s, correction


class _Rule(NamedTuple):
    failure: Failure
    words: re.Pattern[str]
    correction: str = ""


def _rule(failure: Failure, *words: str, correction: str = "") -> _Rule:
    return _Rule(failure, re.compile("|".join(words), re.IGNORECASE), correction)


_RULES = (
    _rule(
        "bad_request",
        r"system (?:role|message|prompt)s?\b.{0,30}\b(?:not|un)\W?(?:supported|allowed)",
        r"(?:not|n't) (?:support|allow|accept).{0,30}\bsystem\b",
        r"(?:unexpected|invalid|unknown|unsupported|unrecognized) role.{0,20}\bsystem\b",
        r"\brole\W{0,3}system\b.{0,40}(?:not|un)\W?(?:supported|allowed|expected|valid)",
        r"only.{0,20}\buser\b.{0,20}\bassistant\b.{0,20}roles? (?:are|is) supported",
        r"roles must alternate",
        correction=SYSTEM_ROLE,
    ),
    _rule(
        "overflow",
        r"max_tokens\b.{0,60}too large",
        r"you requested \d+ tokens \(\d+ in the messages, \d+ in the completion",
        correction="max_tokens",
    ),
    _rule(
        "overflow",
        r"exceed_context_size|context_length_exceeded|context ?window ?exceeded",
        r"context (?:length|size|window)|context(?: the)? overflow|(?:maximum|max|available) context|fit in(?:to)? (?:the )?context",
        r"(?:prompt|input|request|messages?)\b.{0,60}\b(?:too (?:long|large|many)|longer than|larger than|greater than|exceeds?)\b",
        r"\btoo many (?:input |prompt )?tokens|token (?:count|limit).{0,20}exceed|exceeds?.{0,30}(?:number of )?tokens",
        r"tokens?\b.{0,20}must (?:be <=|have less than)|must have less than \d+ tokens|trying to keep the first",
        r"max_(?:model_len|seq_len|input_len|num_tokens)|maximum (?:model|input|allowed) length|input length limit",
        r"reduce the length|\bkv[ -]?cache\b|payload too large|entity too large",
    ),
    _rule(
        "capability",
        r"failed to (?:load|decode|process|read) (?:the )?image",
        r"(?:invalid|unsupported|unknown|unrecognized|cannot identify).{0,12}image(?: file| format| type| input| data)?\b",
        r"image: unknown format|image\b.{0,30}(?:cannot be|could not be|couldn't be) (?:decoded|loaded|read|processed)|webp",
        correction=WEBP,
    ),
    _rule(
        "capability",
        r"at most \d+ (?:image|video|audio)|images?\b.{0,20}not (?:supported|allowed)|missing data required for image",
        r"(?:not|n't) (?:support|accept|allow|process|have).{0,40}\b(?:images?|vision|multimodal|tools?|functions?|thinking|chat|generate)\b",
        r"no vision|vision add-on|\bmmproj\b|multi-?modal|not a (?:vision|multimodal)|image_url|content.{0,20}valid string",
        r"tool.?choice\b.{0,30}requires|unsupportedparams|limit-mm-per-prompt|unsupported content|requires --jinja|chat template",
    ),
    _rule(
        "bad_request",
        r"response_format|json_?schema|structured.?output|\bgrammar\b",
        correction="response_format",
    ),
    _rule(
        "not_found",
        r"no models? (?:is |are )?loaded|model.{0,60}(?:not (?:found|exist|served|loaded|available)|n't exist|unloaded)",
        r"model_not_found|unknown model|invalid model name|not a valid model|unexpected endpoint",
        r"(?:failed|unable|could not|cannot) (?:to )?load(?:ing)?\b.{0,40}\bmodel|model.{0,60}failed to load|failed to load$",
        r"insufficient system resources|requires more (?:system |gpu |video )?memory",
    ),
    _rule(
        "server",
        r"has crashed|(?:channel|compute|cuda|internal(?: server)?) error|out of memory|terminated|unexpectedly stopped|unexpected eof",
        r"failed during generation|apiconnectionerror|engine (?:is )?dead|enginedead",
    ),
    _rule("auth", r"(?:invalid|incorrect|missing|no) api.?(?:key|token)|api token is required|\bunauthorized\b"),
    _rule("busy", r"server busy|overloaded|queue is full|pending requests|rate.?limit"),
    _rule("loading", r"loading|starting|warming|not ready|estimated_time"),
)
"""What the words of a refusal mean, first match first. `tests/backends/test_backend_errors.py` holds the words of each server."""

_FIELD = re.compile(
    r"stream_options|return_progress|top_logprobs|logprobs|response_format|\bttl\b|max_tokens", re.IGNORECASE
)
_STATUS: dict[int, Failure] = {
    401: "auth",
    403: "auth",
    404: "not_found",
    405: "not_found",
    408: "server",
    410: "not_found",
    413: "overflow",
    424: "server",
    429: "busy",
    529: "busy",
}
_SAYS: dict[Failure, str] = {
    "auth": "the server refused the API key",
    "overflow": "the request does not fit",
    "busy": "the server is busy",
    "loading": "the server is not ready",
}


def message_of(body: JsonValue, status: int = 200) -> str | None:
    """Return the message of an error body, in any of the shapes that servers use; None when it is not an error."""
    for name in ("error", "errors"):
        if name in body and body[name].raw not in (None, "", False, [], {}):
            return _words(body[name]) or "unknown error"
    if "object" in body and body["object"].raw == "error":  # vLLM before 2025-09, SGLang
        return _words(body) or "unknown error"
    if status >= 400 or ("detail" in body and "choices" not in body):
        return _words(body) or None
    return None


def _words(value: JsonValue, depth: int = 0) -> str:
    """Return the message in an error: a text, an object, or a list of either (`loc` and `msg` of FastAPI)."""
    if depth > 4:
        return ""
    if text := value.text():
        inner = (
            decode_json(text) if text.lstrip().startswith("{") else None
        )  # Ollama passes llama.cpp's reply on as a text
        return (inner and _words(inner, depth + 1)) or one_line(text, _LONGEST_MESSAGE)
    if value.is_list:
        return one_line(
            "; ".join(filter(None, (_words(one, depth + 1) for one in value.items()[:3]))), _LONGEST_MESSAGE
        )
    for name in ("message", "msg", "detail", "error", "title", "reason"):
        if found := _words(value[name], depth + 1):
            where = ".".join(
                str(one.raw)
                for one in value["loc"].items()
                if one.text() not in ("", "body") or one.count() is not None
            )
            kind = value["type"].text() or value["code"].text()
            if where and where not in found:
                return f"{where}: {found}"
            return f"{found} ({kind})" if "exceed" in kind and kind not in found else found
    return value["type"].text() or value["code"].text()


def classify(status: int, message: str, retry_after: str | None = None) -> BackendError:
    """Return the error that a refusal means.

    Args:
        status: Of the reply; 200 for an error inside a stream.
        message: The server's words.
        retry_after: The header of that name, in seconds. The form with a date is ignored.
    """
    said = one_line(message, _LONGEST_MESSAGE).strip() or f"HTTP {status}"
    wait = _seconds(retry_after)
    rule = next((r for r in _RULES if r.words.search(said)), None)
    failure = _STATUS.get(status)
    correction = ""
    if (
        failure not in ("auth", "overflow", "busy")
        and rule is not None
        and rule.failure not in ("loading", "busy", "auth")
    ):
        failure, correction = rule.failure, rule.correction
    elif failure is None and status == 503:
        failure = (
            rule.failure if rule is not None and rule.failure != "auth" else "loading" if wait is not None else "server"
        )
    elif failure is None and status == 200 and rule is not None:
        failure = rule.failure
    elif failure is None and 400 <= status < 500:
        failure = "bad_request"
    if failure == "bad_request" and not correction:
        correction = named[0].lower() if (named := _FIELD.search(said)) else ""
    prefix = _SAYS.get(failure or "server", "")
    number = f" ({status})" if failure == "auth" and status != 200 else ""
    sentence = f"{prefix}{number}: {said}" if prefix else said
    return BackendError(failure or "server", sentence, retry_after_s=wait, correction=correction)


def _seconds(header: str | None) -> float | None:
    try:
        seconds = float(header or "")
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
