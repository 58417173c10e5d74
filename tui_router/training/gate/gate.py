"""The gate: whether a trained router may become champion, by its plan, on requests that neither router was fitted to.

It must be better than the baseline (McNemar's exact test), or faster and not worse by more than a margin (Tango's score
test). Several runs are often judged on the same sealed rows, so each look tests at a share of the plan's level (see
`sealed_looks`): a candidate that is not better, or is worse by the margin, passes in at most 5 % of all series of runs
(`scripts/sim_gate.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct

from tui_router.core.statistics import tail, wilson
from tui_router.routing.evaluation.scores import expected_calibration_error
from tui_router.training.paired_tests import is_not_worse, p_better
from tui_router.training.plan import Plan
from tui_router.training.sealed_looks import level_of_look

FASTER = 2.0
"""A candidate counts as faster when its p95 is at most 1 / FASTER of the baseline's: both are timed once, on a machine that
does other things too. Chosen by hand."""
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
    source: str = ""
    """`verdict`, `seed`, `generated` or `imported`."""

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
    wrong: tuple[PairedCase, ...] = ()
    """Rows that the trained router decides wrongly, most confident first. Empty until it is promoted: whoever has read them
    can train on them, and the rows are no test any more."""
    look: int = 1
    """Number of the run among those judged on these sealed rows, from 1."""
    baseline_rows: int = 0
    """Training rows that the baseline was fitted to as well."""
    per_source: dict[str, tuple[int, int, int]] = {}
    """Source of a row -> as `per_route`."""


def judge(
    plan: Plan,
    cases: Sequence[PairedCase],
    latency_ms: float,
    champion_latency_ms: float,
    at: str,
    *,
    champion: str = "",
    champion_version: str = "",
    look: int = 1,
    baseline_rows: int = 0,
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
        look: Number of the run among those judged on these rows, from 1.
        baseline_rows: Training rows that the baseline was fitted to as well.
    """
    won = sum(case.candidate_right and not case.baseline_right for case in cases)
    lost = sum(case.baseline_right and not case.candidate_right for case in cases)
    ece = expected_calibration_error((case.confidence, case.candidate_right) for case in cases)
    faster = latency_ms * FASTER <= champion_latency_ms
    checks = (
        _check_rows(plan, len(cases)),
        _check_better(plan, len(cases), won, lost, look, faster=faster),
        GateCheck(
            name="calibration",
            passed=ece <= plan.most_ece,
            message=f"expected calibration error {ece:.3f}, at most {plan.most_ece:g}",
        ),
        _check_routes(plan, cases),
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
        n=len(cases),
        candidate_right=sum(case.candidate_right for case in cases),
        baseline_right=sum(case.baseline_right for case in cases),
        only_candidate_right=won,
        only_baseline_right=lost,
        ece=ece,
        latency_ms=latency_ms,
        champion_latency_ms=champion_latency_ms,
        per_route=_counts((case.route, case) for case in cases),
        confusion=confusion,
        look=look,
        baseline_rows=baseline_rows,
        per_source=_counts((case.source, case) for case in cases if case.source),
    )


def wrong_cases(cases: Sequence[PairedCase]) -> tuple[PairedCase, ...]:
    """Return the rows that the trained router decides wrongly, most confident first."""
    return tuple(sorted((case for case in cases if not case.candidate_right), key=lambda case: -case.confidence))


def passes(plan: Plan, n: int, won: int, lost: int, look: int, *, faster: bool) -> bool:
    """Return whether the candidate is shown to be better, or to be faster and not worse.

    Args:
        plan: Its level and margin are used.
        n: Sealed rows.
        won: Rows that only the candidate decides correctly.
        lost: Rows that only the baseline decides correctly.
        look: Number of the run among those judged on these rows, from 1.
        faster: See FASTER.
    """
    level = level_of_look(plan.level, look)
    return p_better(won, lost) <= level or (faster and is_not_worse(n, won, lost, plan.margin, level))


def falls_behind(plan: Plan, n: int, won: int, lost: int, routes: int) -> bool:
    """Return whether the candidate is shown to be worse on one route, and by more than the plan's floor.

    The test is McNemar's, exact, at the plan's level divided by the number of routes: an equal candidate is refused for any
    route in at most 5 % of trials. The observed loss alone refuses far more of them (`scripts/sim_gate.py`).

    Args:
        plan: Its level and floor are used.
        n: Sealed rows of the route.
        won: Rows that only the candidate decides correctly.
        lost: Rows that only the baseline decides correctly.
        routes: Routes that are tested.
    """
    return (lost - won) / n > plan.floor and tail(lost, won + lost, 0.5) <= plan.level / routes


