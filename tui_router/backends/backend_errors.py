"""What went wrong with a server, and what kind of thing it was: the kind decides about falling back."""

from __future__ import annotations

import re
from typing import Any, Literal

Failure = Literal[
    "down",  # nobody listens, or the name is not known
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

_OVERFLOW = re.compile(
    r"exceed_context_size|context (?:length|size|window|overflow)|does not fit in context|trying to keep the first|"
    r"maximum context|too many tokens|larger than the context",
    re.IGNORECASE,
)
_NOT_FOUND = re.compile(
    r"no models? loaded|model.{0,60}not (?:found|exist)|model_not_found|unknown model|not a valid model|failed to load|"
    r"model is not loaded|unexpected endpoint",
    re.IGNORECASE,
)
_CAPABILITY = re.compile(
    r"image input is not supported|does not support (?:images?|vision|tools)|no vision|multimodal|mmproj|not support.{0,30}image",
    re.IGNORECASE,
)
_LOADING = re.compile(r"loading|starting|warming|not ready", re.IGNORECASE)
_OPTIONAL = re.compile(r"stream_options|return_progress|logprobs|response_format|\bttl\b|max_tokens", re.IGNORECASE)


class BackendError(Exception):
    """A server failed. The message is one sentence for the person.

    Attributes:
        failure: What kind of failure it is.
        retry_after_s: How long the server asked to wait, if it did.
        correction: What can be changed in the request so that the server takes it: the name of a field to leave out.
    """

    def __init__(
        self, failure: Failure, message: str, *, retry_after_s: float | None = None, correction: str = ""
    ) -> None:
        super().__init__(message)
        self.failure, self.retry_after_s, self.correction = failure, retry_after_s, correction


def message_of(body: Any) -> str | None:
    """The message of an error body, in any of the shapes that servers use; None when it is not an error."""
    if not isinstance(body, dict):
        return None
    error = body.get("error")
    if isinstance(error, str) and error:
        return error
    if isinstance(error, dict):
        kind = error.get("type") or error.get("code")
        text = error.get("message") or str(kind or "unknown error")
        return f"{text} ({kind})" if kind and str(kind) not in str(text) and "exceed" in str(kind) else str(text)
    if body.get("object") == "error":  # vLLM before 2025-09
        return str(body.get("message") or "unknown error")
    return None


def classify(status: int, message: str, retry_after: str | None = None) -> BackendError:
    """The error that a reply with this status and message means. Status 200: an error frame in a stream."""
    wait = float(retry_after) if retry_after and retry_after.replace(".", "", 1).isdigit() else None
    said = message.strip() or f"HTTP {status}"
    if status in (401, 403):
        return BackendError("auth", f"the server refused the API key ({status}): {said}")
    if _OVERFLOW.search(message):
        return BackendError("overflow", f"the request does not fit: {said}")
    if _CAPABILITY.search(message):
        return BackendError("capability", said)
    if status == 404 or _NOT_FOUND.search(message):
        return BackendError("not_found", said)
    if status in (429, 529):
        return BackendError("busy", f"the server is busy: {said}", retry_after_s=wait)
    if status == 503 and (wait is not None or _LOADING.search(message)):
        return BackendError("loading", f"the server is not ready: {said}", retry_after_s=wait)
    if 400 <= status < 500:
        named = _OPTIONAL.search(message)
        return BackendError("bad_request", said, correction=named[0].lower() if named else "")
    return BackendError("server", said)
