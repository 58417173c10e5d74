"""Turns the messages of a conversation into requests, each with the conversation before it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from tui_router.core.types import Message
from tui_router.datasets.importing.imported_request import Found, ImportedRequest, LeftOut

Speaker = Literal["user", "assistant", ""]
"""Empty: neither asks nor answers (system prompts, tool calls and their results)."""
MAX_HISTORY, MAX_HISTORY_CHARS = 8, 1000
"""Messages before a request that are kept with it, and characters of each. Every request keeps its own copy, so they bound
the store: at most 8 kB a request. Routers read less (`routing.llm.llm_router.question`, `routing.learned.conversation_gate`)."""
_SPEAKERS: dict[str, Speaker] = {
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "ai": "assistant",
    "bing": "assistant",
    "bard": "assistant",
}
_BACKGROUND = re.compile(
    r"\s*### Task:\s.*?(?:title|tags|query|queries|follow|autocomplet|emoji)", re.IGNORECASE | re.DOTALL
)
"""Prompts by which Open WebUI has titles, tags and search queries written: calls that no person made."""


class ChatMessage(NamedTuple):
    """One message of a conversation in a file."""

    speaker: Speaker
    text: str
    has_image: bool = False
    hint: str = ""
    """`ImportedRequest.hint` of the request, when this message is one."""


def speaker_of(role: Any) -> Speaker:
    """Return who speaks, from the name of a role in any dialect."""
    return _SPEAKERS.get(str(role).casefold(), "")


def chat_message(role: Any, content: Any) -> ChatMessage:
    """Return a message from a role's name and a content of any form."""
    text, has_image = text_of(content)
    return ChatMessage(speaker_of(role), text, has_image)


def text_of(content: Any) -> tuple[str, bool]:
    """Return the text of a content (a string, a part or a list of parts), and whether an image is in it."""
    if isinstance(content, str):
        return content, False
    if isinstance(content, list):
        parts = [text_of(part) for part in content]
        return "\n".join(text for text, _ in parts if text), any(image for _, image in parts)
    if not isinstance(content, Mapping):
        return "", False
    kind = str(content.get("type") or content.get("content_type") or "").casefold()
    if "image" in kind or any(key in content for key in ("image_url", "image", "inline_data")):
        return "", True
    if kind in ("thinking", "reasoning", "thoughts", "tool_use", "tool_result", "tool_call", "function_call"):
        return "", False
    for key in ("text", "value", "parts", "content"):
        if isinstance(content.get(key), str | list | Mapping):
            return text_of(content[key])
    return "", False


def requests_of(
    messages: Iterable[ChatMessage],
    where: str,
    session: str = "",
    *,
    last_only: bool = False,
    labels: tuple[str, ...] = (),
    in_tools_route: bool = False,
) -> Iterator[Found]:
    """Yield the requests of a conversation, in their order.

    Args:
        messages: Oldest first.
        where: Of the conversation.
        session: A name of the conversation, so that its requests are never split between training and test.
        last_only: Only the last request is new, as in a log of calls; the others are history.
        labels: Of the last request.
        in_tools_route: The last request belongs to the route that calls tools.
    """
    last: ImportedRequest | LeftOut | None = None
    history: deque[Message] = deque(maxlen=MAX_HISTORY)
    for number, message in enumerate(messages, 1):
        if message.speaker == "user":
            if last is not None and not last_only:
                yield last
            here = f"{where}, message {number}"
            if not message.text.strip():
                last = LeftOut(here, "an image without text" if message.has_image else "an empty message")
            elif _BACKGROUND.match(message.text):
                last = LeftOut(here, "a call by a program (a title, tags or a search), not by a person")
            else:
                last = ImportedRequest(
                    text=message.text,
                    where=here,
                    session=session,
                    history=tuple(history),
                    has_image=message.has_image,
                    hint=message.hint,
                )
        if message.speaker and (message.text.strip() or message.has_image):
            history.append(Message(message.speaker, message.text[:MAX_HISTORY_CHARS], has_image=message.has_image))
    if last is None:
        yield LeftOut(where, "a conversation without a message of the user")
    elif isinstance(last, ImportedRequest) and (labels or in_tools_route):
        yield ImportedRequest(
            text=last.text,
            where=last.where,
            session=session,
            history=last.history,
            has_image=last.has_image,
            labels=labels,
            in_tools_route=in_tools_route,
        )
    else:
        yield last


def objects_in(value: Any) -> list[Mapping[str, Any]]:
    """Return the objects in a list; none of anything else, because any field of a foreign file may hold anything."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def object_or_empty(value: Any) -> Mapping[str, Any]:
    """Return an object; an empty one in place of anything else."""
    return value if isinstance(value, Mapping) else {}


def path_to(leaf: str, parents: Mapping[str, str | None]) -> list[str]:
    """Return the nodes from the root to a leaf. Stops at a node without a known parent, or in a circle."""
    path: list[str] = []
    node: str | None = leaf
    while node is not None and node in parents and node not in path:
        path.append(node)
        node = parents[node]
    return path[::-1]
