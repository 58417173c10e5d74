"""The first stage of the learned router: probabilities by the text of a request alone, before memory and conversation.

The shipped text model scores it; the personal model is pooled with it, the more, the more the request is like those that
it was fitted to; the embedding head is pooled with both where a served vector is there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from tui_router.core.fleet import Fleet
from tui_router.core.types import Message, Request
from tui_router.routing.arrays import Float32s, Floats
from tui_router.routing.learned.embedding_head import HEAD_SHARE, EmbeddingHead
from tui_router.routing.learned.knn_memory import RandomProjectionEncoder
from tui_router.routing.learned.out_of_scope import in_scope_probability, scope_features
from tui_router.routing.learned.personal_model import TRUST_WHEN_AGREED, VOTE_SHARE, PersonalModel, form_features
from tui_router.routing.learned.shipped_model import ShippedModel
from tui_router.routing.linear.blas_threads import limit_to_one
from tui_router.routing.linear.ngrams import tokenize
from tui_router.routing.linear.probabilities import log, log_linear_pool, softmax
from tui_router.routing.linear.text_model import KnownShare, TextFeatures, TextFeatureTable, TextModel, TextScores
from tui_router.routing.linear.word_vectors import shipped as shipped_words
from tui_router.routing.rules.follow_up import FollowUpCues, follow_up_cues
from tui_router.routing.rules.rules_router import Evidence, RulesRouter

RequestKey = tuple[str, str, bool, bool]
"""What a request is known by without its conversation: text, typed text, image?, code?"""

_CACHED = 256
"""Analyses that are cached, about 10 kB each: a conversation shows the same requests again and again."""
_BLIND_COST = 10.0
"""Natural-log units by which a route that cannot see falls behind when an image comes with the request."""
_LEAST_WITH_IMAGE = 1e-3
"""Probability below which no route counts before that cost: a route that sees must win whatever the text is."""
_LENGTH_TRIGGERS = frozenset({"very short", "short", "longer", "long", "long text", "no digits", "another script"})
"""Triggers that depend only on how long a text is, and how it is written."""


class TextAnalysis:
    """The analysis of the text of one request, without its conversation."""

    def __init__(
        self, evidence: Evidence, features: TextFeatures, scored: TextScores, projection: RandomProjectionEncoder
    ) -> None:
        self.evidence, self.features, self.scored, self._projection = evidence, features, scored, projection
        self.probabilities: Floats = np.zeros(0)
        """Of each of the fleet's routes. Shape (routes,)."""
        self.has_embedding = False
        """Whether the embedding head is in them."""
        self.in_scope = 1.0
        """Probability that the request is of the kind that the router was made for."""

    @cached_property
    def embedding(self) -> Float32s:
        """Its random projection, for its similarity to other requests; made when it is needed. Shape (dimensions,)."""
        return self._projection.embedding(self.features.tokens)

    @cached_property
    def cues(self) -> FollowUpCues:
        """The words by which it refers to the conversation before it."""
        return follow_up_cues(self.evidence.view.text)


class TextAnalyses:
    """The analyses of the texts of n requests, without their conversations."""

    def __init__(
        self, evidence: Sequence[Evidence], features: TextFeatureTable, projection: RandomProjectionEncoder
    ) -> None:
        self.evidence, self.features, self._projection = evidence, features, projection
        self.probabilities: Floats = np.zeros((0, 0))
        """As in `TextAnalysis`. Shape (n, routes)."""
        self.in_scope: Floats = np.zeros(0)
        """As in `TextAnalysis`. Shape (n,)."""

    @cached_property
    def embeddings(self) -> Float32s:
        """Shape (n, dimensions). Made when they are needed."""
        return self._projection.embeddings(self.features.tokens)

    @cached_property
    def cues(self) -> Floats:
        """Rows of `FollowUpCues`. Shape (n, 10)."""
        return np.array([follow_up_cues(one.view.text) for one in self.evidence])


