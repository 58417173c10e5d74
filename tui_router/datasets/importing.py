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

from tui_router.core.example import Example
from tui_router.core.fleet import Fleet
from tui_router.datasets.formats import Format, RowError, example_of, form_of, rows_of_csv

OLD_TASKS = {
    "tool_use": "tool_use", "browser": "tool_use", "browser_automation": "tool_use", "coding": "code", "code": "code",
    "code_generation": "code", "reasoning": "reasoning", "math": "reasoning", "vision": "vision", "image": "vision",
    "chat": "general_chat", "general": "general_chat", "general_chat": "general_chat", "creative": "general_chat",
    "simple": "simple_chat", "simple_chat": "simple_chat", "quick": "simple_chat", "fast": "simple_chat",
}  # fmt: skip
"""Task types of older logs -> the routes that ship."""
OLD_MODELS = {
    "gpt-oss": "tool_use", "coder": "code", "codestral": "code", "ministral": "reasoning", "reasoning": "reasoning",
    "deepseek-r1": "reasoning", "vl": "vision", "llava": "vision", "gemma-3n": "general_chat", "gemma-3-1b": "simple_chat",
}  # fmt: skip
"""Parts of model names of older logs -> the routes that ship, the first that fits."""


class Fault(Struct, frozen=True):
    """A row that cannot be read."""

    where: str
    says: str


class Reading(Struct, frozen=True, kw_only=True):
    """What stands in some files."""

    examples: tuple[Example, ...]
    layouts: dict[str, int]
    """Layout -> rows."""
    mapped: dict[str, str]
    """Name of a task or a model in the files -> the route that it becomes."""
    unlabelled: int
    """Requests of which nobody said what was right."""
    unknown: dict[str, int]
    """Names that lead to no route of the fleet -> rows."""
    faults: tuple[Fault, ...]


