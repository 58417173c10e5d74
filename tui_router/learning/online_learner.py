"""What the program has learned from its store: the race of routers, kept on the disk between two starts.

The store is the truth; what lies here can be made from it again. So nothing is written before a verdict counts: a start
reads what was kept, compares it with the verdicts in the store (another process may have written some), and learns the
difference. Every method may take its time with the disk, so they belong into a worker thread; `apply_verdict` and `learn` work on
what is at hand and take milliseconds.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from tui_router.config.settings import Config, Settings
from tui_router.core.clock import local_day, now
from tui_router.core.conversation import messages_of
from tui_router.core.fleet import Fleet
from tui_router.core.types import Request, Turn
from tui_router.routing.ensemble.active_learning import QueryBudget, is_informative
from tui_router.routing.ensemble.champion import ChampionChange
from tui_router.routing.ensemble.ensemble import EnsembleDecision, EnsembleMember, RouterEnsemble
from tui_router.routing.ensemble.grading import grade
from tui_router.routing.labels import Label, label_of
from tui_router.routing.learned import seeds
from tui_router.routing.learned.embedding_head import EmbeddingHead, fit_head, load_head, pack_head
from tui_router.routing.learned.knn_memory import MOST_LESSONS, StoredLabel
from tui_router.routing.learned.learned_router import LearnedRouter
from tui_router.routing.learned.personal_model import PersonalModel, pack_personal_model, unpack_personal_model
from tui_router.routing.learned.shipped_model import UNREADABLE, shipped
from tui_router.routing.router import Router
from tui_router.routing.rules.rules_router import RulesRouter
from tui_router.store.store import STORE_FILE, Store

FORMAT = 1
SAVE_EVERY = 25
"""Verdicts after which the lessons are written; at the end of the program they are too."""
REFIT_EVERY = 25
"""New labels after which the model of one's own verdicts is fitted again; later, a tenth more."""
AT_ONCE = 50
"""Verdicts that a start learns before anything else; more than that are learned bit by bit."""
_FEW = 5
_TURNS_BEFORE = 6
"""Turns of a conversation that come with a lesson: more than any router looks at."""
NEWEST = 4000
"""Verdicts that the race remembers."""
LESSONS_FILE, OWN_FILE, HEAD_FILE = "lessons.npz", "own.npz", "head.npz"


class MovedRequest(Struct, frozen=True):
    """An earlier request that goes elsewhere now."""

    turn: str
    text: str
    before: str
    after: str


class CorrectionEffect(Struct, frozen=True):
    """What a verdict did to the routing."""

    turn: str
    before: str
    after: str
    """The route of this request now."""
    confidence: float
    moved: tuple[MovedRequest, ...]
    """The likest earlier requests that go elsewhere now, the likest first."""
    alike: int
    """How many earlier requests like it were looked at."""
    controls: int
    """How many that have nothing to do with it were looked at."""
    controls_moved: int


