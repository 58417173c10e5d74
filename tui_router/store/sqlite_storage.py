"""SQLite under TinyDB: one document a row, transactions, and a log of who changed what.

Durability: WAL with synchronous=FULL, so a commit is on the disk when it returns. Every row carries a CRC-32 of its id
and text, checked at every read: `PRAGMA integrity_check` sees structure only, and misses most flipped bits.
"""

from __future__ import annotations

import os
import random
import secrets
import sqlite3
import threading
import time
import weakref
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from tinydb.storages import Storage

from tui_router.store import json_codec
from tui_router.store.store_errors import StoreBusyError, StoreConflictError, StoreDamagedError, StoreError, explain
from tui_router.store.stored_table import StoredTable

FORMAT = 1
APPLICATION_ID = 0x74756972  # "tuir"
_SCHEMA = (
    "CREATE TABLE tables(name TEXT PRIMARY KEY, next_id INTEGER NOT NULL, count INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE docs(tab TEXT NOT NULL, id INTEGER NOT NULL, crc INTEGER NOT NULL, doc TEXT NOT NULL)",
    "CREATE UNIQUE INDEX docs_key ON docs(tab, id)",
    # id NULL: the whole table. writer NULL: a version that did not say who it was.
    "CREATE TABLE log(seq INTEGER PRIMARY KEY, tab TEXT NOT NULL, id INTEGER, writer INTEGER)",
    f"PRAGMA application_id={APPLICATION_ID}",
    f"PRAGMA user_version={FORMAT}",
)
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "fullfsync=1",
    "checkpoint_fullfsync=1",
    "journal_size_limit=16777216",
)
LOG_KEEP = 10_000
LAST_ID = 2**63 - 1
_ROW = "SELECT id, crc, CAST(doc AS BLOB) FROM docs"


class Connection(sqlite3.Connection):
    """A subclass only because sqlite3's own class cannot be held weakly."""


