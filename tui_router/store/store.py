"""What the program asks of its store. The only module that uses TinyDB directly.

All methods are synchronous and may wait for a lock or the disk: call them from a worker thread. When a method that
writes returns, what it wrote is on the disk. Everything here costs the same at any number of turns, except where the docstring says so.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from tui_router.core.clock import now
from tui_router.core.types import Observation, Promotion, Session, Turn, Verdict
from tui_router.core.verdicts import decision_was_right
from tui_router.store import integrity, json_codec
from tui_router.store.migrations import MIGRATIONS
from tui_router.store.schema import (
    COUNTERS,
    LEADS,
    OBSERVATIONS,
    SCHEMA,
    SESSIONS,
    SETTINGS,
    TABLES,
    TURNS,
    VERDICTS,
    Counters,
    RatingEvent,
    StoredSession,
    StoredTurn,
    Verdicts,
    decoder,
)
from tui_router.store.sqlite_storage import LAST_ID
from tui_router.store.store_errors import StoreDamagedError, StoreError, UnknownTurnError
from tui_router.store.tinydb_table import SQLiteTinyDB
from tui_router.store.training_tables import TrainingTables

_turn = decoder(StoredTurn)
_verdicts = decoder(Verdicts)
_session = decoder(StoredSession)
_counters = decoder(Counters)
_observation = decoder(Observation)
_lead = decoder(Promotion)


STORE_FILE = "store.db"
CHANGEABLE = ("state", "route", "dispatch", "answer", "shadows", "audit")
"""The fields of a turn that `Store.change` keeps; all others are fixed when the turn is recorded."""
_PAGE = 100
"""Turns from which on their verdicts are read in one go."""


class StoreChange(Struct, frozen=True):
    """What others have written since the last look: other processes, or another `Store` of this one."""

    turns: frozenset[int] = frozenset()
    observations: frozenset[int] = frozenset()
    sessions: bool = False
    promotions: bool = False
    """The lead was given or taken back."""
    reload: bool = False
    """Too much has changed to name it: read everything that is shown again."""


class Store:
    """The turns, verdicts, sessions and observations of one data folder.

    Opening checks the whole file (0.3 s for 100,000 turns). A damaged one is repaired from itself and its backups;
    `repaired` then says what was done.

    Args:
        folder: The data folder.
        check: Whether to check the whole file; another process may have done so a moment ago.

    Raises:
        StoreError: it cannot be opened, is of a newer version, or belongs to another program.
    """

    def __init__(self, folder: Path, *, check: bool = True) -> None:
        from filelock import FileLock

        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = folder / STORE_FILE
        self.repaired: str = ""
        self.migrated: str = ""
        """What opening changed in a store of an older layout, in a sentence; empty when nothing a person would notice."""
        lock = folder / "store.lock"
        lock.touch(0o600)
        with FileLock(lock, timeout=60):
            self.db = self._open(check)
            self._migrate()
            if self.repaired:
                self._put(COUNTERS, 1, self.recount())
        self.training = TrainingTables(self.db)
        """Examples, tool conversations and label edits."""
        self._seen = self.db.storage.version()

    def _put(self, table: str, doc_id: int, record: Any) -> None:
        self.db.storage.put(table, {doc_id: json_codec.encode(record)})

    def _open(self, check: bool) -> SQLiteTinyDB:
        lost_log = integrity.wal_damage(self.path)
        emptied = self.path.exists() and self.path.stat().st_size == 0 and bool(integrity.backups(self.path))
        try:
            if emptied:
                raise StoreDamagedError(f"{self.path}: is empty although backups exist")
            db = SQLiteTinyDB(self.path)
            try:
                if check:
                    integrity.verify(db.storage)
            except BaseException:
                db.close()
                raise
        except StoreDamagedError as error:
            self.repaired = str(integrity.repair(self.path, str(error)))
            db = SQLiteTinyDB(self.path)
        if lost_log:
            self.repaired = f"{self.repaired} After the last crash {lost_log}.".strip()
        return db

    def _migrate(self) -> None:
        with self.db.transaction():
            settings = self.db.table(SETTINGS)
            found = settings.get(doc_id=1)
            version = found.get("schema") if isinstance(found, dict) else None
            if version is None:
                self._put(SETTINGS, 1, {"schema": SCHEMA, "made": now()})
                for name in TABLES:
                    if name not in self.db.storage.names():
                        self.db.storage.put(name, {})
                if self._counters() is None:
                    self._put(COUNTERS, 1, self.recount())
                return
            if version == SCHEMA:
                return
            if version > SCHEMA:
                raise StoreError(
                    f"{self.path}: was written by a newer tui-router (layout {version}, this one knows {SCHEMA}); update it"
                )
        integrity.backup(self.db.storage)
        with self.db.transaction():
            done = [MIGRATIONS[step](self.db.storage) for step in range(version, SCHEMA)]
            self.migrated = " ".join(filter(None, done))
            self._put(SETTINGS, 1, {"schema": SCHEMA, "made": now()})
            self._put(COUNTERS, 1, self.recount())

    def _counters(self) -> Counters | None:
        raw = self.db.storage.one(COUNTERS, 1)
        return _counters(raw) if raw else None

    # -- turns -------------------------------------------------------------------------------------------------
    def record(self, turn: Turn) -> Turn:
        """Keep a new turn; returns it with its id. Its session is made if it does not exist yet."""
        with self.db.transaction():
            number = self.db.storage.head(TURNS)[0]
            session = self._session(turn.session) if turn.session else None
            if session is None:
                session = self._new_session(turn)
            fields = {
                **asdict(turn),
                "id": f"{number}-{secrets.token_hex(3)}",
                "session": session.id,
                "verdict": None,
            }
            stored = StoredTurn(**fields, previous=session.last_turn)
            self._put(TURNS, number, _document(stored))
            title = session.title or turn.request.text[:80]
            self._put(
                SESSIONS,
                _number(session.id),
                msgspec.structs.replace(session, last_turn=number, turns=session.turns + 1, last=turn.at, title=title),
            )
            self._put(COUNTERS, 1, self.counters().with_turn())
        return stored

    def change(self, turn_id: str, change: Callable[[Turn], Turn]) -> Turn:
        """Apply a function to the newest copy of a turn, keep the result and return it.

        Nobody else writes the turn between the reading and the writing, in this process or another: so a change never
        puts an old copy back. Only the fields of `CHANGEABLE` are kept; a verdict is given by `rate`.

        Args:
            turn_id: The turn.
            change: From the stored turn to the new one. It is called in a transaction: it must not touch the store.

        Raises:
            UnknownTurnError: there is no such turn.
        """
        number = _number(turn_id)
        with self.db.transaction():
            raw, old = self._stored(turn_id)
            new = change(old)
            fields = {name: getattr(new, name) for name in CHANGEABLE}
            if any(value != getattr(old, name) for name, value in fields.items()):
                document = {**json_codec.decode(raw), **msgspec.to_builtins(fields)}
                self.db.storage.put(TURNS, {number: json_codec.encode(document)})
        return msgspec.structs.replace(old, **fields)

    def _stored(self, turn_id: str) -> tuple[bytes, Turn]:
        """Return a turn as it is stored, and read with its verdict. Raises UnknownTurnError."""
        number = _number(turn_id)
        raw = self.db.storage.one(TURNS, number) if number else None
        turn: StoredTurn | None = _turn(raw) if raw is not None else None
        if raw is None or turn is None or turn_id not in (turn.id, str(number)):
            raise UnknownTurnError(f"there is no turn {turn_id!r}; `tui-router turns` lists them")
        return raw, self._with_verdict(turn)

    def find(self, turn_id: str) -> Turn | None:
        """Return a turn by its id or by its number alone, with its latest verdict."""
        try:
            return self._stored(turn_id)[1]
        except UnknownTurnError:
            return None

    def recent(self, limit: int = 50, before: int = LAST_ID) -> list[Turn]:
        """Return the newest turns with numbers below `before`, newest first."""
        page = self.db.storage.recent(TURNS, limit, before)
        if len(page) < _PAGE:
            return [self._with_verdict(_turn(raw)) for _, raw in page]
        return self._rated(page, page[-1][0], page[0][0])

    def turns(self) -> Iterator[Turn]:
        """All turns, oldest first, streamed. Time grows with their number, memory does not."""
        verdicts = self.db.storage.scan(VERDICTS)
        rated, raw = next(verdicts, (LAST_ID, b""))
        for number, turn in self.db.storage.scan(TURNS):
            while rated < number:
                rated, raw = next(verdicts, (LAST_ID, b""))
            found = _turn(turn)
            yield msgspec.structs.replace(found, verdict=_verdicts(raw).latest) if rated == number else found

    def between(self, first: int, last: int) -> list[Turn]:
        """Return the turns with numbers from `first` to `last`, oldest first."""
        return self._rated(self.db.storage.between(TURNS, first, last), first, last)

    def _rated(self, page: Iterable[tuple[int, bytes]], first: int, last: int) -> list[Turn]:
        """Return these turns, all of them with numbers from `first` to `last`, with their verdicts read in one go."""
        rated = dict(self.db.storage.between(VERDICTS, first, last))
        return [
            msgspec.structs.replace(_turn(raw), verdict=_verdicts(rated[number]).latest)
            if number in rated
            else _turn(raw)
            for number, raw in page
        ]

    def newest_number(self) -> int:
        """Return the number of the newest turn; 0 without any."""
        newest = self.db.storage.recent(TURNS, 1)
        return newest[0][0] if newest else 0

    def changed_turns(self, version: int) -> tuple[int, set[int] | None]:
        """(version now, numbers of the turns that were written or rated since a version); None: read all again."""
        now_, what = self.db.storage.changed_since(version)
        if what is None or any(number is None for name, number in what if name in (TURNS, VERDICTS)):
            return now_, None
        return now_, {number for name, number in what if name in (TURNS, VERDICTS) and number is not None}

    def made(self) -> str:
        """When this store was made: its name, so to speak."""
        raw = self.db.storage.one(SETTINGS, 1)
        return str(json_codec.decode(raw).get("made", "")) if raw else ""

    def _with_verdict(self, turn: StoredTurn) -> Turn:
        raw = self.db.storage.one(VERDICTS, _number(turn.id))
        if raw is None:
            return turn
        return msgspec.structs.replace(turn, verdict=_verdicts(raw).latest)

    # -- verdicts ----------------------------------------------------------------------------------------------
    def rate(self, turn_id: str, verdict: Verdict | None) -> Turn:
        """Keep a verdict on a turn, the latest of which counts; None takes the latest one back.

        Returns the turn with the verdict that counts now.

        Raises:
            UnknownTurnError: there is no such turn, or nothing to take back.
        """
        with self.db.transaction():
            _, turn = self._stored(turn_id)
            old, number = turn.verdict, turn.number
            if verdict is None and old is None:
                raise UnknownTurnError(f"turn {turn.id} has no verdict to take back")
            raw = self.db.storage.one(VERDICTS, number)
            record: Verdicts = (
                _verdicts(raw)
                if raw is not None
                else Verdicts(turn=turn.id, session=turn.session, route=turn.decision.route)
            )
            before = record.right
            event = RatingEvent(at=verdict.at if verdict else now(), verdict=verdict)
            record = msgspec.structs.replace(record, history=(*record.history, event))
            new = record.latest
            rated = msgspec.structs.replace(turn, verdict=new)
            record = msgspec.structs.replace(record, right=decision_was_right(rated))
            self._put(VERDICTS, number, record)
            counters = self.counters()
            regraded = counters.regraded(record.route, before, record.right)
            if regraded is not counters:
                self._put(COUNTERS, 1, regraded)
            if (old is None) != (new is None):
                self._count_rated(record.session, 1 if old is None else -1)
        return rated

    def history(self, turn_id: str) -> tuple[RatingEvent, ...]:
        """Every act of rating of a turn, oldest first."""
        raw = self.db.storage.one(VERDICTS, _number(turn_id))
        return _verdicts(raw).history if raw else ()

    def counters(self) -> Counters:
        """Return the running counts."""
        return self._counters() or Counters()

    def recount(self) -> Counters:
        """Count from scratch. Time grows with the number of turns."""
        counters = Counters()
        for _, raw in self.db.storage.scan(VERDICTS):
            record = _verdicts(raw)
            counters = counters.regraded(record.route, None, record.right)
        return msgspec.structs.replace(counters, turns=len(self.db.table(TURNS)))

    def graded(self, limit: int = 400) -> list[tuple[int, bool]]:
        """(turn number, right?) of the newest rated turns that belong to the accuracy, oldest first."""
        found: list[tuple[int, bool]] = []
        before = LAST_ID
        while len(found) < limit and (page := self.db.storage.recent(VERDICTS, limit, before)):
            for number, raw in page:
                right = _verdicts(raw).right
                if right is not None:
                    found.append((number, right))
            before = page[-1][0]
        return found[limit - 1 :: -1] if len(found) > limit else found[::-1]

    def verdict_time(self, number: int) -> str:
        """Time and number of the newest act of rating of a turn; empty when no verdict counts."""
        raw = self.db.storage.one(VERDICTS, number)
        return _time(_verdicts(raw)) if raw else ""

    def verdict_times(self, limit: int) -> dict[int, str]:
        """Turn number -> `verdict_time`, of the newest rated turns, oldest first."""
        found: dict[int, str] = {}
        before = LAST_ID
        while len(found) < limit and (page := self.db.storage.recent(VERDICTS, 500, before)):
            for number, raw in page:
                if (at := _time(_verdicts(raw))) and len(found) < limit:
                    found[number] = at
            before = page[-1][0]
        return dict(reversed(found.items()))

    # -- sessions ----------------------------------------------------------------------------------------------
    def _session(self, session_id: str) -> StoredSession | None:
        raw = self.db.storage.one(SESSIONS, _number(session_id))
        session: StoredSession | None = _session(raw) if raw else None
        return session if session and session.id == session_id else None

    def _new_session(self, turn: Turn) -> StoredSession:
        number = self.db.storage.head(SESSIONS)[0]
        session = StoredSession(id=f"{number}-{secrets.token_hex(3)}", started=turn.at)
        self._put(SESSIONS, number, session)
        return session

    def _count_rated(self, session_id: str, more: int) -> None:
        session = self._session(session_id)
        if session is not None:
            self._put(SESSIONS, _number(session_id), msgspec.structs.replace(session, rated=session.rated + more))

    def session(self, session_id: str) -> Session | None:
        """Return a session by its id or by its number alone."""
        raw = self.db.storage.one(SESSIONS, _number(session_id))
        found: StoredSession | None = _session(raw) if raw else None
        return found if found and session_id in (found.id, str(_number(found.id))) else None

    def sessions(self, limit: int = 50) -> list[Session]:
        """Return the newest sessions, newest first."""
        return [_session(raw) for _, raw in self.db.storage.recent(SESSIONS, limit)]

    def conversation(self, session_id: str, limit: int = 40, before: int = 0) -> list[Turn]:
        """Return the newest turns of a session, or those before a turn of it, oldest first. Time grows with `limit` only."""
        session = self._session(session_id)
        number = session.last_turn if session else None
        if before and (raw := self.db.storage.one(TURNS, before)) is not None:
            number = _turn(raw).previous
        found: list[Turn] = []
        while number is not None and len(found) < limit:
            raw = self.db.storage.one(TURNS, number)
            if raw is None:
                break
            turn: StoredTurn = _turn(raw)
            found.append(self._with_verdict(turn))
            number = turn.previous
        return found[::-1]

    # -- observations ------------------------------------------------------------------------------------------
    def observe(self, observation: Observation) -> None:
        """Keep an event."""
        self.db.table(OBSERVATIONS).insert(msgspec.to_builtins(observation))

    def observations(self, limit: int = 30) -> list[Observation]:
        """Return the newest events, newest first."""
        return [_observation(raw) for _, raw in self.db.storage.recent(OBSERVATIONS, limit)]

    # -- who leads ---------------------------------------------------------------------------------------------
    def record_promotion(self, router: str, reason: str, run: str = "") -> Promotion:
        """Keep that a router leads from the next turn on."""
        with self.db.transaction():
            newest = self.db.storage.head(TURNS)[0] - 1
            lead = Promotion(at=now(), router=router, reason=reason, after=newest, run=run)
            self._put(LEADS, self.db.storage.head(LEADS)[0], lead)
        return lead

    def promotions(self) -> list[Promotion]:
        """Every time that the lead was given, oldest first."""
        return [_lead(raw) for _, raw in self.db.storage.scan(LEADS)]

    # -- others ------------------------------------------------------------------------------------------------
    def keep_settings(self, what: dict[str, Any]) -> None:
        """Add the settings in force to their history, unless they are the ones kept last."""
        table = self.db.table(SETTINGS)
        newest = table.recent(1)
        if not newest or newest[0].get("settings") != what:
            table.insert({"at": now(), "settings": what})

    def poll(self) -> StoreChange | None:
        """Return what others have written since the last call; None when there is nothing. Microseconds when nobody wrote."""
        if self.db.storage.version() == self._seen:
            return None
        self._seen, what = self.db.storage.changed_since(self._seen, by_others=True)
        if what is None or any(doc_id is None for _, doc_id in what):
            return StoreChange(reload=True)
        if not what:
            return None
        named = [(name, doc_id) for name, doc_id in what if doc_id is not None]
        return StoreChange(
            turns=frozenset(i for name, i in named if name in (TURNS, VERDICTS)),
            observations=frozenset(i for name, i in named if name == OBSERVATIONS),
            sessions=any(name == SESSIONS for name, _ in named),
            promotions=any(name == LEADS for name, _ in named),
        )

    def backup_if_due(self) -> None:
        """Make a verified backup when the newest is older than a day. Time grows with the size of the store."""
        if len(self.db.table(TURNS)) and integrity.backup_is_due(self.path):
            integrity.backup(self.db.storage)

    def close(self) -> None:
        """Close the file. Harmless when repeated."""
        with suppress(StoreError):
            self.db.close()


def _number(identity: str) -> int:
    """Return the number in `12-9f3ac1` or `12`; 0 when it is neither."""
    head = identity.partition("-")[0]
    return int(head) if head.isascii() and head.isdigit() and len(head) < 18 else 0


def _time(record: Verdicts) -> str:
    return f"{record.history[-1].at} {len(record.history)}" if record.latest is not None else ""


def _document(turn: StoredTurn) -> dict[str, Any]:
    """Return the stored form of a turn: no verdict (a table of its own), no history that the session holds already."""
    document: dict[str, Any] = msgspec.to_builtins(turn)
    document.pop("verdict")
    return document
