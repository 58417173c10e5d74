"""Writes the events of a run into its file and onto standard output, one JSON object a line."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from tui_router.training.run_events import RunEvent, encode_line


class EventWriter:
    """Writes events. `accelerate launch` starts several processes; only the one with RANK 0 writes."""

    def __init__(self, path: Path) -> None:
        self.is_main_process = int(os.environ.get("RANK", "0")) == 0
        self._file = path.open("ab", buffering=0) if self.is_main_process else None

    def __call__(self, event: RunEvent) -> None:
        """Write one event; does nothing in the other processes."""
        if self._file is None:
            return
        line = encode_line(event)
        self._file.write(line)
        with suppress(
            BrokenPipeError, ValueError
        ):  # whoever read standard output may have ended; the file has the line
            sys.stdout.buffer.write(line)
            sys.stdout.flush()
