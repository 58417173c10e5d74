"""The line of a key, so that a message can name it."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_router.config.toml_locations import find, locate


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("a = 1\n\nb = 2", ("b",), 3),
        ("[t]\nx = 1", ("t", "x"), 2),
        ("[ t . u ]  # here\nx.y = 1", ("t", "u", "x", "y"), 2),
        ('[t."a.b"]\n"c d" = 1', ("t", "a.b", "c d"), 2),
        ('x = """\n[no]\n"""\ny = 1', ("y",), 4),
        ("x = '''\n[no]\n'''\ny = 1", ("y",), 4),
        ("x = [\n  [1],\n  ']',\n]\ny = 1", ("y",), 5),
        ("x = { a = 1 }\r\ny = 1\r\n", ("y",), 2),
        ("# a mark \u2028 of a line\nx = 1", ("x",), 2),
        ('x = "a\u0085b"\ny = 1', ("y",), 2),
    ],
)
def test_a_key_is_found_on_its_line(text, key, line):
    tomllib.loads(text)
    assert locate(text)[key] == line


def test_a_key_that_is_not_there_has_the_line_of_the_table_around_it():
    lines = locate("[a]\n[a.b]\nx = 1")
    assert (
        find(lines, ("a", "b", "missing")) == 2 and find(lines, ("a", "missing")) == 1 and find(lines, ("z",)) is None
    )


@given(st.lists(st.sampled_from(["a = 1", "# note", "", "[t{}]", 'b = "x"', "c = [1, 2]"]), max_size=12))
def test_every_line_is_the_line_of_its_own_key(parts):
    lines = [part.format(number) if "{}" in part else part for number, part in enumerate(parts)]
    for number, line in enumerate(lines, 1):
        if line.startswith("[t"):
            assert locate("\n".join(lines))[(line[1:-1],)] == number
