"""kill -9 on a training, again and again: `python -m tests.training.kills --kills N` (`make faults`).

One run is killed at random moments and resumed each time; at its end its losses and decisions must be those of the same run
that was never stopped, whatever was lost on the way.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.training import world
from tui_router.training.router_manifest import REFERENCE, ReferenceCase, read_json
from tui_router.training.run_events import Step
from tui_router.training.runs import Run

STEPS = 400
"""So that there is something left to kill after twenty kills, each some seconds of steps apart."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    kills = parser.parse_args().kills
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        data = world.dataset(home / "data")
        chosen = world.recipe_for(world.base(home / "base", data), steps=STEPS)
        whole = world.train(world.new_run(home / "whole", chosen, data))
        run, done = world.new_run(home / "killed", chosen, data), 0
        dice = random.Random(1)
        for place in range(kills):
            going = world.start(run, *(["--resume"] if place else []))
            begin = newest(run)
            while going.poll() is None and newest(run) <= begin + dice.randrange(1, max(2, STEPS // (kills + 2))):
                time.sleep(0.01)
            if going.poll() is None:
                going.send_signal(signal.SIGKILL)
                done += 1
            going.wait()
        world.train(run, "--resume")
        same = losses(run) == losses(whole) and decisions(run) == decisions(whole)
    sys.stdout.write(
        f"{done} kills in {STEPS} steps: {'the same' if same else 'NOT the same'} losses and decisions as never stopped"
        "\n"
    )
    return 0 if same else 1


def newest(run: Run) -> int:
    return max((e.step for e in run.events() if isinstance(e, Step)), default=0)


def losses(run: Run) -> list[tuple[int, float]]:
    return [(s.step, s.loss) for s in run.curve().steps]


def decisions(run: Run) -> list[tuple[float, ...]]:
    return [one.probabilities for one in read_json(run.artifact / REFERENCE, list[ReferenceCase])]


if __name__ == "__main__":
    sys.exit(main())
