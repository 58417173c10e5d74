"""Simulate what learning does: promotion, corrections, wrong labels, whom to ask, the learning curve. `make sim`.

    python scripts/sim.py [promotion] [gate] [corrections] [places] [taste] [marks] [curve] [asking] [--file FILE.jsonl]

Without names: promotion, gate, corrections, places, taste and marks, on the sets of the repository (some minutes). `curve` and `asking` fit the
person's own model many times (some minutes) and want more labelled rows than those sets have: give them a file.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.random_corrections import Outcome, run
from tui_router.cli import evaluate
from tui_router.cli.shared import request_rows
from tui_router.config.settings import parse_config
from tui_router.core.types import Decision, Promotion, Request
from tui_router.routing.ensemble.active_learning import QueryBudget, is_informative
from tui_router.routing.ensemble.champion import LEVEL, ChampionSelector, Comparison, is_look
from tui_router.routing.ensemble.grading import Grade
from tui_router.routing.evaluation.scores import LabelledRequest
from tui_router.routing.labels import Label
from tui_router.routing.learned.learned_router import LearnedRouter
from tui_router.routing.learned.personal_training import fit_personal_model, with_labels
from tui_router.routing.rules.rules_router import RulesRouter
from tui_router.training.gate.gate import better, not_worse
from tui_router.training.plan import Plan

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
    what = args.what or ["promotion", "gate", "corrections", "places", "taste", "marks"]
    unknown = set(what) - {"promotion", "gate", "corrections", "places", "taste", "marks", "curve", "asking"}
    if unknown:
        parser.error(f"there is no simulation {', '.join(sorted(unknown))}")
    rows = evaluate.labelled(args.file, FLEET)
    for name in what:
        match name:
            case "promotion":
                promotion(args.runs)
            case "gate":
                gate(args.runs)
                promoted_router(args.runs // 10)
            case "corrections":
                corrections()
            case "places":
                places()
            case "taste":
                taste()
            case "marks":
                marks(rows)
            case "curve":
                curve(rows)
            case "asking":
                asking(rows)
    return 0


# -- the gate of a trained router ------------------------------------------------------------------------------------
def gate(runs: int) -> None:
    """How often a trained router passes that must not: as good as the champion and no faster; worse by the margin and faster."""
    plan = Plan(champion="learned", champion_version="")
    print(f"gate, {runs:,} runs each")
    for n in (100, 200, 400, 800):
        for apart in (0.02, 0.05, 0.10, 0.20):
            equal = share_that_passes(runs, n, apart / 2, apart / 2, plan, faster=False)
            low = max(0.0, (apart - plan.margin) / 2)
            worse = share_that_passes(runs, n, low, apart - low, plan, faster=True)
            print(
                f"  {n} sealed rows, differing on {apart:4.0%}: equal passes in {equal:.1%}, worse and faster in {worse:.1%}"
            )
    for ahead in (0.03, 0.05, 0.08):
        power = share_that_passes(runs, 400, 0.04 + ahead, 0.04, plan, faster=False)
        print(f"  better by {ahead:.0%} on 400 rows: passes in {power:.1%}")


def share_that_passes(runs: int, n: int, won: float, lost: float, plan: Plan, *, faster: bool) -> float:
    """Share of runs that the gate's comparison lets pass."""
    dice = np.random.default_rng(n)
    found = 0
    for w, x, _ in dice.multinomial(n, [won, lost, 1 - won - lost], runs).tolist():
        found += better(w, x, plan.level) or (faster and not_worse(n, w, x, plan.margin))
    return found / runs


def promoted_router(runs: int) -> None:
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
                if selector.add(Grade(i, "right", {k: decision(k, v) for k, v in right.items()})) is not None:
                    lost.append(i)
                    break
        within = sum(i <= 40 for i in lost) / runs
        print(f"  {name}: is replaced within 40 verdicts in {within:.1%}, within 400 in {len(lost) / runs:.1%}")


def decision(router: str, right: bool) -> Decision:
    return Decision(
        ranking=(("right" if right else "wrong", 1.0),), model="", reasons=(), router=router, version="", elapsed_ms=0.0
    )


def shipped() -> LearnedRouter:
    return LearnedRouter(FLEET, RULES)


def accuracy(router: LearnedRouter, rows: Sequence[LabelledRequest]) -> float:
    return sum(router.decide(row.request).route == row.route for row in rows) / len(rows)


# -- promotion ---------------------------------------------------------------------------------------------------------
def promotion(runs: int) -> None:
    """How often the champion changes, by how far the routers are apart."""
    print(f"promotion, {runs:,} histories each")
    for apart in (0.02, 0.05, 0.10, 0.20):
        share = share_of_changes(runs, 1600, apart / 2, apart / 2, seed=1)
        print(
            f"  equally good, differing on {apart:4.0%} of 1,600 turns: the champion changes in {share:.1%} (at most {LEVEL:.0%})"
        )
    for apart in (0.06, 0.08, 0.10, 0.12):
        share = share_of_changes(runs, 400, (apart + 0.05) / 2, (apart - 0.05) / 2, seed=2)
        print(f"  5 points better, differing on {apart:4.0%} of 400 turns: it is champion in {share:.1%}")


