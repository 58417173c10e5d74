"""An Example: a request with its right route, and where that is known from."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

from msgspec import Struct

from tui_router.core.types import Message, Request

Source = Literal["verdict", "seed", "generated", "imported"]
SOURCES: tuple[Source, ...] = ("verdict", "seed", "generated", "imported")
GOAL = 200
"""Validated examples (of verdicts, in total) that a fine-tune of the router wants."""
_SPACE = re.compile(r"\s+")


class Example(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One labelled request."""

    text: str
    route: str
    source: Source
    origin: str = ""
    """Where it comes from: a turn's id, `file:line`, or empty for a seed."""
    session: str = ""
    """The conversation that it stood in; examples of one conversation are never split."""
    history: tuple[Message, ...] = ()
    has_image: bool = False
    has_code: bool = False
    weight: float = 1.0
    """1 for a label that was chosen; less for one that was only accepted."""

    @property
    def request(self) -> Request:
        """What a router is asked."""
        return Request(text=self.text, history=self.history, has_image=self.has_image, has_code=self.has_code)

    @property
    def key(self) -> str:
        """Sixteen hex digits of the request, its route left out: the same for any spelling of its spaces and case."""
        return request_key(self.request)


def request_key(request: Request) -> str:
    """Return sixteen hex digits that are the same for any spelling of a request's spaces and case."""
    made = hashlib.blake2b(digest_size=8)
    for part in (*(m.content for m in request.history if m.role == "user"), request.text):
        made.update(normal(part).encode("utf-8", "surrogatepass") + b"\0")
    made.update(bytes([request.has_image, request.has_code]))
    return made.hexdigest()


def normal(text: str) -> str:
    """Return a text in one case and with single spaces: requests that differ in these alone are the same."""
    return _SPACE.sub(" ", text).strip().casefold()
