"""Simulate what learning does: champion and challenger, corrections, wrong labels, whom to ask, the learning curve. `make sim`.

    python scripts/sim.py [champion] [calibration] [watched] [corrections] [places] [marks] [curve] [asking] [--file FILE.jsonl]

Without names: champion, calibration, watched, corrections, places and marks, on the sets of the repository (some minutes). `curve` and
`asking` fit the person's own model many times (some minutes) and want more labelled rows than those sets have: give them a file.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.random_corrections import Outcome, run
from tui_router.cli import evaluate
from tui_router.cli.shared import request_rows
from tui_router.config.settings import parse_config
from tui_router.core.types import Decision, Promotion, Request
from tui_router.routing.ensemble.active_learning import QueryBudget, is_informative
from tui_router.routing.ensemble.calibration import CalibrationRow, rescale_ranking, row_of, temperature
from tui_router.routing.ensemble.champion import LEVEL, ChampionSelector, Comparison
from tui_router.routing.ensemble.grading import Grade
from tui_router.routing.evaluation.scores import LabelledRequest
from tui_router.routing.labels import Label
from tui_router.routing.learned.learned_router import LearnedRouter
from tui_router.routing.learned.personal_training import with_labels
from tui_router.routing.rules.rules_router import RulesRouter

ROOT = Path(__file__).parent.parent
SETS = ROOT / "benchmarks" / "sets"
FLEET = parse_config("", None, {}).fleet
RULES = RulesRouter(FLEET)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=[])
    parser.add_argument("--file", default=str(SETS / "misleading.jsonl"))
    parser.add_argument("--runs", type=int, default=10_000)
    args = parser.parse_args()
    what = args.what or ["champion", "calibration", "watched", "corrections", "places", "marks"]
    unknown = set(what) - {"champion", "calibration", "watched", "corrections", "places", "marks", "curve", "asking"}
    if unknown:
        parser.error(f"there is no simulation {', '.join(sorted(unknown))}")
    rows = evaluate.labelled(args.file, FLEET)
    for name in what:
        match name:
            case "champion":
                champion(args.runs)
            case "calibration":
                calibration(args.runs // 50)
            case "watched":
                watched(args.runs // 10)
            case "corrections":
                corrections()
            case "places":
                places()
            case "marks":
                marks(rows)
            case "curve":
                curve(rows)
            case "asking":
                asking(rows)
    return 0


# -- a promoted router ---------------------------------------------------------------------------------------------------
def watched(runs: int) -> None:
    """After how many verdicts a promoted router loses its place again."""
    print(f"a promoted router, watched, {runs:,} histories each")
    for name, mine, theirs in (("as good", 0.9, 0.9), ("bad", 0.5, 0.92), ("worse by 20 points", 0.72, 0.92)):
        lost = []
        for seed in range(runs):
            dice = random.Random(seed)
            selector = ChampionSelector(
                "learned", ("learned", "rules"), (Promotion(at="", router="tuned", reason="", after=0, run="r"),)
            )
            for i in range(1, 401):
                right = {"tuned": dice.random() < mine, "learned": dice.random() < theirs}
                if selector.add(Grade(i, "right", {k: decided(k, v) for k, v in right.items()}, audit=1.0)) is not None:
                    lost.append(i)
                    break
        within = sum(i <= 40 for i in lost) / runs
        print(f"  {name}: is replaced within 40 verdicts in {within:.1%}, within 400 in {len(lost) / runs:.1%}")


def decided(router: str, right: bool) -> Decision:
    return Decision(
        ranking=(("right" if right else "wrong", 1.0),), model="", reasons=(), router=router, version="", elapsed_ms=0.0
    )


def shipped() -> LearnedRouter:
    return LearnedRouter(FLEET, RULES)


def accuracy(router: LearnedRouter, rows: Sequence[LabelledRequest]) -> float:
    return sum(router.decide(row.request).route == row.route for row in rows) / len(rows)


# -- champion and challenger -------------------------------------------------------------------------------------------
ASKED_WRONG, ASKED_RIGHT = 0.50, 0.05
"""Share of the champion's wrong and right decisions that it is unsure of, so that the person is asked."""


class Pair(NamedTuple):
    """Two routers that decide the same turns."""

    champion: float
    """Share of its decisions that are right."""
    challenger: float
    shared: float
    """Share of the errors of the one with fewer that the other makes too."""


