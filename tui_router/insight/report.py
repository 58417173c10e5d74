"""The report of a period: how the router did, what changed since the period before, what goes wrong, what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from typing import Any

from msgspec import Struct, to_builtins

from tui_router.core.clock import local_day, now
from tui_router.core.fleet import Fleet
from tui_router.core.text import one_line, plural
from tui_router.core.types import Observation, Turn
from tui_router.insight.drift import Drift, drifts
from tui_router.insight.findings import Finding, find
from tui_router.insight.metrics import Metrics, Rate, measured, newest_first
from tui_router.insight.metrics_cache import MetricsCache
from tui_router.insight.observer import TAGS
from tui_router.store.store import Store

MOST = 4000
"""Turns in which findings and drift are looked for; the newest."""
GOAL_PER_ROUTE = 20
"""Labelled requests of a route that training wants at least."""
_EXAMPLES = 3
_REMARKS = 8


class Report(Struct, frozen=True):
    """A period, measured."""

    first: str
    last: str
    """Days, `YYYY-MM-DD`, both included."""
    fleet: Fleet
    """Routes of today."""
    metrics: Metrics
    before: Metrics
    """Of as many days before it."""
    findings: tuple[Finding, ...]
    drift: tuple[Drift, ...]
    remarks: tuple[Observation, ...]
    """Of the observer, oldest first."""
    texts: dict[str, str]
    """Turn -> its request, for the examples."""
    made: str

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON."""
        found = self.metrics.to_dict([r.name for r in self.fleet.routes])
        return {
            "period": {"first": self.first, "last": self.last}, "made": self.made, **found,
            "before": {"turns": self.before.turns, "accuracy": self.before.accuracy.to_dict()},
            "findings": [to_builtins(one) for one in self.findings],
            "drift": [to_builtins(one) for one in self.drift],
            "observer": {
                "remarks": [to_builtins(one) for one in self.remarks],
                "tokens": sum(one.tokens for one in self.remarks),
                "ms": sum(one.elapsed_ms for one in self.remarks),
            },
            "training": {name: {"labelled": n, "missing": max(0, GOAL_PER_ROUTE - n)} for name, n in self.labelled().items()},
        }  # fmt: skip

    def labelled(self) -> dict[str, int]:
        """Route -> requests of the period whose right route is known."""
        return {r.name: self.metrics.recall.get(r.name, Rate()).n for r in self.fleet.routes}


def period(days: int, today: str = "") -> tuple[str, str, str]:
    """(first day of the period before, first day, last day) of the last so many days, today included."""
    last = date.fromisoformat(today or local_day(now()))
    first = last - timedelta(days=days - 1)
    return (first - timedelta(days=days)).isoformat(), first.isoformat(), last.isoformat()


def report(
    turns: Sequence[Turn], fleet: Fleet, threshold: float, days: int, today: str = "", *, counts: MetricsCache | None = None,
    observations: Iterable[Observation] = (),
) -> Report:  # fmt: skip
    """The report of the last so many days.

    Args:
        turns: Oldest first, from the first day of the period before on; older ones are left out. With `counts`, the newest
            will do (`read`).
        fleet: Routes of today.
        threshold: Confidence below which the person is asked.
        days: Of the period, today included.
        today: A day; by default this one.
        counts: Of the whole store, when it is counted.
        observations: What was told beside the turns; the observer's remarks are picked from it.
    """
    earlier, first, last = period(days, today)
    inside = [t for t in turns if first <= local_day(t.at) <= last]
    past = [t for t in turns if earlier <= local_day(t.at) < first]
    found = tuple(find(inside, fleet, threshold))
    changes = tuple(one for one in drifts([*past, *inside], fleet, threshold) if first <= local_day(one.at) <= last)
    remarks = tuple(sorted(_by_observer(observations, first, last), key=lambda one: one.at))
    examples = [*(one.turns for one in found), *(one.turns for one in changes), *(one.turns for one in remarks)]
    wanted = {turn for turns_ in examples for turn in turns_[:_EXAMPLES]}
    texts = {t.id: one_line(t.request.text, 100) for t in inside if t.id in wanted}
    until = (date.fromisoformat(first) - timedelta(days=1)).isoformat()
    now_, before = (
        (counts.since(first, last), counts.since(earlier, until))
        if counts
        else (measured(inside, fleet), measured(past, fleet))
    )
    return Report(first, last, fleet, now_, before, found, changes, remarks, texts, now())


def _by_observer(observations: Iterable[Observation], first: str, last: str) -> Iterator[Observation]:
    """The remarks of a model in a period."""
    for one in observations:
        if one.by not in ("", "counts") and one.tag in TAGS and first <= local_day(one.at) <= last:
            yield one


def read(store: Store, days: int, today: str = "") -> list[Turn]:
    """The turns that a report looks at one by one: the newest `MOST` of the period and the one before, oldest first.

    Raises StoreError.
    """
    earlier, _, last = period(days, today)
    found: list[Turn] = []
    for turn in newest_first(store):
        day = local_day(turn.at)
        if day < earlier or len(found) == MOST:
            break
        if day <= last:
            found.append(turn)
    return found[::-1]