def share_of_changes(runs: int, turns: int, won: float, lost: float, *, seed: int) -> float:
    """Share of the histories in which a challenger becomes champion. The counts between two looks are drawn at once."""
    rng = np.random.default_rng(seed)
    looks = [n for n in range(1, turns + 1) if is_look(n)]
    steps = np.diff([0, *looks])
    draws = np.stack([rng.multinomial(n, [won, lost, 1 - won - lost], runs)[:, :2] for n in steps], axis=1).cumsum(
        axis=1
    )
    count = 0
    for history in draws:
        for compared, (w, x) in zip(looks, history.tolist(), strict=True):
            comparison = Comparison()
            comparison.compared, comparison.won, comparison.lost = compared, w, x
            if comparison.wins(1):
                count += 1
                break
    return count / runs


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


# -- a taste that changes ----------------------------------------------------------------------------------------------
FRAMES = (
    "summarise the {0} from {1}",
    "give me the main points of the {0} of {1}",
    "what does the {0} from {1} say in short",
    "shorten the {0} of {1} to five lines",
    "a short version of the {0} from {1} please",
    "boil down the {1} {0} for me",
    "tl;dr of the {0} from {1}",
    "the key takeaways of the {1} {0}",
    "condense the {0} about {1}",
    "what should I remember of the {0} from {1}",
)
DOCUMENTS = "meeting notes|budget report|interview|lecture|newsletter|contract|survey|board paper|audit|press release|podcast|manual"
OWNERS = "monday|march|last week|the sales team|anna|the regulator|our landlord|the city council|the vendor|the clinic|1998|the school"
OLD_LABELS, NEW_LABELS, REFIT_EVERY = 60, 60, 25


def taste() -> None:
    """Sixty labels send summaries to one route, then as many send them to another; tested on 100 other summaries."""
    requests = [Request(text=f.format(d, o)) for f in FRAMES for d in DOCUMENTS.split("|") for o in OWNERS.split("|")]
    print(
        f"taste, {OLD_LABELS} labels of one route, then new ones of another; the personal model fitted every {REFIT_EVERY}"
    )
    for old, new in (("reasoning", "general_chat"), ("reasoning", "tool_use")):
        random.Random(3).shuffle(requests)
        stream, test = requests[: OLD_LABELS + NEW_LABELS], requests[OLD_LABELS + NEW_LABELS :][:100]
        router, labels = shipped(), []
        text_model = router.text_stage.text_model
        for key, request in enumerate(stream, 1):
            labels.append(Label(key=key, request=request, route=old if key <= OLD_LABELS else new))
            router.learn(labels[-1])
            if key % REFIT_EVERY == 0:
                personal = fit_personal_model(LearnedRouter(FLEET, RULES, text_model=text_model), labels)
                fresh = LearnedRouter(FLEET, RULES, personal=personal, text_model=text_model)
                for one, embedding in router.memory.user_items():
                    fresh.restore(one, embedding)
                router = fresh
            if key - OLD_LABELS in (0, 20, 40, 60):
                share = np.mean([router.decide(one).route == new for one in test])
                print(
                    f"  {old} to {new}: after {key - OLD_LABELS:2} new labels {share:.0%} go to the new route",
                    flush=True,
                )


def labelled_set(name: str) -> list[LabelledRequest]:
    return evaluate.labelled(str(SETS / f"{name}.jsonl"), FLEET)


# -- wrong labels -------------------------------------------------------------------------------------------------------------
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
    worthy = [row for row in stream if would_ask(row, _ASKED_SO_FAR)]
    for name, labelled, counts in (
        ("any", stream, (100, 200, 400)),
        ("worth asking", worthy, (40, 60, 80, 120, 160, 240)),
    ):
        for count in [n for n in counts if n <= len(labelled)]:
            labels = [Label(key=i, request=row.request, route=row.route) for i, row in enumerate(labelled[:count], 1)]
            print(f"  {name:<12} {count:4} labels {accuracy(with_labels(FLEET, RULES, labels), test):.1%}", flush=True)
    print(f"  {len(worthy)} of {len(stream)} requests were worth asking about")


_ASKED_SO_FAR: tuple[LearnedRouter, QueryBudget, Counter[str]] = (shipped(), QueryBudget(10_000), Counter())


def would_ask(row: LabelledRequest, state: tuple[LearnedRouter, QueryBudget, Counter[str]]) -> bool:
    """Whether the shipped router would ask about a request, and was not asked about one like it."""
    router, asked, labels = state
    decision, embedding = router.decide(row.request), router.text_stage.read(row.request).embedding
    if not is_informative(decision, [RULES.decide(row.request)], labels) or not asked.allows("day", embedding):
        return False
    asked.record("day", embedding)
    labels[row.route] += 1
    return True


if __name__ == "__main__":
    sys.exit(main())
