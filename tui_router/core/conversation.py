"""What was said before a request."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from tui_router.core.types import Message, Turn

_MESSAGES = 12
"""Messages of a conversation that are carried along: more than any router looks at."""
_SESSIONS = 1000
"""Conversations that are carried along at a time."""
_LONGEST_ANSWER = 2000
"""Characters of an answer that are carried along: its end."""


def messages_of(turns: Iterable[Turn]) -> tuple[Message, ...]:
    """Return what was asked and what was answered in these turns, in their order; unanswered ones are left out."""
    messages: list[Message] = []
    for turn in turns:
        if turn.answer is not None and turn.answer.text:
            messages.append(Message("user", turn.request.text, turn.request.attachments))
            messages.append(Message("assistant", turn.answer.text))
    return tuple(messages)


def with_histories(turns: Iterable[Turn]) -> Iterator[Turn]:
    """Return the turns, each with the conversation before it in its request."""
    sessions: OrderedDict[str, tuple[Message, ...]] = OrderedDict()
    for turn in turns:
        past = sessions.pop(turn.session, ())
        history = turn.request.history or past
        yield replace(turn, request=replace(turn.request, history=history)) if history else turn
        if not turn.session:
            continue
        said = tuple(
            replace(m, content=m.content[-_LONGEST_ANSWER:]) if m.role == "assistant" else m
            for m in messages_of([turn])
        )
        sessions[turn.session] = (*past, *said)[-_MESSAGES:]
        if len(sessions) > _SESSIONS:
            sessions.popitem(last=False)
