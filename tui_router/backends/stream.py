"""OpenAI-style chat completions, read from bytes into a few plain events.

Accepts what servers really send: heartbeats, no role or one in every delta, `content: null` or a list of parts, reasoning in
many shapes, tool calls in pieces or whole, usage in a frame of its own or in every frame, errors inside a 200, no `[DONE]`, a
whole completion where a stream was asked for, JSON lines without `data:`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from msgspec import Struct

from tui_router.backends.backend_errors import BackendError, classify, message_of
from tui_router.backends.sse import LONGEST_EVENT, ServerSentEvent, SSEDecoder
from tui_router.backends.thinking import ThinkSplitter
from tui_router.core.json_value import JsonValue, decode_json
from tui_router.core.text import one_line

LONGEST_ANSWER = 2_000_000
"""Characters of answer, reasoning and tool calls together: about 500,000 tokens. What is longer runs in circles."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MOST_BLANKS = 1024
"""Bytes of white space before the first other one; more are blank lines of an event stream."""
_MOST_CALLS = 100
_LONGEST_NAME = 300
_HEARTBEAT = re.compile(
    r"[\s.:*_-]*|[\s\[<(\"':]*(?:openrouter )?(?:ping|pong|keep[ _-]?alive|heart[ _-]?beat|processing|waiting)[\s\]>)\"'.:!]*",
    re.IGNORECASE,
)
"""Data of an event that is only a sign of life. null, numbers and empty objects are read as JSON and say nothing either."""
_HEARTBEAT_EVENTS = ("ping", "pong", "heartbeat", "keepalive", "keep-alive", "keep_alive", "comment")
_REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking", "thought", "reasoning_text")
_REASONING_PARTS = ("thinking", "reasoning", "thought", "redacted_thinking", "reasoning.text", "reasoning.summary")


class Delta(Struct, frozen=True):
    """A piece of the answer, of the reasoning, or both."""

    text: str = ""
    reasoning: str = ""
    retracted: bool = False
    """All text so far was reasoning."""


class Progress(Struct, frozen=True):
    """The server works, but has nothing to show yet."""

    what: str
    """`looking` for servers, `loading`, `queued` or `reading` the request."""
    fraction: float | None = None


