"""A short form of `make faults`."""

from tests.store import kills


def test_twenty_kills_lose_nothing(tmp_path):
    found = kills.run(20, tmp_path / "store")
    assert found.pop("kills") == 20 and found.pop("acknowledged") > 20
    assert set(found.values()) == {0}, found
