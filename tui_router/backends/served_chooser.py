"""Asks a served model to choose a letter, in the way that its server can do best.

llama-server: a grammar that allows the letters only, with the probabilities after it (`post_sampling_probs`). Others: a
general model gets a JSON schema with the letters as an enumeration, and where a server refuses that, plain text. A model that
was trained to answer with a letter would only be confused by a schema: it is asked for one token, with the log probabilities
of the likeliest ones (`logprobs`, as vLLM and OpenAI have them), and without where a server refuses that. A model is asked
only if it is loaded and idle: a question about a route must not load a model, nor delay an answer.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from tui_router.backends.backend_errors import BackendError
from tui_router.backends.health import Backend, Health
from tui_router.core.json_value import JsonValue, object_in_prose
from tui_router.core.letter_choice import LetterChoice
from tui_router.core.types import Message

_LETTER = re.compile(r"\b([A-Z])\b")
_SCHEMA, _LOGPROBS, _PLAIN = "schema", "logprobs", "plain"
_TOP = 20
"""Likeliest tokens of which a server tells the log probability: the most that the protocol allows."""
_LEAST_MASS = 0.2
"""Probability of all letters together below which their log probabilities say nothing."""


class ServedLetterChooser:
    """Asks one model of the fleet.

    Args:
        health: Knows where the model is served, and its state.
        model: Name in the fleet.
        trained: It was trained to answer with a letter and nothing else.
    """

    def __init__(self, health: Health, model: str, *, trained: bool = False) -> None:
        self._health, self._model = health, model
        self._first = _LOGPROBS if trained else _SCHEMA
        self._ways: dict[str, str] = {}
        """Address of a server -> the way that it understands."""

    async def choose(self, messages: tuple[Message, ...], letters: str, deadline_s: float) -> LetterChoice | None:
        """Return the choice; None when the model is not loaded or not idle, or does not answer in time."""
        status = self._health.status(self._model)
        if status is None or status.state != "loaded" or status.answering:
            return None
        backend = next((b for b in self._health.backends if b.url == status.backend), None)
        if backend is None:
            return None
        try:
            async with asyncio.timeout(deadline_s):
                return await self._ask(backend, status.served_as, messages, letters, deadline_s)
        except (TimeoutError, BackendError):
            return None

    async def _ask(
        self, backend: Backend, served_as: str, messages: tuple[Message, ...], letters: str, deadline_s: float
    ) -> LetterChoice | None:
        body: dict[str, Any] = {
            "model": served_as,
            "messages": [{"role": m.role, "content": m.content} for m in messages],
            "temperature": 0,
            "stream": False,
        }
        if backend.kind == "llama-server":
            body |= by_grammar(letters)
            return await self._choice(backend, body, letters, deadline_s)
        url = backend.url
        way = self._ways.get(url, self._first)
        if way != _PLAIN:
            asked: dict[str, Any] = {"max_tokens": 24, "response_format": _schema(letters)}
            if way == _LOGPROBS:
                asked = {"max_tokens": 1, "logprobs": True, "top_logprobs": _TOP}
            try:
                chosen = await self._choice(backend, {**body, **asked}, letters, deadline_s)
            except BackendError as error:
                if error.failure not in ("bad_request", "capability"):
                    raise
                chosen = None
            if chosen is not None:
                self._ways[url] = way
                return chosen
            self._ways[url] = _PLAIN
        return await self._choice(backend, {**body, "max_tokens": 8}, letters, deadline_s)

    async def _choice(
        self, backend: Backend, body: dict[str, Any], letters: str, deadline_s: float
    ) -> LetterChoice | None:
        reply = await backend.client.ask("/v1/chat/completions", body, deadline_s)
        return read(reply.raw, letters)


def by_grammar(letters: str) -> dict[str, Any]:
    """Return the fields that hold llama-server to one of the letters and ask for their probabilities."""
    return {
        "max_tokens": 1,
        "temperature": 1,
        "top_k": 0,
        "top_p": 1,
        "min_p": 0,
        "samplers": ["temperature"],
        "grammar": f"root ::= [{letters}]",
        "post_sampling_probs": True,
        "logprobs": True,
        "top_logprobs": 4 * len(letters),
    }


def _schema(letters: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {"route": {"type": "string", "enum": list(letters)}},
        "required": ["route"],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": "route", "strict": True, "schema": schema}}


def read(reply: Any, letters: str) -> LetterChoice | None:
    """Read the choice in a chat reply, whatever its form; None when there is none in it."""
    choice = JsonValue(reply)["choices"][0]
    if not choice["message"].is_object:
        return None
    probabilities = _probabilities(choice["logprobs"], letters)
    letter = _letter(choice["message"]["content"].text(), letters)
    if letter is None and probabilities:
        letter = max(probabilities, key=lambda name: probabilities[name])
    return None if letter is None else LetterChoice(letter, probabilities)


def _letter(text: str, letters: str) -> str | None:
    text = text.strip()
    written = object_in_prose(text)
    if written is not None:
        said = JsonValue(written)["route"].text()
    elif found := _LETTER.search(text):
        said = found[1]
    else:
        said = text.upper()
    return said if len(said) == 1 and said in letters else None


def _probabilities(logprobs: JsonValue, letters: str) -> Mapping[str, float] | None:
    """Return letter -> probability, from llama-server's form after sampling or from log probabilities; None without either."""
    first = logprobs["content"][0]
    sampled = "top_probs" in first
    kept: defaultdict[str, float] = defaultdict(
        float
    )  # a vocabulary may hold a letter more than once, with a space or as a byte
    for one in first["top_probs" if sampled else "top_logprobs"].objects():
        letter, number = one["token"].text().strip(), one["prob" if sampled else "logprob"].number()
        if len(letter) != 1 or letter not in letters or number is None or number > 1:
            continue
        kept[letter] += max(0.0, number) if sampled else math.exp(number)
    return dict(kept) if kept and (sampled or sum(kept.values()) >= _LEAST_MASS) else None
