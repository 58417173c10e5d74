"""The gate: whether a trained router may become champion, by its plan, on requests that neither router was fitted to.

Better: the exact one-sided test of McNemar (1947) on the rows that only one of the two decides correctly. Not worse by more
than a margin: the score test for paired proportions (Tango 1998, Statistics in Medicine 17). A candidate that is not
better, or is worse by the margin, passes in at most 5 % of all trials (`scripts/sim.py gate`).
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
"""Quantile of the score test. The usual 1.645 lets 5.3 % pass at small n; with this it is below 5 % at every n from 100 to
800 (`scripts/sim.py gate`)."""
_SHOWN_WRONG = 20
"""Wrong rows on the gate's page."""


class PairedCase(Struct, frozen=True, kw_only=True, rename={"candidate": "mine", "baseline": "theirs"}):
    """One sealed row, decided by both routers."""

    key: str
    route: str
    """The right one."""
    text: str
    candidate: str
    """The route that the trained router chose."""
    confidence: float
    """The trained router's confidence."""
    baseline: str
    """The route that the baseline chose."""

    @property
    def candidate_right(self) -> bool:
        """Whether the trained router is right."""
        return self.candidate == self.route

    @property
    def baseline_right(self) -> bool:
        """Whether the baseline is right."""
        return self.baseline == self.route


class GateCheck(Struct, frozen=True, kw_only=True, rename={"message": "says"}):
    """One demand of the plan."""

    name: str
    passed: bool
    message: str


class GateResult(
    Struct,
    frozen=True,
    kw_only=True,
    rename={
        "champion": "leader",
        "champion_version": "leader_version",
        "champion_latency_ms": "leader_latency_ms",
        "candidate_right": "mine",
        "baseline_right": "theirs",
        "only_candidate_right": "only_mine",
        "only_baseline_right": "only_theirs",
    },
):
    """The gate's decision and all figures it is based on."""

    at: str
    champion: str
    """The baseline's name."""
    champion_version: str
    passed: bool
    checks: tuple[GateCheck, ...]
    n: int
    candidate_right: int
    """Rows that the trained router decides correctly."""
    baseline_right: int
    only_candidate_right: int
    only_baseline_right: int
    ece: float
    latency_ms: float
    """95th percentile of one decision of the trained router."""
    champion_latency_ms: float
    per_route: dict[str, tuple[int, int, int]]
    """Route -> (rows, rows that the trained router decides correctly, the same of the baseline)."""
    confusion: dict[str, dict[str, int]]
    """Right route -> route that the trained router chose -> rows."""
    wrong: tuple[PairedCase, ...]
    """Rows that the trained router decides wrongly, most confident first."""


def judge(
    plan: Plan,
    cases: Sequence[PairedCase],
    latency_ms: float,
    champion_latency_ms: float,
    at: str,
    *,
    champion: str = "",
    champion_version: str = "",
) -> GateResult:
    """Apply the plan to the paired cases.

    Args:
        plan: As it was written before the training.
        cases: All sealed rows.
        latency_ms: 95th percentile of one decision of the trained router.
        champion_latency_ms: The same of the baseline.
        at: The time now.
        champion: The baseline's name, when it is another than the plan's champion.
        champion_version: Its version.
    """
    n = len(cases)
    candidate_right = sum(case.candidate_right for case in cases)
    baseline_right = sum(case.baseline_right for case in cases)
    won = sum(case.candidate_right and not case.baseline_right for case in cases)
    lost = sum(case.baseline_right and not case.candidate_right for case in cases)
    per_route = _per_route(cases)
    ece = expected_calibration_error((case.confidence, case.candidate_right) for case in cases)
    checks = (
        _check_rows(plan, n),
        _check_better(plan, n, won, lost, faster=latency_ms < champion_latency_ms),
        GateCheck(
            name="calibration",
            passed=ece <= plan.most_ece,
            message=f"expected calibration error {ece:.3f}, at most {plan.most_ece:g}",
        ),
        _check_routes(plan, per_route),
        GateCheck(
            name="latency",
            passed=latency_ms <= plan.latency_ms,
            message=f"p95 {latency_ms:.0f} ms, at most {plan.latency_ms:.0f}",
        ),
    )
    confusion: dict[str, dict[str, int]] = {}
    for (route, chosen), count in sorted(Counter((case.route, case.candidate) for case in cases).items()):
        confusion.setdefault(route, {})[chosen] = count
    return GateResult(
        at=at,
        champion=champion or plan.champion,
        champion_version=champion_version or plan.champion_version,
        passed=all(check.passed for check in checks),
        checks=checks,
        n=n,
        candidate_right=candidate_right,
        baseline_right=baseline_right,
        only_candidate_right=won,
        only_baseline_right=lost,
        ece=ece,
        latency_ms=latency_ms,
        champion_latency_ms=champion_latency_ms,
        per_route=per_route,
        confusion=confusion,
        wrong=tuple(sorted((case for case in cases if not case.candidate_right), key=lambda case: -case.confidence)),
    )


