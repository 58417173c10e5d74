"""Time as the records write it."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """This moment in UTC, ISO 8601 with milliseconds: `2026-11-22T14:02:11.042Z`."""
    return stamp(datetime.now(UTC))


def stamp(moment: datetime) -> str:
    """A moment as the records write it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def local(at: str) -> datetime:
    """A recorded moment in the person's own time zone."""
    return datetime.fromisoformat(at).astimezone()


def local_day(at: str) -> str:
    """The person's own day of a recorded moment: `2026-11-22`."""
    return local(at).date().isoformat()
