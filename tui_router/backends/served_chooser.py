"""Having a served model choose a letter, in the way that its server can do best.

llama-server: a grammar that allows the letters only, with the probabilities after it (`post_sampling_probs`). Others: a
general model gets a JSON schema with the letters as an enumeration, and where a server refuses that, plain text. A model that
was trained to answer with a letter would only be confused by a schema: it is asked for one token, with the log probabilities
of the likeliest ones (`logprobs`, as vLLM and OpenAI have them), and without where a server refuses that. A model is asked
only if it is loaded and idle: a question about a route must not load a model, nor stand before an answer.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from tui_router.backends.backend_errors import BackendError, classify, message_of
from tui_router.backends.health import Backend, Health
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
        health: What knows where the model is served, and how it is.
        model: Its name in the fleet.
        trained: It was trained to answer with a letter and nothing else.
    """

    def __init__(self, health: Health, model: str, *, trained: bool = False) -> None:
        self._health, self._model = health, model
        self._first = _LOGPROBS if trained else _SCHEMA
        self._ways: dict[str, str] = {}
        """Server -> the way that it was found to understand."""

    async def choose(self, messages: tuple[Message, ...], letters: str, deadline_s: float) -> LetterChoice | None:
        """The choice; None when the model is not loaded or not idle, or does not answer in time."""
        status = self._health.status(self._model)
        if status is None or status.state != "loaded" or status.answering:
            return None
        backend = next((b for b in self._health.backends if b.setting.url == status.backend), None)
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
            return read(await self._reply(backend, body, deadline_s), letters)
        url = backend.setting.url
        way = self._ways.get(url, self._first)
        if way != _PLAIN:
            asked = (
                {"max_tokens": 24, "response_format": _schema(letters)} if way == _SCHEMA
                else {"max_tokens": 1, "logprobs": True, "top_logprobs": _TOP}
            )  # fmt: skip
            try:
                chosen = read(await self._reply(backend, {**body, **asked}, deadline_s), letters)
            except BackendError as error:
                if error.failure not in ("bad_request", "capability"):
                    raise
                chosen = None
            if chosen is not None:
                self._ways[url] = way
                return chosen
            self._ways[url] = _PLAIN
        return read(await self._reply(backend, {**body, "max_tokens": 8}, deadline_s), letters)

    async def _reply(self, backend: Backend, body: dict[str, Any], deadline_s: float) -> Any:
        reply = await backend.client.post("/v1/chat/completions", body, timeout=deadline_s)
        if reply.status != 200:
            raise classify(reply.status, message_of(reply.json) or f"HTTP {reply.status}")
        return reply.json


def by_grammar(letters: str) -> dict[str, Any]:
    """What llama-server is sent so that it says one of the letters, with their probabilities among themselves."""
    return {
        "max_tokens": 1, "temperature": 1, "top_k": 0, "top_p": 1, "min_p": 0, "samplers": ["temperature"],
        "grammar": f"root ::= [{letters}]", "post_sampling_probs": True, "logprobs": True,
        "top_logprobs": 4 * len(letters),
    }  # fmt: skip


def _schema(letters: str) -> dict[str, Any]:
    schema = {
        "type": "object", "properties": {"route": {"type": "string", "enum": list(letters)}}, "required": ["route"],
        "additionalProperties": False,
    }  # fmt: skip
    return {"type": "json_schema", "json_schema": {"name": "route", "strict": True, "schema": schema}}


def read(reply: Any, letters: str) -> LetterChoice | None:
    """The choice in a chat reply, whatever its form; None when there is none in it."""
    try:
        choice = reply["choices"][0]
        text = choice["message"].get("content") or ""
    except (KeyError, IndexError, TypeError, AttributeError):
        return None
    probabilities = _probabilities(choice.get("logprobs"), letters)
    letter = _letter(text, letters)
    if letter is None and probabilities:
        letter = max(probabilities, key=lambda name: probabilities[name])
    return None if letter is None else LetterChoice(letter, probabilities)


def _letter(text: str, letters: str) -> str | None:
    try:
        value = json.loads(text)
        said = value.get("route") if isinstance(value, dict) else None
    except ValueError:
        found = _LETTER.search(text.strip())
        said = found[1] if found else text.strip()[:1].upper() if len(text.strip()) == 1 else None
    return said if isinstance(said, str) and len(said) == 1 and said in letters else None


def _probabilities(logprobs: Any, letters: str) -> Mapping[str, float] | None:
    """Letter -> probability, from llama-server's form after sampling or from log probabilities; None without either."""
    try:
        first = logprobs["content"][0]
        if "top_probs" in first:
            found = [(str(one["token"]).strip(), float(one["prob"])) for one in first["top_probs"]]
        else:
            found = [(str(one["token"]).strip(), math.exp(float(one["logprob"]))) for one in first["top_logprobs"]]
            if sum(p for letter, p in found if len(letter) == 1 and letter in letters) < _LEAST_MASS:
                return None
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        return None
    kept: defaultdict[str, float] = defaultdict(
        float
    )  # a vocabulary may hold a letter more than once: with a space, as a byte
    for letter, p in found:
        if len(letter) == 1 and letter in letters:
            kept[letter] += p
    return dict(kept) or None
