"""Small pieces of the world that many tests need."""

from tui_router.config.settings import parse_config
from tui_router.core.clock import now
from tui_router.core.types import Answer, Request, Turn, Verdict
from tui_router.routing.rules.rules_router import RulesRouter

SHIPPED = parse_config("", None, {})
RULES = RulesRouter(SHIPPED.fleet)


def a_turn(text: str = "hello", session: str = "", **more: object) -> Turn:
    """A turn as the engine would record it, decided by the rules."""
    decision = RULES.decide(Request(text=text))
    fields = {
        "id": "",
        "session": session,
        "at": now(),
        "request": Request(text=text),
        "decision": decision,
        "route": decision.route,
        "state": "done",
        "answer": Answer(text="An answer."),
        **more,
    }
    return Turn(**fields)


def right(route: str = "code") -> Verdict:
    return Verdict(kind="route", at=now(), rating="right", route=route)


def wrong(route: str | None = None) -> Verdict:
    return Verdict(kind="route", at=now(), rating="wrong", route=route)
