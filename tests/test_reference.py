"""docs/reference is written from the code: each page is current, and says what the code does."""

import re
import shlex
from pathlib import Path

import pytest

from scripts import reference
from tui_router.cli.parser import all_commands, parse
from tui_router.config.settings import Settings
from tui_router.store import schema

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["settings.md", "command-line.md", "store.md"])
def test_a_page_is_current(name):
    path = reference.FOLDER / name
    assert path.exists() and path.read_text(encoding="utf-8") == reference.pages()[name], (
        f"{path} is not current: run make reference"
    )


def test_every_setting_command_and_table_has_its_place():
    pages = reference.pages()
    assert all(f"| `{name}` | " in pages["settings.md"] for name in Settings.__struct_fields__)
    assert all(f"## {name}\n" in pages["command-line.md"] for name, _ in all_commands())
    assert set(reference.TABLES) == set(schema.TABLES)


def test_a_setting_is_told_with_its_bounds_and_its_default():
    assert "| `confidence_threshold` | a number from 0 to 1 | `0.7` | Below" in reference.pages()["settings.md"]
    assert "| `kind` | one of 'auto', 'lmstudio', " in reference.pages()["settings.md"]


def examples():
    """Every line of the documents that starts the program."""
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for block in re.findall(r"```[a-z]*\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.splitlines():
                if line.startswith("tui-router "):
                    yield pytest.param(line.partition("  #")[0].partition(" | ")[0].partition(" > ")[0], id=line[:60])


@pytest.mark.parametrize("line", list(examples()))
def test_an_example_of_the_documents_can_be_typed(line):
    words = shlex.split(line)[1:]
    if not words[0].startswith("--"):
        assert parse(words)[0] is not None