def better(won: int, lost: int, level: float) -> bool:
    """Return whether the candidate is shown to be better (McNemar's exact test, one-sided).

    Args:
        won: Rows that only the candidate decides correctly.
        lost: Rows that only the baseline decides correctly.
        level: Greatest p-value.
    """
    return tail(won, won + lost, 0.5) <= level


def not_worse(n: int, won: int, lost: int, margin: float) -> bool:
    """Return whether the candidate is shown to be worse by less than the margin, at 5 % (Tango 1998, one-sided)."""
    return n > 0 and _tango(n, won, lost, margin) >= _Z


def _tango(n: int, won: int, lost: int, margin: float) -> float:
    """Return the score statistic of H0: P(lost) - P(won) = margin. Greater values speak against H0."""
    a = 2 * n
    b = -lost - won + (2 * n - lost + won) * margin
    c = -won * margin * (1 - margin)
    q = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    variance = n * (2 * q + margin * (1 - margin))
    return 0.0 if variance <= 0 else (n * margin - (lost - won)) / math.sqrt(variance)


def _check_rows(plan: Plan, n: int) -> GateCheck:
    passed = n >= plan.fewest
    advice = "" if passed else "; rate more turns, or export more sources"
    return GateCheck(name="enough rows", passed=passed, message=f"{n} sealed rows, at least {plan.fewest}{advice}")


def _check_better(plan: Plan, n: int, won: int, lost: int, *, faster: bool) -> GateCheck:
    p = tail(won, won + lost, 0.5)
    counts = f"only the trained router is right on {won}, only the baseline on {lost}"
    if better(won, lost, plan.level):
        return GateCheck(name="better", passed=True, message=f"{counts}: better (p = {p:.2g})")
    if faster and not_worse(n, won, lost, plan.margin):
        return GateCheck(name="better", passed=True, message=f"{counts}: not worse by {plan.margin:.0%}, and faster")
    message = f"{counts}: not shown to be better (p = {p:.2g}, at most {plan.level:g})"
    return GateCheck(name="better", passed=False, message=message)


def _check_routes(plan: Plan, per_route: Mapping[str, tuple[int, int, int]]) -> GateCheck:
    behind = [
        f"{route} {candidate}/{n} against {baseline}/{n}"
        for route, (n, candidate, baseline) in per_route.items()
        if n >= plan.floor_rows and (baseline - candidate) / n > plan.floor
    ]
    where = f"on {', '.join(behind)}" if behind else "on any route"
    message = f"{'' if behind else 'not '}more than {plan.floor:.0%} behind {where}"
    return GateCheck(name="every route", passed=not behind, message=message)


def _per_route(cases: Sequence[PairedCase]) -> dict[str, tuple[int, int, int]]:
    found: dict[str, tuple[int, int, int]] = {}
    for case in sorted(cases, key=lambda case: case.route):
        n, candidate, baseline = found.get(case.route, (0, 0, 0))
        found[case.route] = n + 1, candidate + case.candidate_right, baseline + case.baseline_right
    return found


def to_markdown(result: GateResult, run: str) -> str:
    """Return the result as a page of Markdown."""
    r = result
    lines = [
        f"# Gate of run {run}: {'passed' if r.passed else 'refused'}",
        "",
        f"On {r.n} sealed requests, which neither router was fitted to.",
        "",
        "| router | accuracy | p95 |",
        "| --- | --- | --- |",
        f"| tuned ({run}) | {_accuracy(r.candidate_right, r.n)} | {r.latency_ms:.1f} ms |",
        f"| {r.champion} {r.champion_version} | {_accuracy(r.baseline_right, r.n)} | {r.champion_latency_ms:.1f} ms |",
        "",
        "| check | passed | |",
        "| --- | --- | --- |",
        *(f"| {check.name} | {'yes' if check.passed else 'NO'} | {check.message} |" for check in r.checks),
        "",
        f"| route | rows | tuned | {r.champion} |",
        "| --- | --- | --- | --- |",
        *(
            f"| {route} | {n} | {_accuracy(candidate, n)} | {_accuracy(baseline, n)} |"
            for route, (n, candidate, baseline) in r.per_route.items()
        ),
        "",
        "Right route: the routes that the trained router chose",
        "",
        *(f"- {route}: {', '.join(f'{name} {n}' for name, n in row.items())}" for route, row in r.confusion.items()),
    ]
    if r.wrong:
        shown = r.wrong[:_SHOWN_WRONG]
        lines += ["", f"Wrong decisions, most confident first ({len(shown)} of {len(r.wrong)}):", ""]
        lines += [
            f"- {_short(case.text)} | {case.route}; chose {case.candidate} at {case.confidence:.0%}" for case in shown
        ]
    return "\n".join(lines) + "\n"


def _accuracy(hits: int, n: int) -> str:
    if not n:
        return "no data"
    low, high = wilson(hits, n)
    return f"{hits / n:.1%} [{low:.0%}-{high:.0%}] n={n}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 90 else f"{line[:89]}…"
