"""What a verdict teaches a router, and what it does not.

A "right" labels the *intended* route, never the fallback that served. "Wrong" with a route labels that route; without
one it is evidence against the decided route, and no more. A bad answer labels nothing: the route may have been right.
"""

from __future__ import annotations

from msgspec import Struct

from tui_router.core.fleet import Fleet
from tui_router.core.types import Request, Turn, Verdict

ACCEPTED = 0.5
"""Weight of pressing enter when asked: agreeing is easier than choosing."""


class Label(Struct, frozen=True, kw_only=True):
    """A request and what the person said of its route."""

    key: int
    """The turn's number; a later lesson of the same turn replaces an earlier one."""
    request: Request
    route: str
    against: bool = False
    """The route is known to be wrong; the right one is not known."""
    weight: float = 1.0


def label_of(turn: Turn, fleet: Fleet) -> Label | None:
    """What the verdict of a turn teaches, in the names that the routes have now; None when it teaches nothing."""
    verdict = turn.verdict
    if verdict is None:
        return None
    label = labelled_route(turn, verdict)
    if label is not None:
        route = fleet.names.get(label)
        weight = ACCEPTED if verdict.kind == "accepted" else 1.0
        return (route and Label(key=turn.number, request=turn.request, route=route, weight=weight)) or None
    if verdict.kind == "route" and verdict.rating == "wrong" and (route := fleet.names.get(turn.decision.route)):
        return Label(key=turn.number, request=turn.request, route=route, against=True)
    return None


def labelled_route(turn: Turn, verdict: Verdict) -> str | None:
    """The right route by a verdict, in the name that it had then; None when the verdict does not tell."""
    if verdict.kind in ("answer", "note"):
        return None
    if verdict.rating == "right" and verdict.kind == "route":
        return turn.decision.route
    return verdict.route
