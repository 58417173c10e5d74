"""Where the program keeps its files: the data folder, a demo's folder, and paths as people write them."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

from tui_router.config.settings import data_dir

DEMO_MARK = "made-by-tui-router-demo"
"""A file of this name says that a demo made the folder, so that a demo may use it again."""


def from_home(path: Path | str) -> str:
    """A path as people write it: `~` for their home."""
    try:
        return f"~/{Path(path).relative_to(Path.home()).as_posix()}"
    except (ValueError, RuntimeError):  # elsewhere, or there is no home
        return str(path)


def state_folder(wanted: Path | None) -> Path:
    """Where the last good configuration is kept."""
    return wanted if wanted is not None and not (wanted.exists() and not wanted.is_dir()) else data_dir()


def store_folder(wanted: Path | None, demo: bool) -> tuple[Path, str]:
    """The folder of the store, and a sentence for the person when it is not the one that was asked for."""
    if demo:
        folder = demo_folder(wanted)
        kept = wanted in (None, folder)
        return folder, "" if kept else f"{wanted} is not a demo's folder; the demo uses a throw-away one"
    if wanted is None:
        return data_dir(), ""
    try:
        wanted.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        problem = f"--data-dir {wanted} cannot be used ({error.strerror}); {data_dir()} is used instead"
        return data_dir(), problem
    return wanted, ""


def demo_folder(wanted: Path | None) -> Path:
    """A folder for a demo's store: a throw-away one, or `wanted` when it is empty or a demo made it.

    A real store is never touched: a folder that holds anything else is passed over for a throw-away one.
    """
    if wanted is not None and (not wanted.exists() or (wanted.is_dir() and _is_free(wanted))):
        wanted.mkdir(parents=True, exist_ok=True, mode=0o700)
        (wanted / DEMO_MARK).touch(0o600)
        return wanted
    folder = Path(tempfile.mkdtemp(prefix="tui-router-demo-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _is_free(folder: Path) -> bool:
    return (folder / DEMO_MARK).exists() or not any(folder.iterdir())
