"""The report of a period: how the router did, what changed since the period before, what goes wrong, what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from itertools import islice
from typing import Any

from msgspec import Struct, to_builtins

from tui_router.core.clock import local_day, now
from tui_router.core.fleet import Fleet
from tui_router.core.text import one_line, plural
from tui_router.core.types import Observation, Turn
from tui_router.insight.drift import Drift, find_drifts, first_monitored
from tui_router.insight.estimate import MIN_AUDITS, StrataCounts, Stratum
from tui_router.insight.findings import Finding, RouterFor, find_findings
from tui_router.insight.metrics import Metrics, ModelUsage, Rate, metrics_of, newest_first, newest_since
from tui_router.insight.metrics_cache import MetricsCache
from tui_router.insight.observer import TAGS
from tui_router.routing.rules.rules_router import RulesRouter
from tui_router.store.store import Store

MAX_TURNS = 4000
"""Newest turns that are searched for findings. Chosen by hand, not measured."""
LABELS_PER_ROUTE = 20
"""Labelled requests that training needs of each route. Chosen by hand, not measured."""
_MIN_RATED = 20
"""Rated turns below which the report says that the accuracy says little. Chosen by hand, not measured."""
_EXAMPLES = 3
"""Turns that are quoted for a finding."""
_EXAMPLE_CHARS = 100
_MAX_REMARKS = 8
_REMARK_CHARS = 300
_STRATUM_NAMES: dict[Stratum, str] = {
    "unsure": "asked about, unsure",
    "informative": "asked about, informative",
    "audited": "drawn for a random check",
    "unasked": "not asked about",
    "pinned": "pinned to a route",
}
_CHAMPION_CHANGE = "new_leader"
"""Tag of an event: another router became the champion."""
_NOT_MODELS = ("", "counts")
"""Values of `Observation.by` that name no model: the program itself, and what was found in the counts."""


class Report(Struct, frozen=True):
    """The statistics of a period."""

    first: str
    last: str
    """Local days, `YYYY-MM-DD`, both included."""
    fleet: Fleet
    """Routes of today."""
    metrics: Metrics
    before: Metrics
    """Of as many days before the period."""
    findings: tuple[Finding, ...]
    drift: tuple[Drift, ...]
    """Those that held in the period, wherever they began."""
    champion_changes: tuple[Observation, ...]
    """Events of the period, oldest first: another router became the champion."""
    remarks: tuple[Observation, ...]
    """The observer's, oldest first."""
    texts: dict[str, str]
    """Turn id -> its request, for the quoted turns."""
    made_at: str
    """UTC."""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as `--json` prints it."""
        labelled = self.labelled()
        return {
            "period": {"first": self.first, "last": self.last},
            "made": self.made_at,
            **self.metrics.to_dict([route.name for route in self.fleet.routes]),
            "before": {
                "turns": self.before.turns,
                "accuracy": self.before.accuracy.to_dict(),
                "estimate": self.before.strata.estimate().to_dict(),
            },
            "findings": [to_builtins(one) for one in self.findings],
            "drift": [to_builtins(one) for one in self.drift],
            "champion_changes": [{"at": one.at, "text": one.text} for one in self.champion_changes],
            "removed_routes": self.removed_routes(),
            "observer": {
                "remarks": [to_builtins(one) for one in self.remarks],
                "tokens": sum(one.tokens for one in self.remarks),
                "ms": sum(one.elapsed_ms for one in self.remarks),
            },
            "training": {
                name: {"labelled": n, "missing": max(0, LABELS_PER_ROUTE - n)} for name, n in labelled.items()
            },
        }

    def removed_routes(self) -> dict[str, int]:
        """Return the routes that turns of the period went to and that the fleet no longer has -> turns."""
        known = {route.name for route in self.fleet.routes}
        return {name: n for name, n in sorted(self.metrics.route_turns.items()) if name not in known}

    def labelled(self) -> dict[str, int]:
        """Return route -> requests of the period whose right route is known."""
        return {route.name: self.metrics.recall.get(route.name, Rate()).n for route in self.fleet.routes}


def period(days: int, today: str = "") -> tuple[str, str, str]:
    """Return (first day of the period before, first day, last day) of the last `days` local days, today included."""
    last = date.fromisoformat(today or local_day(now()))
    first = last - timedelta(days=days - 1)
    return (first - timedelta(days=days)).isoformat(), first.isoformat(), last.isoformat()


def make_report(
    turns: Sequence[Turn],
    fleet: Fleet,
    threshold: float,
    days: int,
    today: str = "",
    *,
    counts: MetricsCache | None = None,
    history: Sequence[Turn] | None = None,
    observations: Iterable[Observation] = (),
    router_for: RouterFor = RulesRouter,
) -> Report:
    """Make the report of the last `days` local days.

    Args:
        turns: Oldest first, from the first day of the period before on; older ones are left out. With `counts`, the newest
            are enough (`read_turns`).
        fleet: Routes of today.
        threshold: Confidence, 0 to 1, below which the person is asked.
        days: Length of the period, `today` included.
        today: Local day, `YYYY-MM-DD`; by default the present one.
        counts: Metrics of the whole store, up to date; by default the turns are counted here.
        history: The turns in which drift is looked for (`read_history`), whatever the period is; by default `turns`.
        observations: Events; the observer's remarks and the changes of the champion are taken from them.
        router_for: Makes the router that is acted on under a fleet, to replay the proposals.
    """
    before_first, first, last = period(days, today)
    inside = [t for t in turns if first <= local_day(t.at) <= last]
    past = [t for t in turns if before_first <= local_day(t.at) < first]
    findings = tuple(find_findings(inside, fleet, threshold, router_for=router_for))
    drifts = find_drifts([*past, *inside] if history is None else history, fleet, threshold)
    drift = tuple(one for one in drifts if _held_in(one, first, last))
    events = sorted((one for one in observations if first <= local_day(one.at) <= last), key=lambda one: one.at)
    champion_changes = tuple(one for one in events if one.tag == _CHAMPION_CHANGE)
    remarks = tuple(one for one in events if one.by not in _NOT_MODELS and one.tag in TAGS)
    examples = [*(one.turns for one in findings), *(one.turns for one in drift), *(one.turns for one in remarks)]
    quoted = {turn for some in examples for turn in some[:_EXAMPLES]}
    known = {turn.id: turn for turn in (*(history or ()), *past, *inside) if turn.id in quoted}
    texts = {turn.id: one_line(turn.request.text, _EXAMPLE_CHARS) for turn in known.values()}
    if counts is None:
        metrics, before = metrics_of(inside, fleet), metrics_of(past, fleet)
    else:
        last_before = (date.fromisoformat(first) - timedelta(days=1)).isoformat()
        metrics, before = counts.total(first, last), counts.total(before_first, last_before)
    return Report(first, last, fleet, metrics, before, findings, drift, champion_changes, remarks, texts, now())


def _held_in(drift: Drift, first: str, last: str) -> bool:
    """Whether a drift held on a day from `first` to `last`."""
    return local_day(drift.at) <= last and (not drift.ended or first <= local_day(drift.ended))


def read_turns(store: Store, days: int, today: str = "") -> list[Turn]:
    """Read the turns that a report examines one by one, oldest first.

    These are the newest `MAX_TURNS` of the period and the one before it. Raises StoreError.
    """
    before_first, _, last = period(days, today)
    inside = (turn for turn in newest_since(store, before_first) if local_day(turn.at) <= last)
    return [*islice(inside, MAX_TURNS)][::-1]


def read_history(store: Store, days: int, today: str = "") -> list[Turn]:
    """Read the turns in which a report of these days looks for drift, oldest first: 1,000 to 2,000 before its last one.

    The tests are sequential: a short period tells nothing by itself, and what began before it may still hold. Raises StoreError.
    """
    _, _, last = period(days, today)
    newest = next((turn.number for turn in newest_first(store) if local_day(turn.at) <= last), 0)
    return store.between(first_monitored(newest), newest)


# -- Markdown --------------------------------------------------------------------------------------------------------
def to_markdown(report: Report) -> str:
    """Return the report as Markdown, for people."""
    m = report.metrics
    title = report.last if report.first == report.last else f"{report.first} to {report.last}"
    lines = [f"# Router report, {title}", "", *_summary(report), ""]
    lines += ["## By route", "", "Precision and recall are counted on rated turns only.", ""]
    lines += ["| route | turns | precision | recall | labelled |", "| --- | --- | --- | --- | --- |"]
    labelled = report.labelled()
    for name, known in labelled.items():
        precision, recall = m.precision.get(name, Rate()), m.recall.get(name, Rate())
        turns = m.route_turns.get(name, 0)
        lines.append(f"| {name} | {turns:,} | {format_rate(precision)} | {format_rate(recall)} | {known} |")
    if removed := report.removed_routes():
        listed = ", ".join(f"{name} ({plural(n, 'turn')})" for name, n in removed.items())
        lines += ["", f"Not in this table, because the fleet no longer has them: {listed}."]
    if len(m.router_accuracy) > 1 or report.champion_changes:
        lines += ["", "## Routers", "", "Counted on rated turns only.", ""]
        lines += [f"- {name}: {format_rate(rate)}" for name, rate in m.router_accuracy.items()]
        lines += [f"- {local_day(one.at)}: {one_line(one.text, _REMARK_CHARS)}" for one in report.champion_changes]
    lines += ["", "## Strata", "", *_strata_lines(m.strata)]
    lines += ["", "## Findings", "", *(_finding_lines(report) or ["No significant findings."])]
    lines += ["", "## Drift", "", *(_drift_lines(report) or ["No drift found in requests, models or outcomes."])]
    if report.remarks:
        lines += ["", "## Observer", "", *_remark_lines(report)]
    lines += ["", "## Models", ""]
    lines += [_model_line(*item) for item in sorted(m.models.items())] or ["No model was used."]
    lines += ["", "## Cost of routing", "", *_cost_lines(report)]
    missing = ", ".join(f"{name} {LABELS_PER_ROUTE - n}" for name, n in labelled.items() if n < LABELS_PER_ROUTE)
    gained = f"{sum(labelled.values()):,} labelled requests gained."
    lines += ["", "## Training data", "", f"{gained} Still missing: {missing}." if missing else gained]
    lines += ["", "## Next steps", "", *(f"- {step}" for step in _next_steps(report)), ""]
    return "\n".join(lines)


def format_rate(rate: Rate) -> str:
    """Format a rate as `87% [82-91] n=143`, or `no data`."""
    if rate.value is None:
        return "no data"
    low, high = rate.ci95
    return f"{rate.value:.0%} [{low * 100:.0f}-{high * 100:.0f}] n={rate.n:,}"


def format_estimate(strata: StrataCounts) -> str:
    """Format the estimate over all turns as `88% [80-93] n=84`, or say how many random checks it needs."""
    found = strata.estimate()
    if found.value is None:
        return f"no estimate below {MIN_AUDITS} answered random checks ({strata.audits_answered} so far)"
    low, high = found.ci95
    return f"{found.value:.0%} [{low * 100:.0f}-{high * 100:.0f}] n={found.n:,}"


def _summary(report: Report) -> list[str]:
    m, before = report.metrics, report.before
    lines = [
        f"{plural(m.turns, 'turn')}, {m.rated.hits:,} rated. Right route, of all turns: {format_estimate(m.strata)}; "
        f"of rated turns: {format_rate(m.accuracy)}."
    ]
    if before.turns:
        lines.append(
            f"The period before: {plural(before.turns, 'turn')}, right route, of all turns: {format_estimate(before.strata)}; "
            f"of rated turns: {format_rate(before.accuracy)}."
        )
    if m.strata.audits_drawn:
        lines.append(f"Random checks: {m.strata.audits_drawn:,} drawn, {m.strata.audits_answered:,} answered.")
    if m.only_bad_rated:
        lines.append(
            "Few turns are rated, and most of those wrong. If only bad turns are rated, the accuracy says little."
        )
    if m.ece is not None:
        lines.append(f"Confidence and accuracy of rated turns differ by {m.ece * 100:.0f} points on average (ECE).")
    if (error := m.strata.calibration_error) is not None:
        lines.append(f"Over all turns they differ by {error * 100:.0f} points, estimated by stratum.")
    lines.append(
        f"Asked you first: {format_rate(m.asked)}. Served by a fallback: {format_rate(m.fallbacks)}. "
        f"No answer: {format_rate(m.failed)}."
    )
    return lines


def _strata_lines(strata: StrataCounts) -> list[str]:
    lines = ["| turns that were | turns | graded | right of these |", "| --- | --- | --- | --- |"]
    for row in strata.rows():
        value = "no data" if row.value is None else f"{row.value:.0%}"
        lines.append(f"| {_STRATUM_NAMES[row.name]} | {row.turns:,} | {row.graded:,} | {value} |")
    return lines


def _finding_lines(report: Report) -> list[str]:
    lines = []
    for one in report.findings:
        lines += [f"- {one.text} (p = {one.p:.2g})", *_quotes(report, one.turns)]
        if one.proposal:
            effect = one.effect
            effect_text = (
                f": fixes {effect.fixes}, breaks {effect.breaks}; {plural(effect.unrated, 'unrated turn')} would change route"
                if effect
                else ""
            )
            lines.append(f"  - proposal: {one.proposal}{effect_text}")
    return lines


def _drift_lines(report: Report) -> list[str]:
    return [line for one in report.drift for line in (_drift_line(one, report.first), *_quotes(report, one.turns))]


def _drift_line(drift: Drift, first: str) -> str:
    day, until = local_day(drift.at), f", until {local_day(drift.ended)}" if drift.ended else ", still so"
    return f"- {drift.text}" + (f" (since {day}{until})" if day < first or drift.ended else "")


def _quotes(report: Report, turns: Sequence[str]) -> list[str]:
    texts = report.texts
    return [f"  - turn {turn.partition('-')[0]}: {texts[turn]}" for turn in turns[:_EXAMPLES] if turn in texts]


def _remark_lines(report: Report) -> list[str]:
    lines = []
    for one in report.remarks[-_MAX_REMARKS:]:
        numbers = ", ".join(turn.partition("-")[0] for turn in one.turns)
        lines.append(f"- {one.tag}: {one_line(one.text, _REMARK_CHARS)}{f' (turns {numbers})' if numbers else ''}")
    if len(report.remarks) > _MAX_REMARKS:
        lines.append(f"- and {len(report.remarks) - _MAX_REMARKS} earlier ones")
    return lines


def _cost_lines(report: Report) -> list[str]:
    lines = [
        f"- {name}: latency p50 {elapsed.quantile(0.5):.1f} ms, p95 {elapsed.quantile(0.95):.1f} ms, n={elapsed.n:,}"
        for name, elapsed in sorted(report.metrics.router_ms.items())
    ]
    if report.remarks:
        ms, tokens = sum(o.elapsed_ms for o in report.remarks), sum(o.tokens for o in report.remarks)
        lines.append(f"- observer: {plural(len(report.remarks), 'remark')}, {ms / 1000:.1f} s, {tokens:,} tokens")
    return lines or ["No decision was made."]


def _model_line(name: str, model: ModelUsage) -> str:
    parts = [f"- {name}: served {model.served:,}"]
    if model.as_fallback:
        parts.append(f"{model.as_fallback} of them as a fallback")
    if model.failed:
        parts.append(f"failed {plural(model.failed, 'time')}")
    if (first_token := model.first_token_ms.quantile(0.5)) is not None:
        parts.append(f"first token after {first_token / 1000:.1f} s")
    if (speed := model.tokens_per_second.quantile(0.5)) is not None:
        parts.append(f"{speed:.0f} tokens/s")
    return ", ".join(parts)


def _next_steps(report: Report) -> list[str]:
    m = report.metrics
    steps = [
        one.proposal
        for one in report.findings
        if one.proposal and (one.effect is None or one.effect.fixes > one.effect.breaks)
    ]
    if m.turns and m.accuracy.n < _MIN_RATED:
        steps.append(f"rate a few more turns: below {_MIN_RATED} the accuracy says little")
    missing = [f"{name} ({LABELS_PER_ROUTE - n})" for name, n in report.labelled().items() if n < LABELS_PER_ROUTE]
    if missing:
        steps.append(f"rate requests of these routes; training needs more labels: {', '.join(missing)}")
    return steps or ["nothing to do"]
