"""The routers as the verdicts of a store have made them, saved on the disk between two starts.

The store is the truth; what is saved here can be made from it again. So nothing is written before a verdict counts: a start
reads what was saved, compares it with the verdicts in the store (another process may have written some), and learns the
difference. Methods that take a store, and those that read or write files, wait for the disk: call them in a worker thread.
`apply_verdict` and `learn` work in memory and take milliseconds.
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
from tui_router.core.types import Decision, Request, Turn
from tui_router.routing.ensemble.active_learning import QueryBudget, is_informative
from tui_router.routing.ensemble.champion import ChampionChange
from tui_router.routing.ensemble.ensemble import EnsembleDecision, EnsembleMember, RouterEnsemble
from tui_router.routing.ensemble.grading import grade
from tui_router.routing.labels import Label, label_of, names_a_route
from tui_router.routing.learned import seeds
from tui_router.routing.learned.conversation_gate import MAX_TURNS
from tui_router.routing.learned.embedding_head import EmbeddingHead, fit_head, load_head, pack_head
from tui_router.routing.learned.knn_memory import MAX_LABELS, StoredLabel
from tui_router.routing.learned.learned_router import LearnedRouter
from tui_router.routing.learned.personal_model import PersonalModel, pack_personal_model, unpack_personal_model
from tui_router.routing.learned.shipped_model import UNREADABLE, shipped
from tui_router.routing.router import Router
from tui_router.routing.rules.rules_router import RulesRouter
from tui_router.store.store import STORE_FILE, Store

FORMAT = 3
"""Version of the file of labels. One of another version is made again from the store's verdicts."""
SAVE_EVERY = 25
"""Verdicts after which the labels are written; at the end of the program they are too."""
REFIT_EVERY = 25
"""New labels after which the personal model is fitted again; later, a tenth more."""
AT_ONCE = 50
"""Verdicts that a start learns before anything else; more than that are learned bit by bit."""
_BACKLOG_CHUNK = 5
"""Verdicts of a backlog that are learned together, about 3 ms."""
_TURNS_BEFORE = 40
"""Turns of a conversation that come with a request, and with a label where its place depends on them."""
_FEW_TURNS = 8
"""Turns of a conversation that are read first, and those that come with a label of a fit: enough unless many are repetitions or
have no answer."""
MAX_GRADES = 4000
"""Newest verdicts that the ensemble is graded by."""
_RECENT_TURNS = 500
"""Newest turns among which the day's questions are counted at a start."""
LABELS_FILE, PERSONAL_FILE, HEAD_FILE = "lessons.npz", "own.npz", "head.npz"
"""The files in the folder `learned`; their names are those of earlier versions."""


class MovedRequest(Struct, frozen=True):
    """An earlier request that goes elsewhere now."""

    turn: str
    text: str
    before: str
    after: str


class CorrectionEffect(Struct, frozen=True):
    """What a correction changed in the routing: decided before and after it."""

    turn: str
    before: str
    after: str
    """Where this request goes now."""
    confidence: float
    moved: tuple[MovedRequest, ...]
    """The similar earlier requests that go elsewhere now, the most similar first."""
    alike: int
    """How many similar earlier requests were decided again."""
    controls: int
    """How many unrelated ones were decided again."""
    controls_moved: int
    """How many of these go elsewhere now."""


