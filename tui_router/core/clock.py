"""Time as the records write it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


def now() -> str:
    """Return this moment in UTC, ISO 8601 with milliseconds: `2026-11-22T14:02:11.042Z`."""
    return stamp(datetime.now(UTC))


def stamp(moment: datetime) -> str:
    """Return a moment as the records write it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def local(at: str) -> datetime:
    """Return a recorded moment in the person's own time zone."""
    return datetime.fromisoformat(at).astimezone()


def local_day(at: str) -> str:
    """Return the person's own day of a recorded moment: `2026-11-22`."""
    return _day_of(at[:16])


@lru_cache(4096)
def _day_of(minute: str) -> str:
    """Return the local day of a minute in UTC, `2026-11-22T14:02`: time zones are whole minutes apart."""
    return datetime.fromisoformat(minute).replace(tzinfo=UTC).astimezone().date().isoformat()
