"""Tables: CSV with any separator and header, Excel workbooks, and Parquet files."""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from tui_router.datasets.formats import without_apostrophe
from tui_router.datasets.importing.imported_request import LeftOut, Record
from tui_router.datasets.importing.plain_rows import LABEL_COLUMNS, TEXT_COLUMNS
from tui_router.datasets.importing.text_encoding import open_text

_SEPARATORS = (",", ";", "\t", "|")
_ONE_COLUMN = "\x1f"
"""A separator that no text holds, for tables of one column."""
_ROWS_COMPARED = 20
_MAX_CELL_CHARS = 1 << 27
"""Python's csv module refuses longer cells; its default of 131,072 is less than some prompts have."""
_PARQUET_BATCH = 256
"""Rows read at a time. Conversations of WildChat have up to some 100 kB each, so that this is some 10 MB."""


def separator_of(head: str, *, named_table: bool) -> str | None:
    """Return what separates the columns of a text; None if it is no table.

    A table has the same number of columns in every row. `sep=;` in the first line, which Excel writes, decides.

    Args:
        head: The beginning of the text, with whole lines.
        named_table: The file's name says that it is a table, so that an unknown header is enough.
    """
    first = head.split("\n", 1)[0].strip().casefold()
    if first.startswith("sep=") and len(first) == 5:
        return first[4]
    if first.strip('"') in TEXT_COLUMNS:
        return _ONE_COLUMN
    best, most_columns = None, 1
    for separator in _SEPARATORS:
        rows = [row for row in islice(_reader(io.StringIO(head, newline=""), separator), _ROWS_COMPARED) if row]
        if not rows or len(rows[0]) <= most_columns:
            continue
        known = bool({cell.strip().casefold() for cell in rows[0]} & {*TEXT_COLUMNS, *LABEL_COLUMNS})
        # Prose may have one comma in every line, so that a comma alone makes no table.
        regular = all(len(row) == len(rows[0]) for row in rows) and (
            named_table or (separator != "," and len(rows) > 1)
        )
        if known or regular:
            best, most_columns = separator, len(rows[0])
    return best


def _reader(text: Any, separator: str) -> Any:
    csv.field_size_limit(_MAX_CELL_CHARS)
    return csv.reader(text, delimiter=separator)


def csv_records(
    path: Path, name: str, encoding: str, separator: str, leads_to_route: Callable[[str], bool]
) -> Iterator[Record | LeftOut]:
    """Yield the rows of a CSV file. Raises OSError."""
    with open_text(path, encoding) as text:
        rows = _reader(text, separator)
        numbered = ((rows.line_num, row) for row in rows)
        try:
            first = list(islice(numbered, 1))
            if first and "".join(first[0][1]).strip().casefold() in ("sep=", f"sep={separator}"):
                first = []
            yield from table_records(chain(first, numbered), name, leads_to_route)
        except csv.Error as error:
            yield LeftOut(f"{name}, line {rows.line_num}", f"cannot be read as CSV: {error}", damaged=True)


def table_records(
    rows: Iterable[tuple[int, Sequence[Any]]], name: str, leads_to_route: Callable[[str], bool]
) -> Iterator[Record | LeftOut]:
    """Yield the rows of a table as objects. If the first two rows name a route in one column, the table has no header.

    Args:
        rows: (row number, cells).
        name: Of the file.
        leads_to_route: Returns whether a text is the name of a route.
    """
    numbered: Iterator[tuple[int, Sequence[Any]]] = (
        (number, row) for number, row in rows if any(str(c or "").strip() for c in row)
    )
    first_two = list(islice(numbered, 2))
    if not first_two:
        return
    header, *second = ([str(cell or "").strip() for cell in cells] for _, cells in first_two)
    known = {cell.casefold() for cell in header} & {*TEXT_COLUMNS, *LABEL_COLUMNS}
    columns = zip(header, *second, strict=False)
    has_header = bool(known) or not any(all(map(leads_to_route, column)) for column in columns)
    if not has_header:
        header = [f"column {number}" for number in range(1, len(header) + 1)]
    for number, cells in chain(first_two[has_header:], numbered):
        if len(cells) > len(header):
            why = f"has {len(cells)} columns, and the header has {len(header)}"
            yield LeftOut(f"{name}, row {number}", why, damaged=True)
            continue
        values = (without_apostrophe(cell) if isinstance(cell, str) else cell for cell in cells)
        yield Record(f"{name}, row {number}", dict(zip(header, values, strict=False)))


_DAMAGED_WORKBOOK = (
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    ParseError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What openpyxl raises on workbooks whose archive, XML or cells are damaged; its documentation names none of them."""


def is_workbook(path: Path) -> bool:
    """Return whether a ZIP archive is an Excel workbook. Raises OSError."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "xl/workbook.xml" in archive.namelist()
    except zipfile.BadZipFile:
        return False


def workbook_records(path: Path, name: str, leads_to_route: Callable[[str], bool]) -> Iterator[Record | LeftOut]:
    """Yield the rows of all sheets of an Excel workbook. Raises OSError."""
    try:
        from openpyxl import load_workbook
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError:
        yield LeftOut(name, "an Excel workbook needs openpyxl: pip install 'tui-router[import]'", damaged=True)
        return
    try:
        book = load_workbook(path, read_only=True, data_only=True)
    except (InvalidFileException, *_DAMAGED_WORKBOOK) as error:
        yield LeftOut(name, f"is not an Excel workbook that can be read: {error}", damaged=True)
        return
    try:
        for sheet in book.worksheets:
            rows = ((number, row) for number, row in enumerate(sheet.iter_rows(values_only=True), 1))
            yield from table_records(rows, f"{name}, sheet {sheet.title}", leads_to_route)
    except _DAMAGED_WORKBOOK as error:
        yield LeftOut(name, f"is a damaged Excel workbook: {error}", damaged=True)
    finally:
        book.close()


def parquet_records(path: Path, name: str) -> Iterator[Record | LeftOut]:
    """Yield the rows of a Parquet file, read in batches. Raises OSError."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        yield LeftOut(name, "a Parquet file needs pyarrow: pip install 'tui-router[import]'", damaged=True)
        return
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_PARQUET_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield Record(f"{name}, row {number}", row)
    except pyarrow.ArrowException as error:
        yield LeftOut(f"{name}, after row {number}", f"cannot be read as Parquet: {error}", damaged=True)
