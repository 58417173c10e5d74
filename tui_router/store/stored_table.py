"""A table as TinyDB's own code reads it, row by row from the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tui_router.store import json_codec

if TYPE_CHECKING:
    from tui_router.store.sqlite_storage import SQLiteStorage


class StoredTable(Mapping[str, Any]):
    """A table as TinyDB reads it; each access parses afresh, so nobody can alter what is stored."""

    def __init__(self, storage: SQLiteStorage, name: str) -> None:
        self.storage, self.name = storage, name

    def __getitem__(self, key: str) -> Any:
        try:
            raw = self.storage.one(self.name, int(key))
        except ValueError:
            raw = None
        if raw is None:
            raise KeyError(key)
        return json_codec.decode(raw)

    def __iter__(self) -> Iterator[str]:
        return (str(i) for i, _ in self.storage.scan(self.name))

    def __len__(self) -> int:
        return self.storage.head(self.name)[1]

    def items(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]
        return ((str(i), json_codec.decode(raw)) for i, raw in self.storage.scan(self.name))
