"""Starting the dashboard. Imports the screen toolkit and nothing that the first picture does not need."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from msgspec import Struct


class Options(Struct, frozen=True, kw_only=True):
    """What the command line asked for."""

    demo: bool = False
    feedback: bool = True
    health_checks: bool = True
    threshold: float | None = None
    observer: Literal["", "passive", "active"] = ""
    """What the command line says instead of the settings."""
    data_dir: Path | None = None
    config: Path | None = None


def start(options: Options) -> int:
    """Run the dashboard until it is left; returns the exit code."""
    from tui_router.ui.app import RouterApp

    app = RouterApp(options)
    app.run()
    return app.return_code or 0
