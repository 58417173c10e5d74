"""Writing a dataset: chosen examples, split, in one format, with a card. A folder is there whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from tui_router import __version__
from tui_router.core.example import Example, Source
from tui_router.core.fleet import Fleet
from tui_router.datasets import pii as private
from tui_router.datasets.dataset_card import card
from tui_router.datasets.formats import Format, Target, line_of, row_of
from tui_router.datasets.near_duplicates import clusters
from tui_router.datasets.splits import PARTS, Part, part_of
from tui_router.routing.learned.knn_memory import RandomProjectionEncoder
from tui_router.routing.llm.llm_router import MOST_ROUTES

Private = Literal["mask", "drop", "keep"]
_BATCH = 5000
_ENDINGS = {"csv": "csv", "hf": "parquet"}


class ExportOptions(Struct, frozen=True, kw_only=True):
    """What goes into a dataset."""

    form: Format = "messages"
    target: Target = "route"
    sources: tuple[Source, ...] = ("verdict", "seed", "generated", "imported")
    routes: tuple[str, ...] = ()
    """Only these; empty: all."""
    private: Private = "mask"
    """What becomes of examples that hold private data."""
    duplicates: bool = False
    """Keep requests that are nearly the same as another one."""


class ExportedDataset(Struct, frozen=True, kw_only=True):
    """What was written."""

    folder: str
    form: Format
    target: Target | Literal["tool-use"]
    parts: dict[str, int]
    per_route: dict[str, dict[str, int]]
    """Route (kind, of conversations with tools) -> part -> examples."""
    per_source: dict[str, int]
    left_out: dict[str, int]
    """Why -> how many."""
    masked: int
    hash: str
    """Of all rows in their order."""


class DatasetExportError(Exception):
    """The dataset cannot be written; the message says why and what to do."""


def export(
    examples: Callable[[], Iterable[Example]], fleet: Fleet, choice: ExportOptions, folder: Path, projection: RandomProjectionEncoder,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> ExportedDataset:  # fmt: skip
    """Write the chosen examples into a new folder. They are read twice and not held: first compared, then written.

    Args:
        examples: All that there are, the same each time; the first of several that are nearly the same stands for them.
        fleet: Routes of today.
        choice: Which, and in which form.
        folder: Must not exist, or be empty.
        sketcher: Compares requests.
        tell: Hears how many examples of how many are done.

    Raises:
        ExportError: the folder is in the way or cannot be written, or nothing is left to write.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DatasetExportError(f"{folder} is there already and not empty; choose another folder")
    if choice.target == "letter" and len(fleet.routes) > MOST_ROUTES:
        raise DatasetExportError(
            f"the fleet has {len(fleet.routes)} routes, and there are {MOST_ROUTES} letters; take the target route"
        )
    try:
        with whole(folder) as unfinished:
            writing = _Writing(examples, fleet, choice, tell)
            writing.compare(projection)
            made = writing.write(unfinished)
            result = writing.result(folder, made)
            (unfinished / "README.md").write_text(
                card(result, fleet, choice.target, choice.private, __version__), encoding="utf-8"
            )
    except OSError as error:
        raise DatasetExportError(f"{folder} cannot be written: {error.strerror}") from error
    return result


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """A folder to write into, which takes its place when all went well and is gone otherwise. Raises OSError."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        yield unfinished
        unfinished.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


class _Writing:
    """One export on its way. What is held for each example is where it stands and which part it goes to."""

    def __init__(
        self,
        examples: Callable[[], Iterable[Example]],
        fleet: Fleet,
        choice: ExportOptions,
        tell: Callable[[int, int], None],
    ) -> None:
        self._examples, self._fleet, self._choice, self._tell = examples, fleet, choice, tell
        self._parts = bytearray()
        self._stands_for: NDArray[np.intp] = np.zeros(0, np.intp)
        self.left_out: Counter[str] = Counter()
        self.per_source: Counter[str] = Counter()
        self.per_route: dict[str, dict[str, int]] = {r.name: dict.fromkeys(map(str, PARTS), 0) for r in fleet.routes}
        self.masked = 0

    def _chosen(self) -> Iterator[Example]:
        self.left_out.clear()
        for example in self._examples():
            if example.source not in self._choice.sources:
                self.left_out[f"source {example.source}"] += 1
            elif self._choice.routes and example.route not in self._choice.routes:
                self.left_out["other routes"] += 1
            else:
                yield example

    def compare(self, projection: RandomProjectionEncoder) -> None:
        """Find out which examples are nearly the same, and the part of each."""

        def seen() -> Iterator[Example]:
            for example in self._chosen():
                if len(self._parts) % _BATCH == 0:
                    self._tell(0, 1)
                self._parts.append(PARTS.index(part_of(example)))
                yield example

        self._stands_for = clusters(seen(), projection)

    def _kept(self) -> Iterator[tuple[Example, Part]]:
        count, private = len(self._stands_for), self._choice.private
        place = -1
        for place, example in enumerate(self._chosen()):
            if place >= count:
                break
            if place % _BATCH == 0:
                self._tell(place, count)
            first = self._stands_for[place]
            if not self._choice.duplicates and first != place:
                self.left_out["nearly the same as another"] += 1
                continue
            clean = example if private == "keep" else _masked(example)
            if clean != example and private == "drop":
                self.left_out["private data"] += 1
                continue
            self.masked += clean != example
            yield clean, PARTS[self._parts[first]]
        if place + 1 != count:
            raise DatasetExportError("the examples changed while they were written; export them again")
        self._tell(count, count)

    def write(self, folder: Path) -> str:
        """Write the rows; returns their hash."""
        made, choice = hashlib.blake2b(digest_size=8), self._choice
        data = folder / "data" if choice.form == "hf" else folder
        data.mkdir(exist_ok=True)
        with ExitStack() as stack:
            sinks: dict[Part, _Lines | _Parquet] = {}
            for example, part in self._kept():
                row = row_of(example, self._fleet, choice.form, choice.target)
                line = line_of(row, choice.form)
                made.update(line.encode("utf-8", "surrogatepass"))
                if part not in sinks:
                    path = data / f"{part}.{_ENDINGS.get(choice.form, 'jsonl')}"
                    if choice.form == "hf":
                        sinks[part] = stack.enter_context(_Parquet(path, lettered=choice.target == "letter"))
                    else:
                        sinks[part] = stack.enter_context(_Lines(path, choice.form))
                sinks[part].put(row, line)
                self.per_route[example.route][part] += 1
                self.per_source[example.source] += 1
        if not self.per_source:
            raise DatasetExportError("there is no example to write; rate some turns, or choose more sources or routes")
        return made.hexdigest()

    def result(self, folder: Path, made: str) -> ExportedDataset:
        """What was written."""
        return ExportedDataset(
            folder=str(folder), form=self._choice.form, target=self._choice.target,
            parts={part: sum(n[part] for n in self.per_route.values()) for part in PARTS}, per_route=self.per_route,
            per_source=dict(self.per_source), left_out=dict(self.left_out), masked=self.masked, hash=made,
        )  # fmt: skip


def _masked(example: Example) -> Example:
    text = private.mask(example.text)
    history = tuple(replace(m, content=private.mask(m.content)) for m in example.history)
    return (
        example if text == example.text and history == example.history else replace(example, text=text, history=history)
    )


class _Lines:
    """A file of lines."""

    def __init__(self, path: Path, form: Format) -> None:
        self._file: IO[str] = path.open("w", encoding="utf-8", newline="")
        if form == "csv":
            self._file.write("request,route\r\n")

    def put(self, row: dict[str, Any], line: str) -> None:
        self._file.write(line)

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class _Parquet:
    """A Parquet file, written in batches."""

    def __init__(self, path: Path, *, lettered: bool) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise DatasetExportError("the format hf needs pyarrow: pip install 'tui-router[datasets]'") from error
        self._arrow, self._parquet, self._path = pyarrow, pyarrow.parquet, path
        text, flag = pyarrow.string(), pyarrow.bool_()
        message = pyarrow.struct([("role", text), ("content", text)])
        self._schema = pyarrow.schema(
            [("messages", pyarrow.list_(message)), ("route", text), ("source", text), ("origin", text), ("session", text),
             ("has_image", flag), ("has_code", flag), ("weight", pyarrow.float64()), ("exact", text),
             *([("history", text), ("text", text)] if lettered else [])]
        )  # fmt: skip
        self._rows: list[dict[str, Any]] = []
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema)

    def put(self, row: dict[str, Any], line: str) -> None:
        self._rows.append(row)
        if len(self._rows) == _BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(self._arrow.Table.from_pylist(self._rows, schema=self._schema))
            self._rows.clear()

    def __enter__(self) -> _Parquet:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()
