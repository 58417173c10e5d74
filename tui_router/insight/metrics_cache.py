"""The metrics of a whole store, counted once: what changed is counted again, the rest is remembered between two starts.

Turns are counted in pieces of `PIECE` numbers, each day of a piece apart. A period is the sum of its pieces, so opening it
takes the same few milliseconds whether the store is young or holds a hundred thousand turns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from threading import Lock

import msgspec
from msgspec import Struct

from tui_router.core.clock import local_day
from tui_router.core.fleet import Fleet
from tui_router.insight.metrics import Metrics
from tui_router.store.store import Store

PIECE = 100
"""Turn numbers of a piece: what a verdict on an old turn makes to be counted again."""
_GROUP = 32
"""Pieces that are joined once and kept so: a change in one of them makes the others of its group to be joined again."""
_WHOLE = -1
FILE = "counted.msgpack"


class _Kept(Struct):
    """What lies in the file."""

    of: str
    """What it was counted under: the fleet's names of routes, and the store."""
    version: int
    """Of the store's log of changes, up to which everything is counted."""
    pieces: dict[int, dict[str, Metrics]]
    """Piece -> day -> its metrics."""


class MetricsCache:
    """The metrics of a store, kept up to date by `refresh`, which may run in another thread than whoever asks.

    Args:
        fleet: Routes of today; other names are counted anew.
        path: Where they are remembered; a file that cannot be read is as good as none.
    """

    def __init__(self, fleet: Fleet, path: Path) -> None:
        self._fleet, self._path = fleet, path
        self._kept: _Kept | None = None
        self._saved = -1
        self._changing = Lock()
        """Held while pieces are put in their place, joined or written: never while the store is read."""
        self._groups: dict[tuple[str, str], dict[int, Metrics]] = {}
        """(first day, last day) -> group of pieces -> their joined metrics in that period, until one of them changes."""

    def steps(self, store: Store) -> Iterator[float]:
        """Count what changed, newest pieces first, a piece at a time; yields the share that is done.

        Raises StoreError.
        """
        kept = self._kept or self._read(store)
        version, changed = store.changed_turns(kept.version)
        last = store.newest_number()
        if changed is None:
            with self._changing:
                kept.pieces.clear()
                self._groups.clear()
            wanted = set(range(last // PIECE + 1)) if last else set()
        else:
            wanted = {number // PIECE for number in changed}
        self._kept = kept
        for done, piece in enumerate(sorted(wanted, reverse=True), 1):
            days: dict[str, Metrics] = {}
            for turn in store.between(piece * PIECE, piece * PIECE + PIECE - 1):
                days.setdefault(local_day(turn.at), Metrics()).add(turn, self._fleet)
            with self._changing:
                kept.pieces[piece] = days
                for groups in self._groups.values():
                    groups.pop(piece // _GROUP, None)
                    groups.pop(_WHOLE, None)
            yield done / len(wanted)
        kept.version = version

    def known(self, store: Store) -> bool:
        """Whether this store was counted before, so that `refresh` counts only what changed. Raises StoreError."""
        self._kept = self._kept or self._read(store)
        return self._kept.version >= 0

    def refresh(self, store: Store) -> None:
        """Count all that changed."""
        for _ in self.steps(store):
            pass

    def since(self, day: str, last: str = "9999") -> Metrics:
        """The metrics from a day on, `YYYY-MM-DD` (empty: from the first one), up to another. Not to be changed."""
        with self._changing:
            groups = self._groups.setdefault((day, last), {})
            if _WHOLE not in groups:
                made, pieces = Metrics(), self._kept.pieces if self._kept else {}
                for group in sorted({piece // _GROUP for piece in pieces}):
                    if group not in groups:
                        some = (pieces.get(piece, {}) for piece in range(group * _GROUP, group * _GROUP + _GROUP))
                        groups[group] = _joined(some, day, last)
                    made.join(groups[group])
                groups[_WHOLE] = made
            return groups[_WHOLE]

    def days(self) -> dict[str, Metrics]:
        """Day -> its metrics, oldest first."""
        made: dict[str, Metrics] = {}
        with self._changing:
            pieces = self._kept.pieces if self._kept else {}
            for piece in sorted(pieces):
                for when, metrics in pieces[piece].items():
                    made.setdefault(when, Metrics()).join(metrics)
        return dict(sorted(made.items()))

    def save(self) -> None:
        """Remember what is counted. Raises OSError."""
        if self._kept is not None and self._kept.version != self._saved:
            part = self._path.with_suffix(".part")
            with self._changing:
                written = msgspec.msgpack.encode(self._kept)
            part.write_bytes(written)
            part.replace(self._path)
            self._saved = self._kept.version

    def _read(self, store: Store) -> _Kept:
        name = self._name(store)
        try:
            kept = msgspec.msgpack.decode(self._path.read_bytes(), type=_Kept)
        except (OSError, msgspec.DecodeError, msgspec.ValidationError):
            kept = None
        if kept is None or kept.of != name:
            return _Kept(name, -1, {})
        self._saved = kept.version
        return kept

    def _name(self, store: Store) -> str:
        names = sorted(self._fleet.names.items())
        return hashlib.blake2b(msgspec.json.encode([names, store.made()]), digest_size=8).hexdigest()


def _joined(pieces: Iterable[Mapping[str, Metrics]], first: str, last: str) -> Metrics:
    """The metrics of these pieces, of the days from `first` to `last`."""
    made = Metrics()
    for days in pieces:
        for day, metrics in sorted(days.items()):
            if first <= day <= last:
                made.join(metrics)
    return made
