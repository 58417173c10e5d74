"""docs/reference is written from the code: each page is current, and says what the code does."""

import pytest

from scripts import reference
from tui_router.cli.parser import all_commands
from tui_router.config.settings import Settings
from tui_router.store import schema


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