class OnlineLearner:
    """The routers, and everything that they have learned.

    Args:
        fleet: Routes of today.
        folder: The data folder; files lie in its folder `learned`.
        settings: Which router is the champion, and how often to ask.
    """

    def __init__(self, fleet: Fleet, folder: Path, settings: Settings) -> None:
        self.fleet, self.folder = fleet, folder / "learned"
        self.rules = RulesRouter(fleet)
        self.trouble = ""
        """Why a saved file could not be read, in a sentence; empty when all is well."""
        self.learned = LearnedRouter(fleet, self.rules, personal=self._read_personal_model())
        self.learned.use_head(self._read_head())
        self.ensemble = RouterEnsemble(
            [self.learned, self.rules], shipped().accuracy, settings.router, ["llm"] if settings.llm_router else []
        )
        self.query_budget = QueryBudget(
            max(0, settings.asks_a_day - 1)
        )  # one of the day's questions is the random audit
        self._fit_from = REFIT_EVERY
        """Labels from which on the personal model is fitted again."""
        self._labels_since_fit = 0
        self._learned_at: dict[int, str] = {}
        """Turn number -> time of the verdict that was learned from it."""
        self._of_removed_routes: list[tuple[StoredLabel, NDArray[np.float32]]] = []
        """Saved labels of routes that the fleet does not have now."""
        self._unsaved = 0
        """Verdicts that were learned since the labels were written."""
        self.backlog: deque[tuple[int, str]] = deque()
        """(turn number, time) of verdicts that a start left for later: a store that was never learned from may hold thousands."""

    # -- the disk ------------------------------------------------------------------------------------------------
    def _read_personal_model(self) -> PersonalModel | None:
        path = self.folder / PERSONAL_FILE
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
        """Fit a head for an encoder, and save it. Takes a second or two. Raises OSError.

        Args:
            encoder: Name of the embedding model, as its server calls it.
            vectors: Of `head_texts`, in batches. Shape of each: (texts, dimensions of the encoder).
        """
        names = [seed.route for seed in _plain_seeds()]
        head = fit_head(encoder, shipped().made_from, np.concatenate(vectors), names, sorted(set(names)))
        write(self.folder / HEAD_FILE, pack_head(head))
        return head

    def _load_labels(self) -> None:
        """Put the saved labels into memory, and note which verdicts they are from."""
        path = self.folder / LABELS_FILE
        try:
            with np.load(path, allow_pickle=False) as file:
                if int(file["format"]) != FORMAT or str(file["made_from"]) != shipped().made_from:
                    return
                known = msgspec.json.decode(file["known"].tobytes(), type=dict[int, str])
                labels = msgspec.json.decode(file["kept"].tobytes(), type=list[StoredLabel])
                embeddings = file["sketches"].astype(np.float32)
                if embeddings.shape != (len(labels), self.learned.projection.dimensions):
                    raise ValueError("labels and embeddings do not fit together")
        except FileNotFoundError:
            return
        except (*UNREADABLE, msgspec.MsgspecError) as error:
            self.trouble = f"{path} cannot be read ({type(error).__name__}); the verdicts are learned again"
            return
        for label, embedding in zip(labels, embeddings, strict=True):
            self._restore(label, embedding)
        self._learned_at = known

    def _restore(self, label: StoredLabel, embedding: NDArray[np.float32]) -> None:
        """Put a saved label into memory, in the routes' names of today; one of a removed route waits for its return."""
        names = self.fleet.names
        if label.route in names:
            context = names.get(label.context, label.context)
            self.learned.restore(label._replace(route=names[label.route], context=context), embedding)
        else:
            self._of_removed_routes.append((label, embedding))

    def save(self) -> None:
        """Write the labels. Raises OSError."""
        items = [*self._of_removed_routes, *self.learned.memory.user_items()]
        items.sort(key=lambda item: self._learned_at.get(item[0].key, ""))
        embeddings = np.array([embedding for _, embedding in items], np.float16)
        arrays: dict[str, Any] = {
            "format": FORMAT,
            "made_from": np.array(shipped().made_from),
            "known": np.frombuffer(msgspec.json.encode(self._learned_at), np.uint8),
            "kept": np.frombuffer(msgspec.json.encode([tuple(label) for label, _ in items]), np.uint8),
            "sketches": embeddings.reshape(len(items), self.learned.projection.dimensions),
        }
        write(self.folder / LABELS_FILE, arrays)
        self._unsaved = 0

    # -- learning ------------------------------------------------------------------------------------------------
    def catch_up(self, store: Store) -> None:
        """At a start: read what was saved, and learn what else the store knows. Waits for the disk."""
        self._load_labels()
        times = store.verdict_times(MAX_GRADES)
        self.ensemble.restore_promotions(store.promotions())
        for key in [key for key in self._learned_at if key not in times]:
            self.learned.forget(key)
            del self._learned_at[key]
        self._of_removed_routes = [one for one in self._of_removed_routes if one[0].key in self._learned_at]
        found = ((key, store.find(str(key))) for key in times)  # lazily: all turns at once would fill the memory
        self.ensemble.grade({key: grade(turn, self.fleet) for key, turn in found if turn is not None})
        new = [key for key in list(times)[-MAX_LABELS:] if self._learned_at.get(key) != times[key]]
        new.sort(key=times.__getitem__)  # the newest verdict comes last: it wins
        self.backlog = deque((key, times[key]) for key in new)
        if len(new) <= AT_ONCE:
            while part := self.next_of_backlog(store):
                for turn, at in part:
                    self.learn(turn, at)
        self._fit_from = self._next_fit()
        for turn in reversed(store.recent(_RECENT_TURNS)):
            if turn.asked == "worth":
                self.query_budget.record(local_day(turn.at), self.embedding(turn.request))

    def next_of_backlog(self, store: Store) -> list[tuple[Turn, str]]:
        """Return the next few verdicts of the backlog as `learn` takes them. Waits for the disk."""
        found: list[tuple[Turn, str]] = []
        while self.backlog and len(found) < _BACKLOG_CHUNK:
            number, at = self.backlog.popleft()
            turn = store.find(str(number))
            if turn is not None and self._learned_at.get(number) != at:
                found.append((with_history(turn, store), at))
        return found

    def unlearned_verdict(self, store: Store, number: int) -> tuple[Turn, str] | None:
        """Return a turn whose verdict another process gave or changed, as `apply_verdict` takes it; None when there is nothing new.

        Waits for the disk.
        """
        turn, at = store.find(str(number)), store.verdict_time(number)
        if turn is None or self._learned_at.get(number, "") == at:
            return None
        return with_history(turn, store), at

    def load_for_turn(self, store: Store, turn: Turn) -> tuple[Turn, str, list[Turn]]:
        """Return what `apply_verdict` and the correction probe need. Waits for the disk.

        Returns:
            The turn with its conversation, its verdict's time, the newest `PROBED_TURNS` turns with theirs, newest first.
        """
        return with_history(turn, store), store.verdict_time(turn.number), _recent_with_histories(store)

    def apply_verdict(self, turn: Turn, at: str) -> ChampionChange | None:
        """Learn a new, changed or withdrawn verdict and grade the routers by it; returns the change of the champion, if any.

        Takes milliseconds, however many were learned before.

        Args:
            turn: Its request has its conversation.
            at: Time of the verdict.
        """
        self.learn(turn, at)
        return self.ensemble.grade({turn.number: grade(turn, self.fleet)})

    def learn(self, turn: Turn, at: str) -> None:
        """Learn what a verdict teaches, without grading the routers by it. Arguments as above."""
        label = label_of(turn, self.fleet)
        self._of_removed_routes = [one for one in self._of_removed_routes if one[0].key != turn.number]
        if label is None:
            self.learned.forget(turn.number)
        else:
            self.learned.learn(label)
            self._labels_since_fit += not label.negative
        of_unknown_route = label is None and names_a_route(turn)
        if (
            turn.verdict is None or of_unknown_route
        ):  # the fleet may have the route at another start: then it is learned
            self._learned_at.pop(turn.number, None)
        else:
            self._learned_at[turn.number] = at
        self._unsaved += 1

    def describe_change(self, change: ChampionChange) -> str:
        """Return a change of the champion in a sentence."""
        return (
            f"{change.new} is the champion now: of {change.compared} audited or asked turns it alone was right on {change.won}, "
            f"{change.old} alone on {change.lost}"
        )

    def embedding(self, request: Request) -> NDArray[np.float32]:
        """Return the embedding of a request, by which it is compared with others. Shape (dimensions,)."""
        return self.learned.text_stage.read(request).embedding

    def is_worth_asking(self, request: Request, decided: EnsembleDecision) -> bool:
        """Whether to ask although the decision is sure enough; counts as asked when it is."""
        today = local_day(now())
        labels = Counter(one.label for one in self.ensemble.grades if one.label)
        if not is_informative(decided.decision, decided.shadows, labels) or not self.query_budget.allows(
            today, self.embedding(request)
        ):
            return False
        self.query_budget.record(today, self.embedding(request))
        return True

    @property
    def save_is_due(self) -> bool:
        """Whether enough was learned since the last `save`."""
        return self._unsaved >= SAVE_EVERY

    @property
    def unsaved(self) -> bool:
        """Whether anything was learned since the last `save`."""
        return self._unsaved > 0

    # -- the personal model ------------------------------------------------------------------------------------------
    def refit_is_due(self) -> bool:
        """Whether there are enough new labels for a new fit of the personal model."""
        labels = self._label_count()
        return labels >= self._fit_from or self._labels_since_fit >= max(2 * REFIT_EVERY, labels // 10)

    def _label_count(self) -> int:
        return sum(not one.negative for one, _ in self.learned.memory.user_items())

    def _next_fit(self) -> int:
        labels = self.learned.personal.labels if self.learned.personal is not None else 0
        return labels + max(REFIT_EVERY, labels // 10)

    def fit_begun(self) -> None:
        """Note that a fit begins: the next is due when there are enough more labels."""
        labels, self._labels_since_fit = self._label_count(), 0
        self._fit_from = labels + max(REFIT_EVERY, labels // 10)

    def labels(self, store: Store) -> list[Label]:
        """Return the labels of the newest verdicts, the oldest verdict first, for a fit. Waits for the disk."""
        found = []
        times = store.verdict_times(MAX_LABELS)
        for key in sorted(times, key=times.__getitem__):
            turn = store.find(str(key))
            if turn is not None and (label := label_of(with_history(turn, store), self.fleet)) is not None:
                found.append(label)
        return found

    def load_refitted(self) -> LearnedRouter | None:
        """Return a learned router with the personal model that was saved, and no labels in memory; None without one."""
        personal = self._read_personal_model()
        if personal is None:
            return None
        return LearnedRouter(self.fleet, self.rules, personal=personal, text_model=self.learned.text_stage.text_model)

    def replace_learned(self, router: LearnedRouter) -> None:
        """Put a router in the place of the learned one; it takes over the embedding head and the labels in memory."""
        router.use_head(self.learned.text_stage.head)
        for label, embedding in self.learned.memory.user_items():
            router.restore(label, embedding)
        self.learned = router
        self.ensemble.replace(router)

    def correction_probe(self, turn: Turn) -> CorrectionProbe:
        """Return a probe of what the verdict of this turn will change. Make it before the verdict is learned."""
        return CorrectionProbe(self, turn)


def head_texts() -> list[str]:
    """Return the texts whose vectors an embedding head is fitted to."""
    return [seed.request.text for seed in _plain_seeds()]


def _plain_seeds() -> list[seeds.Seed]:
    return [seed for seed in seeds.load() if not seed.request.history and not seed.request.has_image]


def as_taught(config: Config, folder: Path, name: str = "") -> Router:
    """Return a router as the data folder's verdicts have made it. Raises StoreError.

    For the processes of a replay: whoever starts them has checked the store.

    Args:
        config: Its fleet and settings.
        folder: The data folder.
        name: Of the router; by default the best one that needs no server.
    """
    learner = taught_by(config, folder, check=False)
    return EnsembleMember(learner.ensemble, name or learner.ensemble.best_immediate)


def taught_by(config: Config, folder: Path, *, check: bool = True) -> OnlineLearner:
    """Return the routers as the data folder's verdicts have made them; nothing is written. Raises StoreError.

    Args:
        config: Its fleet and settings.
        folder: The data folder.
        check: As for `Store`.
    """
    learner = OnlineLearner(config.fleet, folder, config.settings)
    if (folder / STORE_FILE).exists():
        store = Store(folder, check=check)
        try:
            learner.catch_up(store)
            while part := learner.next_of_backlog(store):
                for turn, at in part:
                    learner.learn(turn, at)
        finally:
            store.close()
    return learner


def with_history(turn: Turn, store: Store) -> Turn:
    """Return the turn with the conversation before it in its request: as much of it as decides where the request goes.

    Where the newest turns are repetitions of the request, or have no answer, more are read: the place of a label must be that
    of the request, which comes with `_TURNS_BEFORE` turns.
    """
    if turn.request.history or not turn.session:
        return turn
    for limit in (_FEW_TURNS, _TURNS_BEFORE):
        turns = store.conversation(turn.session, limit, before=turn.number)
        history = messages_of(turns)
        others = sum(m.role == "user" and m.content != turn.request.text for m in history)
        if others > MAX_TURNS or len(turns) < limit:
            break
    return replace(turn, request=replace(turn.request, history=history)) if history else turn


def _recent_with_histories(store: Store) -> list[Turn]:
    """Return the newest `PROBED_TURNS` turns, newest first, each with the conversation before it in its request."""
    sessions: dict[str, list[Turn]] = {}
    found = []
    for turn in reversed(store.recent(PROBED_TURNS)):
        if turn.session not in sessions:
            sessions[turn.session] = (
                store.conversation(turn.session, _TURNS_BEFORE, before=turn.number) if turn.session else []
            )
        before = sessions[turn.session]
        history = turn.request.history or messages_of(before[-_TURNS_BEFORE:])
        found.append(replace(turn, request=replace(turn.request, history=history)) if history else turn)
        if turn.session:
            before.append(turn)
    return found[::-1]


def save_personal_model(model: PersonalModel, folder: Path) -> None:
    """Write a personal model into the folder `learned`. Raises OSError."""
    write(folder / PERSONAL_FILE, {"made_from": np.array(shipped().made_from), **pack_personal_model(model)})


def write(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays so that a crash leaves either the old file or the new one. Raises OSError."""
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


# -- what a correction changes -------------------------------------------------------------------------------------
PROBED_TURNS, MAX_SIMILAR, MAX_CONTROLS = 200, 20, 30
"""Newest turns among which a correction is probed; how many similar and how many unrelated requests are decided again."""
_SIMILAR, _UNRELATED = 0.35, 0.20
"""Cosine above which an earlier request is similar to the corrected one, and below which it is unrelated."""


class CorrectionProbe:
    """Decides earlier requests before a correction and after it: similar ones, which may move, and unrelated ones, the controls.

    Each is decided in its conversation and by the champion, calibrated, as it would be decided if it were asked again. For a
    champion that asks a model, the router decides that stands in for it.

    Args:
        learner: Has not learned the verdict yet.
        turn: Its request has its conversation.
    """

    def __init__(self, learner: OnlineLearner, turn: Turn) -> None:
        self._learner, self._turn = learner, turn
        self._embedding = learner.embedding(turn.request)
        self._similar: list[tuple[float, Turn, str]] = []
        """(similarity, turn, route before)."""
        self._controls: list[tuple[Turn, str]] = []
        """(turn, route before)."""
        self._texts = {turn.request.text}
        self._before = self._route(turn.request)

    def add(self, other: Turn) -> None:
        """Decide an earlier request, if it is similar or unrelated and its text is new.

        Args:
            other: Its request has its conversation.
        """
        if other.number == self._turn.number or other.request.text in self._texts:
            return
        self._texts.add(other.request.text)
        similarity = float(self._learner.embedding(other.request) @ self._embedding)
        if similarity > _SIMILAR:
            self._similar.append((similarity, other, self._route(other.request)))
        elif similarity < _UNRELATED and len(self._controls) < MAX_CONTROLS:
            self._controls.append((other, self._route(other.request)))

    def _decide(self, request: Request) -> Decision:
        ensemble = self._learner.ensemble
        return ensemble.decide_by(ensemble.best_immediate, request)

    def _route(self, request: Request) -> str:
        return self._decide(request).route

    def result(self) -> CorrectionEffect:
        """Decide the same requests again, after the verdict was learned, and return what changed."""
        now = self._decide(self._turn.request)
        similar = sorted(self._similar, key=lambda one: -one[0])[:MAX_SIMILAR]
        moved = tuple(
            MovedRequest(other.id, other.request.text, before, after)
            for _, other, before in similar
            if (after := self._route(other.request)) != before
        )
        return CorrectionEffect(
            turn=self._turn.id,
            before=self._before,
            after=now.route,
            confidence=now.confidence,
            moved=moved,
            alike=len(similar),
            controls=len(self._controls),
            controls_moved=sum(self._route(other.request) != before for other, before in self._controls),
        )
