"""Where a demo keeps its store, and what it makes of the configuration."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui_router.config import Config

MARK = "made-by-tui-router-demo"


def demo_folder(wanted: Path | None) -> Path:
    """A folder for a demo's store: a throw-away one, or `wanted` when it is empty or a demo made it.

    A real store is never touched: a folder that holds anything else is passed over for a throw-away one.
    """
    if wanted is not None and (not wanted.exists() or (wanted.is_dir() and _is_free(wanted))):
        wanted.mkdir(parents=True, exist_ok=True, mode=0o700)
        (wanted / MARK).touch(0o600)
        return wanted
    folder = Path(tempfile.mkdtemp(prefix="tui-router-demo-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _is_free(folder: Path) -> bool:
    return (folder / MARK).exists() or not any(folder.iterdir())


def with_demo(config: Config, url: str) -> Config:
    """The configuration with the demo server as its only one."""
    from msgspec.structs import replace

    from tui_router.config import BackendSetting

    return replace(config, backends=(BackendSetting(name="DEMO", url=url, kind="lmstudio"),))
