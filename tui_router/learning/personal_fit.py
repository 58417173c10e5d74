"""Fit the personal model in a process of its own: seconds of work that would hold up the dashboard.

`python -m tui_router.learning.personal_fit` reads one JSON object (`FitJob`) from standard input, writes the model
into the folder that it names and ends; the exit code is 0 when a model was written and 3 when there are too few labels.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import msgspec
from msgspec import Struct

from tui_router.core.fleet import Fleet
from tui_router.routing.labels import Label

TOO_FEW_LABELS = 3
"""Exit code."""
TIMEOUT_S = 300.0


class FitJob(Struct, frozen=True):
    """What to fit, and where to write it."""

    fleet: Fleet
    folder: str
    """The folder `learned` in the data folder."""
    labels: tuple[Label, ...]


async def refit(job: FitJob) -> str:
    """Fit in another process, at low priority. Returns why it failed, in a sentence; empty when it did not."""
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tui_router.learning.personal_fit",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        return f"no process could be started to fit your personal model: {error.strerror}"
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, errors = await process.communicate(msgspec.json.encode(job))
    except TimeoutError:
        return f"fitting your personal model took longer than {TIMEOUT_S:.0f} s and was stopped"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode in (0, TOO_FEW_LABELS):
        return ""
    last = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return f"fitting your personal model failed ({last or process.returncode}); single corrections still count"


def main() -> int:
    if hasattr(os, "nice"):
        os.nice(10)
    from tui_router.learning.online_learner import save_personal_model
    from tui_router.routing.learned.learned_router import LearnedRouter
    from tui_router.routing.learned.personal_training import fit_personal_model
    from tui_router.routing.rules.rules_router import RulesRouter

    job = msgspec.json.decode(sys.stdin.buffer.read(), type=FitJob)
    model = fit_personal_model(LearnedRouter(job.fleet, RulesRouter(job.fleet)), job.labels)
    if model is None:
        return TOO_FEW_LABELS
    save_personal_model(model, Path(job.folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
