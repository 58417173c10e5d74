"""Turns are drawn at random when they end, with a probability that is stored and does not look at the turn."""

import pytest
from msgspec.structs import replace

from tests.worlds import SHIPPED, a_turn
from tui_router.app.audits import AuditDraw
from tui_router.app.context import AppContext
from tui_router.app.engine import Engine
from tui_router.backends.health import Health
from tui_router.core.types import Request
from tui_router.core.verdicts import confirm


@pytest.fixture
def context(tmp_path):
    return AppContext(SHIPPED, tmp_path, Health(SHIPPED.fleet, SHIPPED.backends, checked=False))


def test_about_one_turn_a_day_is_drawn_and_the_probability_is_stored(context):
    draw = AuditDraw(context, lambda: [40] * 30)
    found = [draw.draw(a_turn("hello", id="40-abc")) for _ in range(8000)]
    assert {p for p in found if p} == {1 / 40}
    assert 8000 / 40 * 0.7 < sum(p > 0 for p in found) < 8000 / 40 * 1.3


@pytest.mark.parametrize("fields", [{"asked": "unsure"}, {"asked": "worth"}, {"pinned_route": True, "route": "code"}])
def test_asked_and_pinned_turns_are_never_drawn(context, fields):
    assert AuditDraw(context, lambda: [1], lambda: 0.0).draw(a_turn("hello", id="40-abc", **fields)) == 0.0


def test_nobody_is_audited_who_does_not_want_to_rate(context):
    context.feedback = False
    assert AuditDraw(context, lambda: [1], lambda: 0.0).draw(a_turn("hello", id="40-abc")) == 0.0
    context.feedback, context.config = True, replace(SHIPPED, settings=replace(SHIPPED.settings, asks_a_day=0))
    assert AuditDraw(context, lambda: [1], lambda: 0.0).draw(a_turn("hello", id="40-abc")) == 0.0


@pytest.mark.parametrize("name", ["10-abc", "unsaved-1"])
def test_the_first_turns_of_a_store_and_unsaved_ones_are_not_drawn(context, name):
    assert AuditDraw(context, lambda: [1], lambda: 0.0).draw(a_turn("hello", id=name)) == 0.0
    assert AuditDraw(context, lambda: [1], lambda: 0.0).draw(a_turn("hello", id="11-abc")) == 1.0


async def test_the_draw_is_stored_when_the_turn_ends_and_a_verdict_on_it_is_an_audit(tmp_path):
    engine = Engine(SHIPPED, tmp_path / "data", health_checks=False)
    engine.answers._audits = AuditDraw(engine.context, lambda: [4], lambda: 0.0)
    store = await engine.open()
    for _ in range(10):
        store.record(a_turn("hello"))
    turn = await engine.begin(Request(text="hello"), ask=False)
    assert turn.audit == 0.0
    ended = await engine.leave_unanswered(turn.id)
    assert ended.audit == engine.store.find(turn.id).audit == 0.25
    await engine.rate(turn.id, confirm(ended))
    assert engine.store.find(turn.id).verdict.kind == "audit"
    await engine.close()
