"""A store with a few turns in it."""

import pytest

from tests.worlds import a_turn
from tui_router.store.store import Store


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "data")
    yield made
    made.close()


@pytest.fixture
def turn(store):
    return store.record(a_turn("write a python function"))
