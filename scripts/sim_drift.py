"""Simulate drift: false alarms in quiet histories, and how soon a planted change is found. Part of `make sim`.

    python scripts/sim_drift.py [--runs 1000]

Each history has its own usual shares; half of the turns are rated. A change comes after 700 turns and stays.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tui_router.config.settings import parse_config
from tui_router.core.types import Answer, Decision, Dispatch, Request, Turn, Verdict
from tui_router.insight.drift import BASELINE_TURNS, DriftMonitor

FLEET = parse_config("", None, {}).fleet
THRESHOLD = 0.7
BEFORE, AFTER, QUIET = 700, 50, 2000
ROUTES = [r.name for r in FLEET.routes]
MODELS = {r.name: r.model for r in FLEET.routes}
CHANGES = ("route", "accuracy", "unsure", "slower", "no answer", "another model", "longer")


class Usual:
    """The usual shares of one history."""

    def __init__(self, dice: random.Random) -> None:
        self.mix = {name: dice.uniform(0.05, 0.3) for name in ROUTES}
        self.right = dice.uniform(0.82, 0.96)
        self.unsure = dice.uniform(0.02, 0.15)
        self.failed, self.instead = dice.uniform(0.0, 0.02), dice.uniform(0.0, 0.08)
        self.length, self.speed = dice.uniform(3.5, 4.5), dice.uniform(20, 80)
        self.served_as = "a"


def changed(usual: Usual, change: str, dice: random.Random) -> Usual:
    """Apply a change to the usual shares."""
    match change:
        case "route":
            total = sum(usual.mix.values())
            usual.mix[dice.choice(ROUTES)] += 2.0 * total
        case "accuracy":
            usual.right -= 0.5
        case "unsure":
            usual.unsure = 0.6
        case "slower":
            usual.speed /= 3
        case "no answer":
            usual.failed = 0.5
        case "another model":
            usual.instead = 0.6
        case "longer":
            usual.length += 2
    return usual


def turns(usual: Usual, dice: random.Random, first: int) -> Iterator[Turn]:
    """Yield turns without end."""
    names, weights = list(usual.mix), list(usual.mix.values())
    number = first
    while True:
        route = dice.choices(names, weights)[0]
        confidence = dice.uniform(0.2, THRESHOLD) if dice.random() < usual.unsure else dice.uniform(THRESHOLD, 1)
        decision = Decision(
            ranking=((route, confidence),),
            model=MODELS[route],
            reasons=(),
            router="learned",
            version="",
            elapsed_ms=0.4,
        )
        verdict = None
        if dice.random() < 0.5:
            right = dice.random() < usual.right
            verdict = Verdict(kind="route", at="2026-01-01T00:00:00.000Z", rating="right" if right else "wrong")
        served = (
            None if dice.random() < usual.failed else MODELS[route] if dice.random() >= usual.instead else "gemma-3-1b"
        )
        text = "x" * int(min(5000, dice.lognormvariate(usual.length, 0.7)))
        yield Turn(
            id=f"{number}-a",
            session="s",
            at="2026-01-01T00:00:00.000Z",
            request=Request(text=text),
            decision=decision,
            route=route,
            state="done",
            dispatch=Dispatch(intended=MODELS[route], served=served, served_as=served or ""),
            answer=Answer(text="", tokens_per_second=dice.gauss(usual.speed, usual.speed / 8)),
            verdict=verdict,
        )
        number += 1


def quiet(seed: int) -> int:
    """Count the false alarms in `QUIET` turns after the baseline."""
    dice = random.Random(seed)
    made = turns(Usual(dice), dice, 1)
    known = [next(made) for _ in range(2 * BASELINE_TURNS)]
    monitor = DriftMonitor(FLEET, THRESHOLD, known)
    for turn in known:
        for _ in monitor.step(turn):
            pass
    return sum(1 for _ in range(QUIET) for _ in monitor.step(next(made)))


def planted(job: tuple[int, str]) -> int | None:
    """Count the turns until a planted change is found; for a change of accuracy, the rated turns.

    Returns 0 when it is not found within `AFTER` turns, None when something was found before the change.
    """
    seed, change = job
    dice = random.Random(seed)
    usual = Usual(dice)
    made = turns(usual, dice, 1)
    known = [next(made) for _ in range(BEFORE)]
    monitor = DriftMonitor(FLEET, THRESHOLD, known[: 2 * BASELINE_TURNS])
    before = [found for turn in known for found in monitor.step(turn)]
    if before:
        return None
    made = turns(changed(usual, change, dice), dice, BEFORE + 1)
    after = 0
    while after < AFTER:
        turn = next(made)
        after += change != "accuracy" or turn.verdict is not None
        if any(True for _ in monitor.step(turn)):
            return after
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    args = parser.parse_args()
    print("drift")
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        run: Callable[..., Iterator[int]] = pool.map
        alarms = list(run(quiet, range(args.runs), chunksize=10))
        print(
            f"  {args.runs} quiet histories of {QUIET} turns: {1000 * sum(alarms) / (QUIET * args.runs):.2f} false alarms per 1,000 turns"
        )
        for change in CHANGES:
            jobs = [(seed, change) for seed in range(args.runs)]
            seen = [after for after in pool.map(planted, jobs, chunksize=10) if after is not None]
            found = [after for after in seen if after]
            middle = statistics.median(found) if found else float("nan")
            of = "rated turns" if change == "accuracy" else "turns"
            share = f"{len(found) / len(seen):.1%}, half of them within {middle:.0f}"
            print(f"  planted {change:<14} n={len(seen)}: found within {AFTER} {of} in {share}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