class _Reader:
    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.layouts: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.mapped: dict[str, str] = {}
        self.unlabelled = 0
        self.faults: list[Fault] = []
        self.examples: list[Example] = []

    def file(self, path: Path) -> None:
        """Read one file. Raises OSError."""
        if path.suffix.lower() == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as text:
                rows: Iterator[tuple[str, Any]] = (
                    (f"{path}, row {i}", row) for i, row in enumerate(rows_of_csv(text), 2)
                )
                self._rows(path, rows)
            return
        with path.open("rb") as lines:
            self._rows(path, self._lines(path, lines))

    def _lines(self, path: Path, lines: Iterator[bytes] | Any) -> Iterator[tuple[str, Any]]:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield f"{path}, line {number}", json.loads(line)
            except ValueError as error:
                self.faults.append(Fault(f"{path}, line {number}", f"is not JSON: {error}"))

    def _rows(self, path: Path, rows: Iterator[tuple[str, Any]]) -> None:
        log: list[tuple[str, dict[str, Any]]] = []
        try:
            for where, row in rows:
                if not isinstance(row, dict):
                    self.faults.append(Fault(where, f"expected an object, found {str(row)[:60]}"))
                elif "routing" in row or row.get("feedback_update"):
                    log.append((where, row))
                else:
                    self._plain(where, row)
        except (csv.Error, UnicodeDecodeError) as error:
            self.faults.append(Fault(str(path), f"cannot be read on: {error}"))
        self._log(log)

    def _plain(self, where: str, row: dict[str, Any]) -> None:
        form = form_of(row)
        if form is not None and (form == "csv" or "route" in row):
            self._own(where, row, form)
            return
        text = row.get("request") if isinstance(row.get("request"), str) else row.get("text")
        name = row.get("route") or row.get("task") or row.get("task_type") or row.get("best_model")
        if not isinstance(text, str) or not isinstance(name, str):
            said = "has neither a text with a route nor a known layout; a row needs `text` (or `request`) and `route`"
            self.faults.append(Fault(where, said))
            return
        self.layouts["plain rows" if "route" in row or "task" in row else "older seeds"] += 1
        route = self._route(name) or self._route(str(row.get("best_model") or ""))
        if route is None:
            self.unknown[name] += 1
            return
        self._keep(
            Example(
                text=text, route=route, source="imported", origin=where, has_image=bool(row.get("has_image")),
                has_code=bool(row.get("has_code")),
            )
        )  # fmt: skip

    def _own(self, where: str, row: dict[str, Any], form: Format) -> None:
        self.layouts[f"our format {form}"] += 1
        try:
            made = example_of(row, form)
        except RowError as error:
            self.faults.append(Fault(where, str(error)))
            return
        route = self._route(made.route)
        if route is None:
            self.unknown[made.route] += 1
            return
        from msgspec.structs import replace

        self._keep(replace(made, route=route, origin=made.origin or where))

    def _log(self, rows: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """The rows of one log file; feedback that came later is joined to the newest request of its time before it."""
        requests: dict[str, tuple[str, dict[str, Any]]] = {}
        order: list[str] = []
        for where, row in rows:
            at = str(row.get("timestamp"))
            if not row.get("feedback_update"):
                self.layouts["older logs"] += 1
                requests[at] = (where, dict(row))
                order.append(at)
            elif at in requests:
                requests[at][1]["feedback"] = row.get("feedback")
            else:
                self.faults.append(Fault(where, f"is feedback on a request of {at}, which is not in the file"))
        for at in dict.fromkeys(order):
            self._logged(*requests[at])

    def _logged(self, where: str, row: dict[str, Any]) -> None:
        request, routing, feedback = row.get("request"), row.get("routing"), row.get("feedback") or {}
        text = request.get("text") if isinstance(request, dict) else None
        if not isinstance(text, str) or not isinstance(routing, dict) or not isinstance(feedback, dict):
            self.faults.append(Fault(where, "is a log row without a request text, a routing or a readable feedback"))
            return
        name = feedback.get("correct_route") or feedback.get("correct_model")
        if not name and feedback.get("user_rating") == 1:
            name = routing.get("task_type") or routing.get("model_chosen")
        if not name:
            self.unlabelled += 1
            return
        route = self._route(str(name))
        if route is None:
            self.unknown[str(name)] += 1
            return
        assert isinstance(request, dict)
        self._keep(
            Example(
                text=text, route=route, source="imported", origin=f"{where} {row.get('timestamp', '')}".strip(),
                session=str(row.get("session_id") or ""), has_image=bool(request.get("has_image")),
                has_code=bool(request.get("has_code")),
            )
        )  # fmt: skip

    def _keep(self, example: Example) -> None:
        if example.text.strip():
            self.examples.append(example)
        else:
            self.faults.append(Fault(example.origin, "has an empty text"))

    def _route(self, name: str) -> str | None:
        """The route of a name: a route's own or former name, a task, a model; None when it leads to none of the fleet."""
        found = self.fleet.names.get(name) or self._by_model(name) or self._old(name)
        if found is not None and found != name:
            self.mapped[name] = found
        return found

    def _by_model(self, name: str) -> str | None:
        return next((route.name for route in self.fleet.routes if route.model == name), None)

    def _old(self, name: str) -> str | None:
        lower = name.lower()
        old = OLD_TASKS.get(lower) or next((route for part, route in OLD_MODELS.items() if part in lower), None)
        return self.fleet.names.get(old) if old is not None else None


def read(paths: Sequence[Path], fleet: Fleet) -> Reading:
    """What stands in these files, in their order. Keeps nothing.

    Raises:
        OSError: a file cannot be opened.
    """
    reader = _Reader(fleet)
    for path in paths:
        reader.file(path)
    return Reading(
        examples=tuple(reader.examples), layouts=dict(reader.layouts), mapped=reader.mapped, unlabelled=reader.unlabelled,
        unknown=dict(reader.unknown), faults=tuple(reader.faults),
    )  # fmt: skip


def table(mapped: Mapping[str, str]) -> list[str]:
    """The mapping as lines, for the question before an import."""
    return [f"{name} → {route}" for name, route in sorted(mapped.items())]
