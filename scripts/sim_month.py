"""Simulate months of one person, and compare the estimated accuracy with the true one. Part of `make sim`.

    python scripts/sim_month.py [--months 400] [--bias-months 2000]

The person uses the router on 30 days, 50 turns a day on average. Of wrong decisions 50 % are asked about before sending because
the router is unsure, of right ones 5 %; the person answers each. Up to one question a day is asked because the answer is
informative, and 80 % of these are answered. A turn that was not asked about is drawn for an audit with the probability of
`audit_probability`. Unasked, the person rates 27 % of right turns and, with voluntary bias, 50 % of wrong ones.

Each line says how often the 95 % interval holds the true share over all turns of the month, its mean width, and the mean error.
The last lines show what happens when a person does not answer an audit and rates the turn later, which the estimate does not
model, and what the unasked ratings alone would show.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from msgspec import Struct
from msgspec.structs import replace

from tui_router.core.types import AskReason, Decision, Request, Turn, Verdict, VerdictKind
from tui_router.insight.estimate import StrataCounts, audit_probability

DAYS = 30
TURNS_A_DAY, TURNS_SPREAD = 50, 0.4
"""Mean of the turns of a day, and the standard deviation of their logarithm."""
ASKED = {False: 0.50, True: 0.05}
"""Decision right -> probability that it is asked about because the router is unsure."""
INFORMATIVE = {False: 0.06, True: 0.015}
"""Decision right -> probability that it is asked about because the answer is informative."""
ANSWERED_INFORMATIVE = 0.8
RATED_RIGHT, RATED_WRONG = 0.27, 0.50
HUNDRED_GRADED = {1.0: 3.7, 0.6: 5.1}
"""Share of answered audits -> audits wanted a day, so that about 100 are graded in a month."""


class Person(Struct, frozen=True):
    """How a person rates.

    Attributes:
        rates_wrong: Probability of rating a wrong turn unasked.
        answers: Probability of answering an audit.
        audits_a_day: Audits wanted a day.
        late: Rates unasked only after having dismissed the audit, instead of before it.
    """

    rates_wrong: float
    answers: float
    audits_a_day: float = 1.0
    late: bool = False


class Month(Struct, frozen=True):
    """One simulated month."""

    truth: float
    estimate: float | None
    low: float
    high: float
    calibration_error: float
    """The estimated calibration error less the true one; not a number without a claim."""
    audits: int
    voluntary: float
    """Share of right turns among the unasked ratings."""


UNSURE, SURE = 0.55, 0.97
"""Confidence of the turns that are asked about because the router is unsure, and of all others."""
UNSURE_TURN, TURN = (
    Turn(
        id="1-a",
        session="",
        at="",
        request=Request(text=""),
        decision=Decision(
            ranking=(("code", p), ("vision", 1 - p)), model="", reasons=(), router="learned", version="", elapsed_ms=0.0
        ),
        route="code",
        state="done",
    )
    for p in (UNSURE, SURE)
)


def verdict(kind: VerdictKind, right: bool) -> Verdict:
    return Verdict(kind=kind, at="", rating="right" if right else "wrong", route="code" if right else "reasoning")


def month(job: tuple[int, Person]) -> Month:
    """Simulate a month and estimate its accuracy."""
    seed, person = job
    dice = random.Random(seed)
    right_share = dice.uniform(0.72, 0.97)
    counts, days = StrataCounts(), list[int]()
    true = {"unsure": [0, 0], "worth": [0, 0], "": [0, 0]}
    voluntary = {True: 0, False: 0}
    for _ in range(DAYS):
        probability = audit_probability(days, person.audits_a_day)
        today = max(1, round(dice.lognormvariate(math.log(TURNS_A_DAY) - TURNS_SPREAD**2 / 2, TURNS_SPREAD)))
        for _ in range(today):
            right = dice.random() < right_share
            turn = one_turn(dice, person, right, probability)
            known = turn.verdict is not None
            counts.add(turn, right if known else None)
            true[turn.asked][0] += 1
            true[turn.asked][1] += right
            if turn.verdict is not None and turn.verdict.kind == "route":
                voluntary[right] += 1
        days.append(today)
    found = counts.estimate()
    rated = sum(voluntary.values())
    n = sum(turns for turns, _ in true.values())
    off = sum(abs(hits - turns * (UNSURE if name == "unsure" else SURE)) for name, (turns, hits) in true.items()) / n
    estimated = counts.calibration_error
    return Month(
        sum(hits for _, hits in true.values()) / n,
        found.value,
        *found.ci95,
        math.nan if estimated is None else estimated - off,
        counts.audits_answered,
        voluntary[True] / rated if rated else math.nan,
    )


def one_turn(dice: random.Random, person: Person, right: bool, probability: float) -> Turn:
    """Simulate one turn: whether it is asked about, drawn, answered, rated."""
    asked: AskReason = "unsure" if dice.random() < ASKED[right] else ""
    if asked:
        return replace(UNSURE_TURN, asked=asked, verdict=verdict("accepted" if right else "chosen", right))
    if dice.random() < INFORMATIVE[right]:
        answered = dice.random() < ANSWERED_INFORMATIVE
        return replace(
            TURN, asked="worth", verdict=verdict("accepted" if right else "chosen", right) if answered else None
        )
    rates = dice.random() < (RATED_RIGHT if right else person.rates_wrong)
    unasked = verdict("route", right) if rates else None
    if dice.random() >= probability:
        return replace(TURN, verdict=unasked)
    answers = dice.random() < person.answers
    audit = verdict("audit", right) if answers else None
    if not person.late:
        return replace(TURN, audit=probability, verdict=unasked or audit)
    return replace(TURN, audit=probability, verdict=audit or unasked)


def months(pool: ProcessPoolExecutor, person: Person, count: int, first_seed: int) -> Iterator[Month]:
    """Simulate months until so many have enough audits for a claim."""
    run: Callable[..., Iterator[Month]] = pool.map
    claimed, seed = 0, first_seed
    while claimed < count:
        batch = [(seed + i, person) for i in range(count - claimed)]
        seed += len(batch)
        for one in run(month, batch, chunksize=20):
            claimed += one.estimate is not None
            yield one


def report(name: str, found: list[Month]) -> None:
    """Print coverage, width and bias of the months with a claim, in points."""
    claims = [one for one in found if one.estimate is not None]
    errors = [100 * (one.estimate - one.truth) for one in claims if one.estimate is not None]
    held = sum(one.low <= one.truth <= one.high for one in claims) / len(claims)
    width = 100 * statistics.fmean(one.high - one.low for one in claims)
    bias, error = statistics.fmean(errors), statistics.stdev(errors) / math.sqrt(len(errors))
    audits = statistics.fmean(one.audits for one in claims)
    calibration = 100 * statistics.fmean(abs(one.calibration_error) for one in claims)
    print(
        f"  {name}: interval holds the truth in {held:.1%}, {width:.1f} points wide; error {bias:+.2f} (se {error:.2f}); "
        f"{audits:.0f} audits; calibration error off by {calibration:.1f}; a claim in {len(claims) / len(found):.0%} of {len(found):,} months",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--months", type=int, default=400, help="months with a claim for each coverage")
    parser.add_argument("--bias-months", type=int, default=2000, help="months for each bias at 100 audits")
    args = parser.parse_args()
    print("estimated accuracy over all turns of a month")
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for answers in (1.0, 0.6):
            for rates_wrong in (RATED_RIGHT, RATED_WRONG):
                bias = "with" if rates_wrong != RATED_RIGHT else "without"
                name = f"{bias} voluntary bias, {answers:.0%} of the audits answered"
                report(name, list(months(pool, Person(rates_wrong, answers), args.months, 0)))
                many = Person(rates_wrong, answers, audits_a_day=HUNDRED_GRADED[answers])
                report(f"{name}, 100 audits", list(months(pool, many, args.bias_months, 10_000)))
        late = Person(RATED_WRONG, 0.6, audits_a_day=HUNDRED_GRADED[0.6], late=True)
        found = list(months(pool, late, args.bias_months, 20_000))
        report("with voluntary bias, 60% answered, the others rated later", found)
        errors = [100 * (one.voluntary - one.truth) for one in found]
        print(f"  unasked ratings alone: error {statistics.fmean(errors):+.2f} points")
    return 0


if __name__ == "__main__":
    sys.exit(main())
