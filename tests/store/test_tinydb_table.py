"""TinyDB's semantics over SQLite rows: ids, transactions, other processes, threads, odd values, a full disk."""

import os
import resource
import subprocess
import sys
import tempfile
import threading

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tinydb import Query, TinyDB
from tinydb.table import Document

from tui_router.store import sqlite_storage, store_errors
from tui_router.store.sqlite_storage import SQLiteStorage
from tui_router.store.tinydb_table import SQLiteTinyDB

Q = Query()


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "a.db")


def test_documents_are_copies_and_ids_are_never_reused(path):
    table = SQLiteTinyDB(path).table("t")
    mine = {"x": 1, "list": [1]}
    assert table.insert(mine) == 1
    mine["list"].append(2)
    assert table.get(doc_id=1)["list"] == [1]
    table.search(Q.x == 1)[0]["list"].append(9)
    assert table.get(doc_id=1)["list"] == [1]
    assert table.insert(Document({"x": 5}, 50)) == 50 and table.insert({"x": 6}) == 51
    with pytest.raises(ValueError, match="already exists"):
        table.insert(Document({}, 50))
    assert table.insert_multiple([{"k": 1}, Document({"k": 2}, 53), {"k": 3}]) == [52, 53, 54]
    assert table.remove(doc_ids=[54]) == [54] and table.insert({}) == 55
    assert table.update({"q": 1}, doc_ids=[1, 999]) == [1]
    assert [d.doc_id for d in table.get(doc_ids=[52, 1, 999])] == [1, 52]
    assert [d.doc_id for d in table.recent(2, before=53)] == [52, 51]


@pytest.mark.parametrize("text", ["\ud800 lone", "a\x00b", "\u202e", "🦊" * 10, "\n\r\u2028", "x" * 100_000])
def test_any_text_comes_back_as_it_was(path, text):
    table = SQLiteTinyDB(path).table("t")
    table.insert({"text": text, "big": 2**70})
    assert table.get(doc_id=1) == {"text": text, "big": 2**70}
    assert table.search(Q.text == text)


def test_bad_values_leave_no_trace(path):
    table = SQLiteTinyDB(path).table("t")
    table.insert({"x": 1})
    for bad in ({"s": object()}, {"s": lambda: 1}):
        with pytest.raises(TypeError):
            table.insert(bad)
        with pytest.raises(TypeError):
            table.insert_multiple([{"ok": 1}, bad])
        with pytest.raises(TypeError):
            table.update(bad, Q.x == 1)
    with pytest.raises(ZeroDivisionError):
        table.update(lambda d: 1 / 0)
    assert table.all() == [{"x": 1}]


def test_a_transaction_is_all_or_nothing(path):
    db = SQLiteTinyDB(path)
    table = db.table("t")

    def add(fail):
        with db.transaction():
            table.insert({"x": 1})
            if fail:
                raise KeyboardInterrupt

    add(False)
    with pytest.raises(KeyboardInterrupt):
        add(True)
    assert len(table) == 1
    with db.transaction():
        table.insert({"x": 2})
        with pytest.raises(TypeError), db.transaction():
            table.insert({"x": 3})
            table.insert({"s": object()})
    assert [d["x"] for d in table] == [1, 2]


def test_what_another_connection_changes_is_named(path):
    one, two = SQLiteTinyDB(path), SQLiteTinyDB(path)
    one.table("t").insert({"x": 1})
    version = one.storage.version()
    assert two.storage.changed_since(version) == (version, [])
    two.table("t").insert({"x": 2})
    two.table("t").update({"y": 1}, doc_ids=[1])
    now, what = one.storage.changed_since(version)
    assert set(what) == {("t", 2), ("t", 1)}
    two.drop_table("t")
    assert set(one.storage.changed_since(now)[1]) == {("t", None)}
    for _ in range(2):
        two.table("t").insert_multiple({"i": i} for i in range(6000))
    assert one.storage.changed_since(version)[1] is None
    assert one.storage.run("SELECT count(*) FROM log")[0][0][0] <= sqlite_storage.LOG_KEEP + 1000


def test_plain_tinydb_works_on_the_storage_too(path):
    plain, ours = TinyDB(path, storage=SQLiteStorage), SQLiteTinyDB(path)
    table = plain.table("t")
    table.insert({"x": 1})
    table.update({"y": 2}, Q.x == 1)
    ours.table("t").insert({"x": 2})
    table.remove(Q.x == 2)
    assert ours.table("t").all() == [{"x": 1, "y": 2}]
    with pytest.raises(store_errors.StoreConflictError):
        table.update(lambda d: ours.table("t").insert({"z": 1}))
    plain.drop_table("t")
    assert ours.tables() == set()


def test_a_busy_store_says_so_and_readers_go_on(path):
    db, other = SQLiteTinyDB(path), SQLiteTinyDB(path)
    db.storage.timeout = 0.2
    with other.transaction():
        other.insert({"x": 1})
        with pytest.raises(store_errors.StoreBusyError):
            db.insert({"x": 2})
        assert len(db) == 0
    assert db.insert({"x": 2}) == 2


