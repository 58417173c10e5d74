"""What the command line asked of the dashboard."""

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
