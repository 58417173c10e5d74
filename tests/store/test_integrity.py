"""Damage: found at start, repaired from the file itself and the backups, and told."""

import random

import pytest

from tests.worlds import a_turn, right
from tui_router.store import integrity
from tui_router.store.store import Store
from tui_router.store.store_errors import StoreBusyError


def fill(folder, n=60, backup_after=40):
    store = Store(folder)
    turns = []
    for i in range(n):
        turns.append(store.record(a_turn(f"write a python function number {i}")))
        store.rate(turns[-1].id, right())
        if i + 1 == backup_after:
            integrity.backup(store.db.storage)
    store.close()
    return store.path, turns


def test_a_damaged_document_is_found_and_comes_back_from_the_backup(tmp_path):
    path, turns = fill(tmp_path)
    data = path.read_bytes()
    at = data.find(b"python function number 7")
    path.write_bytes(data[:at] + b"P" + data[at + 1 :])
    store = Store(tmp_path)
    assert "The store was damaged" in store.repaired and "came from the backup store.db" in store.repaired
    assert [t.request.text for t in store.turns()] == [t.request.text for t in turns]
    assert store.counters().rated == 60
    assert list(tmp_path.glob("store.db.damaged-*"))
    store.close()


@pytest.mark.parametrize("seed", range(12))
def test_any_damage_ends_in_a_sound_store_with_what_the_backup_held(tmp_path, seed):
    path, turns = fill(tmp_path)
    dice = random.Random(seed)
    data = bytearray(path.read_bytes())
    kind = seed % 4
    at = dice.randrange(0, len(data) - 4096)
    if kind == 0:
        data[at : at + 4096] = bytes(4096)
    elif kind == 1:
        data[at : at + 4096] = dice.randbytes(4096)
    elif kind == 2:
        del data[at:]
    else:
        data[:] = dice.randbytes(len(data))
    path.write_bytes(data)
    store = Store(tmp_path)
    assert store.repaired or kind == 0
    found = {t.id for t in store.turns()}
    assert {t.id for t in turns[:40]} <= found
    assert store.recount().rated >= 40
    store.record(a_turn("still writable"))
    store.close()
    again = Store(tmp_path)
    assert not again.repaired
    again.close()


def test_a_file_that_was_emptied_is_not_taken_for_a_new_store(tmp_path):
    path, _ = fill(tmp_path)
    path.write_bytes(b"")
    store = Store(tmp_path)
    assert "is empty although backups exist" in store.repaired
    assert len(list(store.turns())) == 40
    store.close()


def test_a_damaged_store_that_is_open_elsewhere_is_not_touched(tmp_path):
    path, _ = fill(tmp_path)
    other = Store(tmp_path)
    other.db.storage.run("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusyError, match="another tui-router has it open"):
        integrity.repair(path, "test")
    other.db.storage.run("ROLLBACK")
    other.close()


def test_backups_rotate_and_are_private(tmp_path):
    store = Store(tmp_path)
    for i in range(5):
        store.record(a_turn(f"hello {i}"))
        integrity.backup(store.db.storage)
    kept = integrity.backups(store.path)
    assert len(kept) == integrity.KEEP_BACKUPS
    assert all(p.stat().st_mode & 0o777 == 0o600 for p in kept)
    assert not integrity.backup_is_due(store.path)
    store.close()


def test_a_damaged_write_ahead_log_is_noticed(tmp_path):
    store = Store(tmp_path)
    for i in range(30):
        store.record(a_turn(f"hello {i}"))
    wal = store.path.with_name("store.db-wal")
    sound = wal.read_bytes()
    assert integrity.wal_damage(store.path) == ""
    wal_copy = tmp_path / "copy" / "store.db-wal"
    wal_copy.parent.mkdir()
    wal_copy.write_bytes(sound[: len(sound) - 1000])  # torn at the end: what a crash leaves
    assert integrity.wal_damage(tmp_path / "copy" / "store.db") == ""
    middle = len(sound) // 2
    wal_copy.write_bytes(sound[:middle] + bytes([sound[middle] ^ 255]) + sound[middle + 1 :])
    assert "a write in the log of the last run is damaged" in integrity.wal_damage(tmp_path / "copy" / "store.db")
    store.close()
