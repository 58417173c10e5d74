"""What a verdict tells about every router that decided the turn, the shadows included."""

from __future__ import annotations

from collections.abc import Mapping
from sys import intern

from msgspec import Struct
from msgspec.structs import replace

from tui_router.core.fleet import Fleet
from tui_router.core.types import Decision, Turn
from tui_router.core.verdicts import decision_was_right, labelled_route


class Grade(Struct, frozen=True):
    """A rated turn: what each router decided, and what was right."""

    key: int
    """The turn's number."""
    label: str
    """The right route, in its name of today; empty when only a wrong one is known."""
    decisions: Mapping[str, Decision]
    """Router -> what it decided before the verdict was known."""
    wrong_route: str = ""
    """The route that is known to be wrong, when the right one is not known."""
    audit: float = 0.0
    """Probability with which the turn was drawn for an audit; 0 when it was not."""
    asked: bool = False
    """Whether the router asked about the turn, because it was unsure or the answer informative."""

    def right(self, router: str) -> bool | None:
        """Whether a router was right; None when it did not decide this turn, or it is not known."""
        decision = self.decisions.get(router)
        if decision is None:
            return None
        if self.label:
            return decision.route == self.label
        return False if decision.route == self.wrong_route else None


def grade(turn: Turn, fleet: Fleet) -> Grade | None:
    """Return the grade of a turn; None while its verdict says nothing of the decision, or its route is gone."""
    if decision_was_right(turn) is None:
        return None
    decisions = {made.router: _renamed(made, fleet) for made in (*turn.shadows, turn.decision)}
    audit, asked = (0.0 if turn.asked or turn.pinned_route else turn.audit), bool(turn.asked)
    label = labelled_route(turn)
    if label is None:
        wrong_route = fleet.names.get(turn.route, turn.route)
        return Grade(turn.number, "", decisions, wrong_route, audit=audit, asked=asked)
    now = fleet.names.get(label)
    return None if now is None else Grade(turn.number, now, decisions, audit=audit, asked=asked)


def _renamed(decision: Decision, fleet: Fleet) -> Decision:
    """Return a decision in the routes' names of today, without its reasons: thousands of grades are held in memory."""
    names = fleet.names
    return replace(
        decision,
        ranking=tuple([(names.get(route, route), p) for route, p in decision.ranking]),
        model=intern(decision.model),
        reasons=(),
        router=intern(decision.router),
        version=intern(decision.version),
        classified="",
    )