class OnlineLearner:
    """The routers, and everything that they were taught.

    Args:
        fleet: Routes of today.
        folder: The data folder; files lie in its folder `learned`.
        settings: Who leads, and how often to ask.
    """

    def __init__(self, fleet: Fleet, folder: Path, settings: Settings) -> None:
        self.fleet, self.folder = fleet, folder / "learned"
        self.rules = RulesRouter(fleet)
        self.trouble = ""
        """Why something that was kept could not be read, in a sentence; empty when all is well."""
        self.learned = LearnedRouter(fleet, self.rules, personal=self._read_own())
        self.learned.use_head(self._read_head())
        self.ensemble = RouterEnsemble(
            [self.learned, self.rules], shipped().accuracy, settings.router, ["llm"] if settings.llm_router else []
        )
        self.asked = QueryBudget(max(0, settings.asks_a_day - 1))  # one of the day's questions is the random audit
        self._fit_from = REFIT_EVERY
        """Labels from which on the person's own model is fitted again."""
        self._since_fit = 0
        """Labels since then."""
        self._known: dict[int, str] = {}
        """Turn -> time of the verdict that was learned from it."""
        self._unsaved = 0
        self.behind: deque[tuple[int, str]] = deque()
        """Verdicts that a start found and left for later: a store that was never learned from may hold thousands."""

    # -- the disk ------------------------------------------------------------------------------------------------
    def _read_own(self) -> PersonalModel | None:
        path = self.folder / OWN_FILE
        try:
            with np.load(path, allow_pickle=False) as file:
                if str(file["made_from"]) == shipped().made_from:
                    return unpack_personal_model(file)
        except FileNotFoundError:
            pass
        except UNREADABLE as error:
            self.trouble = f"{path} cannot be read ({type(error).__name__}); it is fitted again from the verdicts"
        return None

    def _read_head(self) -> EmbeddingHead | None:
        head = load_head(self.folder / HEAD_FILE)
        return head if head is not None and head.made_from == shipped().made_from else None

    def fit_head(self, encoder: str, vectors: Sequence[NDArray[np.float32]]) -> EmbeddingHead:
        """A head for an encoder, fitted to its vectors of `head_texts`, piece by piece, and kept.

        Takes a second or two. Raises OSError.
        """
        names = [seed.route for seed in _plain_seeds()]
        head = fit_head(encoder, shipped().made_from, np.concatenate(vectors), names, sorted(set(names)))
        write(self.folder / HEAD_FILE, pack_head(head))
        return head

    def _load_lessons(self) -> None:
        path = self.folder / LESSONS_FILE
        try:
            with np.load(path, allow_pickle=False) as file:
                if int(file["format"]) != FORMAT or str(file["made_from"]) != shipped().made_from:
                    return
                known = msgspec.json.decode(file["known"].tobytes(), type=dict[int, str])
                kept = msgspec.json.decode(file["kept"].tobytes(), type=list[tuple[int, str, str, float, str]])
                sketches = file["sketches"].astype(np.float32)
                if sketches.shape != (len(kept), self.learned.projection.dimensions):
                    raise ValueError("its parts do not fit together")
        except FileNotFoundError:
            return
        except (*UNREADABLE, msgspec.MsgspecError) as error:
            self.trouble = f"{path} cannot be read ({type(error).__name__}); the verdicts are learned again"
            return
        for row, embedding in zip(kept, sketches, strict=True):
            one = StoredLabel(*row)
            route = self.fleet.names.get(one.route)
            if route is not None:  # a route that was removed comes back with its lessons when it comes back
                self.learned.restore(one._replace(route=route), embedding)
        self._known = known

    def save(self) -> None:
        """Write the lessons. Raises OSError."""
        kept = self.learned.memory.user_items()
        arrays: dict[str, Any] = {
            "format": FORMAT, "made_from": np.array(shipped().made_from),
            "known": np.frombuffer(msgspec.json.encode(self._known), np.uint8),
            "kept": np.frombuffer(msgspec.json.encode([tuple(one) for one, _ in kept]), np.uint8),
            "sketches": np.array([embedding for _, embedding in kept], np.float16).reshape(len(kept), self.learned.projection.dimensions),
        }  # fmt: skip
        write(self.folder / LESSONS_FILE, arrays)
        self._unsaved = 0

    # -- learning ------------------------------------------------------------------------------------------------
    def catch_up(self, store: Store) -> None:
        """At a start: read what was kept, and learn what the store knows besides. Waits for the disk."""
        self._load_lessons()
        times = store.verdict_times(NEWEST)
        self.ensemble.restore_promotions(store.promotions())
        for key in [key for key in self._known if key not in times]:
            self.learned.forget(key)
            del self._known[key]
        found = ((key, store.find(str(key))) for key in times)  # one after the other: all at once would fill the memory
        self.ensemble.grade({key: grade(turn, self.fleet) for key, turn in found if turn is not None})
        new = [key for key in list(times)[-MOST_LESSONS:] if self._known.get(key) != times[key]]
        self.behind = deque((key, times[key]) for key in new)
        if len(new) <= AT_ONCE:
            while part := self.next_behind(store):
                for turn, at in part:
                    self.learn(turn, at)
        self._fit_from = self._next_fit()
        for turn in reversed(store.recent(_ASKED_IN)):
            if turn.asked == "worth":
                self.asked.note(local_day(turn.at), self.embedding(turn.request))

    def next_behind(self, store: Store) -> list[tuple[Turn, str]]:
        """The next few verdicts that a start left for later, with what `learn` needs. Waits for the disk."""
        found: list[tuple[Turn, str]] = []
        while self.behind and len(found) < _FEW:
            number, at = self.behind.popleft()
            turn = store.find(str(number))
            if turn is not None and self._known.get(number) != at:
                found.append((with_history(turn, store), at))
        return found

    def unknown(self, store: Store, number: int) -> tuple[Turn, str] | None:
        """A turn whose verdict another process gave or changed, with what `apply_verdict` needs. Waits for the disk."""
        turn, at = store.find(str(number)), store.verdict_time(number)
        if turn is None or self._known.get(number, "") == at:
            return None
        return with_history(turn, store), at

    def load_for_turn(self, store: Store, turn: Turn) -> tuple[Turn, str, list[Turn]]:
        """What `apply_verdict` and `correction_probe` need: the turn in its conversation, its verdict's time, the turns of late."""
        return with_history(turn, store), store.verdict_time(turn.number), store.recent(LOOKED_AT)

    def apply_verdict(self, turn: Turn, at: str) -> ChampionChange | None:
        """Take in a new, changed or withdrawn verdict; the turn's request carries its conversation.

        Returns the change of the leader that it decides. Takes milliseconds, whatever was learned before.
        """
        self.learn(turn, at)
        return self.ensemble.grade({turn.number: grade(turn, self.fleet)})

    def learn(self, turn: Turn, at: str) -> None:
        """Take in what a verdict teaches, without counting it in the race."""
        taught = label_of(turn, self.fleet)
        if taught is None:
            self.learned.forget(turn.number)
        else:
            self.learned.learn(taught)
            self._since_fit += not taught.against
        if turn.verdict is None:
            self._known.pop(turn.number, None)
        else:
            self._known[turn.number] = at
        self._unsaved += 1

    def describe_change(self, change: ChampionChange) -> str:
        """A change of the leader in a sentence."""
        return (
            f"{change.new} leads now: of {change.compared} rated turns it alone was right on {change.won}, "
            f"{change.old} alone on {change.lost}"
        )

    def embedding(self, request: Request) -> NDArray[np.float32]:
        """A request, as it is compared with others."""
        return self.learned.text_stage.read(request).embedding

    def is_worth_asking(self, request: Request, decided: EnsembleDecision) -> bool:
        """Whether to ask although the decision is sure enough; counts as asked when it is."""
        today = local_day(now())
        labels = Counter(one.label for one in self.ensemble.grades if one.label)
        if not is_informative(decided.decision, decided.shadows, labels) or not self.asked.may(
            today, self.embedding(request)
        ):
            return False
        self.asked.note(today, self.embedding(request))
        return True

    @property
    def save_is_due(self) -> bool:
        """Whether enough was learned to write it down."""
        return self._unsaved >= SAVE_EVERY

    @property
    def unsaved(self) -> bool:
        """Whether something was learned that is not written down."""
        return self._unsaved > 0

    # -- a model of one's own verdicts -----------------------------------------------------------------------------
    def refit_is_due(self) -> bool:
        """Whether there are enough new labels for a new fit of the person's own model."""
        labels = self._label_count()
        return labels >= self._fit_from or self._since_fit >= max(2 * REFIT_EVERY, labels // 10)

    def _label_count(self) -> int:
        return sum(one.strength >= 0 for one, _ in self.learned.memory.user_items())

    def _next_fit(self) -> int:
        labels = self.learned.personal.labels if self.learned.personal is not None else 0
        return labels + max(REFIT_EVERY, labels // 10)

    def tried_to_fit(self) -> None:
        """A fit begins: the next is due when there are enough labels more."""
        labels, self._since_fit = self._label_count(), 0
        self._fit_from = labels + max(REFIT_EVERY, labels // 10)

    def lessons(self, store: Store) -> list[Label]:
        """Every lesson of the newest verdicts, for a fit. Waits for the disk."""
        found = []
        for key in store.verdict_times(MOST_LESSONS):
            turn = store.find(str(key))
            if turn is not None and (taught := label_of(with_history(turn, store), self.fleet)) is not None:
                found.append(taught)
        return found

    def load_own(self) -> LearnedRouter | None:
        """A learned router with the fitted model that lies on the disk, and nothing else in it yet."""
        own = self._read_own()
        return (
            None
            if own is None
            else LearnedRouter(self.fleet, self.rules, personal=own, text=self.learned.text_stage.text)
        )

    def use(self, fresh: LearnedRouter) -> None:
        """Let a router take the place of the learned one, with all that was learned so far."""
        fresh.use_head(self.learned.text_stage.head)
        for one, embedding in self.learned.memory.user_items():
            fresh.restore(one, embedding)
        self.learned = fresh
        self.ensemble.replace(fresh)

    def correction_probe(self, turn: Turn) -> CorrectionProbe:
        """Who can tell what the verdict of this turn will change; call them before it is learned."""
        return CorrectionProbe(self, turn)


def head_texts() -> list[str]:
    """The texts whose vectors a head is fitted to."""
    return [seed.request.text for seed in _plain_seeds()]


def _plain_seeds() -> list[seeds.Seed]:
    return [seed for seed in seeds.load() if not seed.request.history and not seed.request.has_image]


def as_taught(config: Config, folder: Path, name: str = "") -> Router:
    """A router as the data folder's verdicts have made it, or the leader of those that decide at once. Raises StoreError.

    For the processes of a replay: whoever starts them has checked the store.
    """
    learner = taught_by(config, folder, check=False)
    return EnsembleMember(learner.ensemble, name or learner.ensemble.best_immediate)


def taught_by(config: Config, folder: Path, *, check: bool = True) -> OnlineLearner:
    """The race as the data folder's verdicts have made it; nothing is written. Raises StoreError.

    Args:
        config: Its fleet and who leads.
        folder: The data folder.
        check: As for `Store`.
    """
    learner = OnlineLearner(config.fleet, folder, config.settings)
    if (folder / STORE_FILE).exists():
        store = Store(folder, check=check)
        try:
            learner.catch_up(store)
            while part := learner.next_behind(store):
                for turn, at in part:
                    learner.learn(turn, at)
        finally:
            store.close()
    return learner


def with_history(turn: Turn, store: Store) -> Turn:
    """The turn with the conversation before it in its request."""
    if turn.request.history or not turn.session:
        return turn
    history = messages_of(store.conversation(turn.session, _TURNS_BEFORE, before=turn.number))
    return replace(turn, request=replace(turn.request, history=history)) if history else turn


def save_own(own: PersonalModel, folder: Path) -> None:
    """Write a fitted model into the folder of what was learned. Raises OSError."""
    write(folder / OWN_FILE, {"made_from": np.array(shipped().made_from), **pack_personal_model(own)})


def write(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays so that a crash leaves the old file or the new one. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


# -- did it take? --------------------------------------------------------------------------------------------------
_ASKED_IN = 500
"""Turns of late among which the day's questions are counted at a start."""
LOOKED_AT, ALIKE_AT_MOST, CONTROLS = 200, 20, 30
_ALIKE, _APART = 0.35, 0.20


class CorrectionProbe:
    """Earlier requests, decided before a verdict and again after it: those like its request, and some that are not."""

    def __init__(self, learner: OnlineLearner, turn: Turn) -> None:
        self._learning, self._turn = learner, turn
        self._sketch = learner.embedding(turn.request)
        self._alike: list[tuple[float, Turn, str]] = []
        self._controls: list[tuple[Turn, str]] = []
        self._seen = {turn.request.text}
        self._before = self._route(turn.request)

    def call(self, other: Turn) -> None:
        """Decide an earlier request, if it can tell something."""
        if other.number == self._turn.number or other.request.text in self._seen:
            return
        self._seen.add(other.request.text)
        likeness = float(self._learning.embedding(other.request) @ self._sketch)
        if likeness > _ALIKE:
            self._alike.append((likeness, other, self._route(other.request)))
        elif likeness < _APART and len(self._controls) < CONTROLS:
            self._controls.append((other, self._route(other.request)))

    def _route(self, request: Request) -> str:
        return self._learning.learned.decide(request).route

    def effect(self) -> CorrectionEffect:
        """What has changed since they were called."""
        now = self._learning.learned.decide(self._turn.request)
        alike = sorted(self._alike, key=lambda one: -one[0])[:ALIKE_AT_MOST]
        moved = tuple(
            MovedRequest(other.id, other.request.text, before, after)
            for _, other, before in alike
            if (after := self._route(other.request)) != before
        )
        strayed = sum(self._route(other.request) != before for other, before in self._controls)
        return CorrectionEffect(
            self._turn.id, self._before, now.route, now.confidence, moved, len(alike), len(self._controls), strayed
        )
