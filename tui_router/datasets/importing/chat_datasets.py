"""Training data of others: OpenAI fine-tuning, ShareGPT in its dialects, WildChat, LMSYS, Alpaca and prompt-completion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tui_router.datasets.importing.imported_request import Found, ImportedRequest, LeftOut, Record, RecordShape
from tui_router.datasets.importing.messages import ChatMessage, chat_message, requests_of
from tui_router.datasets.importing.request_logs import label_in, messages_in, parsed


class Conversations(RecordShape):
    """A row with a list of messages, in any dialect: `from`/`value`, `role`/`content`, parts, turns of tools.

    Args:
        name: For the person.
        fields: That hold the list, in the order in which they are tried.
    """

    def __init__(self, name: str, *fields: str) -> None:
        self.name, self._fields = name, fields

    def recognises(self, value: Any) -> bool:
        return self._conversation(value) is not None

    def _conversation(self, value: Any) -> list[Any] | None:
        """Return the list of messages in a record; None without one."""
        if isinstance(value, list):
            return value if value and all(_is_turn(turn) for turn in value) else None
        if not isinstance(value, Mapping):
            return None
        for field in self._fields:
            turns = parsed(value.get(field))
            if isinstance(turns, list) and turns and all(_is_turn(turn) for turn in turns):
                return turns
        body = value.get("input")  # OpenAI's preference data: {"input": {"messages": [...]}, "preferred_output": ...}
        return self._conversation(body) if isinstance(body, Mapping) and "preferred_output" in value else None

    def read(self, record: Record) -> Iterator[Found]:
        turns = self._conversation(record.value) or []
        row = record.value if isinstance(record.value, Mapping) else {}
        messages = [message for turn in turns for message in _messages(turn)]
        session = str(row.get("conversation_hash") or row.get("conversation_id") or row.get("id") or record.where)
        labels = label_in(row)
        # One label speaks of one request: the last one. Without a label every request of the conversation counts.
        yield from requests_of(messages, record.where, session, last_only=bool(labels), labels=labels)


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, Mapping) and any(key in turn for key in ("role", "from", "user", "human", "speaker"))


def _messages(turn: Mapping[str, Any]) -> Iterator[ChatMessage]:
    role = turn.get("role") or turn.get("from") or turn.get("speaker")
    if role is None or isinstance(role, Mapping):  # {"user": ..., "assistant": ...}: a request with its answer
        for name, content in turn.items():
            yield chat_message(name, content)
        return
    content = next((turn[key] for key in ("content", "value", "text", "message") if turn.get(key) is not None), "")
    yield chat_message(role, content)


class MessageList:
    """A file that is one list of messages: one conversation, such as a playground saves it."""

    name = "a list of messages"

    def __init__(self) -> None:
        self._messages: list[ChatMessage] = []
        self._where = ""

    def recognises(self, value: Any) -> bool:
        return isinstance(value, Mapping) and set(value) >= {"role", "content"} and "messages" not in value

    def read(self, record: Record) -> Iterator[Found]:
        self._where = self._where or record.where.rpartition(", ")[0]
        self._messages += messages_in([record.value])
        return iter(())

    def finish(self) -> Iterator[Found]:
        """Yield the requests of the whole list."""
        return requests_of(self._messages, self._where, self._where) if self._messages else iter(())


class Alpaca(RecordShape):
    """An instruction with an optional input and its output."""

    name = "Alpaca"

    def recognises(self, value: Any) -> bool:
        return isinstance(value, Mapping) and "instruction" in value and ("output" in value or "response" in value)

    def read(self, record: Record) -> Iterator[Found]:
        row = record.value
        texts = [str(row[key]).strip() for key in ("instruction", "input", "context") if row.get(key)]
        text = "\n\n".join(text for text in texts if text)
        if text:
            yield ImportedRequest(text=text, where=record.where, labels=label_in(row))
        else:
            yield LeftOut(record.where, "an empty instruction")


class PromptCompletion(RecordShape):
    """A prompt with its completion, as text or as messages."""

    name = "prompt and completion"

    def recognises(self, value: Any) -> bool:
        has_answer = isinstance(value, Mapping) and any(key in value for key in ("completion", "response", "chosen"))
        return has_answer and "prompt" in value

    def read(self, record: Record) -> Iterator[Found]:
        messages = messages_in(parsed(record.value["prompt"]))
        yield from requests_of(messages, record.where, last_only=True, labels=label_in(record.value))
