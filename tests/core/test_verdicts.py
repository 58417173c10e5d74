"""A verdict means the route that was acted on, however the turn came to that route."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worlds import SHIPPED, a_turn
from tui_router.core.types import Verdict
from tui_router.core.verdicts import confirm, correct, decision_was_right, labelled_route

ROUTES = [route.name for route in SHIPPED.fleet.routes]


def turn_with(verdict=None, **fields):
    return a_turn("write a python function", id="1-abc", verdict=verdict, **fields)


@given(route=st.sampled_from(ROUTES), pinned=st.booleans(), audit=st.sampled_from([0.0, 0.2]))
def test_a_confirmation_is_of_the_route_acted_on(route, pinned, audit):
    verdict = confirm(turn_with(route=route, pinned_route=pinned, audit=audit))
    turn = turn_with(verdict, route=route, pinned_route=pinned, audit=audit)
    assert labelled_route(turn) == verdict.route == route
    assert verdict.kind == ("audit" if audit else "route")
    same = route == turn.decision.route
    assert decision_was_right(turn) == (None if pinned and not same else same)


@given(route=st.sampled_from(ROUTES), wanted=st.sampled_from([*ROUTES, None]), pinned=st.booleans())
def test_a_correction_is_of_the_route_acted_on(route, wanted, pinned):
    turn = turn_with(route=route, pinned_route=pinned)
    if wanted == route:
        with pytest.raises(ValueError, match=f"turn 1 went to {route} already"):
            correct(turn, wanted)
        return
    rated = turn_with(correct(turn, wanted), route=route, pinned_route=pinned)
    decided = turn.decision.route
    assert labelled_route(rated) == wanted
    if pinned and route != decided:
        assert decision_was_right(rated) is None
    elif wanted is not None:
        assert decision_was_right(rated) == (wanted == decided)
    else:
        assert decision_was_right(rated) == (False if route == decided else None)


@pytest.mark.parametrize(("kind", "rating"), [("note", None), ("answer", "wrong"), ("answer", "right")])
def test_notes_and_answers_say_nothing_of_the_route(kind, rating):
    turn = turn_with(Verdict(kind=kind, at="", rating=rating))
    assert labelled_route(turn) is None and decision_was_right(turn) is None


def test_the_command_line_answers_no_random_check():
    turn = turn_with(audit=0.2)
    assert confirm(turn, source="command line").kind == "route" and confirm(turn).kind == "audit"
