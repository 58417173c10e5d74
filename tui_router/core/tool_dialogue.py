"""A ToolDialogue: a request that is carried out by calling tools; models that use tools are fine-tuned on them."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from msgspec import Struct

from tui_router.core.example import normal

Scenario = Literal["immediate", "recovery", "steps"]
SCENARIOS: tuple[Scenario, ...] = ("immediate", "recovery", "steps")
"""`immediate`: one call, at once, without asking back. `recovery`: a call fails, and another way is found.
`steps`: several calls, each of which builds on the one before."""


class Call(Struct, frozen=True, kw_only=True):
    """One call of a tool, and what it gave back."""

    tool: str
    arguments: dict[str, Any]
    result: str
    ok: bool = True


class ToolDialogue(Struct, frozen=True, kw_only=True):
    """One request, the calls, and what is said at the end."""

    request: str
    calls: tuple[Call, ...]
    answer: str
    scenario: Scenario
    tools: tuple[dict[str, Any], ...]
    """The tools on offer, in OpenAI's format: `{"type": "function", "function": {"name", "description", "parameters"}}`."""
    origin: str = ""

    @property
    def key(self) -> str:
        """Sixteen hex digits of the request."""
        return hashlib.blake2b(normal(self.request).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
