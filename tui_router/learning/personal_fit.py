"""Fitting a person's own model in a process of its own: seconds of work that the dashboard must not feel.

`python -m tui_router.learning.personal_fit` reads one JSON object from standard input, writes the model into the folder that it names
and ends; the exit code is 0 when a model was written and 3 when there is too little to fit.
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

TOO_LITTLE = 3
LONGEST_S = 300.0


class Job(Struct, frozen=True):
    """What to fit, and where to put it."""

    fleet: Fleet
    folder: str
    """The data folder's folder of what was learned."""
    labels: tuple[Label, ...]


async def refit(job: Job) -> str:
    """Fit in another process, at low priority. Returns why there is no new model, in a sentence; empty when there is."""
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tui_router.learning.personal_fit",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    except OSError as error:
        return f"no process could be started to fit your own model: {error.strerror}"
    try:
        async with asyncio.timeout(LONGEST_S):
            _, said = await process.communicate(msgspec.json.encode(job))
    except TimeoutError:
        return f"fitting your own model took longer than {LONGEST_S:.0f} s and was stopped"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode in (0, TOO_LITTLE):
        return ""
    last = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return f"fitting your own model failed ({last or process.returncode}); what single verdicts taught still counts"


def main() -> int:
    if hasattr(os, "nice"):
        os.nice(10)
    from tui_router.learning.online_learner import save_own
    from tui_router.routing.learned.learned_router import LearnedRouter
    from tui_router.routing.learned.personal_training import fit_personal_model
    from tui_router.routing.rules.rules_router import RulesRouter

    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    own = fit_personal_model(LearnedRouter(job.fleet, RulesRouter(job.fleet)), job.labels)
    if own is None:
        return TOO_LITTLE
    save_own(own, Path(job.folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
