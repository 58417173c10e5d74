"""TinyDB's own surface over `sqlite_storage`: `TinyDB`, `Table` and `Query` as its documentation has them.

TinyDB's Table reads and writes everything for every change (`Table._update_table`) and hands out ids outside of it.
Here an updater sees rows that are read on demand, and only what it touched is written, in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, cast

from tinydb import TinyDB
from tinydb.queries import QueryLike
from tinydb.table import Document, Table

from tui_router.store import json_codec as documents
from tui_router.store.sqlite_storage import LAST_ID, SQLiteStorage
from tui_router.store.stored_table import StoredTable

Fields = Mapping[str, Any] | Callable[[Any], None]


class Changes(MutableMapping[int, Any]):
    """A table as TinyDB's updaters see it: what was touched is written by `flush`."""

    def __init__(self, storage: SQLiteStorage, name: str) -> None:
        self.storage, self.name, self.cleared = storage, name, False
        self.now: dict[int, Any] = {}
        self.before: dict[int, bytes] = {}

    def __getitem__(self, key: int) -> Any:
        if key not in self.now:
            raw = None if self.cleared else self.storage.one(self.name, key)
            if raw is None:
                raise KeyError(key)
            self.before[key], self.now[key] = raw, documents.decode(raw)
        if self.now[key] is None:
            raise KeyError(key)
        return self.now[key]

    def __setitem__(self, key: int, value: Any) -> None:
        self.now[key] = value
        self.storage.reserve(self.name, key + 1)  # an id chosen by the caller: automatic ones come after it

    def __delitem__(self, key: int) -> None:
        self[key]
        self.now[key] = None

    def __iter__(self) -> Iterator[int]:
        stored = [] if self.cleared else [i for i, _ in self.storage.scan(self.name)]
        yield from (i for i in stored if self.now.get(i, 1) is not None)
        yield from [i for i in self.now.keys() - set(stored) if self.now[i] is not None]

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def clear(self) -> None:
        self.cleared, self.now, self.before = True, {}, {}

    def flush(self) -> None:
        """Write what changed."""
        new = {i: None if doc is None else documents.encode(doc) for i, doc in self.now.items()}
        new = {i: raw for i, raw in new.items() if raw is None or raw != self.before.get(i)}
        if new or self.cleared:
            self.storage.put(self.name, new, clear=self.cleared)


class SQLiteTable(Table):
    """TinyDB's Table; an insert or an update by id costs the same at any size."""

    _storage: SQLiteStorage

    def __init__(self, storage: SQLiteStorage, name: str, cache_size: int = 0, persist_empty: bool = False) -> None:
        super().__init__(storage, name, cache_size=0)  # cached answers would miss what other processes write
        if persist_empty and name not in storage.names():  # TinyDB's own empties an existing table here
            storage.put(name, {})

    def recent(self, limit: int, before: int = LAST_ID) -> list[Document]:
        """Return the newest documents with ids below `before`, newest first."""
        return [Document(documents.decode(raw), i) for i, raw in self._storage.recent(self.name, limit, before)]

    def insert(self, document: Mapping[Any, Any]) -> int:
        with self._storage.transaction():
            return super().insert(document)

    def insert_multiple(self, documents: Iterable[Mapping[Any, Any]]) -> list[int]:
        documents = list(documents)  # the caller's generator must not run under the lock
        with self._storage.transaction():
            return super().insert_multiple(documents)

    def all(self) -> list[Document]:
        with self._storage.transaction(write=False):
            return super().all()

    def search(self, cond: QueryLike) -> list[Document]:
        with self._storage.transaction(write=False):
            return super().search(cond)

    def count(self, cond: QueryLike) -> int:
        with self._storage.transaction(write=False):
            return len(self._matching(cond))

    if not TYPE_CHECKING:  # keeps TinyDB's overloads for callers

        def get(self, cond=None, doc_id=None, doc_ids=None):
            if doc_id is None and doc_ids is not None:
                with self._storage.transaction(write=False):
                    found = [super(SQLiteTable, self).get(doc_id=i) for i in sorted(set(doc_ids))]
                return [doc for doc in found if doc is not None]
            return super().get(cond, doc_id, doc_ids)

    def update(self, fields: Fields, cond: QueryLike | None = None, doc_ids: Iterable[int] | None = None) -> list[int]:
        with self._storage.transaction():
            return super().update(fields, None, self._matching(cond) if doc_ids is None else doc_ids)

    def update_multiple(self, updates: Iterable[tuple[Fields, QueryLike]]) -> list[int]:
        updates, done = list(updates), list[int]()
        with self._storage.transaction():
            for i in self._matching(lambda doc: any(cond(doc) for _, cond in updates)):
                for fields, cond in updates:
                    if cond(self.get(doc_id=i) or {}):
                        done += super().update(fields, None, [i])
        return done

    def upsert(self, document: Mapping[Any, Any], cond: QueryLike | None = None) -> list[int]:
        with self._storage.transaction():
            return super().upsert(document, cond)

    def remove(self, cond: QueryLike | None = None, doc_ids: Iterable[int] | None = None) -> list[int]:
        with self._storage.transaction():
            return super().remove(None, self._matching(cond) if doc_ids is None and cond is not None else doc_ids)

    def _matching(self, cond: QueryLike | Callable[[Any], bool] | None) -> list[int]:
        rows = self._storage.scan(self.name)
        return [i for i, raw in rows if cond is None or cond(documents.decode(raw))]

    def _get_next_id(self) -> int:
        with self._storage.transaction():
            next_id = self._storage.head(self.name)[0]
            self._storage.reserve(self.name, next_id + 1)
            return next_id

    def _read_table(self) -> Any:
        return StoredTable(self._storage, self.name)

    def _update_table(self, updater: Callable[[Any], None]) -> None:
        with self._storage.transaction():
            changes = Changes(self._storage, self.name)
            updater(changes)
            changes.flush()


class SQLiteTinyDB(TinyDB):
    """TinyDB with all of this as its defaults."""

    table_class = SQLiteTable  # type: ignore[assignment]
    default_storage_class = SQLiteStorage  # type: ignore[assignment]
    storage: SQLiteStorage

    def table(self, name: str, **kwargs: Any) -> SQLiteTable:
        """Return a table by name."""
        return cast(SQLiteTable, super().table(name, **kwargs))

    def transaction(self, write: bool = True) -> AbstractContextManager[None]:
        """See `SQLiteStorage.transaction`."""
        return self.storage.transaction(write)

    def drop_table(self, name: str) -> None:
        """Remove a table and its documents."""
        with self.storage.transaction():
            super().drop_table(name)