def _check_rows(plan: Plan, n: int) -> GateCheck:
    passed = n >= plan.fewest
    advice = "" if passed else "; rate more turns, or export more sources"
    return GateCheck(name="enough rows", passed=passed, message=f"{n} sealed rows, at least {plan.fewest}{advice}")


def _check_better(plan: Plan, n: int, won: int, lost: int, look: int, *, faster: bool) -> GateCheck:
    p, level = p_better(won, lost), level_of_look(plan.level, look)
    passed = passes(plan, n, won, lost, look, faster=faster)
    if p <= level:
        outcome = f"better (p = {p:.2g}, at most {level:.2g})"
    elif passed:
        outcome = f"not worse by {plan.margin:.0%}, and faster"
    else:
        outcome = f"not shown to be better (p = {p:.2g}, at most {level:.2g} at look {look} at these rows)"
    counts = f"only the trained router is right on {won}, only the baseline on {lost}"
    return GateCheck(name="better", passed=passed, message=f"{counts}: {outcome}")


def _check_routes(plan: Plan, cases: Sequence[PairedCase]) -> GateCheck:
    by_route: dict[str, list[PairedCase]] = {}
    for case in cases:
        by_route.setdefault(case.route, []).append(case)
    tested = {route: rows for route, rows in by_route.items() if len(rows) >= plan.floor_rows}
    behind = []
    for route, rows in sorted(tested.items()):
        won = sum(row.candidate_right and not row.baseline_right for row in rows)
        lost = sum(row.baseline_right and not row.candidate_right for row in rows)
        if falls_behind(plan, len(rows), won, lost, len(tested)):
            behind.append(f"{route} by {lost - won} of {len(rows)} rows")
    where = f"on {', '.join(behind)}" if behind else "on any route"
    message = f"{'' if behind else 'not '}shown to be more than {plan.floor:.0%} behind {where}"
    return GateCheck(name="every route", passed=not behind, message=message)


def _counts(cases: Iterable[tuple[str, PairedCase]]) -> dict[str, tuple[int, int, int]]:
    """Return name -> (rows, rows that the candidate decides correctly, the same of the baseline)."""
    found: dict[str, tuple[int, int, int]] = {}
    for name, case in sorted(cases, key=lambda item: item[0]):
        n, candidate, baseline = found.get(name, (0, 0, 0))
        found[name] = n + 1, candidate + case.candidate_right, baseline + case.baseline_right
    return found


def to_markdown(result: GateResult, run: str) -> str:
    """Return the result as a page of Markdown."""
    r = result
    fitted = f", fitted to the same {r.baseline_rows:,} training rows" if r.baseline_rows else ""
    tables = (("route", r.per_route), ("source", r.per_source))
    lines = [
        f"# Gate of run {run}: {'passed' if r.passed else 'refused'}",
        "",
        f"On {r.n} sealed requests, which neither router was fitted to. Look {r.look} at these rows.",
        "",
        "| router | accuracy | p95 |",
        "| --- | --- | --- |",
        f"| tuned ({run}) | {_accuracy(r.candidate_right, r.n)} | {r.latency_ms:.1f} ms |",
        f"| {r.champion} {r.champion_version}{fitted} | {_accuracy(r.baseline_right, r.n)} | {r.champion_latency_ms:.1f} ms |",
        "",
        "| check | passed | |",
        "| --- | --- | --- |",
        *(f"| {check.name} | {'yes' if check.passed else 'NO'} | {check.message} |" for check in r.checks),
    ]
    for name, counts in tables:
        lines += ["", f"| {name} | rows | tuned | {r.champion} |", "| --- | --- | --- | --- |"]
        lines += [
            f"| {key} | {n} | {_accuracy(candidate, n)} | {_accuracy(baseline, n)} |"
            for key, (n, candidate, baseline) in counts.items()
        ]
    lines += ["", "Right route: the routes that the trained router chose", ""]
    lines += [f"- {route}: {', '.join(f'{name} {n}' for name, n in row.items())}" for route, row in r.confusion.items()]
    if r.wrong:
        shown = r.wrong[:_SHOWN_WRONG]
        lines += ["", f"Wrong decisions, most confident first ({len(shown)} of {len(r.wrong)}):", ""]
        lines += [
            f"- {_short(case.text)} | {case.route}; chose {case.candidate} at {case.confidence:.0%}" for case in shown
        ]
    elif r.candidate_right < r.n:
        lines += ["", f"The {r.n - r.candidate_right} wrong decisions are shown when the router is promoted."]
    return "\n".join(lines) + "\n"


def _accuracy(hits: int, n: int) -> str:
    if not n:
        return "no data"
    low, high = wilson(hits, n)
    return f"{hits / n:.1%} [{low:.0%}-{high:.0%}] n={n}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 90 else f"{line[:89]}…"
