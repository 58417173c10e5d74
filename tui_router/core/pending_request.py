"""A PendingRequest: an imported request of which nobody has said which route is right. It counts in no accuracy."""

from __future__ import annotations

from msgspec import Struct

from tui_router.core.example import request_key
from tui_router.core.types import Message, Request


class PendingRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request that waits for its label."""

    text: str
    origin: str = ""
    """Where it comes from: `FILE, line 3`."""
    session: str = ""
    """The conversation that it was in; its requests are never split between training and test."""
    history: tuple[Message, ...] = ()
    has_image: bool = False
    has_code: bool = False

    @property
    def request(self) -> Request:
        """What a router is asked."""
        return Request(text=self.text, history=self.history, has_image=self.has_image, has_code=self.has_code)

    @property
    def key(self) -> str:
        """The key of the example that it becomes; see `Example.key`."""
        return request_key(self.request)
