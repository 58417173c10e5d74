"""Conversations of ChatGPT, Claude, Open WebUI and LM Studio, as these programs export or store them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tui_router.datasets.importing.imported_request import Found, LeftOut, Record, RecordShape
from tui_router.datasets.importing.messages import (
    ChatMessage,
    chat_message,
    object_or_empty,
    objects_in,
    path_to,
    requests_of,
    speaker_of,
    text_of,
)


class ChatGPT(RecordShape):
    """A conversation of ChatGPT's `conversations.json`: a tree of messages, of which one path was shown last."""

    name = "ChatGPT export"

    def recognises(self, value: Any) -> bool:
        return isinstance(value, Mapping) and isinstance(value.get("mapping"), Mapping)

    def read(self, record: Record) -> Iterator[Found]:
        nodes = {str(key): node for key, node in record.value["mapping"].items() if isinstance(node, Mapping)}
        parents = {key: _text_or_none(node.get("parent")) for key, node in nodes.items()}
        leaf = str(record.value.get("current_node"))
        if leaf not in nodes:
            leaf = _newest_leaf(nodes)
        name = record.value.get("conversation_id") or record.value.get("id") or record.where
        messages = [_chatgpt_message(nodes[key].get("message")) for key in path_to(leaf, parents)]
        yield from requests_of(messages, record.where, f"chatgpt:{name}")