class SQLiteStorage(Storage):
    """The file. One connection a thread; SQLite's locks order threads and processes alike.

    Args:
        timeout: Seconds to wait for another writer before StoreBusyError.

    Attributes:
        writer: A random number that stands at every change that this object makes, so that it knows its own changes.
    """

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = 10.0) -> None:
        self.path, self.timeout, self._pid = os.fspath(path), timeout, os.getpid()
        self.writer = secrets.randbits(62)
        self._local, self._closed = threading.local(), False
        self._all = weakref.WeakSet[Connection]()
        create_private(self.path)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        if (found := self._pragma("user_version")) == 0:
            with self.transaction():
                if (found := self._pragma("user_version")) == 0:  # nobody else was faster
                    if self.run("SELECT count(*) FROM sqlite_master")[0][0][0]:
                        raise StoreError(f"{self.path}: is an SQLite file of another program, not a tui-router store")
                    for sql in _SCHEMA:
                        self.run(sql)
                    found = FORMAT
        if self._pragma("application_id") != APPLICATION_ID:
            raise StoreError(f"{self.path}: is an SQLite file of another program, not a tui-router store")
        if found != FORMAT:
            raise StoreError(f"{self.path}: has format {found}; this version of tui-router reads format {FORMAT}")
        if "writer" not in self._columns_of_log():
            with self.transaction():  # made by an earlier version; one that still runs goes on writing without it
                if "writer" not in self._columns_of_log():
                    self.run("ALTER TABLE log ADD COLUMN writer INTEGER")

    def _columns_of_log(self) -> list[str]:
        return [name for (name,) in self.run("SELECT name FROM pragma_table_info('log')")[0]]

    def _pragma(self, name: str) -> int:
        return int(self.run(f"PRAGMA {name}")[0][0][0])

    @property
    def connection(self) -> Connection:
        """This thread's connection."""
        conn: Connection | None = getattr(self._local, "conn", None)
        if conn is not None and self._pid == os.getpid():
            return conn
        if self._closed or self._pid != os.getpid():
            raise StoreError(f"{self.path}: closed, or opened before a fork")
        try:
            conn = sqlite3.connect(self.path, 0, isolation_level=None, check_same_thread=False, factory=Connection)
        except sqlite3.Error as error:
            raise explain(self.path, error) from error
        self._local.conn = conn
        self._all.add(conn)
        for pragma in _PRAGMAS:
            self.run(f"PRAGMA {pragma}")
        return conn

    def run(self, sql: str, *args: Any) -> tuple[list[Any], int]:
        """(all rows, number of changed rows). Never leaves a cursor open, which would pin a snapshot.

        Waits for locks by itself: SQLite's busy_timeout sleeps up to 100 ms a time and starves behind a busy writer.
        """
        conn, deadline = self.connection, time.monotonic() + self.timeout
        while True:
            try:
                cursor = conn.execute(sql, args)
                return cursor.fetchall(), cursor.rowcount
            except sqlite3.Error as error:
                failure = explain(self.path, error)
                if not isinstance(failure, StoreBusyError) or conn.in_transaction or time.monotonic() > deadline:
                    raise failure from error
            time.sleep(random.uniform(0.0001, 0.001))

    @contextmanager
    def transaction(self, write: bool = True) -> Iterator[None]:
        """All or nothing, exclusive among writers; nested blocks are savepoints. Keep it short, in one thread."""
        begin, end, undo = ("BEGIN IMMEDIATE" if write else "BEGIN", "COMMIT", ["ROLLBACK"])
        if self.connection.in_transaction:
            begin, end, undo = ("SAVEPOINT s", "RELEASE s", ["ROLLBACK TO s", "RELEASE s"])
        self.run(begin)
        try:
            yield
            self.run(end)
        except BaseException:
            if self.connection.in_transaction:  # a full disk may already have rolled back
                for sql in undo:
                    self.run(sql)
            raise

    # -- rows --------------------------------------------------------------------------------------------------
    def _checked(self, name: str, doc_id: int, crc: int, raw: bytes) -> bytes:
        if checksum(doc_id, raw) != crc:
            raise StoreDamagedError(f"{self.path}: document {doc_id} of {name!r} is damaged")
        return raw

    def one(self, name: str, doc_id: int) -> bytes | None:
        """Return a document's JSON, or None."""
        if not -(2**63) <= doc_id <= LAST_ID:
            return None
        rows, _ = self.run(f"{_ROW} WHERE tab=? AND id=?", name, doc_id)
        return self._checked(name, *rows[0]) if rows else None

    def scan(self, name: str, chunk: int = 500, start: int = -(2**63)) -> Iterator[tuple[int, bytes]]:
        """All documents from `start` in id order, a chunk at a time; what is added meanwhile is left out."""
        sql = f"{_ROW} WHERE tab=? AND id>=? AND id<=? ORDER BY id LIMIT ?"
        last = self.run("SELECT max(id) FROM docs WHERE tab=?", name)[0][0][0]
        while last is not None and start <= last and (rows := self.run(sql, name, start, last, chunk)[0]):
            for doc_id, crc, raw in rows:
                yield doc_id, self._checked(name, doc_id, crc, raw)
            start = rows[-1][0] + 1

    def between(self, name: str, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        """All documents with ids from `first` to `last`, in id order."""
        sql = f"{_ROW} WHERE tab=? AND id>=? AND id<=? ORDER BY id"
        for doc_id, crc, raw in self.run(sql, name, first, last)[0]:
            yield doc_id, self._checked(name, doc_id, crc, raw)

    def recent(self, name: str, limit: int, before: int = LAST_ID) -> list[tuple[int, bytes]]:
        """Return the newest documents with ids below `before`, newest first: one page of a list."""
        sql = f"{_ROW} WHERE tab=? AND id<? ORDER BY id DESC LIMIT ?"
        return [(i, self._checked(name, i, crc, raw)) for i, crc, raw in self.run(sql, name, before, limit)[0]]

    def head(self, name: str) -> tuple[int, int]:
        """(next id, number of documents)."""
        rows, _ = self.run("SELECT next_id, count FROM tables WHERE name=?", name)
        return rows[0] if rows else (1, 0)

    def names(self) -> list[str]:
        """Return the tables that exist."""
        return [name for (name,) in self.run("SELECT name FROM tables")[0]]

    def reserve(self, name: str, next_id: int) -> None:
        """Let the next automatic id of a table be at least this."""
        old, count = self.head(name)
        self.run("INSERT OR REPLACE INTO tables VALUES(?,?,?)", name, max(old, next_id), count)

    def put(self, name: str, docs: Mapping[int, bytes | None], clear: bool = False, drop: bool = False) -> None:
        """Write these rows (None: delete), after emptying the table or dropping it if so asked."""
        with self.transaction():
            before = next_id, count = self.head(name)
            if clear or drop:
                self.run("DELETE FROM docs WHERE tab=?", name)
                next_id, count = 1, 0
            for doc_id, raw in docs.items():
                if raw is None:
                    count -= self.run("DELETE FROM docs WHERE tab=? AND id=?", name, doc_id)[1]
                    continue
                row = (checksum(doc_id, raw), raw.decode(), name, doc_id)
                if doc_id >= next_id or not self.run("UPDATE docs SET crc=?, doc=? WHERE tab=? AND id=?", *row)[1]:
                    self.run("INSERT INTO docs(crc, doc, tab, id) VALUES(?,?,?,?)", *row)
                    count, next_id = count + 1, max(next_id, doc_id + 1)
            if drop:
                self.run("DELETE FROM tables WHERE name=?", name)
            elif (next_id, count) != before or not count:
                self.run("INSERT OR REPLACE INTO tables VALUES(?,?,?)", name, next_id, count)
            self._log(name, docs, whole=clear or drop or len(docs) > LOG_KEEP)

    def _log(self, name: str, docs: Mapping[int, bytes | None], whole: bool) -> None:
        old = self.version()
        for entry in [None] if whole else docs:
            self.run("INSERT INTO log(tab, id, writer) VALUES(?,?,?)", name, entry, self.writer)
        new = old + (1 if whole else len(docs))
        if old // 1000 != new // 1000:
            self.run("DELETE FROM log WHERE seq<=?", new - LOG_KEEP)

    # -- other processes ---------------------------------------------------------------------------------------
    def version(self) -> int:
        """Grows with every change by anyone; a few microseconds, so it can be polled."""
        return self.run("SELECT max(seq) FROM log")[0][0][0] or 0

    def changed_since(
        self, version: int, *, by_others: bool = False
    ) -> tuple[int, list[tuple[str, int | None]] | None]:
        """(version now, what changed as (table, id or None for all of it)); None: too long ago, read all again.

        Args:
            version: What `version` or this method said last.
            by_others: Leave out what this object wrote itself.
        """
        with self.transaction(write=False):
            first, now = self.run("SELECT (SELECT min(seq) FROM log), (SELECT max(seq) FROM log)")[0][0]
            if now is None or version == now:
                return version if now else 0, []
            if not first - 1 <= version <= now:
                return now, None
            own = self.writer if by_others else -1
            sql = "SELECT DISTINCT tab, id FROM log WHERE seq>? AND writer IS NOT ?"
            return now, self.run(sql, version, own)[0]

    # -- TinyDB's contract, for tables(), drop_table() and its plain Table -----------------------------------------
    def read(self) -> dict[str, dict[str, Any]] | None:
        """All tables, read lazily."""
        with self.transaction(write=False):
            self._local.seen = self.version()
            names = self.names()
        return {name: StoredTable(self, name) for name in names} or None  # type: ignore[misc]

    def write(self, data: Mapping[str, Mapping[Any, Any]]) -> None:
        """Make the tables be these; StoreConflictError when somebody else changed them since `read`."""
        with self.transaction():
            if data and getattr(self._local, "seen", None) not in (None, self.version()):
                raise StoreConflictError(f"{self.path}: changed by someone else, repeat the operation")
            for name in self.names():
                if name not in data:
                    self.put(name, {}, drop=True)
            for name, docs in data.items():
                if not isinstance(docs, StoredTable):  # one that is untouched since read()
                    old = dict(self.scan(name))
                    new = {int(i): json_codec.encode(doc) for i, doc in docs.items()}
                    self.put(name, {i: new.get(i) for i in old | new if new.get(i) != old.get(i)})
        self._local.seen = None

    def close(self) -> None:
        """Close every thread's connection; the last one to close tidies the WAL away."""
        self._closed, self._local = True, threading.local()
        for conn in list(self._all):
            with suppress(sqlite3.Error):
                conn.close()


def checksum(doc_id: int, raw: bytes) -> int:
    """CRC-32 of a document's text, seeded with its id, so that a row in the wrong place is noticed too."""
    return zlib.crc32(raw, doc_id & 0xFFFFFFFF)


def create_private(path: str) -> None:
    """Make an empty file that only its owner reads. An existing one is not opened: closing it would drop locks."""
    os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
