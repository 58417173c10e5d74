"""What a person asked of a running training: a word in the file `control` of its run, or a signal to end."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Literal

Word = Literal["", "pause", "keep", "drop"]


class Control:
    """Looks for the word. SIGTERM and SIGINT mean `pause`."""

    def __init__(self, path: Path) -> None:
        self._path, self._ended = path, False
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._end)

    def _end(self, *_: object) -> None:
        self._ended = True

    def obeyed(self) -> None:
        """What was asked is done: it must not be found by the next process."""
        self._path.unlink(missing_ok=True)

    def word(self) -> Word:
        """What was asked so far."""
        if self._ended:
            return "pause"
        try:
            said = self._path.read_text(encoding="utf-8").strip()
        except OSError:
            return ""
        return said if said in ("pause", "keep", "drop") else ""  # type: ignore[return-value]
