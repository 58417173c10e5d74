"""What the importers hand on: records of a file, the requests in them, and what was left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from msgspec import Struct

from tui_router.core.example import Source
from tui_router.core.types import Message


class Record(NamedTuple):
    """One JSON value, table row or document of a file."""

    where: str
    """Where it is, for messages: `FILE, line 3`."""
    value: Any


class LeftOut(Struct, frozen=True):
    """Something in a file that does not become a request, and why."""

    where: str
    why: str
    damaged: bool = False
    """It could not be read. Nothing is imported then, unless the person allows it."""


class ImportedRequest(Struct, frozen=True, kw_only=True):
    """One request found in a file."""

    text: str
    where: str
    labels: tuple[str, ...] = ()
    """Names of a route, a task or a model that say what was right; the first that leads to a route counts. Empty: not
    labelled."""
    hint: str = ""
    """A name that labels the request only if it leads to a route, such as the model of an answer that was rated good."""
    session: str = ""
    history: tuple[Message, ...] = ()
    has_image: bool = False
    has_code: bool = False
    source: Source = "imported"
    origin: str = ""
    """Where it came from originally; empty: from `where`."""
    weight: float = 1.0
    in_tools_route: bool = False
    """It belongs to the route that calls tools, whatever that is called."""


Found = ImportedRequest | LeftOut


class Shape(Protocol):
    """A kind of record, such as a conversation of a ChatGPT export. One instance reads one file."""

    name: str
    """For the person: `ChatGPT export`."""

    def recognises(self, value: Any) -> bool:
        """Return whether a record has this shape, judged by its fields."""
        ...

    def read(self, record: Record) -> Iterator[Found]:
        """Yield the requests of a record, and what is left out of it."""
        ...

    def finish(self) -> Iterator[Found]:
        """Yield what could only be decided at the end of the file."""
        ...


class RecordShape:
    """A shape whose records do not depend on each other."""

    def finish(self) -> Iterator[Found]:
        """Yield nothing."""
        return iter(())
