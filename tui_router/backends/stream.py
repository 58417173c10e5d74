"""OpenAI-style chat completions, read from a stream of bytes into a few plain events.

Accepts what servers really send: no role or one in every delta, `content: null`, three shapes of reasoning, tool
calls in pieces or whole, usage in a frame of its own or in every frame, error frames inside a 200, no `[DONE]`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from tui_router.backends.backend_errors import BackendError, classify, message_of
from tui_router.backends.sse import ServerSentEvent, SSEDecoder
from tui_router.backends.thinking import ThinkSplitter


class Delta(Struct, frozen=True):
    """A piece of the answer, of the reasoning, or both."""

    text: str = ""
    reasoning: str = ""
    retracted: bool = False
    """All text so far was reasoning."""


class Progress(Struct, frozen=True):
    """The server works, but has nothing to show yet."""

    what: str
    """`loading` or `reading`."""
    fraction: float | None = None


class ChatStream:
    """One streamed reply. `feed` gives events; the rest are attributes to be read at the end."""

    def __init__(self) -> None:
        self._sse = SSEDecoder()
        self._splitter = ThinkSplitter()
        self._calls: dict[int, dict[str, str]] = {}
        self.model = ""
        self.finish = ""
        self.done = False
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.pieces = 0
        """Deltas with text or reasoning: the token count when the server gives none."""

    def feed(self, chunk: bytes) -> Iterator[Delta | Progress]:
        """The events in these bytes. Raises BackendError for an error frame or for something that is not JSON."""
        try:
            events = self._sse.feed(chunk)
        except ValueError as error:
            raise BackendError("broken", str(error)) from error
        for event in events:
            yield from self._event(event)

    def close(self) -> Iterator[Delta | Progress]:
        """The end of the bytes. Raises BackendError when the reply was not whole."""
        last = self._sse.close()
        if last is not None:
            yield from self._event(last)
        held = self._splitter.close()
        if held.text or held.reasoning:
            self.pieces += 1
            yield Delta(held.text, held.reasoning)
        if not self.done and not self.finish:
            if self.pieces or self._calls:
                raise BackendError("broken", "the connection closed in the middle of the answer")
            raise BackendError("empty", "the server sent an empty answer")
        if not self.pieces and not self._calls:
            raise BackendError("empty", "the server sent an empty answer")

    @property
    def tool_calls(self) -> tuple[str, ...]:
        """Each call as JSON text."""
        return tuple(json.dumps(self._calls[i], ensure_ascii=False) for i in sorted(self._calls))

    def _event(self, event: ServerSentEvent) -> Iterator[Delta | Progress]:
        data = event.data.strip()
        if data == "[DONE]":
            self.done = True
            return
        try:
            frame = json.loads(data)
        except ValueError:
            if event.event == "error":
                raise classify(200, data) from None
            raise BackendError("broken", "the server sent something that is not JSON") from None
        message = message_of(frame)
        if message is not None or event.event == "error":
            raise classify(200, message or str(frame.get("message") if isinstance(frame, dict) else data))
        if isinstance(frame, dict):
            yield from self._frame(frame)

    def _frame(self, frame: dict[str, Any]) -> Iterator[Delta | Progress]:
        if isinstance(frame.get("model"), str):
            self.model = frame["model"]
        usage = frame.get("usage")
        if isinstance(usage, dict):
            self.prompt_tokens = _count(usage.get("prompt_tokens"), self.prompt_tokens)
            self.completion_tokens = _count(usage.get("completion_tokens"), self.completion_tokens)
        progress = frame.get("prompt_progress")
        if isinstance(progress, dict) and progress.get("total"):
            yield Progress("reading", float(progress.get("processed", 0)) / float(progress["total"]))
        for choice in frame.get("choices") or []:
            if not isinstance(choice, dict):
                continue
            if isinstance(choice.get("finish_reason"), str):
                self.finish = choice["finish_reason"]
            delta = choice.get("delta")
            if isinstance(delta, dict):
                yield from self._delta(delta)

    def _delta(self, delta: dict[str, Any]) -> Iterator[Delta]:
        reasoning = _text(delta.get("reasoning_content")) or _text(delta.get("reasoning"))
        content = _text(delta.get("content"))
        split = self._splitter.feed(content) if content else None
        reasoning += split.reasoning if split else ""
        text = split.text if split else ""
        if reasoning or text or (split and split.retracted):
            self.pieces += 1
            yield Delta(text, reasoning, retracted=bool(split and split.retracted))
        for place, call in enumerate(delta.get("tool_calls") or []):
            if isinstance(call, dict):
                self._tool_call(place, call)

    def _tool_call(self, place: int, call: dict[str, Any]) -> None:
        index = call.get("index")
        merged = self._calls.setdefault(index if isinstance(index, int) else place, {"name": "", "arguments": ""})
        function = call.get("function")
        if isinstance(function, dict):
            merged["name"] = merged["name"] or _text(function.get("name"))
            arguments = function.get("arguments")
            merged["arguments"] += (
                arguments if isinstance(arguments, str) else json.dumps(arguments) if arguments else ""
            )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any, old: int | None) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else old
