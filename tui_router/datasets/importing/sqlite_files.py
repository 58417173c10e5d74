"""Databases of other programs: the log of simonw/llm (`logs.db`) and the chats of Open WebUI (`webui.db`)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from tui_router.datasets.importing.imported_request import LeftOut, Record

MAGIC = b"SQLite format 3\0"
_RESPONSES = "SELECT rowid, id, model, prompt, response, conversation_id FROM responses ORDER BY datetime_utc, rowid"
_ATTACHMENTS = (
    "SELECT attachments.type FROM prompt_attachments JOIN attachments ON attachments.id = prompt_attachments.attachment_id"
    " WHERE prompt_attachments.response_id = ?"
)


def sqlite_records(path: Path, name: str) -> Iterator[Record | LeftOut]:
    """Yield the logged responses or chats of a database, which is only read."""
    try:
        with closing(_opened(path)) as db:
            db.row_factory = sqlite3.Row
            tables = {str(row[0]) for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "responses" in tables:
                yield from _llm(db, name, "prompt_attachments" in tables)
            elif "chat" in tables:
                yield from _open_webui(db, name, "feedback" in tables)
            else:
                why = f"is a database of no known program; its tables are {', '.join(sorted(tables)) or 'none'}"
                yield LeftOut(name, why, damaged=True)
    except sqlite3.Error as error:
        yield LeftOut(name, f"cannot be read as a database: {error}", damaged=True)


def _opened(path: Path) -> sqlite3.Connection:
    """Open a database without the right to write. Raises sqlite3.Error."""
    address = path.resolve().as_uri()
    try:
        db = sqlite3.connect(f"{address}?mode=ro", uri=True)
        db.execute("SELECT name FROM sqlite_master LIMIT 1").fetchone()
    except sqlite3.OperationalError:
        # A database in WAL mode on a read-only disk: without what its program has not merged yet.
        db = sqlite3.connect(f"{address}?mode=ro&immutable=1", uri=True)
    return db


def _llm(db: sqlite3.Connection, name: str, with_attachments: bool) -> Iterator[Record]:
    for row in db.execute(_RESPONSES):
        value: dict[str, Any] = dict(row)
        if with_attachments:
            value["attachments"] = [{"type": kind[0]} for kind in db.execute(_ATTACHMENTS, (row["id"],))]
        yield Record(f"{name}, responses, row {row['rowid']}", value)


def _open_webui(db: sqlite3.Connection, name: str, with_feedback: bool) -> Iterator[Record | LeftOut]:
    tables = {"chat": ("chat",), "feedback": ("data", "meta", "snapshot")} if with_feedback else {"chat": ("chat",)}
    for table, columns in tables.items():
        for row in db.execute(f"SELECT rowid, * FROM {table} ORDER BY rowid"):
            value: dict[str, Any] = dict(row)
            where = f"{name}, {table}, row {row['rowid']}"
            try:
                value |= {column: json.loads(value[column] or "null") for column in columns if column in value}
            except (TypeError, ValueError) as error:
                yield LeftOut(where, f"its JSON cannot be read: {error}", damaged=True)
                continue
            yield Record(where, value)
