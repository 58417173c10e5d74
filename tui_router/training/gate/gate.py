"""The gate: whether a new router may lead, by its plan, on requests that neither router was fitted to.

Better: the exact one-sided test of McNemar (1947) on the rows on which only one of the two is right. Not worse by more than
a margin: the score test for paired proportions (Tango 1998, Statistics in Medicine 17). A router that is not better, or is
worse by the margin, passes in at most 5 % of all trials.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import Struct

from tui_router.core.statistics import tail, wilson
from tui_router.routing.evaluation.scores import expected_calibration_error
from tui_router.training.plan import Plan

_Z = 1.75
"""The score test holds its level only about (5.3 % at 5 %); at this quantile it stays below 5 % at every size (`make sim`)."""


class PairedCase(Struct, frozen=True, kw_only=True):
    """One row of the sealed test, decided by both."""

    key: str
    route: str
    """The right one."""
    text: str
    mine: str
    """What the new router chose."""
    confidence: float
    """How sure the new router was."""
    theirs: str
    """What the leader chose."""


class Check(Struct, frozen=True, kw_only=True):
    """One thing that the plan asks for."""

    name: str
    passed: bool
    says: str


class GateResult(
    Struct,
    frozen=True,
    kw_only=True,
    rename={"champion": "leader", "champion_version": "leader_version", "champion_latency_ms": "leader_latency_ms"},
):
    """What the gate says, with all that it is based on."""

    at: str
    champion: str
    champion_version: str
    passed: bool
    checks: tuple[Check, ...]
    n: int
    mine: int
    """Rows that the new router has right."""
    theirs: int
    only_mine: int
    only_theirs: int
    ece: float
    latency_ms: float
    """95th percentile of the new router."""
    champion_latency_ms: float
    per_route: dict[str, tuple[int, int, int]]
    """Route -> (rows, the new router right, the leader right)."""
    confusion: dict[str, dict[str, int]]
    """Right route -> what the new router chose -> rows."""
    wrong: tuple[PairedCase, ...]
    """Rows that the new router has wrong, surest first."""


def judge(
    plan: Plan, trials: Sequence[PairedCase], latency_ms: float, champion_latency_ms: float, at: str, *,
    champion: str = "", champion_version: str = "",
) -> GateResult:  # fmt: skip
    """What the gate says of these trials.

    Args:
        plan: As it was written down.
        trials: The whole sealed test.
        latency_ms: 95th percentile of one decision of the new router.
        champion_latency_ms: The same of the leader.
        at: Now.
        leader: Who leads now, when that is another one than the plan names.
        champion_version: Its version.
    """
    n = len(trials)
    mine, theirs = sum(t.mine == t.route for t in trials), sum(t.theirs == t.route for t in trials)
    won = sum(t.mine == t.route != t.theirs for t in trials)
    lost = sum(t.theirs == t.route != t.mine for t in trials)
    per_route = _per_route(trials)
    ece = expected_calibration_error((t.confidence, t.mine == t.route) for t in trials)
    faster = latency_ms < champion_latency_ms
    checks = (
        Check(
            name="enough rows", passed=n >= plan.fewest,
            says=f"{n} sealed rows, {plan.fewest} wanted"
            + ("" if n >= plan.fewest else "; rate more turns, or export more sources"),
        ),
        _accuracy(plan, n, won, lost, faster=faster),
        Check(name="calibration", passed=ece <= plan.most_ece, says=f"expected calibration error {ece:.3f}, at most {plan.most_ece:g}"),
        _floor(plan, per_route),
        Check(name="latency", passed=latency_ms <= plan.latency_ms, says=f"p95 {latency_ms:.0f} ms, at most {plan.latency_ms:.0f}"),
    )  # fmt: skip
    confusion: dict[str, dict[str, int]] = {}
    for (route, chosen), count in sorted(Counter((t.route, t.mine) for t in trials).items()):
        confusion.setdefault(route, {})[chosen] = count
    return GateResult(
        at=at, champion=champion or plan.champion, champion_version=champion_version or plan.champion_version,
        passed=all(check.passed for check in checks), checks=checks, n=n, mine=mine, theirs=theirs, only_mine=won,
        only_theirs=lost, ece=ece, latency_ms=latency_ms, champion_latency_ms=champion_latency_ms, per_route=per_route,
        confusion=confusion, wrong=tuple(sorted((t for t in trials if t.mine != t.route), key=lambda t: -t.confidence)),
    )  # fmt: skip


def better(won: int, lost: int, level: float) -> bool:
    """Whether so uneven a split of the rows on which only one is right shows that the first is better."""
    return tail(won, won + lost, 0.5) <= level


def not_worse(n: int, won: int, lost: int, margin: float) -> bool:
    """Whether it is shown, at 5 %, that the first is worse by less than the margin (Tango 1998, one-sided)."""
    return n > 0 and _tango(n, won, lost, margin) >= _Z


def _tango(n: int, won: int, lost: int, margin: float) -> float:
    """The score statistic of H0: p_lost - p_won = margin, positive where the data speak against it."""
    a = 2 * n
    b = -lost - won + (2 * n - lost + won) * margin
    c = -won * margin * (1 - margin)
    q = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    spread = n * (2 * q + margin * (1 - margin))
    return 0.0 if spread <= 0 else (n * margin - (lost - won)) / math.sqrt(spread)


def _accuracy(plan: Plan, n: int, won: int, lost: int, *, faster: bool) -> Check:
    p = tail(won, won + lost, 0.5)
    said = f"alone right on {won}, the leader alone on {lost}"
    if better(won, lost, plan.level):
        return Check(name="better", passed=True, says=f"{said}: better (p = {p:.2g})")
    if faster and not_worse(n, won, lost, plan.margin):
        return Check(name="better", passed=True, says=f"{said}: not worse by {plan.margin:.0%}, and faster")
    said += f": not shown to be better (p = {p:.2g}, at most {plan.level:g})"
    return Check(name="better", passed=False, says=said)


def _floor(plan: Plan, per_route: Mapping[str, tuple[int, int, int]]) -> Check:
    behind = [
        f"{route} {mine}/{n} against {theirs}/{n}"
        for route, (n, mine, theirs) in per_route.items()
        if n >= plan.floor_rows and (theirs - mine) / n > plan.floor
    ]
    return Check(
        name="every route", passed=not behind,
        says=f"more than {plan.floor:.0%} behind on {', '.join(behind)}" if behind else f"no route more than {plan.floor:.0%} behind",
    )  # fmt: skip


def _per_route(trials: Sequence[PairedCase]) -> dict[str, tuple[int, int, int]]:
    found: dict[str, tuple[int, int, int]] = {}
    for t in sorted(trials, key=lambda t: t.route):
        n, mine, theirs = found.get(t.route, (0, 0, 0))
        found[t.route] = n + 1, mine + (t.mine == t.route), theirs + (t.theirs == t.route)
    return found


def to_markdown(verdict: GateResult, run: str) -> str:
    """The result as a page of Markdown."""
    v = verdict
    lines = [
        f"# Gate of run {run}: {'passed' if v.passed else 'refused'}",
        "",
        f"On {v.n} sealed requests, which neither router was fitted to.",
        "",
        "| router | accuracy | p95 |",
        "| --- | --- | --- |",
        f"| tuned ({run}) | {_share(v.mine, v.n)} | {v.latency_ms:.1f} ms |",
        f"| {v.champion} {v.champion_version} | {_share(v.theirs, v.n)} | {v.champion_latency_ms:.1f} ms |",
        "",
        "| asked for | | |",
        "| --- | --- | --- |",
        *(f"| {c.name} | {'yes' if c.passed else 'NO'} | {c.says} |" for c in v.checks),
        "",
        "| route | rows | tuned | leader |",
        "| --- | --- | --- | --- |",
        *(
            f"| {route} | {n} | {_share(mine, n)} | {_share(theirs, n)} |"
            for route, (n, mine, theirs) in v.per_route.items()
        ),
        "",
        "Confusion (right route: what it chose):",
        "",
        *(f"- {route}: {', '.join(f'{name} {n}' for name, n in row.items())}" for route, row in v.confusion.items()),
    ]
    if v.wrong:
        lines += ["", f"Wrong, surest first ({min(len(v.wrong), 20)} of {len(v.wrong)}):", ""]
        lines += [f"- {_short(t.text)} | {t.route}, chose {t.mine} at {t.confidence:.0%}" for t in v.wrong[:20]]
    return "\n".join(lines) + "\n"


def _share(hits: int, n: int) -> str:
    if not n:
        return "no data"
    low, high = wilson(hits, n)
    return f"{hits / n:.1%} [{low:.0%}-{high:.0%}] n={n}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 90 else f"{line[:89]}…"
