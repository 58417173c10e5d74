"""Chooses the folders of the program: the data folder, and the folder of a demo."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from tui_router.config.settings import NoHomeError, data_dir

DEMO_MARK = "made-by-tui-router-demo"
"""A file of this name marks a folder that a demo made, so that a demo may use it again."""


def from_home(path: Path | str) -> str:
    """Return a path as people write it, with `~` for their home folder."""
    try:
        return f"~/{Path(path).relative_to(Path.home()).as_posix()}"
    except (ValueError, RuntimeError):  # elsewhere, or there is no home
        return str(path)


def state_folder(wanted: Path | None) -> Path:
    """Return the folder in which the last good configuration is kept."""
    with suppress(OSError):  # a name that is too long, a folder that may not be looked into
        if wanted is not None and (wanted.is_dir() or not wanted.exists()):
            return wanted
    try:
        return data_dir()
    except NoHomeError:
        return _temporary_folder()


def store_folder(wanted: Path | None, demo: bool) -> tuple[Path, str]:
    """Return the folder of the store, and a message when it is not the wanted one, else an empty text."""
    if demo:
        folder = demo_folder(wanted)
        as_wanted = wanted in (None, folder)
        return folder, "" if as_wanted else f"{wanted} is not a demo's folder; the demo uses a temporary one"
    message = ""
    if wanted is not None:
        try:
            wanted.mkdir(parents=True, exist_ok=True, mode=0o700)
            return wanted, ""
        except OSError as error:
            message = f"--data-dir {wanted} cannot be used ({error.strerror}); "
    try:
        return data_dir(), message and f"{message}{data_dir()} is used instead"
    except NoHomeError as error:
        return _temporary_folder(), f"{message}{error}; until then nothing is kept"


def demo_folder(wanted: Path | None) -> Path:
    """Return a folder for a demo's store: `wanted` when it is new, empty or made by a demo, else a temporary one.

    A real store is never touched. The temporary folder is removed when the process ends.
    """
    with suppress(OSError):
        if wanted is not None and (not wanted.exists() or (wanted.is_dir() and _is_free(wanted))):
            wanted.mkdir(parents=True, exist_ok=True, mode=0o700)
            (wanted / DEMO_MARK).touch(0o600)
            return wanted
    return _temporary_folder()


def _temporary_folder() -> Path:
    """Make a temporary folder, which is removed at the end of the process."""
    folder = Path(tempfile.mkdtemp(prefix="tui-router-demo-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _is_free(folder: Path) -> bool:
    return (folder / DEMO_MARK).exists() or not any(folder.iterdir())
