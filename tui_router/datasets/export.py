"""Writing a dataset: chosen examples, split, in one format, with a card. A folder is there whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from tui_router import __version__
from tui_router.core.example import Example, Source
from tui_router.core.fleet import Fleet
from tui_router.datasets import private
from tui_router.datasets.card import card
from tui_router.datasets.clusters import clusters
from tui_router.datasets.formats import Format, Target, line_of, row_of
from tui_router.datasets.splits import PARTS, Part, split
from tui_router.routers.late import MOST_ROUTES
from tui_router.routers.memory import Sketcher

Private = Literal["mask", "drop", "keep"]
_BATCH = 5000
_ENDINGS = {"csv": "csv", "hf": "parquet"}


class Choice(Struct, frozen=True, kw_only=True):
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


class Exported(Struct, frozen=True, kw_only=True):
    """What was written."""

    folder: str
    form: Format
    target: Target
    parts: dict[str, int]
    per_route: dict[str, dict[str, int]]
    """Route -> part -> examples."""
    per_source: dict[str, int]
    left_out: dict[str, int]
    """Why -> how many."""
    masked: int
    hash: str
    """Of all rows in their order."""


class ExportError(Exception):
    """The dataset cannot be written; the message says why and what to do."""


def export(
    examples: Sequence[Example], fleet: Fleet, choice: Choice, folder: Path, sketcher: Sketcher,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> Exported:  # fmt: skip
    """Write the chosen examples into a new folder.

    Args:
        examples: All that there are; the first of several that are nearly the same stands for them.
        fleet: Routes of today.
        choice: Which, and in which form.
        folder: Must not exist, or be empty.
        sketcher: Compares requests.
        tell: Hears how many examples of how many are done.

    Raises:
        ExportError: the folder is in the way or cannot be written, or nothing is left to write.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportError(f"{folder} is there already and not empty; choose another folder")
    left_out: Counter[str] = Counter()
    chosen = list(_chosen(examples, choice, left_out))
    stands_for = clusters(chosen, sketcher).tolist()
    parts = split(chosen, stands_for)
    kept: list[tuple[Example, Part]] = []
    masked = 0
    for place, (example, part) in enumerate(zip(chosen, parts, strict=True)):
        if not choice.duplicates and stands_for[place] != place:
            left_out["nearly the same as another"] += 1
            continue
        clean = example if choice.private == "keep" else _masked(example)
        if clean != example:
            if choice.private == "drop":
                left_out["private data"] += 1
                continue
            masked += 1
        kept.append((clean, part))
    if choice.target == "letter" and len(fleet.routes) > MOST_ROUTES:
        raise ExportError(
            f"the fleet has {len(fleet.routes)} routes, and there are {MOST_ROUTES} letters; take the target route"
        )
    if not kept:
        raise ExportError("there is no example to write; rate some turns, or choose more sources or routes")
    per_route: dict[str, dict[str, int]] = {r.name: dict.fromkeys(map(str, PARTS), 0) for r in fleet.routes}
    for example, part in kept:
        per_route[example.route][part] += 1
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise ExportError(f"{folder.parent} cannot be written: {error.strerror}") from error
    try:
        made = _write(kept, fleet, choice, unfinished, tell)
        result = Exported(
            folder=str(folder), form=choice.form, target=choice.target,
            parts={p: sum(part == p for _, part in kept) for p in PARTS}, per_route=per_route,
            per_source=dict(Counter(example.source for example, _ in kept)), left_out=dict(left_out), masked=masked,
            hash=made,
        )  # fmt: skip
        (unfinished / "README.md").write_text(card(result, fleet, choice.private, __version__), encoding="utf-8")
        unfinished.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        unfinished.rename(folder)
    except OSError as error:
        raise ExportError(f"{folder} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return result


def _chosen(examples: Iterable[Example], choice: Choice, left_out: Counter[str]) -> Iterator[Example]:
    for example in examples:
        if example.source not in choice.sources:
            left_out[f"source {example.source}"] += 1
        elif choice.routes and example.route not in choice.routes:
            left_out["other routes"] += 1
        else:
            yield example


def _masked(example: Example) -> Example:
    text = private.mask(example.text)
    history = tuple(replace(m, content=private.mask(m.content)) for m in example.history)
    return (
        example if text == example.text and history == example.history else replace(example, text=text, history=history)
    )


def _write(
    kept: Sequence[tuple[Example, Part]], fleet: Fleet, choice: Choice, folder: Path, tell: Callable[[int, int], None]
) -> str:
    made = hashlib.blake2b(digest_size=8)
    data = folder / "data" if choice.form == "hf" else folder
    data.mkdir(exist_ok=True)
    with ExitStack() as stack:
        sinks: dict[Part, _Lines | _Parquet] = {}
        for place, (example, part) in enumerate(kept):
            row = row_of(example, fleet, choice.form, choice.target)
            made.update(line_of(row, choice.form).encode("utf-8", "surrogatepass"))
            if part not in sinks:
                path = data / f"{part}.{_ENDINGS.get(choice.form, 'jsonl')}"
                if choice.form == "hf":
                    sinks[part] = stack.enter_context(_Parquet(path, lettered=choice.target == "letter"))
                else:
                    sinks[part] = stack.enter_context(_Lines(path, choice.form))
            sinks[part].put(row)
            if place % _BATCH == 0:
                tell(place, len(kept))
    tell(len(kept), len(kept))
    return made.hexdigest()


class _Lines:
    """A file of lines."""

    def __init__(self, path: Path, form: Format) -> None:
        self._file: IO[str] = path.open("w", encoding="utf-8", newline="")
        self._form = form
        if form == "csv":
            self._file.write("request,route\r\n")

    def put(self, row: dict[str, Any]) -> None:
        self._file.write(line_of(row, self._form))

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
            raise ExportError("the format hf needs pyarrow: pip install 'tui-router[datasets]'") from error
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

    def put(self, row: dict[str, Any]) -> None:
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
