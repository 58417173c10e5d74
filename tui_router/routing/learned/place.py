"""The place of a request: its text, and the requests before it in the conversation that a router looks at.

A label decides the same request in the same place, whatever else speaks against it. Asked again as the next turn, a request is
in the same place: its own repetitions do not count as requests before it. Answers do not count either: a retry gets another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

from tui_router.core.types import Message, Request
from tui_router.routing.learned.conversation_gate import MAX_TURNS

_CACHED_TEXTS = 256
"""Texts whose hash is cached: a conversation shows the same texts again and again."""


def place_of(request: Request) -> str:
    """Return the place of a request, sixteen hex digits."""
    earlier = [message for message in request.history if message.role == "user"]
    return _place(earlier, (_text_hash(request.text), request.shows_image))


def places_of(history: Sequence[Message], count: int) -> list[str]:
    """Return the places of the person's last messages in a conversation, at most so many, oldest first."""
    messages = [message for message in history if message.role == "user"]
    return [_place(messages[:i], _key(messages[i])) for i in range(max(0, len(messages) - count), len(messages))]


def _place(earlier: Sequence[Message], key: tuple[str, bool]) -> str:
    end = len(earlier)
    while end and _key(earlier[end - 1]) == key:
        end -= 1
    parts = [*map(_key, earlier[max(0, end - MAX_TURNS) : end]), key]
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()


def _key(message: Message) -> tuple[str, bool]:
    """Return what two messages have in common that are the same request: their text, and whether an image came with it."""
    return _text_hash(message.content), message.shows_image


@lru_cache(_CACHED_TEXTS)
def _text_hash(text: str) -> str:
    """Return a hash of a text that differences of case and white space do not change."""
    folded = " ".join(text.split()).casefold()
    return hashlib.blake2b(folded.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
