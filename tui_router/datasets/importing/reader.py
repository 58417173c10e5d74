"""Reads files and folders of other programs one request at a time, and sums up what was in them.

A file is opened as what its bytes say (JSON, a table, a database, Markdown, text), and each of its records is read by the
first shape that recognises it. The caller reads twice: once to show the summary, and once more to store the requests.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct

from tui_router.core.example import Example
from tui_router.core.fleet import Fleet
from tui_router.core.pending_request import PendingRequest
from tui_router.datasets.importing import documents, json_files, sqlite_files, tables
from tui_router.datasets.importing.assistants import ChatGPT, Claude, LMStudio, OpenWebUI, OpenWebUIFeedback
from tui_router.datasets.importing.chat_datasets import Alpaca, Conversations, MessageList, PromptCompletion
from tui_router.datasets.importing.imported_request import Found, ImportedRequest, LeftOut, Record, Shape
from tui_router.datasets.importing.own_files import OlderLog, OwnExport, OwnToolExport
from tui_router.datasets.importing.plain_rows import PlainRows
from tui_router.datasets.importing.request_logs import Langfuse, LiteLLM, OpenAICalls, SimonwLLM
from tui_router.datasets.importing.route_names import RouteNames
from tui_router.datasets.importing.text_encoding import HEAD_BYTES, encoding_of, open_text

_SHAPES: tuple[Callable[[], Shape], ...] = (
    OwnToolExport,
    OwnExport,
    OlderLog,
    ChatGPT,
    Claude,
    OpenWebUIFeedback,
    OpenWebUI,
    LMStudio,
    SimonwLLM,
    LiteLLM,
    Langfuse,
    OpenAICalls,
    partial(Conversations, "OpenAI fine-tuning", "messages"),
    partial(Conversations, "ShareGPT", "conversations", "items", "dialogue", "dialog"),
    partial(Conversations, "WildChat or LMSYS", "conversation", "conversation_a"),
    MessageList,
    Alpaca,
    PromptCompletion,
    documents.MarkdownFile,
    documents.TextLine,
)
"""In the order in which they are tried: those with fields that no other program has come first. `PlainRows` is the last."""
_MAX_LISTED = 1000
"""What is left out is counted by reason, and only so many are listed: a file may have millions."""
_ZIP = b"PK\x03\x04"
_TABLE_SUFFIXES = (".csv", ".tsv", ".tab")


class ImportSummary(Struct, frozen=True, kw_only=True):
    """What is in some files."""

    shapes: dict[str, int]
    """Recognised shape -> records."""
    labelled: int
    """Requests whose route is known."""
    pending: int
    """Requests that a person still has to label."""
    mapped: dict[str, str]
    """Name of a task or a model in the files -> the route that it becomes."""
    unknown: dict[str, int]
    """Names that lead to no route of the fleet -> requests left out."""
    columns: tuple[str, ...]
    """Of rows whose column of requests or of routes is not clear; the person must name them."""
    left_out: tuple[LeftOut, ...]
    """The first 1,000 things that are left out."""
    reasons: dict[str, int]
    """Why -> how many were left out."""
    damaged: int
    """Records that cannot be read."""

    @property
    def read(self) -> int:
        """Requests in all."""
        return self.labelled + self.pending

    @property
    def source(self) -> str:
        """The recognised shapes, the most frequent first."""
        return ", ".join(sorted(self.shapes, key=lambda name: -self.shapes[name])) or "nothing that is known"


class ImportReader:
    """Reads files once.

    Args:
        fleet: The fleet of today.
        names: What the person says of names in the files: name -> route; empty leaves its rows out.
        columns: The columns of the request and of its route, in tables with names of their own.
    """

    def __init__(
        self, fleet: Fleet, names: Mapping[str, str] | None = None, columns: tuple[str, str] | None = None
    ) -> None:
        self._fleet, self._columns = fleet, columns
        self._names = RouteNames(fleet, names)
        self._shapes: Counter[str] = Counter()
        self._unknown: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._left_out: list[LeftOut] = []
        self._unclear_columns: tuple[str, ...] = ()
        self._labelled = self._pending = self._damaged = 0

    def requests(self, paths: Sequence[Path]) -> Iterator[Example | PendingRequest]:
        """Yield the requests of files and folders, in their order.

        Raises:
            OSError: a file cannot be opened or read.
        """
        for path in paths:
            for file in _files(path):
                if isinstance(file, LeftOut):
                    self._leave_out(file)
                    continue
                for found in self._file(*file, alone=file[0] == path):
                    if isinstance(found, LeftOut):
                        self._leave_out(found)
                    elif (request := self._labelled_or_pending(found)) is not None:
                        yield request

    def summary(self) -> ImportSummary:
        """Return what was read so far."""
        return ImportSummary(
            shapes=dict(self._shapes),
            labelled=self._labelled,
            pending=self._pending,
            mapped=dict(self._names.mapped),
            unknown=dict(self._unknown),
            columns=self._unclear_columns,
            left_out=tuple(self._left_out),
            reasons=dict(self._reasons),
            damaged=self._damaged,
        )

    def _leave_out(self, one: LeftOut) -> None:
        self._reasons[one.why] += 1
        self._damaged += one.damaged
        if len(self._left_out) < _MAX_LISTED:
            self._left_out.append(one)

    def _file(self, path: Path, name: str, *, alone: bool) -> Iterator[Found]:
        rows = PlainRows(self._names.leads_to_route, self._columns)
        shapes = _FileShapes([rows] if self._columns else [*(make() for make in _SHAPES), rows])
        for record in self._records(path, name, alone=alone):
            if isinstance(record, LeftOut):
                yield record
            elif (shape := shapes.of(record.value)) is None:
                why = f"expected an object, found {str(record.value)[:60]}"
                yield LeftOut(record.where, why, damaged=True)
            else:
                self._shapes[shape.name] += 1
                yield from shape.read(record)
        for shape in shapes.all:
            yield from shape.finish()
        self._unclear_columns = self._unclear_columns or rows.unknown_columns

    def _records(self, path: Path, name: str, *, alone: bool) -> Iterator[Record | LeftOut]:
        with path.open("rb") as file:
            magic = file.read(16)
        if magic.startswith(sqlite_files.MAGIC):
            return sqlite_files.sqlite_records(path, name)
        if magic.startswith(b"PAR1"):
            return tables.parquet_records(path, name)
        if magic.startswith(_ZIP) and tables.is_workbook(path):
            return tables.workbook_records(path, name, self._names.leads_to_route)
        encoding = encoding_of(path)
        if encoding is None:
            return iter([LeftOut(name, _why_not_text(magic), damaged=alone)])
        with open_text(path, encoding) as text:
            head = text.read(HEAD_BYTES)
        suffix = Path(name).suffix.casefold()
        if json_files.is_json(head):
            return json_files.json_records(path, name, encoding, head)
        if head.lstrip()[:15].casefold().startswith(("<!doctype html", "<html", "<?xml")):
            return iter([LeftOut(name, "is a web page; import the program's own export instead", damaged=alone)])
        if suffix in (".md", ".markdown") or documents.is_markdown(head):
            return documents.markdown_records(path, name, encoding)
        separator = tables.separator_of(_whole_lines(head), named_table=suffix in _TABLE_SUFFIXES)
        if separator is not None:
            return tables.csv_records(path, name, encoding, separator, self._names.leads_to_route)
        return documents.line_records(path, name, encoding)

    def _labelled_or_pending(self, found: ImportedRequest) -> Example | PendingRequest | None:
        if not found.text.strip():
            self._leave_out(LeftOut(found.where, "an empty text"))
            return None
        route = self._route(found)
        if route is None and found.labels:
            self._unknown[found.labels[0]] += 1
            self._leave_out(LeftOut(found.where, f"no route is called {found.labels[0]!r}"))
            return None
        origin = found.origin or found.where
        if route is None:
            self._pending += 1
            return PendingRequest(
                text=found.text,
                origin=origin,
                session=found.session,
                history=found.history,
                has_image=found.has_image,
                has_code=found.has_code,
            )
        self._labelled += 1
        return Example(
            text=found.text,
            route=route,
            source=found.source,
            origin=origin,
            session=found.session,
            history=found.history,
            has_image=found.has_image,
            has_code=found.has_code,
            weight=found.weight,
        )

    def _route(self, found: ImportedRequest) -> str | None:
        if found.in_tools_route:
            return next((route.name for route in self._fleet.routes if route.needs.tools), self._fleet.routes[0].name)
        for name in found.labels:
            route = self._names.route_of(name)
            if route is not None or self._names.is_chosen(name):
                return route
        return self._names.route_of(found.hint) if found.hint else None


class _FileShapes:
    """The shapes that records of one file may have."""

    def __init__(self, shapes: Sequence[Shape]) -> None:
        self.all = shapes
        self._by_fields: dict[tuple[str, ...], Shape] = {}
        """Shapes of rows without lists and objects, which follow from their fields: a file may have millions of them."""

    def of(self, value: Any) -> Shape | None:
        """Return the first shape that recognises a record; None without one."""
        is_row = isinstance(value, dict) and not any(isinstance(one, list | dict) for one in value.values())
        fields = tuple(value) if is_row else ()
        if fields in self._by_fields:
            return self._by_fields[fields]
        shape = next((one for one in self.all if one.recognises(value)), None)
        if is_row and shape is not None and len(self._by_fields) < _MAX_LISTED:
            self._by_fields[fields] = shape
        return shape


def _files(path: Path) -> Iterator[tuple[Path, str] | LeftOut]:
    """Yield the files of a path with their names in messages: of a folder all that are not hidden, in order of name.

    The names do not hold the folders above: they are stored with each request, and may be exported. ZIP archives, in which
    ChatGPT and Claude send their exports, are folders too.
    """
    if not path.is_dir():
        if path.exists() and not path.is_file():  # a pipe or a device: reading it might never end
            yield LeftOut(path.name, "is neither a file nor a folder", damaged=True)
            return
        yield from _unpacked(path, path.name)
        return
    for file in sorted(path.rglob("*")):
        inside = file.relative_to(path)
        if file.is_file() and not _is_hidden(inside.parts):
            yield from _unpacked(file, inside.as_posix())


def _is_hidden(parts: Sequence[str]) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _unpacked(path: Path, name: str) -> Iterator[tuple[Path, str] | LeftOut]:
    """Yield a file, or those in a ZIP archive one by one. Each is in a temporary file until the next one is asked for."""
    with path.open("rb") as file:
        is_archive = file.read(len(_ZIP)) == _ZIP
    if not is_archive or tables.is_workbook(path):
        yield path, name
        return
    try:
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
            for number, member in enumerate(archive.infolist()):
                where = f"{name}/{member.filename}"
                if member.is_dir() or _is_hidden(member.filename.split("/")):
                    continue
                with archive.open(member) as packed:
                    head = packed.read(HEAD_BYTES)
                    if not _may_be_read(head):  # an export may have thousands of images
                        yield LeftOut(where, "is not a text file")
                        continue
                    file_here = Path(folder) / str(number)  # never the member's own path, which may lead anywhere
                    with file_here.open("wb") as out:
                        out.write(head)
                        shutil.copyfileobj(packed, out)
                yield file_here, where
                file_here.unlink()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:  # RuntimeError: it wants a password
        yield LeftOut(name, f"cannot be unpacked: {error}", damaged=True)


def _may_be_read(head: bytes) -> bool:
    """Return whether a file may be text (in UTF-16 too), a database, a table or an archive."""
    known = head.startswith((sqlite_files.MAGIC, b"PAR1", _ZIP, b"\xff\xfe", b"\xfe\xff"))
    return known or b"\0" not in head or head[1:2] == b"\0" or head[:1] == b"\0"


def _why_not_text(magic: bytes) -> str:
    if magic.startswith(_ZIP):
        return "is a ZIP archive inside of another one; unpack it first"
    if not magic:
        return "is empty"
    return "is not a text file"


def _whole_lines(head: str) -> str:
    """Return a head without its last line, which may be cut, unless it is the only one."""
    return head.rpartition("\n")[0] if len(head) == HEAD_BYTES and "\n" in head else head
