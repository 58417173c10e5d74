"""Where the events of a run go: a line in its file, and a line on standard output."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from tui_router.training.run_events import RunEvent, line_of


class Emitter:
    """Writes events. Of several processes only the first one speaks (`accelerate launch` numbers them)."""

    def __init__(self, path: Path) -> None:
        self.speaks = int(os.environ.get("RANK", "0")) == 0
        self._file = path.open("ab", buffering=0) if self.speaks else None

    def __call__(self, event: RunEvent) -> None:
        if self._file is None:
            return
        line = line_of(event)
        self._file.write(line)
        with suppress(BrokenPipeError, ValueError):  # nobody may listen any more; the file has it
            sys.stdout.buffer.write(line)
            sys.stdout.flush()
