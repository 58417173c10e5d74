"""The tables of training data that no turn made: examples and tool conversations from other sources, and edits of labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tui_router.core.example import Example
from tui_router.core.label_edit import LabelEdit
from tui_router.core.pending_request import PendingRequest
from tui_router.core.tool_dialogue import ToolDialogue
from tui_router.store import json_codec
from tui_router.store.schema import DIALOGUES, EXAMPLES, PENDING, RULINGS, decoder
from tui_router.store.tinydb_table import SQLiteTinyDB

_example = decoder(Example)
_edit = decoder(LabelEdit)
_dialogue = decoder(ToolDialogue)
_pending = decoder(PendingRequest)


class TrainingTables:
    """Examples, tool conversations and label edits. Reached as `Store.training`.

    Args:
        db: The store's database; every change is a transaction of it.
    """

    def __init__(self, db: SQLiteTinyDB) -> None:
        self.db = db

    def _put(self, table: str, doc_id: int, record: Any) -> None:
        self.db.storage.put(table, {doc_id: json_codec.encode(record)})

    def keep_examples(self, examples: Iterable[Example]) -> int:
        """Keep examples that no verdict made, all or none; returns how many. Those that are there already are left out."""
        with self.db.transaction():
            known = {_named(example) for example in self.examples()}
            number = first = self.db.storage.head(EXAMPLES)[0]
            for example in examples:
                name = _named(example)
                if name not in known:
                    known.add(name)
                    self._put(EXAMPLES, number, example)
                    number += 1
        return number - first

    def examples(self) -> Iterator[Example]:
        """All examples that no verdict made, in the order in which they came."""
        return (_example(raw) for _, raw in self.db.storage.scan(EXAMPLES))

    def keep_imported(self, requests: Iterable[Example | PendingRequest]) -> tuple[int, int]:
        """Keep imported requests, all or none: labelled ones as examples, the others as pending.

        Those that are there already are left out. A request that is an example is not pending; one that becomes an example
        ceases to be.

        Returns:
            How many examples and how many pending requests were kept.
        """
        with self.db.transaction():
            examples = {_named(example) for example in self.examples()}
            labelled = {name[:_KEY_BYTES] for name in examples}
            waiting = {bytes.fromhex(_pending(raw).key): doc_id for doc_id, raw in self.db.storage.scan(PENDING)}
            first = next_example = self.db.storage.head(EXAMPLES)[0]
            first_pending = next_pending = self.db.storage.head(PENDING)[0]
            for one in requests:
                key = bytes.fromhex(one.key)
                if isinstance(one, PendingRequest):
                    if key not in labelled and key not in waiting:
                        waiting[key] = next_pending
                        self._put(PENDING, next_pending, one)
                        next_pending += 1
                elif (name := _named(one)) not in examples:
                    examples.add(name)
                    labelled.add(key)
                    self._put(EXAMPLES, next_example, one)
                    next_example += 1
                    if (doc_id := waiting.pop(key, None)) is not None:
                        self.db.storage.put(PENDING, {doc_id: None})
            new = sum(doc_id >= first_pending for doc_id in waiting.values())
        return next_example - first, new

    def pending(self) -> Iterator[PendingRequest]:
        """All requests that wait for a label, in the order in which they came."""
        return (_pending(raw) for _, raw in self.db.storage.scan(PENDING))

    def keep_dialogues(self, dialogues: Iterable[ToolDialogue]) -> int:
        """Keep conversations with tools, all or none; returns how many. Those that are there already are left out."""
        with self.db.transaction():
            known = {one.key for one in self.dialogues()}
            number = first = self.db.storage.head(DIALOGUES)[0]
            for one in dialogues:
                if one.key not in known:
                    known.add(one.key)
                    self._put(DIALOGUES, number, one)
                    number += 1
        return number - first

    def dialogues(self) -> Iterator[ToolDialogue]:
        """All conversations with tools, in the order in which they came."""
        return (_dialogue(raw) for _, raw in self.db.storage.scan(DIALOGUES))

    def record_edit(self, edit: LabelEdit) -> None:
        """Keep a person's edit of a label."""
        with self.db.transaction():
            self._put(RULINGS, self.db.storage.head(RULINGS)[0], edit)

    def edits(self) -> list[LabelEdit]:
        """All edits of labels, oldest first."""
        return [_edit(raw) for _, raw in self.db.storage.scan(RULINGS)]


_KEY_BYTES = 8
"""Of a request in what `_named` returns."""


def _named(example: Example) -> bytes:
    """Return a request with its route as a few bytes: a set of a hundred thousand of them stays small."""
    return bytes.fromhex(example.key) + example.route.encode()
