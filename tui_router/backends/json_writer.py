"""Having a served model write something that is not an answer to a person: data for training, remarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from tui_router.backends.backend_errors import BackendError
from tui_router.backends.health import Health
from tui_router.core.types import Message


class Written(Struct, frozen=True):
    """What came back."""

    text: str
    tokens: int
    """That it took, prompt included; 0 when the server does not tell."""


class Writer:
    """Asks one model of the fleet.

    Args:
        health: What knows where it is served.
        model: Its name in the fleet.
    """

    def __init__(self, health: Health, model: str) -> None:
        self._health, self.model = health, model
        self._plain: set[str] = set()
        """Servers that refused a schema once."""

    async def write(
        self, messages: Sequence[Message], schema: dict[str, Any], *, max_tokens: int, temperature: float, deadline_s: float
    ) -> Written:  # fmt: skip
        """What the model writes; a server that cannot hold it to the schema is asked without.

        Raises:
            BackendError: it is not there, or does not answer in time.
        """
        status = self._health.models.get(self.model)
        backend = next((b for b in self._health.backends if status and b.setting.url == status.backend), None)
        if status is None or backend is None or not status.ready:
            raise BackendError("not_found", f"{self.model} is not served; tui-router --health shows what is")
        body: dict[str, Any] = {
            "model": status.served_as, "messages": [{"role": m.role, "content": m.content} for m in messages],
            "max_tokens": max_tokens, "temperature": temperature, "stream": False,
        }  # fmt: skip
        form = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
        url = backend.setting.url
        reply = None
        if url not in self._plain:
            reply = await backend.client.post("/v1/chat/completions", {**body, "response_format": form}, deadline_s)
            if reply.status in (400, 422):
                self._plain.add(url)
                reply = None
        if reply is None:
            reply = await backend.client.post("/v1/chat/completions", body, deadline_s)
        if reply.status != 200:
            raise BackendError("server", f"{self.model} answered with HTTP {reply.status}")
        try:
            text = reply.json["choices"][0]["message"].get("content") or ""
            usage = reply.json.get("usage") or {}
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise BackendError("broken", f"{self.model}: its reply has no message") from error
        return Written(str(text), int(usage.get("total_tokens") or 0))
