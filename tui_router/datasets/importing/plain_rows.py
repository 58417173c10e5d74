"""Rows with a column of requests and perhaps one of routes: tables, and JSON rows of no other shape.

Known column names are used at once. Otherwise the first rows of the file decide: the routes are in the column whose values
lead to routes, the requests in the column with the longest texts. What stays unclear is asked of the person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tui_router.datasets.importing.imported_request import Found, ImportedRequest, LeftOut, Record
from tui_router.datasets.importing.messages import text_of
from tui_router.datasets.importing.request_logs import label_in

TEXT_COLUMNS = (
    "request",
    "text",
    "prompt",
    "question",
    "query",
    "message",
    "user_message",
    "user_input",
    "instruction",
    "utterance",
)
"""Usual names of the column of requests, the clearest first."""
LABEL_COLUMNS = ("route", "task", "task_type", "best_model")
"""Names of the column of routes; a row is left out if its value leads to no route."""
_HINT_COLUMNS = ("label", "category", "intent", "class", "target")
"""Names of columns that often hold other labels; they count only where they lead to a route."""
_SAMPLE = 50
"""Rows from which unknown columns are judged."""
_LABEL_SHARE = 0.9
"""Share of the values of a column that must lead to routes. Chosen by hand, not measured."""
_LENGTH_RATIO = 2.0
"""How many times longer than in any other column the texts of the column of requests must be. Chosen by hand."""


class PlainRows:
    """Rows of a table.

    Args:
        leads_to_route: Returns whether a name leads to a route of the fleet.
        columns: The columns of the request and of its route, if the person named them.
    """

    name = "rows"

    def __init__(self, leads_to_route: Callable[[str], bool], columns: tuple[str, str] | None = None) -> None:
        self._leads_to_route, self._columns = leads_to_route, columns
        self._sample: list[Record] | None = None if columns else []
        self.unknown_columns: tuple[str, ...] = ()
        """Of the rows whose columns are unclear; the person must name them."""

    def recognises(self, value: Any) -> bool:
        return isinstance(value, Mapping)

    def read(self, record: Record) -> Iterator[Found]:
        value = record.value
        if self._columns is not None:
            yield self._read(record, *self._columns)
        elif (column := _known_text_column(value)) is not None:
            yield self._read_known(record, column)
        elif self._sample is not None:
            self._sample.append(record)
            if len(self._sample) == _SAMPLE:
                yield from self._decide()
        else:
            yield self._unclear(record)

    def finish(self) -> Iterator[Found]:
        """Yield the sampled rows of a file shorter than the sample."""
        if self._sample:
            yield from self._decide()

    def _decide(self) -> Iterator[Found]:
        sample, self._sample = self._sample or [], None
        self._columns = self._columns_of([record.value for record in sample])
        for record in sample:
            yield self._unclear(record) if self._columns is None else self._read(record, *self._columns)

    def _columns_of(self, rows: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
        """Return (column of requests, column of routes or an empty string); None if that is unclear."""
        texts: dict[str, list[str]] = {}
        for row in rows:
            for name, value in row.items():
                if isinstance(value, str) and value.strip():
                    texts.setdefault(str(name), []).append(value)
        labels = [
            name
            for name, values in texts.items()
            if sum(map(self._leads_to_route, values)) >= _LABEL_SHARE * len(values)
        ]
        if len(labels) > 1:
            return None
        lengths = sorted((sum(map(len, v)) / len(v), name) for name, v in texts.items() if name not in labels)
        clear = len(lengths) == 1 or (
            len(lengths) > 1 and bool(labels) and lengths[-1][0] >= _LENGTH_RATIO * lengths[-2][0]
        )
        return (lengths[-1][1], labels[0] if labels else "") if clear else None

    def _unclear(self, record: Record) -> LeftOut:
        names = tuple(map(str, record.value))
        self.unknown_columns = self.unknown_columns or names
        why = f"has no column named text, request or prompt; its columns are {', '.join(names) or 'none'}"
        return LeftOut(record.where, why, damaged=True)

    def _read(self, record: Record, text_column: str, label_column: str) -> Found:
        text, label = record.value.get(text_column), record.value.get(label_column)
        if text is None:
            names = ", ".join(map(str, record.value)) or "none"
            return LeftOut(record.where, f"has no column {text_column!r}; its columns are {names}", damaged=True)
        return _request(record, text, (str(label),) if label and str(label).strip() else (), "")

    def _read_known(self, record: Record, text_column: str) -> Found:
        row = {str(name).strip().casefold(): value for name, value in record.value.items()}
        hints = [row[name] for name in _HINT_COLUMNS if isinstance(row.get(name), str)]
        return _request(record, record.value[text_column], label_in(row), hints[0] if hints else "")


def _known_text_column(row: Mapping[str, Any]) -> str | None:
    names = {str(name).strip().casefold(): name for name in row if isinstance(name, str)}
    found = (names[name] for name in TEXT_COLUMNS if name in names and text_of(row[names[name]])[0].strip())
    column: str | None = next(found, None) or next((names[name] for name in TEXT_COLUMNS if name in names), None)
    return column


def _request(record: Record, content: Any, labels: tuple[str, ...], hint: str) -> Found:
    text, has_image = text_of(content)
    if not text.strip():
        return LeftOut(record.where, "an empty text")
    return ImportedRequest(
        text=text,
        where=record.where,
        labels=labels,
        hint=hint,
        has_image=has_image or _is_true(record.value.get("has_image")),
        has_code=_is_true(record.value.get("has_code")),
    )


def _is_true(value: Any) -> bool:
    """Return whether a flag is set; tables hold flags as text."""
    return value is True or str(value).strip().casefold() in ("true", "1", "yes")
