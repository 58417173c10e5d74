"""The arrows between the rooms, and what a start may import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "tui_router"
HEAVY = ("torch", "transformers", "trl", "peft", "unsloth", "datasets")

# A room may import from the rooms that are named here, and from itself.
LOW = {"core", "checks", "toml_lines", "assets", ""}
FACE = LOW | {
    "config", "engine", "events", "backends", "store", "routers", "demo", "learning", "insight", "datasets", "training", "tuned",
    "generating", "fleet_edit", "watching",
}  # fmt: skip
ARROWS = {
    "core": set(),
    "checks": {"toml_lines"},
    "toml_lines": set(),
    "assets": set(),
    "routers": LOW,
    "fleet_file": LOW | {"routers"},
    "config": LOW | {"routers", "fleet_file"},
    "backends": LOW | {"config"},
    "store": LOW,
    "demo": LOW | {"config"},
    "learning": LOW | {"config", "routers", "store"},
    "insight": LOW | {"config", "routers", "store"},
    "datasets": LOW | {"routers"},
    "refit": LOW | {"routers", "learning"},
    "training": LOW | {"config", "routers", "backends", "store", "learning", "datasets"},
    "tuned": LOW | {"config", "routers", "backends", "store", "training"},
    "events": LOW | {"store", "learning"},
    "racing": LOW | {"config", "routers", "backends", "store", "learning", "refit", "events", "training", "tuned"},
    "fleet_edit": LOW | {"config"},
    "watching": LOW | {"config", "routers", "backends", "store", "insight", "events"},
    "engine": LOW | {"config", "routers", "backends", "store", "events", "racing", "watching"},
    "generating": LOW | {"backends", "datasets", "routers", "engine"},
    "ui": FACE,
    "cli": FACE | {"ui"},
    "__main__": {"cli"},
    "": set(),
}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        if "_assets" not in path.parts:
            parts = path.relative_to(PACKAGE).with_suffix("").parts
            room = "" if parts == ("__init__",) else parts[0]
            yield path, "cli" if room.startswith("cli_") else room


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            if node.module == "tui_router":
                yield from (f"tui_router.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(("path", "room"), list(modules()), ids=lambda v: v.stem if isinstance(v, Path) else v)
def test_imports_point_one_way(path, room):
    for name in imports(path):
        if name.split(".")[0] in HEAVY:
            raise AssertionError(f"{path} imports {name}")
        if name.startswith("tui_router."):
            other = name.split(".")[1]
            other = "cli" if other.startswith("cli_") else other
            if other == "__version__":
                continue
            assert other == room or other in ARROWS[room], f"{path.relative_to(PACKAGE)} may not import {name}"


def test_only_the_screen_imports_textual_and_only_the_store_imports_tinydb():
    for path, room in modules():
        names = set(imports(path))
        assert room == "ui" or not any(n.split(".")[0] in ("textual", "plotext") for n in names), path
        assert room == "store" or not any(n.split(".")[0] in ("tinydb", "sqlite3") for n in names), path


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("tui_router.cli", ("textual", "httpx", "tinydb", "plotext", "asyncio")),
        (
            "tui_router.ui.app",
            ("httpx", "tinydb", "plotext", "markdown_it", "numpy", "tui_router.engine", "tui_router.store"),
        ),
        ("tui_router.engine", ("textual", "plotext", "numpy", "tui_router.ui", *HEAVY)),
    ],
)
def test_a_start_imports_nothing_that_it_does_not_need(module, absent):
    code = f"import sys, {module}; print([m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_module_is_named_after_nothing():
    assert not {p.stem for p, _ in modules()} & {"utils", "helpers", "common", "misc"}
