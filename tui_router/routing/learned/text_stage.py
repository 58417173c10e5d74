"""What the text of a request says by itself, before memory and conversation have their say.

The shipped text model speaks first; a model fitted to the person's own verdicts speaks the louder, the more the request
is like the requests that it was fitted to; a head over a served encoder's vectors joins them where a vector is there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tui_router.core.fleet import Fleet
from tui_router.core.types import Message, Request
from tui_router.routing.learned import conversation_gate, out_of_scope
from tui_router.routing.learned.embedding_head import SHARE, EmbeddingHead
from tui_router.routing.learned.knn_memory import RandomProjectionEncoder
from tui_router.routing.learned.personal_model import AGREED, VOTE_SHARE, PersonalModel, form_features
from tui_router.routing.learned.shipped_model import ShippedModel
from tui_router.routing.linear.blas_threads import limit_to_one
from tui_router.routing.linear.lbfgs import logs, pooled, softmax
from tui_router.routing.linear.ngrams import tokenize
from tui_router.routing.linear.text_model import Features, KnownShare, ManyFeatures, Scored, TextModel
from tui_router.routing.linear.word_vectors import shipped as shipped_words
from tui_router.routing.rules.rules_router import Evidence, RulesRouter

Floats = NDArray[np.floating]

RequestKey = tuple[str, str, bool, bool]

_KEPT_READINGS = 256
_BLIND, _FLOOR = 10.0, 1e-3
"""How far a route that cannot see falls behind when an image comes with the request."""
_LENGTHS = frozenset({"very short", "short", "longer", "long", "long text", "no digits", "another script"})
"""Triggers that say nothing but how long a text is."""


class TextAnalysis:
    """What the text of one request says by itself."""

    def __init__(
        self, evidence: Evidence, features: Features, scored: Scored, projection: RandomProjectionEncoder
    ) -> None:
        self.evidence, self.features, self.scored, self._sketcher = evidence, features, scored, projection
        self.chances: Floats = np.zeros(0)
        """Probability of each of the fleet's routes, before memory, conversation and scope."""
        self.has_embedding = False
        """Whether the head has had its say in them."""
        self.scope = 1.0

    @cached_property
    def embedding(self) -> NDArray[np.float32]:
        """For likeness to other requests. Made when it is needed."""
        return self._sketcher.embedding(self.features.pieces)

    @cached_property
    def said(self) -> conversation_gate.Said:
        """What its words say of its place in a conversation."""
        return conversation_gate.said(self.evidence.look.text)


class TextAnalyses:
    """What n requests say by themselves."""

    def __init__(
        self, evidence: Sequence[Evidence], features: ManyFeatures, projection: RandomProjectionEncoder
    ) -> None:
        self.evidence, self.features, self._sketcher = evidence, features, projection
        self.chances: Floats = np.zeros((0, 0))
        """As in `TextAnalysis`. Shape (n, routes)."""
        self.scope: Floats = np.zeros(0)
        """Shape (n,)."""

    @cached_property
    def sketches(self) -> NDArray[np.float32]:
        """Shape (n, dimensions). Made when they are needed."""
        return self._sketcher.sketches(self.features.pieces)

    @cached_property
    def said(self) -> Floats:
        """Rows of `context.Said`."""
        return np.array([conversation_gate.said(one.look.text) for one in self.evidence])