def markdown(made: Report) -> str:
    """The report for people."""
    m = made.metrics
    title = made.last if made.first == made.last else f"{made.first} to {made.last}"
    lines = [f"# Router report, {title}", "", *_summary(made), "", "## By route", ""]
    lines += ["| route | turns | decided rightly | found | labelled |", "| --- | --- | --- | --- | --- |"]
    labelled = made.labelled()
    for route in made.fleet.routes:
        right, recall = m.by_route.get(route.name, Rate()), m.recall.get(route.name, Rate())
        lines.append(
            f"| {route.name} | {m.routes.get(route.name, 0):,} | {said(right)} | {said(recall)} | {labelled[route.name]} |"
        )
    if len(m.routers) > 1:
        lines += ["", "## Routers", "", "Each on the turns on which it is known whether it was right.", ""]
        lines += [f"- {name}: {said(rate)}" for name, rate in m.routers.items()]
    lines += ["", "## Findings", "", *(_findings(made) or ["None that is more than chance."])]
    lines += ["", "## Drift", "", *(_drift(made) or ["Requests, models and outcomes are as they were."])]
    if made.remarks:
        lines += ["", "## Observer", "", *_remarks(made)]
    lines += ["", "## Models", ""]
    models = m.to_dict([])["models"]
    lines += [_model(name, row) for name, row in models.items()] or ["No model answered."]
    lines += ["", "## What routing costs", "", *_cost(made)]
    missing = ", ".join(f"{name} {GOAL_PER_ROUTE - n}" for name, n in labelled.items() if n < GOAL_PER_ROUTE)
    gained = f"{sum(labelled.values()):,} labelled requests gained."
    lines += ["", "## Training data", "", f"{gained} Still missing: {missing}." if missing else gained]
    lines += ["", "## Next steps", "", *(f"- {step}" for step in _next(made)), ""]
    return "\n".join(lines)


def said(rate: Rate) -> str:
    """`87% [82-91] n=143`, or `no data`."""
    if rate.value is None:
        return "no data"
    low, high = rate.ci95
    return f"{rate.value:.0%} [{low * 100:.0f}-{high * 100:.0f}] n={rate.n:,}"


def _summary(made: Report) -> list[str]:
    m, before = made.metrics, made.before
    lines = [f"{plural(m.turns, 'turn')}, {m.verdicts.hits:,} rated. Right route: {said(m.accuracy)}."]
    if before.turns:
        lines.append(f"The period before: {plural(before.turns, 'turn')}, right route {said(before.accuracy)}.")
    if m.biased:
        lines.append(
            "Few turns are rated and most of those wrong: it looks as if only bad ones were; the accuracy says little."
        )
    if m.ece is not None:
        lines.append(f"Confidence and accuracy differ by {m.ece * 100:.0f} points on average (ECE).")
    lines.append(
        f"Asked first: {said(m.asked)}. Another model served: {said(m.fallbacks)}. No answer: {said(m.failed)}."
    )
    return lines


def _findings(made: Report) -> list[str]:
    lines = []
    for one in made.findings:
        lines.append(f"- {one.says} (p = {one.p:.2g})")
        lines += [f"  - turn {t.partition('-')[0]}: {made.texts[t]}" for t in one.turns[:_EXAMPLES] if t in made.texts]
        if one.proposal:
            effect = one.effect
            would = (
                f": fixes {effect.fixes}, breaks {effect.breaks}, unrated that would move: {effect.unrated}"
                if effect
                else ""
            )
            lines.append(f"  - proposal: {one.proposal}{would}")
    return lines


def _drift(made: Report) -> list[str]:
    lines = []
    for one in made.drift:
        lines.append(f"- {one.says}")
        lines += [f"  - turn {t.partition('-')[0]}: {made.texts[t]}" for t in one.turns[:_EXAMPLES] if t in made.texts]
    return lines


def _remarks(made: Report) -> list[str]:
    lines = []
    for one in made.remarks[-_REMARKS:]:
        of = f" (turns {', '.join(t.partition('-')[0] for t in one.turns)})" if one.turns else ""
        lines.append(f"- {one.tag}: {one_line(one.text, 300)}{of}")
    if len(made.remarks) > _REMARKS:
        lines.append(f"- and {len(made.remarks) - _REMARKS} before them")
    return lines


def _cost(made: Report) -> list[str]:
    lines = [
        f"- {name}: half of its decisions within {spread.at(0.5):.1f} ms, 95% within {spread.at(0.95):.1f} ms, n={spread.n:,}"
        for name, spread in sorted(made.metrics.router_ms.items())
    ]
    if made.remarks:
        ms, tokens = sum(o.elapsed_ms for o in made.remarks), sum(o.tokens for o in made.remarks)
        lines.append(f"- observer: {len(made.remarks)} remarks, {ms / 1000:.1f} s, {tokens:,} tokens")
    return lines or ["Nothing was decided."]


def _model(name: str, row: dict[str, Any]) -> str:
    speed = f", {row['tokens_per_second']:.0f} tokens/s" if row["tokens_per_second"] is not None else ""
    first = f", first token after {row['first_token_ms'] / 1000:.1f} s" if row["first_token_ms"] is not None else ""
    instead = f", {row['instead_of_another']} of them instead of another model" if row["instead_of_another"] else ""
    failed = f", failed {row['failed']} times" if row["failed"] else ""
    return f"- {name}: served {row['served']:,}{instead}{failed}{first}{speed}"


def _next(made: Report) -> list[str]:
    m = made.metrics
    steps = [
        one.proposal
        for one in made.findings
        if one.proposal and (one.effect is None or one.effect.fixes > one.effect.breaks)
    ]
    if m.turns and m.accuracy.n < 20:
        steps.append("rate a few turns more: below 20 the accuracy says little")
    missing = [f"{name} ({GOAL_PER_ROUTE - n})" for name, n in made.labelled().items() if n < GOAL_PER_ROUTE]
    if missing:
        steps.append(f"labels that training misses: {', '.join(missing)}")
    return steps or ["nothing to do"]
