"""`eval`: a router on labelled requests."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from tui_router.cli_shared import DONE, UsageError, cleaned, configuration, emit, request_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui_router.routers.base import Router
    from tui_router.routers.evaluation import Judged, Labelled

ROUTERS = ("rules",)


def evaluate(given: dict[str, Any], args: argparse.Namespace) -> int:
    """Judge every router that was named on every line of the file."""
    from tui_router.routers.evaluation import Judged, summary
    from tui_router.routers.rules import RulesRouter

    names = args.router or list(ROUTERS)
    for name in names:
        if name not in ROUTERS:
            raise UsageError(f"there is no router {name!r}; known: {', '.join(ROUTERS)}")
    fleet = configuration(given).fleet
    rows = _labelled(args.file, set(fleet.by_route))
    report: dict[str, Any] = {}
    for name in names:
        router: Router = RulesRouter(fleet)
        decisions = router.decide_many(row.request for row in rows)
        judged = [Judged(row, decision) for row, decision in zip(rows, decisions, strict=True)]
        report[name] = summary(judged)
        if not given.get("json"):
            _show(name, report[name])
            _show_wrong(judged, args.wrong)
    if given.get("json"):
        emit({"routers": report})
    return DONE


def _labelled(file: str, routes: set[str]) -> list[Labelled]:
    from tui_router.routers.evaluation import Labelled

    found = []
    for where, row, request in request_rows(file, "FILE"):
        route = row.get("route") or row.get("task")
        if not isinstance(route, str):
            raise UsageError(f'{where}: expected a "route" (or "task") beside the text')
        if route not in routes:
            raise UsageError(f"{where}: the fleet has no route {route!r}; known: {', '.join(sorted(routes))}")
        found.append(Labelled(row.get("id"), request, route))
    if not found:
        raise UsageError(f"{file}: holds no labelled request")
    return found


def _show(name: str, figures: dict[str, Any]) -> None:
    low, high = figures["ci95"]
    print(f"{name}: accuracy {figures['accuracy']:.1%} [{low * 100:.1f}-{high * 100:.1f}] n={figures['n']:,}", end="")
    print(f"   macro F1 {figures['macro_f1']:.3f}   ECE {figures['ece']:.3f}   Brier {figures['brier']:.3f}", end="")
    print(f"   p50 {figures['latency_ms']['p50']:.2f} ms   p99 {figures['latency_ms']['p99']:.2f} ms")
    for route, row in figures["per_route"].items():
        low, high = row["ci95"]
        wrong = {k: v for k, v in figures["confusion"].get(route, {}).items() if k != route}
        most = ", ".join(f"{k} {v}" for k, v in sorted(wrong.items(), key=lambda item: -item[1])[:3])
        recall = f"recall {row['recall']:>4.0%} [{low * 100:.0f}-{high * 100:.0f}]"
        print(
            f"  {route:<14} {recall:<22} precision {row['precision']:>4.0%}   n={row['n']:<6,} taken for: {most or 'nothing'}"
        )


def _show_wrong(judged: Sequence[Judged], most: int) -> None:
    for one in [j for j in judged if not j.right][:most]:
        decision = one.decision
        text = " ".join(cleaned(one.row.request.text).split())[:100]
        print(f"  ✗ {one.row.route} taken for {decision.route} {decision.confidence:.0%}: {text}")
        for reason in decision.reasons[:3]:
            print(f"      {reason.weight:+.1f} {reason.route}: {cleaned(reason.text)}")
