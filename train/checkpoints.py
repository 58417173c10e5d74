"""Which checkpoints of a run are complete. A process can be killed while it writes one."""

from __future__ import annotations

import shutil
from pathlib import Path

_COMPLETE = "whole"
"""An empty file inside a checkpoint, written last. The name stays: runs that are paused now have it."""


def mark_complete(checkpoint: Path) -> None:
    """Note that everything in the checkpoint folder is written."""
    (checkpoint / _COMPLETE).touch()


def newest(folder: Path) -> Path | None:
    """Return the newest complete checkpoint in the folder, or None. Removes incomplete ones."""
    found: list[Path] = []
    for path in folder.glob("checkpoint-*"):
        if (path / _COMPLETE).is_file():
            found.append(path)
        else:
            shutil.rmtree(path, ignore_errors=True)
    return max(found, key=step_of, default=None)


def step_of(checkpoint: Path) -> int:
    """Return the optimiser step after which a checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])
