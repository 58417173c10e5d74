"""`route`: decide, call no model."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any, Protocol

from tui_router.cli.shared import (
    DONE,
    UsageError,
    cleaned,
    configuration,
    emit,
    folder,
    known_router,
    notice,
    request_rows,
    typed_request,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui_router.core.types import Decision, Request

    class _Decides(Protocol):
        def decide(self, request: Request) -> Decision: ...


def route(args: Namespace) -> int:
    """Decide the route of one request, or of each line of a file."""
    if bool(args.text) == bool(args.jsonl):
        raise UsageError("route takes a TEXT or --jsonl FILE, one of the two")
    router, close = _router(args)
    try:
        if args.jsonl:
            for _, row, request in request_rows(args.jsonl, "--jsonl"):
                emit(_row(row.get("id"), router.decide(request)))
            return DONE
        request, notes = typed_request(" ".join(args.text), ())
        decision = router.decide(request)
    finally:
        fault = close()
    for remark in (*notes, *([fault] if fault else [])):
        notice(remark)
    if args.json:
        emit(_row("", decision))
        return DONE
    print(f"{decision.route} {decision.confidence:.0%} → {decision.model}")
    for reason in decision.reasons:
        print(f"  {reason.weight:+.1f}  {reason.route}: {cleaned(reason.text)}")
    return DONE


def _router(args: Namespace) -> tuple[_Decides, Callable[[], str]]:
    """Return the named router or else the champion, trained on the stored verdicts, and a function that closes it.

    That function returns what went wrong, as a sentence, or an empty text.
    """
    config, name = configuration(args), known_router(args.router)
    if name == "rules":
        from tui_router.routing.rules.rules_router import RulesRouter

        return RulesRouter(config.fleet), str
    from tui_router.learning.online_learner import taught_by
    from tui_router.routing.ensemble.ensemble import EnsembleMember

    ensemble = taught_by(config, folder(args)).ensemble
    if name or not ensemble.champion_run:
        return EnsembleMember(ensemble, name or ensemble.best_immediate), str
    from tui_router.app.tuned_router import BlockingTunedRouter

    tuned = BlockingTunedRouter(ensemble, config, folder(args))
    return tuned, tuned.close


def _row(identity: Any, decision: Decision) -> dict[str, Any]:
    return {
        "id": identity,
        "route": decision.route,
        "model": decision.model,
        "confidence": decision.confidence,
        "ranking": [[route, p] for route, p in decision.ranking],
        "reasons": [reason.text for reason in decision.reasons],
        "router": decision.router,
        "elapsed_ms": decision.elapsed_ms,
    }