def _newest_leaf(nodes: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the node that is reached from the root by the last child of each; empty without nodes."""
    node = next((key for key, one in nodes.items() if str(one.get("parent")) not in nodes), "")
    seen = set()
    while node and node not in seen:
        seen.add(node)
        listed = nodes[node].get("children")
        children = [str(child) for child in listed if str(child) in nodes] if isinstance(listed, list) else []
        if not children:
            return node
        node = children[-1]
    return node


def _chatgpt_message(message: Any) -> ChatMessage:
    """Return a message of the tree; hidden ones (custom instructions, calls of tools) speak for nobody."""
    if not isinstance(message, Mapping):
        return ChatMessage("", "")
    author, content = message.get("author"), message.get("content")
    metadata = message.get("metadata")
    hidden = isinstance(metadata, Mapping) and metadata.get("is_visually_hidden_from_conversation")
    kind = content.get("content_type") if isinstance(content, Mapping) else ""
    shown = kind in ("text", "multimodal_text") and message.get("recipient", "all") == "all" and not hidden
    if not shown or not isinstance(author, Mapping) or not isinstance(content, Mapping):
        return ChatMessage("", "")
    text, has_image = text_of(content.get("parts") or [])
    return ChatMessage(speaker_of(author.get("role")), text, has_image)


class Claude(RecordShape):
    """A conversation of Claude's `conversations.json`."""

    name = "Claude export"

    def recognises(self, value: Any) -> bool:
        return isinstance(value, Mapping) and isinstance(value.get("chat_messages"), list)

    def read(self, record: Record) -> Iterator[Found]:
        messages = objects_in(record.value["chat_messages"])
        leaf = str(record.value.get("current_leaf_message_uuid"))
        by_id = {str(one.get("uuid")): one for one in messages}
        if leaf in by_id:
            parents = {key: _text_or_none(one.get("parent_message_uuid")) for key, one in by_id.items()}
            messages = [by_id[key] for key in path_to(leaf, parents)]
        session = f"claude:{record.value.get('uuid') or record.where}"
        yield from requests_of(map(_claude_message, messages), record.where, session)


def _claude_message(message: Mapping[str, Any]) -> ChatMessage:
    text, has_image = text_of(message.get("content") or [])
    files = [*objects_in(message.get("files")), *objects_in(message.get("attachments"))]
    return ChatMessage(
        speaker_of(message.get("sender")),
        text or str(message.get("text") or ""),
        has_image or any(_is_image(file) for file in files),
    )


def _is_image(file: Mapping[str, Any]) -> bool:
    """Return whether an attached file is an image, by its type or its name."""
    kinds = [
        str(file.get(key) or "").casefold() for key in ("type", "file_type", "fileType", "file_kind", "content_type")
    ]
    name = str(file.get("file_name") or file.get("name") or "").casefold()
    return any(kind.startswith("image") for kind in kinds) or name.endswith((".png", ".jpg", ".jpeg", ".webp", ".gif"))


class OpenWebUI(RecordShape):
    """A chat of Open WebUI. A request whose answer was rated good hints at the model that gave it."""

    name = "Open WebUI chats"

    def recognises(self, value: Any) -> bool:
        chat = value.get("chat") if isinstance(value, Mapping) else None
        return isinstance(chat, Mapping) and ("history" in chat or isinstance(chat.get("messages"), list))

    def read(self, record: Record) -> Iterator[Found]:
        chat = record.value["chat"]
        messages = _shown_messages(chat, str(object_or_empty(chat.get("history")).get("currentId")))
        ratings: dict[str, str] = {}
        for message in messages:
            if str(object_or_empty(message.get("annotation")).get("rating")) == "1":
                ratings[str(message.get("parentId"))] = str(message.get("model") or "")
        session = f"open-webui:{record.value.get('id') or record.where}"
        read = (_open_webui_message(one, ratings.get(str(one.get("id")), "")) for one in messages)
        yield from requests_of(read, record.where, session)


class OpenWebUIFeedback(RecordShape):
    """A rating of Open WebUI, with the chat as it was then."""

    name = "Open WebUI feedback"

    def recognises(self, value: Any) -> bool:
        if not isinstance(value, Mapping) or not isinstance(value.get("data"), Mapping):
            return False
        return "rating" in value["data"] and isinstance(value.get("meta"), Mapping)

    def read(self, record: Record) -> Iterator[Found]:
        data, meta, snapshot = record.value["data"], record.value["meta"], record.value.get("snapshot")
        stored = object_or_empty(object_or_empty(snapshot).get("chat"))
        chat = object_or_empty(stored.get("chat")) or stored
        if not chat:
            yield LeftOut(record.where, "a rating without its chat; export the feedback with its snapshots")
            return
        messages = _shown_messages(chat, str(meta.get("message_id") or ""))
        good = str(data.get("rating")) == "1"
        hint = str(data.get("model_id") or meta.get("model_id") or "") if good else ""
        session = f"open-webui:{meta.get('chat_id') or record.where}"
        read = [_open_webui_message(one, hint) for one in messages]
        yield from requests_of(read, record.where, session, last_only=True)


def _shown_messages(chat: Mapping[str, Any], leaf: str) -> list[Mapping[str, Any]]:
    """Return the messages on the path to a leaf of a chat's tree; of a chat without a tree, its list."""
    history = object_or_empty(chat.get("history"))
    tree = object_or_empty(history.get("messages"))
    nodes = {str(key): node for key, node in tree.items() if isinstance(node, Mapping)}
    if nodes:
        if leaf not in nodes:
            leaf = str(history.get("currentId"))
        if leaf not in nodes:
            leaf = next(reversed(nodes), "")
        parents = {key: _text_or_none(node.get("parentId")) for key, node in nodes.items()}
        return [{"id": key, **nodes[key]} for key in path_to(leaf, parents)]
    return objects_in(chat.get("messages"))


def _open_webui_message(message: Mapping[str, Any], hint: str) -> ChatMessage:
    role, text, has_image, _ = chat_message(message.get("role"), message.get("content"))
    has_image = has_image or any(map(_is_image, objects_in(message.get("files"))))
    return ChatMessage(role, text, has_image, hint if role == "user" else "")


class LMStudio(RecordShape):
    """A `*.conversation.json` of LM Studio: each message has versions, of which one is selected."""

    name = "LM Studio conversations"

    def recognises(self, value: Any) -> bool:
        messages = value.get("messages") if isinstance(value, Mapping) else None
        return isinstance(messages, list) and any(isinstance(m, Mapping) and "versions" in m for m in messages)

    def read(self, record: Record) -> Iterator[Found]:
        messages = [_lm_studio_message(one) for one in record.value["messages"]]
        yield from requests_of(messages, record.where, f"lm-studio:{record.value.get('createdAt') or record.where}")


def _lm_studio_message(message: Any) -> ChatMessage:
    versions = message.get("versions") if isinstance(message, Mapping) else None
    if not isinstance(versions, list) or not versions:
        return ChatMessage("", "")
    selected = message.get("currentlySelected")
    version = versions[selected if isinstance(selected, int) and 0 <= selected < len(versions) else -1]
    if not isinstance(version, Mapping):
        return ChatMessage("", "")
    parts = version.get("content")
    if isinstance(version.get("steps"), list):
        blocks = [step for step in objects_in(version["steps"]) if step.get("type") == "contentBlock"]
        shown = [step for step in blocks if object_or_empty(step.get("style")).get("type") != "thinking"]
        parts = [part for step in shown for part in objects_in(step.get("content"))]
    role, text, has_image, _ = chat_message(version.get("role"), parts)
    files = [part for part in objects_in(parts) if part.get("type") == "file"]
    return ChatMessage(role, text, has_image or any(_is_image(file) for file in files))


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)
