"""How often the gate of a trained router is wrong, simulated. `make sim`.

    python scripts/sim_gate.py [--runs 2000]

A row has a difficulty, drawn once: the probability that a router decides it correctly. Baseline and candidates are drawn
from it independently, so their errors fall on the same rows more often than on others, as those of real routers do.
"""

from __future__ import annotations

import argparse
import sys
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tui_router.training.gate.gate import falls_behind, passes
from tui_router.training.paired_tests import is_not_worse, p_better, power
from tui_router.training.plan import Plan
from tui_router.training.sealed_looks import level_of_look

PLAN = Plan(champion="learned", champion_version="")
SERIES = (1, 5, 10, 20)
"""Runs that are judged on the same sealed rows, one after the other."""
Bools = NDArray[np.bool_]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000, help="simulated series for each figure")
    runs = parser.parse_args().runs
    single(runs)
    series(runs)
    floor(runs)
    found()
    return 0


def single(runs: int) -> None:
    """One run: an equal candidate that is no faster, and one that is worse by the margin and faster."""
    print(f"one run, first look, {runs:,} times each: share that passes and must not")
    level = level_of_look(PLAN.level, 1)
    for n in (100, 200, 400, 800):
        for differing in (0.02, 0.05, 0.10, 0.20):
            dice = np.random.default_rng(n)
            low = max(0.0, (differing - PLAN.margin) / 2)
            equal = dice.multinomial(n, [differing / 2, differing / 2, 1 - differing], runs).tolist()
            worse = dice.multinomial(n, [low, differing - low, 1 - differing], runs).tolist()
            equal_share = sum(passes(PLAN, n, w, x, 1, faster=False) for w, x, _ in equal) / runs
            worse_share = sum(passes(PLAN, n, w, x, 1, faster=True) for w, x, _ in worse) / runs
            full = sum(is_not_worse(n, w, x, PLAN.margin, PLAN.level) for w, x, _ in worse) / runs
            print(
                f"  {n} rows, differing on {differing:4.0%}: equal {equal_share:.1%}, worse and faster {worse_share:.1%} "
                f"(of at most {level:.1%}; at the whole 5 %: {full:.1%})"
            )


def draw(dice: np.random.Generator, difficulty: NDArray[np.float64]) -> Bools:
    """Return whether a router decides each row correctly."""
    return dice.random(len(difficulty)) < difficulty


def series(runs: int) -> None:
    """Series of runs that are no better than the baseline, on one set of sealed rows: does any of them pass?"""
    print(f"series of equal runs on the same rows, {runs:,} series each: share in which any run passes")
    p_value = cache(p_better)
    for n in (100, 200, 400, 800):
        each, shared = dict.fromkeys(SERIES, 0), dict.fromkeys(SERIES, 0)
        for seed in range(runs):
            dice = np.random.default_rng([n, seed])
            difficulty = dice.beta(4.5, 0.5, n)  # 90 % on average; most rows are easy for everyone
            baseline = draw(dice, difficulty)
            first_each = first_shared = max(SERIES) + 1
            for look in range(1, max(SERIES) + 1):
                candidate = draw(dice, difficulty)
                p = p_value(int((candidate & ~baseline).sum()), int((baseline & ~candidate).sum()))
                if p <= PLAN.level:
                    first_each = min(first_each, look)
                if p <= level_of_look(PLAN.level, look):
                    first_shared = min(first_shared, look)
            for count in SERIES:
                each[count] += first_each <= count
                shared[count] += first_shared <= count
        for count in SERIES:
            print(
                f"  {n} rows, {count:2} runs: {shared[count] / runs:.1%}; with 5 % for each run {each[count] / runs:.1%}"
            )


def floor(runs: int) -> None:
    """Five routes: how often an equal candidate is refused for one of them, and one that is bad on one."""
    print(f"route floor, 5 routes, {runs:,} times each: share that is refused")
    for rows in (10, 20, 40, 80):
        refused = {
            "equal": 0,
            "equal by the observed loss": 0,
            "25 points worse on one": 0,
            "40 points worse on one": 0,
        }
        for seed in range(runs):
            dice = np.random.default_rng([rows, seed])
            counts = []
            for _ in range(5):
                difficulty = dice.beta(4.5, 0.5, rows)
                baseline, candidate = draw(dice, difficulty), draw(dice, difficulty)
                counts.append((int((candidate & ~baseline).sum()), int((baseline & ~candidate).sum())))
            refused["equal"] += any(falls_behind(PLAN, rows, w, x, 5) for w, x in counts)
            refused["equal by the observed loss"] += any((x - w) / rows > PLAN.floor for w, x in counts)
            for name, loss in (("25 points worse on one", 0.25), ("40 points worse on one", 0.40)):
                bad = candidate & (dice.random(rows) >= loss / 0.9)
                counts[-1] = int((bad & ~baseline).sum()), int((baseline & ~bad).sum())
                refused[name] += any(falls_behind(PLAN, rows, w, x, 5) for w, x in counts)
        print(f"  {rows} rows a route: {', '.join(f'{name} {n / runs:.1%}' for name, n in refused.items())}")


def found() -> None:
    """The power: how often a candidate that is better is shown to be better."""
    print("power: the candidate gains as much as named, and besides each router is alone right on 3 % of the rows")
    for n in (100, 200, 400, 800):
        for look in (1, 2, 5):
            level = level_of_look(PLAN.level, look)
            shares = (f"{gain:.0%}: {power(n, gain, gain + 0.06, level):.0%}" for gain in (0.03, 0.05, 0.08, 0.12))
            print(f"  {n} rows, look {look}: {', '.join(shares)}")


if __name__ == "__main__":
    sys.exit(main())
