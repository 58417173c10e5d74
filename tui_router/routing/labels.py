"""What a verdict teaches a router, and what it does not.

A "right" labels the route that was acted on, never the fallback that served. "Wrong" with a route labels that route;
without one it is evidence against the route acted on, and no more. A bad answer labels nothing: the route may have been right.
"""

from __future__ import annotations

from msgspec import Struct

from tui_router.core.fleet import Fleet
from tui_router.core.types import Request, Turn
from tui_router.core.verdicts import labelled_route

ACCEPTED_WEIGHT = 0.5
"""Weight of a label given by pressing enter when asked: agreeing is easier than choosing. Chosen by hand, not measured."""


class Label(Struct, frozen=True, kw_only=True):
    """A request and what the person's verdict tells about its route."""

    key: int
    """The turn's number; a later label of the same turn replaces an earlier one."""
    request: Request
    route: str
    negative: bool = False
    """The route is known to be wrong; the right one is not known."""
    weight: float = 1.0
    """Against that of a full verdict, 0 to 1."""


def names_a_route(turn: Turn) -> bool:
    """Return whether the verdict of a turn says which route was right or wrong, be it of today's fleet or not."""
    verdict = turn.verdict
    return verdict is not None and verdict.rating is not None and verdict.kind != "answer"


def label_of(turn: Turn, fleet: Fleet) -> Label | None:
    """Return what the verdict of a turn teaches, in the routes' names of today; None when it teaches nothing."""
    verdict = turn.verdict
    if verdict is None:
        return None
    route = labelled_route(turn)
    if route is not None:
        now = fleet.names.get(route)
        weight = ACCEPTED_WEIGHT if verdict.kind == "accepted" else 1.0
        return Label(key=turn.number, request=turn.request, route=now, weight=weight) if now else None
    if verdict.kind in ("route", "audit") and verdict.rating == "wrong" and (now := fleet.names.get(turn.route)):
        return Label(key=turn.number, request=turn.request, route=now, negative=True)
    return None
