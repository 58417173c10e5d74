"""Asks a served model for JSON that is not an answer to a person: data for training, remarks of the observer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from tui_router.backends.backend_errors import BackendError
from tui_router.backends.health import Backend, Health
from tui_router.core.types import Message


class Written(Struct, frozen=True):
    """What a model wrote."""

    text: str
    tokens: int
    """Tokens of prompt and text together; 0 when the server does not tell."""


class Writer:
    """Asks one model of the fleet.

    Args:
        health: Knows where it is served.
        model: Name in the fleet.
    """

    def __init__(self, health: Health, model: str) -> None:
        self._health, self.model = health, model
        self._without_schema: set[str] = set()
        """Addresses of servers that refused a schema once."""

    async def write(
        self,
        messages: Sequence[Message],
        schema: dict[str, Any],
        *,
        max_tokens: int,
        temperature: float,
        deadline_s: float,
    ) -> Written:
        """Have the model write; a server that refuses the schema is asked once more without it.

        Raises:
            BackendError: it is not there, or does not answer in time.
        """
        status = self._health.models.get(self.model)
        backend = next((b for b in self._health.backends if status and b.url == status.backend), None)
        if status is None or backend is None or not status.ready:
            raise BackendError("not_found", f"{self.model} is not served; tui-router --health shows what is")
        body: dict[str, Any] = {
            "model": status.served_as,
            "messages": [{"role": m.role, "content": m.content} for m in messages],
            "max_tokens": max_tokens,
            "temperature": temperature,
            "stream": False,
        }
        form = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
        if backend.url not in self._without_schema:
            try:
                return await self._ask(backend, {**body, "response_format": form}, deadline_s)
            except BackendError as error:
                if error.failure not in ("bad_request", "capability"):
                    raise
                self._without_schema.add(backend.url)
        return await self._ask(backend, body, deadline_s)

    async def _ask(self, backend: Backend, body: dict[str, Any], deadline_s: float) -> Written:
        reply = await backend.client.ask("/v1/chat/completions", body, deadline_s)
        message = reply["choices"][0]["message"]
        if not message.is_object:
            raise BackendError("broken", f"{self.model}: its reply has no message")
        return Written(message["content"].text(), reply["usage"]["total_tokens"].count() or 0)