class ChatStream:
    """One reply. `feed` gives events; the rest are attributes to be read at the end.

    Args:
        reasons: The model is known to reason (see `thinking`).
    """

    def __init__(self, *, reasons: bool = False) -> None:
        self._sse = SSEDecoder()
        self._splitter = ThinkSplitter(reasons=reasons)
        self._framing = ""
        """`events`, or `json` when the reply begins as a JSON document; empty until that is seen."""
        self._head = bytearray()
        self._calls: dict[int, _Call] = {}
        self._size = 0
        self.model = ""
        self.finish = ""
        self.done = False
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.pieces = 0
        """Deltas with text or reasoning: the token count when the server gives none."""

    @property
    def complete(self) -> bool:
        """Whether the server has said that the answer is over: what breaks afterwards does no harm."""
        return self.done or bool(self.finish)

    @property
    def tool_calls(self) -> tuple[str, ...]:
        """Each call as JSON text."""
        calls = [self._calls[i] for i in sorted(self._calls)]
        return tuple(
            json.dumps({"name": call.name, "arguments": "".join(call.arguments)}, ensure_ascii=False) for call in calls
        )

    def feed(self, chunk: bytes) -> Iterator[Delta | Progress]:
        """Yield the events in these bytes. Raises BackendError for an error frame or for something that is not JSON."""
        if not self._framing:
            chunk = self._sniff(chunk)
        if self._framing == "json":
            self._head += chunk
            if len(self._head) > LONGEST_EVENT:
                raise BackendError(
                    "broken", f"the server sent a reply of more than {LONGEST_EVENT // 2**20} MiB in one piece"
                )
            return
        try:
            events = self._sse.feed(chunk)
        except ValueError as error:
            raise BackendError("broken", str(error)) from error
        for event in events:
            yield from self._event(event)

    def _sniff(self, chunk: bytes) -> bytes:
        """Find out by the first byte how the reply is framed, whatever its content type said.

        Returns:
            The bytes that are to be read; none as long as only white space has come.
        """
        self._head += chunk
        seen, known = bytes(self._head), len(self._head) > _MOST_BLANKS
        start = seen.removeprefix(_BYTE_ORDER_MARK).lstrip()[:1]
        if (not start or _BYTE_ORDER_MARK.startswith(seen)) and not known:
            return b""
        self._framing = "json" if start in (b"{", b"[") else "events"
        if start == b"<":
            raise BackendError("server", "the server answered a chat request with a web page")
        self._head.clear()
        return seen

    def close(self) -> Iterator[Delta | Progress]:
        """Yield what is left at the end of the bytes. Raises BackendError when the reply was not whole."""
        if self._framing == "json":
            yield from self._document(bytes(self._head))
        elif (last := self._sse.close()) is not None:
            yield from self._event(last)
        held = self._splitter.close()
        if held.text or held.reasoning or held.retracted:
            self.pieces += 1
            yield Delta(held.text, held.reasoning, held.retracted)
        if not self.pieces and not self._calls:
            raise BackendError("empty", "the server sent an empty answer")
        if not self.complete:
            raise BackendError("broken", "the connection closed in the middle of the answer")

    # -- frames ------------------------------------------------------------------------------------------------------
    def _document(self, data: bytes) -> Iterator[Delta | Progress]:
        """Read a whole completion, or JSON lines."""
        whole = decode_json(data)
        if whole is not None:
            yield from self._frame(whole, "")
            self.done = True
            return
        for line in data.splitlines():
            if line.strip():
                yield from self._event(ServerSentEvent("message", line.decode("utf-8", "replace")))

    def _event(self, event: ServerSentEvent) -> Iterator[Delta | Progress]:
        data = event.data.strip()
        if data.upper() in ("[DONE]", "DONE"):
            self.done = True
            return
        if event.event.lower() in _HEARTBEAT_EVENTS or (len(data) < 80 and _HEARTBEAT.fullmatch(data)):
            return
        frame = decode_json(data)
        if frame is None:
            if event.event == "error":
                raise classify(200, data)
            raise BackendError("broken", f"the server sent something that is not JSON: {one_line(data, 60)}")
        yield from self._frame(frame, event.event)

    def _frame(self, frame: JsonValue, event: str) -> Iterator[Delta | Progress]:
        for one in frame.items() or [frame]:
            message = message_of(one)
            if message is not None or event == "error":
                raise classify(200, message or one["message"].text() or one.text() or "an error without a message")
            yield from self._completion(one)

    def _completion(self, frame: JsonValue) -> Iterator[Delta | Progress]:
        self.model = frame["model"].text()[:_LONGEST_NAME] or self.model
        self._usage(frame["usage"])
        if "prompt_progress" in frame:
            progress = frame["prompt_progress"]
            total, processed = progress["total"].number(), progress["processed"].number()
            if total and total > 0:
                yield Progress("reading", min(1.0, max(0.0, (processed or 0.0) / total)))
        for choice in frame["choices"].objects():
            if choice["index"].count():
                continue  # a second answer to the same request; none was asked for
            yield from self._choice(choice)

    def _usage(self, usage: JsonValue) -> None:
        if not usage.is_object:
            return
        asked, written = usage["prompt_tokens"].count(), usage["completion_tokens"].count()
        self.prompt_tokens = self.prompt_tokens if asked is None else asked
        self.completion_tokens = self.completion_tokens if written is None else written

    def _choice(self, choice: JsonValue) -> Iterator[Delta]:
        message = message_of(choice)
        finish = choice["finish_reason"].text() or choice["finish_reason"]["type"].text()
        finish = "" if finish.lower() in ("null", "none") else finish
        if message is not None or finish == "error":
            raise classify(200, message or "the server ended the answer with an error")
        self._usage(choice["usage"])
        for name in ("delta", "message"):
            if choice[name].is_object and (name == "delta" or not (self.pieces or self._calls)):
                yield from self._delta(choice[name])
                break
        else:
            yield from self._said(choice["text"].text(), "")
        self.finish = finish[:_LONGEST_NAME] or self.finish

    def _delta(self, delta: JsonValue) -> Iterator[Delta]:
        message = message_of(delta)
        if message is not None:
            raise classify(200, message)
        reasoning = next(
            (found for name in _REASONING_FIELDS if name in delta and (found := "".join(_parts(delta[name])))), ""
        )
        if not reasoning and "reasoning_details" in delta:
            reasoning = "".join(
                _parts(part)[1] or part["summary"].text() for part in delta["reasoning_details"].objects()
            )
        text, thought = _parts(delta["content"])
        yield from self._said(text, reasoning + thought)
        for place, call in enumerate(delta["tool_calls"].objects()):
            self._tool_call(place, call, call["function"])
        if delta["function_call"].is_object:  # the form before tool calls
            self._tool_call(0, JsonValue(), delta["function_call"])

    def _said(self, text: str, reasoning: str) -> Iterator[Delta]:
        self._grow(len(text) + len(reasoning))
        if reasoning.strip():
            self._splitter.reasoning_came_apart()
        split = self._splitter.feed(text)
        reasoning += split.reasoning
        if reasoning or split.text or split.retracted:
            self.pieces += 1
            yield Delta(split.text, reasoning, split.retracted)

    def _grow(self, characters: int) -> None:
        self._size += characters
        if self._size > LONGEST_ANSWER:
            raise BackendError("broken", f"the answer is longer than {LONGEST_ANSWER:,} characters and was cut off")

    def _tool_call(self, place: int, call: JsonValue, function: JsonValue) -> None:
        index = call["index"].count()
        key = place if index is None else index
        if key not in self._calls and len(self._calls) >= _MOST_CALLS:
            return
        merged = self._calls.setdefault(key, _Call())
        merged.name = merged.name or function["name"].text()[:_LONGEST_NAME]
        arguments = function["arguments"]
        piece = arguments.text() or (arguments.dump() if arguments.is_object or arguments.is_list else "")
        self._grow(len(piece))
        if piece:
            merged.arguments.append(piece)


class _Call:
    """A tool call as it comes in pieces."""

    def __init__(self) -> None:
        self.name = ""
        self.arguments: list[str] = []


def _parts(content: JsonValue, depth: int = 0) -> tuple[str, str]:
    """Return text and reasoning in a content: a text, a part (`{"type": "text", "text": ...}`), or a list of either."""
    if content.is_list and depth < 4:
        both = [_parts(part, depth + 1) for part in content.items()]
        return "".join(text for text, _ in both), "".join(thought for _, thought in both)
    if not content.is_object:
        return content.text(), ""
    kind = content["type"].text().lower()
    for name in ("text", "thinking", "reasoning", "thought", "content", "summary"):
        inner = content[name]
        if inner.text() or (depth < 4 and (inner.is_list or inner.is_object)):
            text, thought = _parts(inner, depth + 1)
            return ("", text + thought) if kind in _REASONING_PARTS or name in _REASONING_PARTS else (text, thought)
    return "", ""
