"""Writes a dataset: chosen examples, split into parts, in one format, with a card. The folder is complete or not there."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from tui_router import __version__
from tui_router.core.example import SOURCES, Example, Source
from tui_router.core.fleet import Fleet
from tui_router.datasets import dataset_card, pii
from tui_router.datasets.exported_dataset import DatasetExportError, ExportedDataset, PiiPolicy
from tui_router.datasets.formats import Format, Target, dropped_by, line_of, row_of
from tui_router.datasets.near_duplicates import representatives
from tui_router.datasets.splits import PARTS, Part, part_of
from tui_router.routing.learned.knn_memory import RandomProjectionEncoder
from tui_router.routing.llm.llm_router import MOST_ROUTES

Progress = Callable[[int, int], None]
"""Called with (examples done, examples in all)."""
_BATCH = 5000
"""Examples between two progress reports, and rows in one row group of a Parquet file. Chosen by hand, not measured."""
_SUFFIXES = {"csv": "csv", "hf": "parquet"}


class ExportOptions(Struct, frozen=True, kw_only=True):
    """Which examples go into a dataset, and how they are written."""

    form: Format = "messages"
    target: Target = "route"
    sources: tuple[Source, ...] = SOURCES
    routes: tuple[str, ...] = ()
    """Only these routes; empty means all."""
    private: PiiPolicy = "mask"
    duplicates: bool = False
    """Keep requests that are near-duplicates of another one."""


def _no_progress(done: int, total: int) -> None:
    """Ignore the progress."""


def export(
    examples: Callable[[], Iterable[Example]],
    fleet: Fleet,
    options: ExportOptions,
    folder: Path,
    encoder: RandomProjectionEncoder,
    progress: Progress = _no_progress,
) -> ExportedDataset:
    """Write the chosen examples into a new folder.

    The examples are read twice, first to compare and then to write, so that a hundred thousand need not fit in memory.

    Args:
        examples: Returns all examples, the same ones on each call. Of near-duplicates the first is written.
        fleet: The fleet of today.
        options: Which examples, and in which format.
        folder: Must not exist, or be empty.
        encoder: Embeds requests, to find near-duplicates.
        progress: Called with (done, total).

    Raises:
        DatasetExportError: the folder is not empty or cannot be written, or no example is left to write.
    """
    require_empty(folder)
    if options.target == "letter" and len(fleet.routes) > MOST_ROUTES:
        raise DatasetExportError(
            f"the target letter names at most {MOST_ROUTES} routes, and the fleet has {len(fleet.routes)}; "
            "choose the target route"
        )
    try:
        with atomic_folder(folder) as unfinished:
            exporter = _Exporter(examples, fleet, options, progress)
            exporter.find_duplicates(encoder)
            rows_hash = exporter.write(unfinished)
            dataset = exporter.result(folder, rows_hash)
            card = dataset_card.to_markdown(dataset, fleet, options.target, options.private, __version__)
            (unfinished / "README.md").write_text(card, encoding="utf-8")
    except OSError as error:
        raise DatasetExportError(f"{folder} cannot be written: {error.strerror}") from error
    return dataset


def require_empty(folder: Path) -> None:
    """Refuse a folder that holds something already. Raises DatasetExportError."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DatasetExportError(f"{folder} exists already and is not empty; choose another folder")


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `folder` on success and is deleted on any failure. Raises OSError."""
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


class _Exporter:
    """State of one export. Per example it holds only the part and the index of the representative."""

    def __init__(
        self,
        examples: Callable[[], Iterable[Example]],
        fleet: Fleet,
        options: ExportOptions,
        progress: Progress,
    ) -> None:
        self._examples, self._fleet, self._options, self._progress = examples, fleet, options, progress
        self._parts = bytearray()
        """For each chosen example the index of its part in `PARTS`."""
        self._representatives: NDArray[np.intp] = np.zeros(0, np.intp)
        self.left_out: Counter[str] = Counter()
        self.per_source: Counter[str] = Counter()
        self.per_route: dict[str, dict[str, int]] = {r.name: dict.fromkeys(map(str, PARTS), 0) for r in fleet.routes}
        self.masked = 0
        self.dropped: Counter[str] = Counter()

    def _chosen(self) -> Iterator[Example]:
        """Yield the examples of the chosen sources and routes; counts the others."""
        self.left_out.clear()
        for example in self._examples():
            if example.source not in self._options.sources:
                self.left_out[f"source {example.source}"] += 1
            elif self._options.routes and example.route not in self._options.routes:
                self.left_out["other routes"] += 1
            else:
                yield example

    def find_duplicates(self, encoder: RandomProjectionEncoder) -> None:
        """First pass: note the part of each chosen example, and which ones are near-duplicates."""

        def noted() -> Iterator[Example]:
            for example in self._chosen():
                if len(self._parts) % _BATCH == 0:
                    self._progress(0, 1)
                self._parts.append(PARTS.index(part_of(example)))
                yield example

        self._representatives = representatives(noted(), encoder)

    def _to_write(self) -> Iterator[tuple[Example, Part]]:
        """Second pass: yield the examples to write, masked if asked for, with their parts."""
        count, policy = len(self._representatives), self._options.private
        index = -1
        for index, example in enumerate(self._chosen()):
            if index >= count:
                break
            if index % _BATCH == 0:
                self._progress(index, count)
            first = self._representatives[index]
            if not self._options.duplicates and first != index:
                self.left_out["near-duplicate"] += 1
                continue
            clean = example if policy == "keep" else masked(example)
            if clean != example and policy == "drop":
                self.left_out["private data"] += 1
                continue
            self.masked += clean != example
            if policy != "keep":
                clean = replace(clean, origin=pii.mask(clean.origin))  # imports of older versions note whole paths
            yield clean, PARTS[self._parts[first]]
        if index + 1 != count:
            raise DatasetExportError("the examples changed while they were written; export again")
        self._progress(count, count)

    def write(self, folder: Path) -> str:
        """Write the rows; returns their hash."""
        rows_hash, options = hashlib.blake2b(digest_size=8), self._options
        data = folder / "data" if options.form == "hf" else folder
        data.mkdir(exist_ok=True)
        with ExitStack() as stack:
            files: dict[Part, _LineFile | _ParquetFile] = {}
            for example, part in self._to_write():
                row = row_of(example, self._fleet, options.form, options.target)
                line = line_of(row, options.form)
                rows_hash.update(line.encode("utf-8", "surrogatepass"))
                if part not in files:
                    path = data / f"{part}.{_SUFFIXES.get(options.form, 'jsonl')}"
                    if options.form == "hf":
                        files[part] = stack.enter_context(_ParquetFile(path))
                    else:
                        files[part] = stack.enter_context(_LineFile(path, options.form))
                files[part].write(row, line)
                self.per_route[example.route][part] += 1
                self.per_source[example.source] += 1
                self.dropped.update(dropped_by(options.form, example))
        if not self.per_source:
            raise DatasetExportError("there is no example to write; rate some turns, or choose more sources or routes")
        return rows_hash.hexdigest()

    def result(self, folder: Path, rows_hash: str) -> ExportedDataset:
        """Describe what was written."""
        return ExportedDataset(
            folder=str(folder),
            form=self._options.form,
            target=self._options.target,
            parts={part: sum(n[part] for n in self.per_route.values()) for part in PARTS},
            per_route=self.per_route,
            per_source=dict(self.per_source),
            left_out=dict(self.left_out),
            dropped=dict(self.dropped),
            masked=self.masked,
            hash=rows_hash,
        )


def masked(example: Example) -> Example:
    """Return the example with private data replaced in its text and history; the same object if there is none."""
    text = pii.mask(example.text)
    history = tuple(replace(m, content=pii.mask(m.content)) for m in example.history)
    if text == example.text and history == example.history:
        return example
    return replace(example, text=text, history=history)


class _LineFile:
    """A part written as lines: JSONL or CSV."""

    def __init__(self, path: Path, form: Format) -> None:
        self._file: IO[str] = path.open("w", encoding="utf-8", newline="")
        if form == "csv":
            self._file.write("request,route\r\n")

    def write(self, row: dict[str, Any], line: str) -> None:
        self._file.write(line)

    def __enter__(self) -> _LineFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class _ParquetFile:
    """A part written as Parquet, one row group per batch. The columns are the same in all parts and in all exports."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise DatasetExportError("the format hf needs pyarrow: pip install 'tui-router[datasets]'") from error
        self._arrow = pyarrow
        text, flag = pyarrow.string(), pyarrow.bool_()
        message = pyarrow.struct([("role", text), ("content", text)])
        columns = [("messages", pyarrow.list_(message)), ("text", text)]
        columns += [(name, text) for name in ("route", "source", "origin", "session")]
        columns += [("has_image", flag), ("has_code", flag), ("weight", pyarrow.float64())]
        columns += [("exact", text), ("history", text)]
        self._schema = pyarrow.schema(columns)
        self._rows: list[dict[str, Any]] = []
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema)

    def write(self, row: dict[str, Any], line: str) -> None:
        self._rows.append(row)
        if len(self._rows) == _BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(self._arrow.Table.from_pylist(self._rows, schema=self._schema))
            self._rows.clear()

    def __enter__(self) -> _ParquetFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()
