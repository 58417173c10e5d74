"""Reading other people's and older data: nothing is kept unless every file can be read, and it is shown first.

Known layouts: our own exports (JSONL and CSV), plain rows with a text and a route, and the logs and seeds of the older
LM-Studio router (`logs/routing_*.jsonl`, `routing/<date>.jsonl`), whose feedback comes with the request or in a row of its
own that is joined by the request's timestamp.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from tui_router.core.example import Example
from tui_router.core.fleet import Fleet
from tui_router.datasets.formats import Format, RowError, example_of, format_of, rows_of_csv

OLD_TASKS = {
    "tool_use": "tool_use",
    "browser": "tool_use",
    "browser_automation": "tool_use",
    "coding": "code",
    "code": "code",
    "code_generation": "code",
    "reasoning": "reasoning",
    "math": "reasoning",
    "vision": "vision",
    "image": "vision",
    "chat": "general_chat",
    "general": "general_chat",
    "general_chat": "general_chat",
    "creative": "general_chat",
    "simple": "simple_chat",
    "simple_chat": "simple_chat",
    "quick": "simple_chat",
    "fast": "simple_chat",
}
"""Task types of older logs -> the routes that ship."""
OLD_MODELS = {
    "gpt-oss": "tool_use",
    "coder": "code",
    "codestral": "code",
    "ministral": "reasoning",
    "reasoning": "reasoning",
    "deepseek-r1": "reasoning",
    "vl": "vision",
    "llava": "vision",
    "gemma-3n": "general_chat",
    "gemma-3-1b": "simple_chat",
}
"""Parts of model names of older logs -> the routes that ship, the first that fits."""


class RowFault(Struct, frozen=True):
    """A row that cannot be read."""

    where: str
    says: str


class ImportSummary(Struct, frozen=True, kw_only=True):
    """What stands in some files."""

    read: int
    """Examples."""
    layouts: dict[str, int]
    """Layout -> rows."""
    mapped: dict[str, str]
    """Name of a task or a model in the files -> the route that it becomes."""
    unlabelled: int
    """Requests of which nobody said what was right."""
    unknown: dict[str, int]
    """Names that lead to no route of the fleet, or were left out on purpose -> rows."""
    columns: tuple[str, ...]
    """Of the first row that has a layout of its own: which of them holds the request, and which the route, must be said."""
    faults: tuple[RowFault, ...]


class ImportReader:
    """Reads files one example at a time; what it saw is told by `reading`.

    Args:
        fleet: Routes of today.
        names: What the person says of names in the files: name -> route; empty leaves its rows out.
        columns: The columns of the request and of its route, in files that have names of their own for them.
    """

    def __init__(
        self, fleet: Fleet, names: Mapping[str, str] | None = None, columns: tuple[str, str] | None = None
    ) -> None:
        self.fleet, self._names, self._columns = fleet, dict(names or {}), columns
        self._layouts: Counter[str] = Counter()
        self._unknown: Counter[str] = Counter()
        self._mapped: dict[str, str] = {}
        self._read = self._unlabelled = 0
        self._own_columns: tuple[str, ...] = ()
        self._faults: list[RowFault] = []

    def examples(self, paths: Sequence[Path]) -> Iterator[Example]:
        """The examples in these files, in their order. Raises OSError when a file cannot be opened."""
        for path in paths:
            for example in self._file(path):
                if example.text.strip():
                    self._read += 1
                    yield example
                else:
                    self._faults.append(RowFault(example.origin, "has an empty text"))

    def reading(self) -> ImportSummary:
        """What was seen so far."""
        return ImportSummary(
            read=self._read,
            layouts=dict(self._layouts),
            mapped=dict(self._mapped),
            unlabelled=self._unlabelled,
            unknown=dict(self._unknown),
            columns=self._own_columns,
            faults=tuple(self._faults),
        )

    def _file(self, path: Path) -> Iterator[Example]:
        if path.suffix.lower() == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as text:
                rows: Iterator[tuple[str, Any]] = (
                    (f"{path}, row {i}", row) for i, row in enumerate(rows_of_csv(text), 2)
                )
                yield from self._rows(path, rows)
            return
        with path.open("rb") as lines:
            yield from self._rows(path, self._lines(path, lines))

    def _lines(self, path: Path, lines: Iterator[bytes] | Any) -> Iterator[tuple[str, Any]]:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield f"{path}, line {number}", json.loads(line)
            except ValueError as error:
                self._faults.append(RowFault(f"{path}, line {number}", f"is not JSON: {error}"))

    def _rows(self, path: Path, rows: Iterator[tuple[str, Any]]) -> Iterator[Example]:
        log: list[tuple[str, dict[str, Any]]] = []
        try:
            for where, row in rows:
                if not isinstance(row, dict):
                    self._faults.append(RowFault(where, f"expected an object, found {str(row)[:60]}"))
                elif "routing" in row or row.get("feedback_update"):
                    log.append((where, row))
                elif (made := self._plain(where, row)) is not None:
                    yield made
        except (csv.Error, UnicodeDecodeError) as error:
            self._faults.append(RowFault(str(path), f"cannot be read on: {error}"))
        yield from self._log(log)

    def _plain(self, where: str, row: dict[str, Any]) -> Example | None:
        if self._columns is None and "tools" in row and ("messages" in row or "conversations" in row):
            self._faults.append(RowFault(where, "is a conversation with tools; those are exported, and not read back"))
            return None
        form = format_of(row) if self._columns is None else None
        if form is not None and (form == "csv" or "route" in row):
            return self._own(where, row, form)
        if self._columns is not None:
            text, name = (row.get(column) for column in self._columns)
        else:
            text = row.get("request") if isinstance(row.get("request"), str) else row.get("text")
            name = row.get("route") or row.get("task") or row.get("task_type") or row.get("best_model")
        if not isinstance(text, str) or not isinstance(name, str):
            self._own_columns = self._own_columns or tuple(map(str, row))
            wanted = (
                f"`{self._columns[0]}` and `{self._columns[1]}`"
                if self._columns
                else "`text` (or `request`) and `route`"
            )
            said = f"has no {wanted}; its columns are {', '.join(map(str, row)) or 'none'}"
            self._faults.append(RowFault(where, said))
            return None
        self._layouts["plain rows" if self._columns or "route" in row or "task" in row else "older seeds"] += 1
        route = self._route(name) or (None if name in self._names else self._route(str(row.get("best_model") or "")))
        if route is None:
            self._unknown[name] += 1
            return None
        return Example(
            text=text,
            route=route,
            source="imported",
            origin=where,
            has_image=bool(row.get("has_image")),
            has_code=bool(row.get("has_code")),
        )

    def _own(self, where: str, row: dict[str, Any], form: Format) -> Example | None:
        self._layouts[f"our format {form}"] += 1
        try:
            made = example_of(row, form)
        except RowError as error:
            self._faults.append(RowFault(where, str(error)))
            return None
        route = self._route(made.route)
        if route is None:
            self._unknown[made.route] += 1
            return None
        return replace(made, route=route, origin=made.origin or where)

    def _log(self, rows: Sequence[tuple[str, dict[str, Any]]]) -> Iterator[Example]:
        """The rows of one log file; feedback that came later is joined to the newest request of its time before it."""
        requests: dict[str, tuple[str, dict[str, Any]]] = {}
        order: list[str] = []
        for where, row in rows:
            at = str(row.get("timestamp"))
            if not row.get("feedback_update"):
                self._layouts["older logs"] += 1
                requests[at] = (where, dict(row))
                order.append(at)
            elif at in requests:
                requests[at][1]["feedback"] = row.get("feedback")
            else:
                self._faults.append(RowFault(where, f"is feedback on a request of {at}, which is not in the file"))
        for at in dict.fromkeys(order):
            if (made := self._logged(*requests[at])) is not None:
                yield made

    def _logged(self, where: str, row: dict[str, Any]) -> Example | None:
        request, routing, feedback = row.get("request"), row.get("routing"), row.get("feedback") or {}
        text = request.get("text") if isinstance(request, dict) else None
        if not isinstance(text, str) or not isinstance(routing, dict) or not isinstance(feedback, dict):
            self._faults.append(
                RowFault(where, "is a log row without a request text, a routing or a readable feedback")
            )
            return None
        name = feedback.get("correct_route") or feedback.get("correct_model")
        if not name and feedback.get("user_rating") == 1:
            name = routing.get("task_type") or routing.get("model_chosen")
        if not name:
            self._unlabelled += 1
            return None
        route = self._route(str(name))
        if route is None:
            self._unknown[str(name)] += 1
            return None
        assert isinstance(request, dict)
        return Example(
            text=text,
            route=route,
            source="imported",
            origin=f"{where} {row.get('timestamp', '')}".strip(),
            session=str(row.get("session_id") or ""),
            has_image=bool(request.get("has_image")),
            has_code=bool(request.get("has_code")),
        )

    def _route(self, name: str) -> str | None:
        """The route of a name: a route's own or former name, a task, a model; None when it leads to none of the fleet."""
        if name in self._names:
            found = self.fleet.names.get(self._names[name])
        else:
            found = self.fleet.names.get(name) or self._by_model(name) or self._old(name)
        if found is not None and found != name:
            self._mapped[name] = found
        return found

    def _by_model(self, name: str) -> str | None:
        return next((route.name for route in self.fleet.routes if route.model == name), None)

    def _old(self, name: str) -> str | None:
        lower = name.lower()
        old = OLD_TASKS.get(lower) or next((route for part, route in OLD_MODELS.items() if part in lower), None)
        return self.fleet.names.get(old) if old is not None else None


def table(mapped: Mapping[str, str]) -> list[str]:
    """The mapping as lines, for the question before an import."""
    return [f"{name} → {route}" for name, route in sorted(mapped.items())]