def champion(runs: int) -> None:
    """How often the champion changes, by how turns come to be graded; ratings given unasked count for nothing."""
    print(
        f"champion, {runs:,} histories each; of wrong decisions {ASKED_WRONG:.0%} are asked about, of right ones {ASKED_RIGHT:.0%}"
    )
    for audit in (0.02, 0.1, 1.0):
        for shared in (0.3, 0.6):
            changed = found_within(runs, Pair(0.9, 0.9, shared), 3000, audit)
            print(
                f"  equally good, errors shared {shared:.0%}, audits {audit:4.0%}, 3,000 turns: the champion changes in "
                f"{np.mean(changed < np.inf):.1%} (at most {LEVEL:.0%})",
                flush=True,
            )
    some = max(100, runs // 10)
    for ahead in (0.05, 0.03):
        for shared in (0.3, 0.6):
            pair = Pair(0.95 - ahead, 0.95, shared)
            turns = found_within(some, pair, 600, 1.0, asks=False)
            name, share = f"better by {ahead:.0%}, errors shared {shared:.0%}", np.mean(turns < np.inf)
            print(f"  {name}, every turn graded: found within 600 turns in {share:.1%}")
            for audit, most in ((0.1, 30_000), (0.02, 120_000)):
                turns = found_within(some // 5, pair, most, audit)
                print(
                    f"    asked turns and audits of {audit:.0%}: half found within {np.median(turns):,.0f} turns",
                    flush=True,
                )


def found_within(runs: int, pair: Pair, turns: int, audit: float, *, asks: bool = True) -> NDArray[np.float64]:
    """The turn at which the challenger becomes champion, in each history; infinity when it does not."""
    dice = np.random.default_rng(int(1000 * audit) + turns)
    both = pair.shared * min(1 - pair.champion, 1 - pair.challenger)
    won, lost = 1 - pair.champion - both, 1 - pair.challenger - both
    found = np.full(runs, np.inf)
    for history in range(runs):
        draw, unsure, drawn = dice.random((3, turns), dtype=np.float32)
        challenger_only = draw < won
        champion_wrong = draw < won + both
        apart = challenger_only | ((draw >= won + both) & (draw < won + both + lost))
        asked = (unsure < np.where(champion_wrong, ASKED_WRONG, ASKED_RIGHT)) if asks else np.zeros(turns, np.bool_)
        comparison = Comparison()
        for turn in np.flatnonzero(apart & (asked | (drawn < audit))).tolist():
            comparison.add(not challenger_only[turn], bool(challenger_only[turn]), audit if asked[turn] else 1.0)
            if comparison.wins():
                found[history] = turn + 1
                break
    return found


# -- calibration -------------------------------------------------------------------------------------------------------
THRESHOLD = 0.7
"""Confidence below which the router is unsure."""


def calibration(runs: int) -> None:
    """Which share of a month's turns is asked about, when the router is right on 90 % and its confidence is what it should be.

    The person rates 27 % of right turns and 50 % of wrong ones unasked. The temperature is fitted again after each day.
    """
    print(f"calibration, {runs:,} months of 1,500 turns each")
    for audit in (0.02, 0.05):
        shares, at_one, temperatures = zip(*(asked_share(seed, audit) for seed in range(runs)), strict=True)
        print(
            f"  audits {audit:.0%}: asked because unsure {np.mean(shares):.1%} (at temperature 1: {np.mean(at_one):.1%}), in 95% of "
            f"the months at most {np.quantile(shares, 0.95):.1%}; last temperature {np.mean(temperatures):.2f} on average",
            flush=True,
        )


def asked_share(seed: int, audit: float) -> tuple[float, float, float]:
    """Share of a month's turns that is asked about, the same at temperature 1, and the last temperature."""
    dice, t, asked, unsure_at_one = np.random.default_rng(seed), 1.0, 0, 0
    rows: list[CalibrationRow] = []
    for key in range(1500):
        if key % 50 == 0:
            t = temperature(rows)
        p = float(np.clip(dice.beta(5.4, 0.6), 0.5, 1 - 1e-6))
        unsure_at_one += p < THRESHOLD
        right = dice.random() < p
        ranking = rescale_ranking((("right" if right else "wrong", p), ("wrong" if right else "right", 1 - p)), t)
        decision = Decision(
            ranking=ranking, model="", reasons=(), router="a", version="", elapsed_ms=0.0, temperature=t
        )
        unsure = decision.confidence < THRESHOLD
        asked += unsure
        drawn = not unsure and dice.random() < audit
        if unsure or drawn or dice.random() < (0.27 if right else 0.5):
            grade = Grade(key, "right", {"a": decision}, audit=audit if drawn else 0.0, asked=unsure)
            if (row := row_of(grade, "a")) is not None:
                rows.append(row)
    return asked / 1500, unsure_at_one / 1500, t


# -- corrections -------------------------------------------------------------------------------------------------------
def corrections() -> None:
    """200 corrections, one after the other, none taken back; the controls are what nobody corrected."""
    rows = [(row, request) for _, row, request in request_rows(str(SETS / "corrections.jsonl"), "FILE")]
    controls = [row.request for name in ("misleading", "conversations") for row in labelled_set(name)]
    router = shipped()
    before = [router.decide(request).route for request in controls]
    moved = paraphrases = 0
    taken = []
    for key, (row, request) in enumerate(rows, 1):
        decided = router.decide(request).route
        wanted = next(route for route in row["routes"] if route != decided)
        router.learn(Label(key=key, request=request, route=wanted))
        taken.append(router.decide(request).route == wanted)
        moved += sum(router.decide(Request(text=text)).route == wanted for text in row["paraphrases"])
        paraphrases += len(row["paraphrases"])
    controls_moved = sum(router.decide(request).route != route for request, route in zip(controls, before, strict=True))
    print(f"corrections, {len(rows)} one after the other")
    print(f"  the request itself goes to the corrected route: {np.mean(taken):.1%}")
    print(f"  paraphrases that go there too: {moved / paraphrases:.1%} of {paraphrases}")
    print(
        f"  controls that moved, with all {len(rows)} learned: {controls_moved / len(controls):.1%} of {len(controls)}"
    )


def places(cases: int = 2000) -> None:
    """Random corrections in random conversations and fleets, contradictory ones among them, each checked at once."""
    total = Outcome()
    for seed in range(cases):
        total = total.plus(run(seed, with_personal=seed % 4 == 0))
    print(f"places, {cases:,} cases of 1 to 6 corrections in conversations of 0 to 7 turns")
    print(
        f"  in its place or as the next turn a request goes to its corrected route: {total.taken:,} of {total.asked:,}"
    )
    print(
        f"  unrelated requests that moved: {total.moved:,} of {total.controls:,} ({total.moved / total.controls:.1%})"
    )


def labelled_set(name: str) -> list[LabelledRequest]:
    return evaluate.labelled(str(SETS / f"{name}.jsonl"), FLEET)


# -- marks -------------------------------------------------------------------------------------------------------------
def marks(rows: Sequence[LabelledRequest]) -> None:
    """Every wrong decision is corrected; then the same with one wrong mark in five given for a bad answer."""
    order = list(rows)
    random.Random(4).shuffle(order)
    stream, test = order[: len(order) // 2], order[len(order) // 2 :]
    print(f"marks, a stream of {len(stream)} requests, tested on {len(test)} others")
    print(f"  without labels {accuracy(shipped(), test):.1%}")
    for share in (0.0, 0.2):
        router, dice, bad = shipped(), random.Random(5), 0
        wrong = 0
        for key, row in enumerate(stream, 1):
            decided = router.decide(row.request).route
            if decided != row.route:
                wrong += 1
                router.learn(Label(key=key, request=row.request, route=row.route))
            elif bad < share / (1 - share) * max(1, wrong) and dice.random() < 0.5:
                bad += 1  # marked wrong without a route, though the route was right: the answer was bad
                router.learn(Label(key=key, request=row.request, route=decided, negative=True))
        print(f"  {bad:3} of {wrong + bad:3} wrong marks were for bad answers: {accuracy(router, test):.1%}")


# -- with fits of the person's own model -------------------------------------------------------------------------------
COUNTS = (25, 50, 100, 200, 400)


def curve(rows: Sequence[LabelledRequest]) -> None:
    """The accuracy on held-out rows after so many labels of others."""
    order = list(rows)
    random.Random(7).shuffle(order)
    test, pool = order[: len(order) // 3], order[len(order) // 3 :]
    print(f"curve, tested on {len(test)} rows that nobody labelled\n  without labels {accuracy(shipped(), test):.1%}")
    for count in [n for n in COUNTS if n <= len(pool)]:
        labels = [Label(key=i, request=row.request, route=row.route) for i, row in enumerate(pool[:count], 1)]
        print(f"  {count:4} labels {accuracy(with_labels(FLEET, RULES, labels), test):.1%}", flush=True)


def asking(rows: Sequence[LabelledRequest]) -> None:
    """The accuracy on held-out rows, after labels of requests that were worth asking about, and of any requests."""
    order = list(rows)
    random.Random(8).shuffle(order)
    test, stream = order[: len(order) // 3], order[len(order) // 3 :]
    print(
        f"asking, a stream of {len(stream)} requests, tested on {len(test)} others; without labels {accuracy(shipped(), test):.1%}"
    )
    worthy = [row for row in stream if chosen(row, _SEEN)]
    for name, labelled, counts in (
        ("any", stream, (100, 200, 400)),
        ("worth asking", worthy, (40, 60, 80, 120, 160, 240)),
    ):
        for count in [n for n in counts if n <= len(labelled)]:
            labels = [Label(key=i, request=row.request, route=row.route) for i, row in enumerate(labelled[:count], 1)]
            print(f"  {name:<12} {count:4} labels {accuracy(with_labels(FLEET, RULES, labels), test):.1%}", flush=True)
    print(f"  {len(worthy)} of {len(stream)} requests were worth asking about")


_SEEN: tuple[LearnedRouter, QueryBudget, Counter[str]] = (shipped(), QueryBudget(10_000), Counter())


def chosen(row: LabelledRequest, seen: tuple[LearnedRouter, QueryBudget, Counter[str]]) -> bool:
    """Whether the shipped router would ask about a request, and was not asked about one like it."""
    router, asked, labels = seen
    decision, embedding = router.decide(row.request), router.text_stage.read(row.request).embedding
    if not is_informative(decision, [RULES.decide(row.request)], labels) or not asked.allows("day", embedding):
        return False
    asked.record("day", embedding)
    labels[row.route] += 1
    return True


if __name__ == "__main__":
    sys.exit(main())
