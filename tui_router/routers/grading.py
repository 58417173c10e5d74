"""What a verdict says of every router that decided the turn, the shadows included."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from tui_router.core.fleet import Fleet
from tui_router.core.types import Decision, Turn
from tui_router.routers.lessons import labelled_route


class Grade(Struct, frozen=True):
    """A rated turn, as the race sees it."""

    key: int
    """The turn's number."""
    label: str
    """The right route, in the name that it has now."""
    decisions: Mapping[str, Decision]
    """Router -> what it decided before the verdict was known."""

    def right(self, router: str) -> bool | None:
        """Whether a router was right; None when it did not decide this turn."""
        decision = self.decisions.get(router)
        return None if decision is None else decision.route == self.label


def grade(turn: Turn, fleet: Fleet) -> Grade | None:
    """The grade of a turn; None while its right route is not known, or the verdict is outside the accuracy."""
    verdict = turn.verdict
    if verdict is None or not verdict.counts:
        return None
    label = labelled_route(turn, verdict)
    now = fleet.names.get(label) if label is not None else None
    if now is None:
        return None
    decisions = {made.router: _renamed(made, fleet) for made in (*turn.shadows, turn.decision)}
    return Grade(turn.number, now, decisions)


def _renamed(decision: Decision, fleet: Fleet) -> Decision:
    """A decision in the names that the routes have now."""
    if all(fleet.names.get(route) == route for route, _ in decision.ranking):
        return decision
    return replace(decision, ranking=tuple((fleet.names.get(route, route), p) for route, p in decision.ranking))
