"""What can go wrong with the store. In every case what was acknowledged before is unaffected."""

from __future__ import annotations

import sqlite3


class StoreError(RuntimeError):
    """The operation did not happen."""


class StoreFullError(StoreError):
    """No room for the write (disk full, quota, file size limit), or the disk refused it."""


class StoreBusyError(StoreError):
    """Another process or thread held the write lock for longer than the timeout."""


class StoreDamagedError(StoreError):
    """The file's contents are not what was written."""


class StoreConflictError(StoreError):
    """Changed by someone else between a whole-database read and its write: repeat."""


class UnknownTurnError(StoreError, LookupError):
    """No turn has this id."""


_KINDS = {
    sqlite3.SQLITE_FULL: StoreFullError,
    sqlite3.SQLITE_IOERR_WRITE: StoreFullError,
    sqlite3.SQLITE_IOERR_SHMSIZE: StoreFullError,
    sqlite3.SQLITE_READONLY: StoreFullError,
    sqlite3.SQLITE_BUSY: StoreBusyError,
    sqlite3.SQLITE_LOCKED: StoreBusyError,
    sqlite3.SQLITE_CORRUPT: StoreDamagedError,
    sqlite3.SQLITE_NOTADB: StoreDamagedError,
    sqlite3.SQLITE_IOERR_SHORT_READ: StoreDamagedError,
}


def explain(path: str, error: sqlite3.Error) -> StoreError:
    """SQLite's error as one of ours."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT if "decode" in str(error) else 0)
    kind = _KINDS.get(code, _KINDS.get(code & 0xFF, StoreError))
    return kind(f"{path}: {error}")
