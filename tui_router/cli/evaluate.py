"""`eval`: how good routers are on labelled requests, as shipped or trained on others of them."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tui_router.cli.shared import DONE, UsageError, cleaned, configuration, emit, known_router, request_rows

if TYPE_CHECKING:
    from tui_router.core.fleet import Fleet
    from tui_router.routing.evaluation.scores import LabelledRequest, ScoredDecision
    from tui_router.routing.router import Router

_LEAST_GROUP = 20
"""Rows below which a value of a field is not left out by itself but with the other rare ones. Chosen by hand, not measured."""
_RARE = "the small ones"
"""The group of the rare values; the name stands in the JSON."""


def evaluate(args: Namespace) -> int:
    """Measure every router that was named on every row of a file."""
    from tui_router.routing.evaluation.perturbation import flips
    from tui_router.routing.evaluation.scores import compare, summary

    names = [known_router(name) for name in dict.fromkeys(args.router or ["learned"])]
    if sum(map(bool, (args.fit, args.folds, args.leave_out))) > 1:
        raise UsageError("--fit, --folds and --leave-out are mutually exclusive")
    fleet = configuration(args).fleet
    rows = labelled(args.file, fleet)
    scored = _scored(fleet, names, rows, args)
    report: dict[str, Any] = {"routers": {name: summary(decisions) for name, decisions in scored.items()}}
    if len(names) > 1:
        report["compared"] = {
            f"{other} against {names[0]}": compare(scored[names[0]], scored[other]) for other in names[1:]
        }
    if args.noise:
        requests = [row.request for row in rows]
        report["flips"] = {name: flips(router(fleet, name, ()), requests) for name in names}
    if args.leave_out:
        report["left_out"] = _by_group(scored, rows, args.leave_out)
    if args.json:
        emit(report)
        return DONE
    for name, decisions in scored.items():
        _show(name, report["routers"][name])
        _show_wrong(decisions, args.wrong)
    _show_rest(report)
    return DONE


def router(fleet: Fleet, name: str, labels: Sequence[LabelledRequest]) -> Router:
    """Return the router of that name; `learned` is first trained on these rows."""
    from tui_router.routing.labels import Label
    from tui_router.routing.learned.learned_router import LearnedRouter
    from tui_router.routing.learned.personal_training import with_labels
    from tui_router.routing.rules.rules_router import RulesRouter

    rules = RulesRouter(fleet)
    if name == "rules":
        return rules
    if not labels:
        return LearnedRouter(fleet, rules)
    trained_on = [Label(key=number, request=row.request, route=row.route) for number, row in enumerate(labels, 1)]
    return with_labels(fleet, rules, trained_on)


def _scored(
    fleet: Fleet, names: Sequence[str], rows: Sequence[LabelledRequest], args: Namespace
) -> dict[str, list[ScoredDecision]]:
    """Return, for each router, its decisions in the order of the file; no row is decided by a router trained on it."""
    from tui_router.routing.evaluation.scores import ScoredDecision

    parts: list[tuple[Sequence[LabelledRequest], list[int]]]
    every = list(range(len(rows)))
    if args.fit:
        parts = [(labelled(args.fit, fleet), every)]
    elif args.folds:
        parts = [(_without(rows, held), held) for held in _folds(len(rows), args.folds)]
    elif args.leave_out:
        parts = [(_without(rows, held), held) for held in _groups(rows, args.leave_out).values()]
    else:
        parts = [((), every)]
    scored: dict[str, list[ScoredDecision]] = {}
    for name in names:
        found: dict[int, ScoredDecision] = {}
        for labels, held in parts if name == "learned" else [((), every)]:
            decisions = router(fleet, name, labels).decide_many(rows[i].request for i in held)
            found.update({i: ScoredDecision(rows[i], d) for i, d in zip(held, decisions, strict=True)})
        scored[name] = [found[i] for i in sorted(found)]
    return scored


def _without(rows: Sequence[LabelledRequest], held: Sequence[int]) -> list[LabelledRequest]:
    out = set(held)
    return [row for i, row in enumerate(rows) if i not in out]


def _folds(n: int, folds: int) -> list[list[int]]:
    """Split row indices into folds, the same way every time."""
    import random

    if not 2 <= folds <= n:
        raise UsageError(f"--folds: expected 2 to {n}, the number of rows, found {folds}")
    order = list(range(n))
    random.Random(0).shuffle(order)
    return [order[i::folds] for i in range(folds)]


def _groups(rows: Sequence[LabelledRequest], field: str) -> dict[str, list[int]]:
    """Return value of a field -> indices of its rows. `repository:file` counts as the repository; rare values go together."""
    found: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        value = row.row.get(field)
        if not isinstance(value, str):
            raise UsageError(f"--leave-out: row {i + 1} has no text in its field {field!r}")
        found.setdefault(value.partition(":")[0], []).append(i)
    small = [name for name, held in found.items() if len(held) < _LEAST_GROUP]
    rest = [i for name in small for i in found.pop(name)]
    return {**found, **({_RARE: rest} if rest else {})}


def _by_group(scored: dict[str, list[ScoredDecision]], rows: Sequence[LabelledRequest], field: str) -> dict[str, Any]:
    """Return value of the field -> number of rows, and the accuracy on them of each router, trained on the other values."""
    return {
        value: {
            "n": len(held),
            **{name: sum(found[i].right for i in held) / len(held) for name, found in scored.items()},
        }
        for value, held in _groups(rows, field).items()
    }


def labelled(file: str, fleet: Fleet) -> list[LabelledRequest]:
    """Read the rows of a file with a `route` or `task`.

    Raises:
        UsageError: a row is wrong; it names the line.
    """
    from tui_router.routing.evaluation.scores import LabelledRequest

    found = []
    for where, row, request in request_rows(file, "FILE"):
        route = row.get("route") or row.get("task")
        if not isinstance(route, str):
            raise UsageError(f'{where}: expected a "route" (or "task") and the text')
        now = fleet.names.get(route)
        if now is None:
            raise UsageError(f"{where}: the fleet has no route {route!r}; known: {', '.join(sorted(fleet.by_route))}")
        found.append(LabelledRequest(row, request, now))
    if not found:
        raise UsageError(f"{file}: holds no labelled request")
    return found


def _show(name: str, figures: dict[str, Any]) -> None:
    low, high = figures["ci95"]
    print(f"{name}: accuracy {figures['accuracy']:.1%} [{low * 100:.1f}-{high * 100:.1f}] n={figures['n']:,}", end="")
    print(f"   macro F1 {figures['macro_f1']:.3f}   ECE {figures['ece']:.3f}   Brier {figures['brier']:.3f}", end="")
    print(f"   p50 {figures['latency_ms']['p50']:.2f} ms   p99 {figures['latency_ms']['p99']:.2f} ms")
    asked = figures["asked"]
    print(f"  below 70%: {asked['all']:.1%} of all, {asked['though_right']:.1%} although the route was right")
    for route, row in figures["per_route"].items():
        low, high = row["ci95"]
        wrong = {k: v for k, v in figures["confusion"].get(route, {}).items() if k != route}
        most = ", ".join(f"{k} {v}" for k, v in sorted(wrong.items(), key=lambda item: -item[1])[:3])
        recall = f"recall {row['recall']:>4.0%} [{low * 100:.0f}-{high * 100:.0f}]"
        print(
            f"  {route:<14} {recall:<22} precision {row['precision']:>4.0%}   n={row['n']:<6,} confused with: {most or 'none'}"
        )


def _show_rest(report: dict[str, Any]) -> None:
    for pair, found in report.get("compared", {}).items():
        low, high = found["ci95"]
        print(
            f"{pair}: {found['difference'] * 100:+.1f} points [{low * 100:+.1f} to {high * 100:+.1f}], "
            f"only one right {found['only_second']:,} : {found['only_first']:,}, p = {found['p']:.2g}"
        )
    for name, rates in report.get("flips", {}).items():
        print(f"{name}, decisions changed by noise: " + ", ".join(f"{k} {v:.1%}" for k, v in rates.items()))
    for value, row in report.get("left_out", {}).items():
        print(
            f"  left out {value:<40} n={row['n']:<6,} " + "  ".join(f"{k} {v:.1%}" for k, v in row.items() if k != "n")
        )


def _show_wrong(scored: Sequence[ScoredDecision], most: int) -> None:
    for one in [decision for decision in scored if not decision.right][:most]:
        decision = one.decision
        text = " ".join(cleaned(one.row.request.text).split())[:100]
        print(f"  ✗ {decision.route} {decision.confidence:.0%} instead of {one.row.route}: {text}")
        for reason in decision.reasons[:3]:
            print(f"      {reason.weight:+.1f} {reason.route}: {cleaned(reason.text)}")