class TextStage:
    """Analyses requests, one by one or many at once; the results are the same but for the last digits.

    Args:
        fleet: Routes of today.
        rules: The rules router of the same fleet: its evidence is a feature.
        shipped: The model of the seeds.
        personal: The model fitted to the person's own verdicts.
        text_model: That of the shipped model, when another stage has made it already.
    """

    def __init__(
        self,
        fleet: Fleet,
        rules: RulesRouter,
        shipped: ShippedModel,
        personal: PersonalModel | None = None,
        text_model: TextModel | None = None,
    ) -> None:
        self.fleet, self.rules, self.shipped, self.personal = fleet, rules, shipped, personal
        limit_to_one()
        self.words = shipped_words()
        self.text_model = text_model or TextModel(shipped.weights, self.words)
        self.projection = RandomProjectionEncoder(self.words, self.text_model.idf)
        self._personal_text_model = TextModel(personal.weights, self.words) if personal is not None else None
        self.routes = [route.name for route in fleet.routes]
        self.columns = self._common_columns(self.text_model.routes)
        """(column of the shipped model, index in the fleet) of every route that both have."""
        self._personal_columns = self._common_columns(personal.weights.routes) if personal is not None else []
        self._sees = np.array([route.needs.vision for route in fleet.routes])
        self._cache: OrderedDict[RequestKey, TextAnalysis] = OrderedDict()
        self.original_names = tuple(route.was[-1] if route.was else route.name for route in fleet.routes)
        """The first name of each route: models are fitted to these, so that they outlive every renaming."""
        self.trigger_names = self._original_trigger_names()
        """The rules' triggers, by the names that the shipped model knows."""
        self._is_content = [name.partition(".")[2] not in _LENGTH_TRIGGERS for name in self.trigger_names]
        self._scope_weights = shipped.scope.tolist()
        self.known = np.zeros(len(self.routes), bool)
        """Which of the fleet's routes the shipped model knows. Shape (routes,)."""
        self.known[[index for _, index in self.columns]] = True
        self._all_known = bool(self.known.all())
        self._same_columns = [(index, index) for index in range(len(self.routes))]
        self.head: EmbeddingHead | None = None
        """The model over the vectors of a served encoder, when there is one."""
        self._head_columns: list[tuple[int, int]] = []

    def _common_columns(self, routes: tuple[str, ...]) -> list[tuple[int, int]]:
        """Return (column of a model, index in the fleet) of every route that both have; a renamed one is the same."""
        names = self.fleet.names
        return [(c, self.routes.index(names[route])) for c, route in enumerate(routes) if route in names]

    def _original_trigger_names(self) -> tuple[str, ...]:
        """Return the rules' triggers by the first names of their routes: a renamed route has the triggers that it had."""
        first_names = {route.name: route.was[-1] for route in self.fleet.routes if route.was}
        return tuple(
            f"{first_names.get(route, route)}.{trigger}"
            for route, _, trigger in (name.partition(".") for name in self.rules.trigger_names)
        )

    # -- one -----------------------------------------------------------------------------------------------------
    def read(self, request: Request) -> TextAnalysis:
        """Return the analysis of a request without its conversation, from the cache where it is there."""
        key = request_key(request)
        analysis = self._cache.get(key)
        if analysis is None:
            analysis = self._cache[key] = self.analyse(without_history(request))
            if len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
        return analysis

    def clear_cache(self) -> None:
        """Forget all analyses."""
        self._cache.clear()

    def analyse(self, request: Request) -> TextAnalysis:
        """Analyse a request that has no conversation. Not cached."""
        evidence = self.rules.evidence(request)
        text = evidence.view.text
        features = TextFeatures(
            tokenize(text),
            tuple([self.trigger_names[hit.trigger] for hit in evidence.hits]),
            dict(zip(self.original_names, evidence.scores, strict=True)),
        )
        analysis = TextAnalysis(evidence, features, self.text_model.score(features), self.projection)
        scores = analysis.scored.scores.astype(np.float64)
        p = self._by_fleet(softmax(scores / self.shipped.temperature), self.columns)
        p = self._with_new_routes(p, evidence)
        if self.personal is not None and self._personal_text_model is not None:
            own_scores = self._personal_text_model.score(features).scores
            (p,) = self._with_personal(
                self.personal, p[None], own_scores[None], [text], lambda: analysis.embedding[None]
            )
        if request.shows_image:
            p = self._with_image(p)
        else:
            analysis.in_scope = self._in_scope(analysis.scored.known, float(p.max()), evidence)
        analysis.probabilities = p
        return analysis

    def _with_image(self, p: Floats) -> Floats:
        """Return the probabilities when an image comes with the requests. Shape (..., routes)."""
        if not self._sees.any():
            return p
        return softmax(np.log(np.maximum(p, _LEAST_WITH_IMAGE)) - _BLIND_COST * ~self._sees)

    def _in_scope(self, known: KnownShare, top_probability: float, evidence: Evidence) -> float:
        return in_scope_probability(self._scope_weights, self.scope_features(known, top_probability, evidence))

    def scope_features(self, known: KnownShare, top_probability: float, evidence: Evidence) -> list[float]:
        """Return the features of the out-of-scope judgement."""
        triggers = [hit.trigger for hit in evidence.hits if self._is_content[hit.trigger]]
        top_weight = max((self.rules.weight(i) for i in triggers), default=0.0)
        return scope_features(known, top_probability, len(triggers), top_weight)

    # -- many ----------------------------------------------------------------------------------------------------
    def read_many(self, requests: Sequence[Request]) -> TextAnalyses:
        """Analyse requests that have no conversation; several times as fast as one by one. Not cached."""
        evidence = [self.rules.evidence(request) for request in requests]
        features = self._feature_table(evidence)
        analyses = TextAnalyses(evidence, features, self.projection)
        scored = self.text_model.score_many(features)
        p = self._by_fleet(softmax(scored.scores.astype(np.float64) / self.shipped.temperature), self.columns)
        if not self._all_known:
            p = np.array([self._with_new_routes(row, one) for row, one in zip(p, evidence, strict=True)])
        if self.personal is not None and self._personal_text_model is not None:
            scores, texts = self._personal_text_model.score_many(features).scores, [one.view.text for one in evidence]
            p = self._with_personal(self.personal, p, scores, texts, lambda: analyses.embeddings)
        shows_image = np.array([request.shows_image for request in requests])
        if shows_image.any():
            p[shows_image] = self._with_image(p[shows_image])
        known = self.text_model.known_shares(features.tokens, scored)
        rows = zip(shows_image.tolist(), known, p.max(axis=1).tolist(), evidence, strict=True)
        analyses.in_scope = np.array([1.0 if image else self._in_scope(*row) for image, *row in rows])
        analyses.probabilities = p
        return analyses

    def _feature_table(self, evidence: Sequence[Evidence]) -> TextFeatureTable:
        tokens = [tokenize(one.view.text) for one in evidence]
        rows_of = self.words.rows
        matched = np.zeros((len(evidence), len(self.trigger_names)), np.float32)
        cells = [(row, hit.trigger) for row, one in enumerate(evidence) for hit in one.hits]
        matched[tuple(np.array(cells, np.intp).reshape(-1, 2).T)] = 1
        return TextFeatureTable(
            tokens,
            self.words.means([[row for word in one.words for row in rows_of(word)] for one in tokens]),
            self.trigger_names,
            matched,
            self.original_names,
            np.array([one.scores for one in evidence], np.float32),
        )

    # -- other models --------------------------------------------------------------------------------------------
    def use_head(self, head: EmbeddingHead | None) -> None:
        """Pool an embedding head with the other models, wherever `add_embedding` brings a vector."""
        self.head = head
        self._head_columns = self._common_columns(head.routes) if head is not None else []
        self.clear_cache()

    def add_embedding(self, request: Request, vector: Float32s) -> None:
        """Pool the head's opinion into the analysis of a request; the next decision on it uses that.

        Args:
            request: Its analysis must be cached still, which that of the newest requests is.
            vector: From the served encoder. Shape (dimensions of the encoder,).
        """
        analysis = self.read(request)
        if self.head is None or analysis.has_embedding or request.shows_image:
            return
        analysis.has_embedding = True
        p = self._by_fleet(self.head.probabilities(vector), self._head_columns)
        p = _within_known(p, analysis.probabilities, self._head_columns)
        analysis.probabilities = log_linear_pool(analysis.probabilities, p, HEAD_SHARE)

    def _by_fleet(self, p: Floats, columns: list[tuple[int, int]]) -> Floats:
        """Turn a model's probabilities into those of the fleet's routes; removed routes are left out.

        Without a common route all are equal. Shapes: (..., columns of the model) -> (..., routes).
        """
        if columns == self._same_columns and p.shape[-1] == len(self.routes):
            return p
        found = np.zeros((*p.shape[:-1], len(self.routes)))
        found[..., [index for _, index in columns]] = p[..., [column for column, _ in columns]]
        total = found.sum(axis=-1, keepdims=True)
        return np.where(total > 0, found / np.where(total > 0, total, 1.0), 1 / len(self.routes))

    def _with_new_routes(self, p: Floats, evidence: Evidence) -> Floats:
        """Give the routes that the shipped model does not know what the rules give them. Shape (routes,)."""
        if self._all_known:
            return p
        rules = softmax(np.array(evidence.scores) / self.fleet.temperature)
        return np.where(self.known, p * rules[self.known].sum(), rules)

    def _with_personal(
        self,
        personal: PersonalModel,
        p: Floats,
        scores: Floats,
        texts: Sequence[str],
        embeddings: Callable[[], Float32s],
    ) -> Floats:
        """Pool the personal model's opinion, as much as it is to be trusted on each of n requests. Shape (n, routes).

        Args:
            personal: The model.
            p: Probabilities by the shipped model. Shape (n, routes).
            scores: Of the personal text model. Shape (n, its routes).
            texts: As they were looked at.
            embeddings: Makes the embeddings of all, (n, dimensions); they are not always needed.
        """
        forms = np.array([form_features(text) for text in texts])
        scores = (scores + forms @ personal.form_weights) / personal.temperature
        own = _within_known(self._by_fleet(softmax(scores), self._personal_columns), p, self._personal_columns)
        trust = np.full((len(texts), 1), TRUST_WHEN_AGREED)
        differing = np.flatnonzero(own.argmax(axis=1) != p.argmax(axis=1))
        if len(differing):
            some_embeddings, some_forms = embeddings()[differing], forms[differing]
            similarity = personal.personal_rows.similarity(some_embeddings, some_forms)
            vote = self._by_fleet(personal.vote(similarity), self._personal_columns)
            own[differing] = softmax(log(own[differing]) + VOTE_SHARE * log(vote))
            confidence = own[differing].max(axis=1)
            trust[differing, 0] = personal.trust(similarity, some_embeddings, some_forms, confidence)
        return log_linear_pool(p, own, trust)


def request_key(request: Request) -> RequestKey:
    """Return the same for requests that are the same without their conversations."""
    return request.text, request.typed, request.shows_image, request.has_code


def without_history(request: Request) -> Request:
    """Return the request without its conversation."""
    if not request.history:
        return request
    return Request(
        text=request.text,
        typed=request.typed,
        attachments=request.attachments,
        has_image=request.has_image,
        has_code=request.has_code,
    )


def earlier_request(message: Message) -> Request:
    """Return an earlier message of a person's as a request by itself."""
    return Request(text=message.content, has_image=message.shows_image)


def _within_known(opinion: Floats, p: Floats, columns: list[tuple[int, int]]) -> Floats:
    """Share out among the routes that a model knows, by its opinion, what these have in `p`; the others stay as in `p`.

    Shapes (..., routes); `columns` as `TextStage._by_fleet` takes them.
    """
    known = np.zeros(p.shape[-1], bool)
    known[[index for _, index in columns]] = True
    return np.where(known, opinion * p[..., known].sum(axis=-1, keepdims=True), p)