def test_foreign_and_newer_files_are_refused(path, tmp_path):
    import sqlite3

    foreign = sqlite3.connect(tmp_path / "other.db")
    foreign.execute("CREATE TABLE notes(x)")
    foreign.commit()
    with pytest.raises(store_errors.StoreError, match="another program"):
        SQLiteTinyDB(str(tmp_path / "other.db"))
    db = SQLiteTinyDB(path)
    db.storage.run("PRAGMA user_version=9")
    db.close()
    with pytest.raises(store_errors.StoreError, match="has format 9"):
        SQLiteTinyDB(path)
    with pytest.raises(store_errors.StoreError, match="closed"):
        db.insert({})


def test_threads_share_a_store(path):
    table = SQLiteTinyDB(path).table("t")
    failed = []

    def work(k):
        try:
            for i in range(60):
                table.insert({"k": k, "i": i})
                table.update({"u": 1}, doc_ids=[1])
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(5)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not failed and [d.doc_id for d in table] == list(range(1, 301))


def test_the_file_is_private(path):
    SQLiteTinyDB(path).insert({})
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.stat(path + "-wal").st_mode & 0o777 == 0o600


FULL = """
import resource, signal, sys
from tui_router.store.tinydb_table import SQLiteTinyDB
from tui_router.store.store_errors import StoreFullError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
db = SQLiteTinyDB(sys.argv[1]); table = db.table("t"); acknowledged = 0
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
try:
    while True:
        table.insert({"x": "y" * 900}); acknowledged += 1
except StoreFullError as error:
    assert len(table.all()) == acknowledged == len(table), (len(table), acknowledged)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    table.insert({"x": "room again"})
    print(acknowledged)
"""


def test_a_full_disk_is_a_clear_error_and_loses_nothing(path):
    done = subprocess.run([sys.executable, "-c", FULL, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(SQLiteTinyDB(path).table("t")) == int(done.stdout) + 1
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


WORDS = st.text(st.characters(exclude_categories=[]), max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)
DOCUMENTS = st.dictionaries(st.sampled_from("abcé "), VALUES, max_size=4)
TABLES = st.sampled_from(["t", "T", "a\"';é", ""])
IDS = st.integers(1, 12) | st.sampled_from([-5, 0, 2**40])


class TwoHandles(RuleBasedStateMachine):
    """Two handles on one file against a dict of dicts."""

    @initialize()
    def start(self):
        self.folder = tempfile.TemporaryDirectory()
        self.handles = [SQLiteTinyDB(f"{self.folder.name}/m.db") for _ in range(2)]
        self.model: dict[str, dict[int, dict]] = {}

    def table(self, name, which):
        return self.handles[which].table(name)

    @rule(name=TABLES, which=st.integers(0, 1), doc=DOCUMENTS)
    def insert(self, name, which, doc):
        new = self.table(name, which).insert(doc)
        held = self.model.setdefault(name, {})
        assert new not in held and all(new > k for k in held)
        held[new] = doc

    @rule(name=TABLES, which=st.integers(0, 1), doc=DOCUMENTS, doc_id=IDS)
    def insert_with_id(self, name, which, doc, doc_id):
        if doc_id in self.model.get(name, {}):
            with pytest.raises(ValueError, match="already exists"):
                self.table(name, which).insert(Document(doc, doc_id))
        else:
            self.table(name, which).insert(Document(doc, doc_id))
            self.model.setdefault(name, {})[doc_id] = doc

    @rule(name=TABLES, which=st.integers(0, 1), fields=DOCUMENTS, ids=st.lists(IDS, max_size=3, unique=True))
    def update_by_id(self, name, which, fields, ids):
        held = self.model.get(name, {})
        assert self.table(name, which).update(fields, doc_ids=ids) == [i for i in ids if i in held]
        for i in ids:
            if i in held:
                held[i] = {**held[i], **fields}

    @rule(name=TABLES, which=st.integers(0, 1), fields=DOCUMENTS, key=st.sampled_from("abc"))
    def update_by_condition(self, name, which, fields, key):
        held = self.model.get(name, {})
        hit = sorted(i for i, doc in held.items() if key in doc)
        assert self.table(name, which).update(fields, Q[key].exists()) == hit
        for i in hit:
            held[i] = {**held[i], **fields}

    @rule(name=TABLES, which=st.integers(0, 1), fields=DOCUMENTS, key=st.sampled_from("abc"))
    def upsert(self, name, which, fields, key):
        held = self.model.get(name, {})
        hit = sorted(i for i, doc in held.items() if key in doc)
        got = self.table(name, which).upsert(fields, Q[key].exists())
        assert got == hit if hit else got[0] not in held
        for i in got:
            self.model.setdefault(name, {})[i] = {**held.get(i, {}), **fields}

    @rule(name=TABLES, which=st.integers(0, 1), ids=st.lists(IDS, max_size=2, unique=True))
    def remove(self, name, which, ids):
        held = self.model.get(name, {})
        expected = [i for i in ids if held.pop(i, None) is not None]
        assert self.table(name, which).remove(doc_ids=ids) == expected

    @invariant()
    def both_see_the_same(self):
        for handle in getattr(self, "handles", []):
            for name, held in self.model.items():
                table = handle.table(name)
                assert {d.doc_id: dict(d) for d in table} == held
                assert len(table) == len(held)

    def teardown(self):
        for handle in getattr(self, "handles", []):
            handle.close()
        if hasattr(self, "folder"):
            self.folder.cleanup()


TwoHandles.TestCase.settings = settings(
    max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestTwoHandles = TwoHandles.TestCase
