"""The layout of the package: which room may import which, and what a start may import.

A room is a folder of `tui_router`. The arrows between rooms point one way: ALLOWED names, for each room, the
rooms that it may import from. A sub-folder is a room of its own.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.structure import circles, file_graph, room_graph

PACKAGE = Path(__file__).parent.parent / "tui_router"
HEAVY = ("torch", "transformers", "trl", "peft", "unsloth", "datasets")

ROUTING = {
    "routing",
    "routing.rules",
    "routing.linear",
    "routing.learned",
    "routing.ensemble",
    "routing.evaluation",
    "routing.llm",
}
TRAINING = {"training", "training.gate", "training.export"}
DATASETS = {"datasets", "datasets.synthetic", "datasets.importing"}
ENGINE = {"core", "config", *ROUTING, "store", "backends", "learning", "insight", *DATASETS, *TRAINING, "app", "demo"}

ALLOWED: dict[str, set[str]] = {
    "": set(),
    "core": set(),
    "routing.linear": {"core", "routing"},
    "routing.rules": {"core", "routing"},
    "routing": {"core"},
    "routing.llm": {"core", "routing", "routing.rules"},
    "routing.learned": {"core", "routing", "routing.rules", "routing.linear"},
    "routing.ensemble": {"core", "routing"},
    "routing.evaluation": ROUTING | {"core"},
    "config": {"core", "routing.rules"},
    "store": {"core"},
    "backends": {"core", "config"},
    "demo": {"core", "config"},
    "learning": ROUTING | {"core", "config", "store"},
    "insight": ROUTING | {"core", "config", "store"},
    "datasets": ROUTING | {"core"},
    "datasets.synthetic": ROUTING | {"core", "datasets"},
    "datasets.importing": {"core", "datasets"},
    "training": ROUTING | DATASETS | {"core", "config", "backends", "store", "learning"},
    "training.gate": ROUTING | DATASETS | {"core", "config", "store", "learning", "training"},
    "training.export": ROUTING | {"core", "config", "backends", "training"},
    "app": ROUTING | DATASETS | TRAINING | {"core", "config", "store", "backends", "learning", "insight"},
    "ui.widgets": ENGINE,
    "ui.screens": ENGINE | {"ui.widgets"},
    "ui.screens.chat": ENGINE | {"ui.widgets", "ui.screens"},
    "ui": ENGINE | {"ui.widgets", "ui.screens", "ui.screens.chat"},
    "cli": ENGINE | {"ui"},
}


def room_of(module):
    """The room of a module or package: the longest folder of the package that its name begins with."""
    parts = module.split(".")[1:]
    while parts and not (PACKAGE / "/".join(parts)).is_dir():
        parts.pop()
    return ".".join(parts)


def modules():
    """(path, room) of every file of the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if "_assets" not in path.parts:
            yield path, ".".join(path.parent.relative_to(PACKAGE).parts)


def imports(path):
    """The full names that a file imports, at any depth."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            inside = (PACKAGE.parent / module.replace(".", "/")).is_dir()
            yield from (f"{module}.{alias.name}" for alias in node.names) if inside else (module,)


@pytest.mark.parametrize(("path", "room"), list(modules()), ids=lambda v: v.stem if isinstance(v, Path) else v)
def test_imports_point_one_way(path, room):
    for name in imports(path):
        if name.split(".")[0] in HEAVY:
            raise AssertionError(f"{path} imports {name}")
        if name.startswith("tui_router.") and path.name != "__main__.py":
            other = room_of(name)
            assert other == room or other in ALLOWED[room] | {""}, f"{path.relative_to(PACKAGE)} may not import {name}"


def test_neither_files_nor_rooms_form_a_circle():
    assert not circles(file_graph(PACKAGE)) and not circles(room_graph(PACKAGE))


def test_only_the_screen_imports_textual_and_only_the_store_imports_tinydb():
    for path, room in modules():
        names = set(imports(path))
        on_screen = room == "ui" or room.startswith("ui.")
        assert on_screen or not any(n.split(".")[0] in ("textual", "plotext") for n in names), path
        assert room == "store" or "tinydb" not in {n.split(".")[0] for n in names}, path
        # Other programs' databases are read as files; our own is the store's alone.
        assert room in ("store", "datasets.importing") or "sqlite3" not in {n.split(".")[0] for n in names}, path


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("tui_router.cli.main", ("textual", "httpx", "tinydb", "plotext", "asyncio")),
        (
            "tui_router.ui.app",
            ("httpx", "tinydb", "plotext", "markdown_it", "numpy", "tui_router.app.engine", "tui_router.store"),
        ),
        ("tui_router.app.engine", ("textual", "plotext", "numpy", "tui_router.ui", *HEAVY)),
    ],
)
def test_a_start_imports_nothing_that_it_does_not_need(module, absent):
    code = f"import sys, {module}; print([m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_module_is_named_after_nothing():
    assert not {p.stem for p, _ in modules()} & {"utils", "helpers", "common", "misc"}


def test_no_public_class_name_means_two_things():
    found = {}
    for path in [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "train").glob("*.py")]:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(str(path.relative_to(PACKAGE.parent)))
    assert not {name: paths for name, paths in found.items() if len(paths) > 1}


def test_no_module_name_stands_in_two_rooms():
    # The line says why a name may: a command and a screen are called after what they show.
    may = {"__init__", "__main__", "export", "report", "observer", "train", "replay"}
    found = {}
    for path, room in modules():
        if not (room == "cli" or room.startswith("ui.")):
            found.setdefault(path.stem, []).append(room)
    assert not {name: rooms for name, rooms in found.items() if len(rooms) > 1 and name not in may}
