"""Where the dashboard keeps its things, also when what was asked for cannot be."""

from __future__ import annotations

from pathlib import Path

from tui_router.config import data_dir
from tui_router.demo.place import demo_folder


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
    """The folder of the store, and what to tell the person when it is not the one that was asked for."""
    if demo:
        folder = demo_folder(wanted)
        return folder, "" if wanted in (
            None,
            folder,
        ) else f"{wanted} is not a demo's folder; the demo uses a throw-away one"
    if wanted is None:
        return data_dir(), ""
    try:
        wanted.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        return (
            data_dir(),
            f"--data-dir {wanted} cannot be used ({error.strerror}); {data_dir()} is used instead",
        )
    return wanted, ""
