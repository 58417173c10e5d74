"""Stores of older layouts open, and what they say is carried over as it was meant."""

import pytest

from tests.worlds import a_turn, right, wrong
from tui_router.store.schema import SCHEMA
from tui_router.store.store import Store
from tui_router.store.store_errors import StoreError


@pytest.fixture
def layout_1(tmp_path):
    """A store as layout 1 had it: a `y` was stored as the router's route, whatever route was acted on."""
    store = Store(tmp_path / "data")
    decided = store.record(a_turn("write a python function"))
    pinned = store.record(a_turn("write a python function", route="reasoning", pinned_route=True))
    chosen = store.record(a_turn("write a python function", route="reasoning", asked="unsure"))
    store.rate(decided.id, right("code"))
    store.rate(pinned.id, right("code"))
    store.rate(chosen.id, wrong("reasoning"))
    store.rate(chosen.id, right("code"))
    for number, document in [(d.doc_id, d) for d in store.db.table("verdicts").all()]:
        document.pop("right")
        store.db.table("verdicts").update(lambda doc: doc.pop("right"), doc_ids=[number])
    store.db.table("settings").update({"schema": 1}, doc_ids=[1])
    store.close()
    return tmp_path / "data"


def test_a_confirmation_of_a_pinned_or_chosen_route_means_that_route(layout_1):
    store = Store(layout_1)
    assert [turn.verdict.route for turn in store.turns()] == ["code", "reasoning", "reasoning"]
    assert "2 confirmations of a chosen or pinned route" in store.migrated
    assert [(number, right) for number, right in store.graded()] == [(1, True), (3, False)]  # a pin says nothing
    assert (store.counters().rated, store.counters().right) == (2, 1)
    assert (layout_1 / "backups/store.db").exists()
    store.close()
    again = Store(layout_1)
    assert not again.migrated
    again.close()


def test_a_store_of_a_newer_program_is_left_alone(store):
    store.db.table("settings").update({"schema": SCHEMA + 1}, doc_ids=[1])
    folder = store.path.parent
    store.close()
    with pytest.raises(StoreError, match="newer tui-router"):
        Store(folder)
