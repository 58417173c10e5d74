"""Finding damage, saving what can be saved, and the backups that the rest comes from."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from tui_router.store.sqlite_storage import SQLiteStorage, checksum, create_private
from tui_router.store.store_errors import StoreBusyError, StoreDamagedError, StoreError, explain

RowKey = tuple[str, int]
KEEP_BACKUPS = 3


class Repair(Struct, frozen=True):
    """What was done about a damaged store."""

    why: str
    saved: int
    """Documents that were read from the damaged file."""
    restored: int
    """Documents that came from a backup instead."""
    lost: int
    """Documents that the damaged file still named, but that are in no backup."""
    backup: str
    """The newest backup that could be read; empty if there was none."""
    kept: str
    """Where the damaged file lies now."""

    def __str__(self) -> str:
        parts = [f"The store was damaged ({self.why}). {self.saved:,} records were saved from it"]
        if self.backup:
            parts.append(f", {self.restored:,} came from the backup {self.backup}")
        parts.append(f"; {self.lost:,} could not be saved." if self.lost else ".")
        return "".join(parts) + f" The damaged file is kept as {self.kept}."


def verify(storage: SQLiteStorage) -> None:
    """Read and check every page and every document; StoreDamagedError if anything is wrong."""
    if (said := storage.run("PRAGMA integrity_check(3)")[0]) != [("ok",)]:
        raise StoreDamagedError(f"{storage.path}: {'; '.join(line for (line,) in said)}")
    with storage.transaction(write=False):
        for name in storage.names():
            if storage.head(name)[1] != sum(1 for _ in storage.scan(name)):
                raise StoreDamagedError(f"{storage.path}: documents of {name!r} are missing")


def backup_path(store: Path) -> Path:
    """Where the newest backup lies; older ones end in .1, .2, ..."""
    return store.parent / "backups" / store.name


def backups(store: Path) -> list[Path]:
    """Return the backups that exist, newest first."""
    first = backup_path(store)
    paths = [first, *(first.with_name(f"{first.name}.{i}") for i in range(1, KEEP_BACKUPS))]
    return [path for path in paths if path.exists()]


def backup(storage: SQLiteStorage) -> Path:
    """Make a verified copy, while others go on writing (SQLite's online backup API); older copies move on by one."""
    target = backup_path(Path(storage.path))
    made = target.with_name(f"{target.name}.tmp")
    made.unlink(missing_ok=True)
    create_private(str(made))
    with closing(sqlite3.connect(made, isolation_level=None)) as copy:
        try:
            storage.connection.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, complete by itself
        except sqlite3.Error as error:
            raise explain(str(target), error) from error
    with closing(SQLiteStorage(made)) as fresh:  # a bad copy never replaces a good one
        verify(fresh)
        fresh.run("PRAGMA journal_mode=DELETE")
    names = [target, *(target.with_name(f"{target.name}.{i}") for i in range(1, KEEP_BACKUPS))]
    for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
        with suppress(FileNotFoundError):
            newer.replace(older)
    _put_in_place(made, target)
    return target


def backup_is_due(store: Path, hours: float = 24) -> bool:
    """Whether the newest backup is older than this, or there is none."""
    newest = next(iter(backups(store)), None)
    if newest is None:
        return True
    age = datetime.now(UTC).timestamp() - newest.stat().st_mtime
    return age > hours * 3600


def repair(store: Path, why: str) -> Repair:
    """Build a sound store from what the damaged one still holds and, for the rest, from the newest sound backup.

    Raises:
        StoreBusyError: another process has the damaged file open.
    """
    _refuse_if_open(store)
    named: set[RowKey] = set()
    saved: dict[RowKey, bytes] = {}
    for key, raw in _readable(store):
        named.add(key)
        if raw is not None:
            saved[key] = raw
    old, source = _from_backups(store)
    everything = {**old, **saved}
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    kept = store.with_name(f"{store.name}.damaged-{stamp}")
    rebuilt = store.with_name(f"{store.name}.rebuilt")
    for end in ("", "-wal", "-shm"):
        rebuilt.with_name(rebuilt.name + end).unlink(missing_ok=True)
    with closing(SQLiteStorage(rebuilt)) as fresh:
        with fresh.transaction():
            for name in sorted({name for name, _ in everything}):
                fresh.put(name, {i: raw for (tab, i), raw in sorted(everything.items()) if tab == name})
        verify(fresh)
        fresh.run("PRAGMA journal_mode=DELETE")
    for end in ("", "-wal"):
        with suppress(FileNotFoundError):
            shutil.copy2(f"{store}{end}", f"{kept}{end}")
    for end in ("-wal", "-shm"):  # a stale WAL would be played into the rebuilt file
        Path(f"{store}{end}").unlink(missing_ok=True)
    _put_in_place(rebuilt, store)
    return Repair(
        why=why.removeprefix(f"{store}: "),
        saved=len(saved),
        restored=len(old.keys() - saved.keys()),
        lost=len(named - everything.keys()),
        backup=source.name if source else "",
        kept=kept.name,
    )


def _refuse_if_open(store: Path) -> None:
    with closing(sqlite3.connect(store, timeout=1, isolation_level=None)) as conn:
        try:
            conn.execute("PRAGMA locking_mode=EXCLUSIVE")
            conn.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            if isinstance(explain(str(store), error), StoreBusyError):
                raise StoreBusyError(
                    f"{store}: is damaged, and another tui-router has it open; close that one, then start again"
                ) from error


def _readable(store: Path) -> Iterator[tuple[RowKey, bytes | None]]:
    """Every document of a damaged file that can still be named; None for one whose text is not what was written."""
    with closing(sqlite3.connect(store, isolation_level=None)) as conn:
        try:
            top = conn.execute("SELECT max(rowid) FROM docs").fetchone()[0] or 0
        except sqlite3.Error:
            return
        at = 1
        while at <= top:
            try:
                rows = conn.execute(
                    "SELECT rowid, tab, id, crc, CAST(doc AS BLOB) FROM docs WHERE rowid>=? ORDER BY rowid LIMIT 1",
                    (at,),
                ).fetchall()
            except sqlite3.Error:
                at += 1  # this page is gone; the next row may lie on another
                continue
            if not rows:
                return
            rowid, tab, doc_id, crc, raw = rows[0]
            at = rowid + 1
            if not isinstance(tab, str) or not isinstance(doc_id, int) or not isinstance(raw, bytes):
                continue
            yield (tab, doc_id), raw if checksum(doc_id, raw) == crc else None


def _from_backups(store: Path) -> tuple[dict[RowKey, bytes], Path | None]:
    for path in backups(store):
        try:
            with closing(SQLiteStorage(path)) as source:
                verify(source)
                found = {(name, i): raw for name in source.names() for i, raw in source.scan(name)}
                source.run("PRAGMA journal_mode=DELETE")
                return found, path
        except StoreError:
            continue
    return {}, None


def wal_damage(store: Path) -> str:
    """Why a write-ahead log that a crash left behind is not whole, or an empty string.

    SQLite drops a damaged frame and all that follow it in silence. A log that merely ends in a torn frame is what a
    crash leaves; a bad frame with sound ones of the same run behind it is damage. Format: sqlite.org/fileformat2,
    section 4.
    """
    try:
        data = Path(f"{store}-wal").read_bytes()
    except OSError:
        return ""
    if len(data) < 32:
        return ""
    magic, _, page = struct.unpack(">III", data[:12])
    if magic & ~1 != 0x377F0682:
        return "the write-ahead log has no valid header"
    order = ">" if magic & 1 else "<"
    salt = data[16:24]
    sums = _wal_sum(data[:24], (0, 0), order)
    if sums != struct.unpack(">II", data[24:32]):
        return "the header of the write-ahead log is damaged"
    size = 24 + page
    frames = range(32, len(data) - size + 1, size)
    for number, at in enumerate(frames):
        frame = data[at : at + size]
        if frame[8:16] != salt:
            return ""  # left over from an earlier run of the log
        sums = _wal_sum(frame[24:], _wal_sum(frame[:8], sums, order), order)
        if sums != struct.unpack(">II", frame[16:24]):
            behind = sum(data[later + 8 : later + 16] == salt for later in frames[number + 1 :])
            return (
                f"a write in the log of the last run is damaged; up to {behind + 1} pages after it are lost"
                if behind
                else ""
            )
    return ""


def _wal_sum(data: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    a, b = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for x, y in zip(words[::2], words[1::2], strict=True):
        a = (a + x + b) & 0xFFFFFFFF
        b = (b + y + a) & 0xFFFFFFFF
    return a, b


def _put_in_place(new: Path, path: Path) -> None:
    """Move a file into place so that a power cut leaves the old one or the new one."""
    with new.open("rb+") as file:
        os.fsync(file.fileno())
    new.replace(path)
    if os.name == "posix":
        directory = os.open(path.parent, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
