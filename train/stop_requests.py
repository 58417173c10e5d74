"""How a running training is asked to stop: a word in the file `control` of its run, or a signal."""

from __future__ import annotations

import signal
from pathlib import Path

from tui_router.training.runs import STOP_WORDS, StopMode


class StopRequests:
    """Reads stop requests for one run. SIGTERM and SIGINT mean `pause`.

    Args:
        path: The run's control file; see `Run.request_stop`.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._signalled = path, False
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._on_signal)

    def _on_signal(self, *_: object) -> None:
        self._signalled = True

    def clear(self) -> None:
        """Remove the request, so that the next process of this run does not obey it again."""
        self._path.unlink(missing_ok=True)

    def current(self) -> StopMode | None:
        """Return what was asked for so far; None when the training should go on."""
        if self._signalled:
            return "pause"
        try:
            word = self._path.read_text(encoding="utf-8").strip()
        except OSError:
            return None
        return next((mode for mode, known in STOP_WORDS.items() if known == word), None)
