"""A file with any value in any place is read or left out, and never ends in an exception."""

import copy
import json
import os
import random
import zipfile

import pytest

from tests.datasets.importing.test_shapes import EXPECTED, FIXTURES, read

JSON_FIXTURES = [name for name in EXPECTED if name.endswith((".json", ".jsonl")) and "utf16" not in name]
OTHER_VALUES = (None, 5, -1.5, True, "", "x", "{", "[]", [], [None], [[]], {}, {"a": 1}, {"role": 3}, {"text": None})


def places(value, path=()):
    """Yield the paths of all values inside of a JSON value."""
    if path:
        yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def changed(value, path, other):
    """Return a copy with another value at a path."""
    copied = copy.deepcopy(value)
    *above, last = path
    inner = copied
    for key in above:
        inner = inner[key]
    inner[last] = other
    return copied


@pytest.mark.parametrize(
    "name", [name for name in JSON_FIXTURES if name not in ("bom_crlf.jsonl", "trailing_commas.json")]
)
def test_another_value_in_any_place(tmp_path, name):
    text = (FIXTURES / name).read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()] if name.endswith(".jsonl") else json.loads(text)
    rng = random.Random(name)
    found = list(places(rows))
    for path in rng.sample(found, min(len(found), 60)):
        (tmp_path / "file").write_text(json.dumps(changed(rows, path, rng.choice(OTHER_VALUES))))
        requests, summary = read(tmp_path / "file")
        assert summary.read == len(requests)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_that_is_cut_or_has_random_bytes_in_it(tmp_path, name):
    raw, rng = (FIXTURES / name).read_bytes(), random.Random(name)
    for _ in range(30):
        at = rng.randrange(len(raw))
        for damaged in (raw[:at], raw[:at] + rng.randbytes(3) + raw[at + 3 :], raw[at:]):
            (tmp_path / "file").write_bytes(damaged)
            requests, summary = read(tmp_path / "file")
            assert summary.read == len(requests)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (fault,) = read(tmp_path / "pipe")[1].left_out
    assert "neither a file nor a folder" in fault.why


def test_a_damaged_workbook_is_one_fault(tmp_path):
    with zipfile.ZipFile(tmp_path / "book.xlsx", "w") as archive:
        archive.writestr("[Content_Types].xml", "x")
        archive.writestr("xl/workbook.xml", "x")
    (fault,) = read(tmp_path / "book.xlsx")[1].left_out
    assert "Excel workbook" in fault.why
