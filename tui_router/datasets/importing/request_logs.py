"""Logs of calls: LiteLLM, Langfuse, simonw/llm, and OpenAI's batches, stored completions and request bodies.

A row of such a log holds a whole conversation, of which only the last request is new.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

from tui_router.datasets.importing.imported_request import Found, LeftOut, Record, RecordShape
from tui_router.datasets.importing.messages import ChatMessage, chat_message, objects_in, requests_of

_MAX_CONVERSATIONS = 1000
"""Conversations of simonw/llm of which the last messages are remembered. Its log is in order of time, so that a conversation
which was not continued for 1,000 others is treated as a new one. It bounds the memory."""


def parsed(value: Any) -> Any:
    """Return the JSON value of a string that holds an object or a list; anything else unchanged."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def messages_in(body: Any) -> list[ChatMessage]:
    """Return the messages of a request body: `messages`, or the Responses API's `input`, or a plain prompt."""
    body = parsed(body)
    if isinstance(body, Mapping):
        for key in ("messages", "input", "prompt", "contents", "kwargs", "args"):
            if body.get(key):
                return messages_in(body[key])
        return [chat_message(body["role"], _content(body))] if "role" in body else []
    if isinstance(body, str):
        return [ChatMessage("user", body)]
    if isinstance(body, list):
        if body and all(isinstance(one, str) for one in body):
            return [ChatMessage("user", "\n".join(body))]
        if body and isinstance(body[0], list):  # LangChain logs a list of lists of messages
            return messages_in(body[0])
        return [chat_message(m.get("role") or m.get("type"), _content(m)) for m in body if isinstance(m, Mapping)]
    return []


def _content(message: Mapping[str, Any]) -> Any:
    """Return the content of a message; OpenAI, Gemini and Langfuse name it differently."""
    return next((message[key] for key in ("content", "parts", "text") if message.get(key) is not None), "")


def label_in(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names in a row, or in its metadata, that say which route was right."""
    metadata = parsed(row.get("metadata"))
    places = [row, metadata] if isinstance(metadata, Mapping) else [row]
    found = [place.get(key) for key in ("route", "task", "task_type", "best_model") for place in places]
    return tuple(name for name in found if isinstance(name, str) and name.strip())


class LiteLLM(RecordShape):
    """A call logged by LiteLLM: a row of its spend logs, or a standard logging payload."""

    name = "LiteLLM logs"

    def recognises(self, value: Any) -> bool:
        if not isinstance(value, Mapping) or "call_type" not in value:
            return False
        return any(key in value for key in ("messages", "proxy_server_request", "startTime", "litellm_call_id"))

    def read(self, record: Record) -> Iterator[Found]:
        row = record.value
        if "completion" not in str(row.get("call_type")) and "response" not in str(row.get("call_type")):
            yield LeftOut(record.where, f"a call of the kind {row.get('call_type')!r}, not a chat")
            return
        messages = messages_in(row.get("messages")) or messages_in(row.get("proxy_server_request"))
        if not any(message.speaker for message in messages):
            yield LeftOut(record.where, "a call whose messages were not logged (LiteLLM: store_prompts_in_spend_logs)")
            return
        session = str(row.get("session_id") or row.get("trace_id") or "")
        yield from requests_of(messages, record.where, session, last_only=True, labels=label_in(row))


class Langfuse(RecordShape):
    """A trace, or a generation inside one, exported from Langfuse."""

    name = "Langfuse export"

    def recognises(self, value: Any) -> bool:
        if not isinstance(value, Mapping) or "input" not in value:
            return False
        keys = ("traceId", "trace_id", "projectId", "project_id", "observations", "sessionId", "session_id", "htmlPath")
        return any(key in value for key in keys)

    def read(self, record: Record) -> Iterator[Found]:
        row = record.value
        kind = row.get("type")
        if kind not in (None, "", "GENERATION", "TRACE"):
            yield LeftOut(record.where, f"an observation of the kind {kind}, not a call of a model")
            return
        session = str(row.get("sessionId") or row.get("session_id") or row.get("traceId") or row.get("id") or "")
        messages = messages_in(row.get("input"))
        yield from requests_of(messages, record.where, session, last_only=True, labels=label_in(row))


class OpenAICalls(RecordShape):
    """A line of an OpenAI batch, a stored completion, or a logged request body."""

    name = "OpenAI requests"

    def recognises(self, value: Any) -> bool:
        if not isinstance(value, Mapping):
            return False
        return _body(value) is not None or ("custom_id" in value and "response" in value)

    def read(self, record: Record) -> Iterator[Found]:
        body = _body(record.value)
        if body is None:
            yield LeftOut(
                record.where, "a result of a batch, which does not hold the request; import the batch's input file"
            )
            return
        session = str(record.value.get("session_id") or "")
        labels = label_in(record.value) or label_in(body)
        yield from requests_of(messages_in(body), record.where, session, last_only=True, labels=labels)


def _body(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the request body in a row: under `body` or `request`, or the row itself; None without one."""
    for key in ("body", "request", "request_body"):
        body = parsed(row.get(key))
        if isinstance(body, Mapping) and any(name in body for name in ("messages", "input", "prompt")):
            return body
    messages = row.get("messages", row.get("input"))
    # A request body never ends with an answer; a training row with a model's name does.
    ends_with_answer = (
        isinstance(messages, list)
        and messages
        and messages_in(messages[-1:])[-1:]
        and (messages_in(messages[-1:])[-1].speaker == "assistant")
    )
    is_body = "model" in row and isinstance(messages, list | str) and not ends_with_answer
    return row if is_body else None


class SimonwLLM:
    """A response in the log of simonw/llm: a row of its `logs.db`, or of `llm logs --json`."""

    name = "simonw/llm logs"

    def __init__(self) -> None:
        self._conversations: OrderedDict[str, tuple[ChatMessage, ...]] = OrderedDict()

    def recognises(self, value: Any) -> bool:
        return isinstance(value, Mapping) and {"prompt", "response", "conversation_id"} <= set(value)

    def read(self, record: Record) -> Iterator[Found]:
        row = record.value
        name = str(row.get("conversation_id") or record.where)
        has_image = any(str(one.get("type")).startswith("image/") for one in objects_in(row.get("attachments")))
        earlier = self._conversations.pop(name, ())
        messages = (*earlier, ChatMessage("user", str(row.get("prompt") or ""), has_image))
        yield from requests_of(messages, record.where, f"llm:{name}", last_only=True)
        self._conversations[name] = (*messages, ChatMessage("assistant", str(row.get("response") or "")))[-8:]
        if len(self._conversations) > _MAX_CONVERSATIONS:
            self._conversations.popitem(last=False)

    def finish(self) -> Iterator[Found]:
        """Yield nothing: every row was complete."""
        return iter(())