class TextStage:
    """Reads requests, one by one or many at once; what it makes of them is the same but for the last digits.

    Args:
        fleet: Routes of today.
        rules: The rules of the same fleet: their evidence is a feature.
        prior: The model of the seeds.
        own: A model fitted to the person's own verdicts.
        text: The prior's text model, when another reader has made it already.
    """

    def __init__(
        self,
        fleet: Fleet,
        rules: RulesRouter,
        prior: ShippedModel,
        own: PersonalModel | None = None,
        text: TextModel | None = None,
    ) -> None:
        self.fleet, self.rules, self.prior, self.personal = fleet, rules, prior, own
        limit_to_one()
        self.words = shipped_words()
        self.text = text or TextModel(prior.weights, self.words)
        self.projection = RandomProjectionEncoder(self.words, self.text.rarity)
        self._own_text = TextModel(own.weights, self.words) if own is not None else None
        self.routes = [route.name for route in fleet.routes]
        self.columns = self._known_columns(self.text.routes)
        self._own_columns = self._known_columns(own.weights.routes) if own is not None else []
        self._sees = np.array([route.needs.vision for route in fleet.routes])
        self._readings: OrderedDict[RequestKey, TextAnalysis] = OrderedDict()
        self.names_then = tuple(route.was[-1] if route.was else route.name for route in fleet.routes)
        """The first name of each route: what models are fitted to, so that they outlive every renaming."""
        self.trigger_names = self._triggers_then()
        """The rules' triggers, by the names that the prior knows."""
        self._says_something = [name.partition(".")[2] not in _LENGTHS for name in self.trigger_names]
        self._scope_weights = prior.scope.tolist()
        self.known = np.zeros(len(self.routes), bool)
        """Which of the fleet's routes the prior knows."""
        self.known[[place for _, place in self.columns]] = True
        self._all_known = bool(self.known.all())
        self._same = [(place, place) for place in range(len(self.routes))]
        self.head: EmbeddingHead | None = None
        """A model over the vectors of a served encoder, when there is one."""
        self._head_columns: list[tuple[int, int]] = []

    def _known_columns(self, routes: tuple[str, ...]) -> list[tuple[int, int]]:
        """(column of a model, place in the fleet) of every route that both have; a renamed one is the same."""
        names = self.fleet.names
        return [(c, self.routes.index(names[route])) for c, route in enumerate(routes) if route in names]

    def _triggers_then(self) -> tuple[str, ...]:
        """The rules' triggers by the names that the prior knows: a renamed route kept its triggers."""
        before = {route.name: route.was[-1] for route in self.fleet.routes if route.was}
        return tuple(
            f"{before.get(route, route)}.{trigger}"
            for route, _, trigger in (name.partition(".") for name in self.rules.trigger_names)
        )

    # -- one -----------------------------------------------------------------------------------------------------
    def read(self, request: Request) -> TextAnalysis:
        """What the text says by itself. Kept for the texts of late: conversations repeat them."""
        key = key_of(request)
        reading = self._readings.get(key)
        if reading is None:
            reading = self._readings[key] = self.read_anew(alone(request))
            if len(self._readings) > _KEPT_READINGS:
                self._readings.popitem(last=False)
        return reading

    def read_anew(self, request: Request) -> TextAnalysis:
        """The same of a request without a conversation, never from memory."""
        evidence = self.rules.evidence(request)
        features = Features(
            tokenize(evidence.look.text), self._hits(evidence), dict(zip(self.names_then, evidence.scores, strict=True))
        )
        reading = TextAnalysis(evidence, features, self.text.score(features), self.projection)
        chances = self._spread(softmax(reading.scored.scores.astype(np.float64) / self.prior.temperature), self.columns)
        chances = self._with_new_routes(chances, evidence)
        if self.personal is not None and self._own_text is not None:
            scores = self._own_text.score(features).scores
            text = evidence.look.text
            (chances,) = self._with_own(
                self.personal, chances[None], scores[None], [text], lambda: reading.embedding[None]
            )
        if request.shows_image:
            chances = self._seen(chances)
        else:
            reading.scope = self._scope(reading.scored.known, float(chances.max()), evidence)
        reading.chances = chances
        return reading

    def _hits(self, evidence: Evidence) -> tuple[str, ...]:
        return tuple([self.trigger_names[hit.trigger] for hit in evidence.hits])

    def _seen(self, chances: Floats) -> Floats:
        """The probabilities when an image comes with the request."""
        return softmax(np.log(np.maximum(chances, _FLOOR)) - _BLIND * ~self._sees) if self._sees.any() else chances

    def _scope(self, known: KnownShare, surest: float, evidence: Evidence) -> float:
        return out_of_scope.in_scope_probability(self._scope_weights, self.scope_features(known, surest, evidence))

    def scope_features(self, known: KnownShare, surest: float, evidence: Evidence) -> list[float]:
        """What the judgement of scope looks at."""
        hits = [hit.trigger for hit in evidence.hits if self._says_something[hit.trigger]]
        return out_of_scope.features(known, surest, len(hits), max((self.rules.weight(i) for i in hits), default=0.0))

    # -- many ----------------------------------------------------------------------------------------------------
    def read_many(self, requests: Sequence[Request]) -> TextAnalyses:
        """What each of these says by itself, none of them with a conversation; several times as fast as one by one."""
        evidence = [self.rules.evidence(request) for request in requests]
        features = self._many_features(evidence)
        readings = TextAnalyses(evidence, features, self.projection)
        scored = self.text.score_many(features)
        chances = self._spread(softmax(scored.scores.astype(np.float64) / self.prior.temperature), self.columns)
        if not self._all_known:
            chances = np.array([self._with_new_routes(row, one) for row, one in zip(chances, evidence, strict=True)])
        if self.personal is not None and self._own_text is not None:
            scores, texts = self._own_text.score_many(features).scores, [one.look.text for one in evidence]
            chances = self._with_own(self.personal, chances, scores, texts, lambda: readings.sketches)
        shows = np.array([request.shows_image for request in requests])
        if shows.any():
            chances[shows] = self._seen(chances[shows])
        surest = chances.max(axis=1).tolist()
        judged = [
            1.0 if seen else self._scope(*one)
            for seen, *one in zip(
                shows.tolist(), self.text.known(features.pieces, scored), surest, evidence, strict=True
            )
        ]
        readings.chances, readings.scope = chances, np.array(judged)
        return readings

    def _many_features(self, evidence: Sequence[Evidence]) -> ManyFeatures:
        found = [tokenize(one.look.text) for one in evidence]
        rows_of = self.words.rows
        matched = np.zeros((len(evidence), len(self.trigger_names)), np.float32)
        places = [(line, hit.trigger) for line, one in enumerate(evidence) for hit in one.hits]
        matched[tuple(np.array(places, np.intp).reshape(-1, 2).T)] = 1
        return ManyFeatures(
            found, self.words.means([[row for word in one.words for row in rows_of(word)] for one in found]),
            self.trigger_names, matched, self.names_then, np.array([one.scores for one in evidence], np.float32),
        )  # fmt: skip

    # -- voices --------------------------------------------------------------------------------------------------
    def use_head(self, head: EmbeddingHead | None) -> None:
        """Let a head speak too, wherever `add_embedding` brings a vector."""
        self.head = head
        self._head_columns = self._known_columns(head.routes) if head is not None else []
        self._readings.clear()

    def add_embedding(self, request: Request, vector: NDArray[np.float32]) -> None:
        """Let the head speak on a request whose vector is there; the next decision on it knows."""
        reading = self.read(request)
        if self.head is None or reading.has_embedding or request.shows_image:
            return
        reading.has_embedding = True
        says = self._spread(self.head.chances(vector), self._head_columns)
        reading.chances = pooled(reading.chances, _within(says, reading.chances, self._head_columns), SHARE)

    def _spread(self, p: Floats, columns: list[tuple[int, int]]) -> Floats:
        """A model's probabilities on the places of the fleet; routes that the fleet has no more are left out.

        `p` has the shape (columns of the model,) or (n, columns of the model).
        """
        if columns == self._same and p.shape[-1] == len(self.routes):
            return p
        chances = np.zeros((*p.shape[:-1], len(self.routes)))
        chances[..., [place for _, place in columns]] = p[..., [column for column, _ in columns]]
        total = chances.sum(axis=-1, keepdims=True)
        return np.where(total > 0, chances / np.where(total > 0, total, 1.0), 1 / len(self.routes))

    def _with_new_routes(self, chances: Floats, evidence: Evidence) -> Floats:
        """Routes that the prior does not know get what the rules give them."""
        if self._all_known:
            return chances
        rules = softmax(np.array(evidence.scores) / self.fleet.temperature)
        return np.where(self.known, chances * rules[self.known].sum(), rules)

    def _with_own(
        self, own: PersonalModel, chances: Floats, scores: Floats, texts: Sequence[str], sketches: Callable[[], Floats]
    ) -> Floats:
        """The own model's say, as much as it is to be believed on each of n requests.

        Args:
            own: The model.
            chances: Of the shipped one. Shape (n, routes).
            scores: Of the own model's text model. Shape (n, its routes).
            texts: As they were looked at.
            sketches: Makes the sketches of all; they are not always needed.
        """
        forms = np.array([form_features(text) for text in texts])
        mine = self._spread(softmax((scores + forms @ own.form_weights) / own.temperature), self._own_columns)
        mine = _within(mine, chances, self._own_columns)
        trust = np.full((len(texts), 1), AGREED)
        apart = np.flatnonzero(mine.argmax(axis=1) != chances.argmax(axis=1))
        if len(apart):
            sketched, typed = sketches()[apart], forms[apart]
            alike = own.mine.alike(sketched, typed)
            vote = self._spread(own.vote(alike), self._own_columns)
            mine[apart] = softmax(logs(mine[apart]) + VOTE_SHARE * logs(vote))
            trust[apart, 0] = own.trust(alike, sketched, typed, mine[apart].max(axis=1))
        return pooled(chances, mine, trust)


def key_of(request: Request) -> RequestKey:
    """The same for requests that say the same by themselves."""
    return request.text, request.typed, request.shows_image, request.has_code


def alone(request: Request) -> Request:
    """The request without its conversation."""
    if not request.history:
        return request
    return Request(
        text=request.text, typed=request.typed, attachments=request.attachments, has_image=request.has_image,
        has_code=request.has_code,
    )  # fmt: skip


def earlier(message: Message) -> Request:
    """An earlier request of a conversation, by itself."""
    return Request(text=message.content, has_image=message.shows_image)


def _within(says: Floats, chances: Floats, columns: list[tuple[int, int]]) -> Floats:
    """What a model says of the routes that it knows, within what these have in `chances`; the others keep theirs.

    Shapes (..., routes); `columns` as `TextStage._spread` takes them.
    """
    known = np.zeros(chances.shape[-1], bool)
    known[[place for _, place in columns]] = True
    return np.where(known, says * chances[..., known].sum(axis=-1, keepdims=True), chances)
