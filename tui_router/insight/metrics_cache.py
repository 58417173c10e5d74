"""The metrics of a whole store, counted once and kept in a file: after a change only the changed turns are counted again.

Turns are counted in buckets of `BUCKET_TURNS` numbers, the days of a bucket apart. A period is the sum of its buckets, so
opening it takes the same few milliseconds whether the store is young or holds a hundred thousand turns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

import msgspec
from msgspec import Struct

from tui_router.core.clock import local_day
from tui_router.core.fleet import Fleet
from tui_router.insight.metrics import Metrics
from tui_router.store.store import Store

BUCKET_TURNS = 100
"""Turn numbers per bucket; a changed verdict invalidates one bucket. Chosen by hand, not measured."""
_GROUP_BUCKETS = 32
"""Buckets whose sum is kept; a change in one of them costs the sum of its group again. Chosen by hand, not measured."""
_TOTAL = -1
"""Key of the sum of all groups."""
_FORMAT = 4
"""Raised when `Metrics` changes: a file of another format is counted anew."""
FILE = "counted.msgpack"


class _CacheState(Struct):
    """The content of the file."""

    fingerprint: str
    """Of the format, the fleet's route names, the time zone and the store."""
    version: int
    """Version of the store's change log up to which everything is counted; -1 before the first count."""
    buckets: dict[int, dict[str, Metrics]]
    """Bucket -> local day -> metrics."""


class MetricsCache:
    """The metrics of a store, brought up to date by `refresh`, which may run in another thread than the readers.

    Args:
        fleet: Routes of today; after a rename the store is counted anew.
        path: Where the counts are kept. A file that cannot be read is ignored.
    """

    def __init__(self, fleet: Fleet, path: Path) -> None:
        self._fleet, self._path = fleet, path
        self._state: _CacheState | None = None
        self._saved_version = -1
        self._lock = Lock()
        """Held while buckets are replaced, summed or written; never while the store is read."""
        self._sums: dict[tuple[str, str], dict[int, Metrics]] = {}
        """(first day, last day) -> group of buckets -> its metrics in that period, until one of its buckets changes."""

    def refresh_steps(self, store: Store) -> Iterator[float]:
        """Count what changed, newest buckets first, one bucket a step; yields the share that is done, 0 to 1.

        Raises:
            StoreError: the store cannot be read.
        """
        state = self._state or self._load(store)
        version, changed = store.changed_turns(state.version)
        newest = store.newest_number()
        if changed is None:
            with self._lock:
                state.buckets.clear()
                self._sums.clear()
            outdated = set(range(newest // BUCKET_TURNS + 1)) if newest else set()
        else:
            outdated = {number // BUCKET_TURNS for number in changed}
        self._state = state
        for done, bucket in enumerate(sorted(outdated, reverse=True), 1):
            days: dict[str, Metrics] = {}
            for turn in store.between(bucket * BUCKET_TURNS, (bucket + 1) * BUCKET_TURNS - 1):
                days.setdefault(local_day(turn.at), Metrics()).add(turn, self._fleet)
            with self._lock:
                state.buckets[bucket] = days
                for groups in self._sums.values():
                    groups.pop(bucket // _GROUP_BUCKETS, None)
                    groups.pop(_TOTAL, None)
            yield done / len(outdated)
        state.version = version

    def has_counted(self, store: Store) -> bool:
        """Whether this store was counted before, so that `refresh` counts only what changed. Raises StoreError."""
        self._state = self._state or self._load(store)
        return self._state.version >= 0

    def refresh(self, store: Store) -> None:
        """Count all that changed. Raises StoreError."""
        for _ in self.refresh_steps(store):
            pass

    def total(self, first: str = "", last: str = "9999") -> Metrics:
        """Return the metrics from one local day to another, `YYYY-MM-DD`, both included. Callers must not change them."""
        with self._lock:
            groups = self._sums.setdefault((first, last), {})
            if _TOTAL not in groups:
                total, buckets = Metrics(), self._state.buckets if self._state else {}
                for group in sorted({bucket // _GROUP_BUCKETS for bucket in buckets}):
                    if group not in groups:
                        members = range(group * _GROUP_BUCKETS, (group + 1) * _GROUP_BUCKETS)
                        groups[group] = _merged((buckets.get(bucket, {}) for bucket in members), first, last)
                    total.merge(groups[group])
                groups[_TOTAL] = total
            return groups[_TOTAL]

    def by_day(self) -> dict[str, Metrics]:
        """Return local day -> metrics, oldest day first."""
        days: dict[str, Metrics] = {}
        with self._lock:
            buckets = self._state.buckets if self._state else {}
            for bucket in sorted(buckets):
                for day, metrics in buckets[bucket].items():
                    days.setdefault(day, Metrics()).merge(metrics)
        return dict(sorted(days.items()))

    def turns_by_day(self) -> dict[str, int]:
        """Return local day -> turns, oldest day first. Cheap: it merges no metrics."""
        days: dict[str, int] = {}
        with self._lock:
            for bucket in self._state.buckets.values() if self._state else ():
                for day, metrics in bucket.items():
                    days[day] = days.get(day, 0) + metrics.turns
        return dict(sorted(days.items()))

    def save(self) -> None:
        """Write the counts to the file, if they changed. Raises OSError."""
        if self._state is not None and self._state.version != self._saved_version:
            part = self._path.with_suffix(".part")
            with self._lock:
                encoded = msgspec.msgpack.encode(self._state)
            part.write_bytes(encoded)
            part.replace(self._path)
            self._saved_version = self._state.version

    def _load(self, store: Store) -> _CacheState:
        fingerprint = self._fingerprint(store)
        try:
            state = msgspec.msgpack.decode(self._path.read_bytes(), type=_CacheState)
        except (OSError, msgspec.DecodeError):
            state = None
        if state is None or state.fingerprint != fingerprint:
            return _CacheState(fingerprint, -1, {})
        self._saved_version = state.version
        return state

    def _fingerprint(self, store: Store) -> str:
        counted_under = [_FORMAT, sorted(self._fleet.names.items()), _zone(), store.made()]
        return hashlib.blake2b(msgspec.json.encode(counted_under), digest_size=8).hexdigest()


def _zone() -> list[float]:
    """The hours from UTC in each month of a fixed year. Where they differ, turns fall on other local days."""
    months = (datetime(2025, month, 1, 12, tzinfo=UTC).astimezone() for month in range(1, 13))
    return [offset.total_seconds() / 3600 for month in months if (offset := month.utcoffset()) is not None]


def _merged(buckets: Iterable[Mapping[str, Metrics]], first: str, last: str) -> Metrics:
    """The metrics of these buckets, of the days from `first` to `last`."""
    merged = Metrics()
    for days in buckets:
        for day, metrics in sorted(days.items()):
            if first <= day <= last:
                merged.merge(metrics)
    return merged
