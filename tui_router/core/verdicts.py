"""What a verdict means: the route that was acted on was right or wrong, and what that says of the router's decision."""

from __future__ import annotations

from tui_router.core.clock import now
from tui_router.core.types import Turn, Verdict, VerdictKind


def confirm(turn: Turn, *, comment: str = "", source: str = "key") -> Verdict:
    """Return the verdict that the route acted on was right, be it decided, chosen or pinned."""
    return Verdict(kind=_kind(turn, source), at=now(), rating="right", route=turn.route, comment=comment, source=source)


def correct(turn: Turn, route: str | None, *, comment: str = "", source: str = "key") -> Verdict:
    """Return the verdict that the route acted on was wrong.

    Args:
        turn: The turn.
        route: The right route; None when only the wrong one is known.
        comment: What the person added.
        source: Where the verdict came from: `key` or `command line`.

    Raises:
        ValueError: the right route is the one that was acted on; that is no correction but a confirmation.
    """
    if route == turn.route:
        raise ValueError(f"turn {turn.number} went to {route} already; to say that this was right, confirm it")
    return Verdict(kind=_kind(turn, source), at=now(), rating="wrong", route=route, comment=comment, source=source)


def judge(turn: Turn, route: str, *, comment: str = "", source: str = "key") -> Verdict:
    """Return the verdict that this is the right route: a confirmation if it was acted on, else a correction."""
    if route == turn.route:
        return confirm(turn, comment=comment, source=source)
    return correct(turn, route, comment=comment, source=source)


def _kind(turn: Turn, source: str) -> VerdictKind:
    """Return `audit` for the answer to a random check; only the dashboard shows those, the command line asks nobody."""
    return "audit" if turn.audit and source == "key" else "route"


def labelled_route(turn: Turn) -> str | None:
    """Return the right route of a turn by its verdict, in the name that it had then; None when nobody knows it."""
    verdict = turn.verdict
    if verdict is None or verdict.rating is None or verdict.kind == "answer":
        return None
    return verdict.route or (turn.route if verdict.rating == "right" else None)


def decision_was_right(turn: Turn) -> bool | None:
    """Return whether the champion's decision was right; None when the verdict does not tell.

    A pinned route says nothing about the decision, unless both are the same: the person did not see what the router would
    have done. Answers to asks count whether they accept the decision or replace it: else only the wrong ones would.
    """
    verdict, decided = turn.verdict, turn.decision.route
    if verdict is None or verdict.rating is None or verdict.kind == "answer":
        return None
    if turn.pinned_route and turn.route != decided:
        return None
    label = labelled_route(turn)
    if label is not None:
        return label == decided
    return False if turn.route == decided else None
