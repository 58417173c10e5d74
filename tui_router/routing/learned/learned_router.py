"""The learned router: a linear model over the text, shipped fitted to the seeds, and the labels of the person's verdicts.

A decision is made in two stages. The text stage scores the request without its conversation: the shipped model, pooled with the
personal model where the request is like those that it was fitted to. The mixture adds the memory, where a single label was
given to a similar request, and the conversation, where the request does not stand for itself.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np

from tui_router.core.fleet import Fleet
from tui_router.core.text import one_line
from tui_router.core.types import Decision, Message, Ranking, Reason, Request
from tui_router.routing.arrays import Float32s, Floats
from tui_router.routing.labels import Label
from tui_router.routing.learned import batch, conversation_gate
from tui_router.routing.learned.conversation_gate import MAX_TURNS, GateInputs, PriorTurns
from tui_router.routing.learned.embedding_head import EmbeddingHead
from tui_router.routing.learned.knn_memory import MARGIN, MAX_STRENGTH, KnnMemory, Neighbour, StoredLabel, score_moves
from tui_router.routing.learned.mixture import Mixture
from tui_router.routing.learned.personal_model import PersonalModel
from tui_router.routing.learned.place import place_of, places_of
from tui_router.routing.learned.shipped_model import ShippedModel
from tui_router.routing.learned.shipped_model import shipped as shipped_model
from tui_router.routing.learned.text_stage import TextAnalysis, TextStage, earlier_request
from tui_router.routing.linear.ngrams import tokenize
from tui_router.routing.linear.probabilities import log
from tui_router.routing.linear.text_model import TextModel
from tui_router.routing.router import rank_routes, tie_break_order
from tui_router.routing.rules.rules_router import RulesRouter

_DESCRIPTION_STRENGTH = 5.0
"""How far a new route's description moves a request that reads just like it, in natural-log units. Chosen by hand."""
_NEGATIVE_STRENGTH = 0.5, 2.0
"""Least and most that a negative label moves the score of its route, in natural-log units. Chosen by hand."""
_STORED_TEXT = 200
"""Characters of a label's request that are stored, to be shown as a reason."""
_BATCH = 512
"""Requests that are decided together."""
_MOST_REASONS = 8
_ENOUGH_REASONS = 2
"""Reasons for the decided route from which on single words are not added."""


class PriorTurn(NamedTuple):
    """An earlier request of the conversation, as it is decided now."""

    analysis: TextAnalysis
    probabilities: Floats
    """Shape (routes,)."""
    message: Message


class Trace(NamedTuple):
    """How a decision came about."""

    analysis: TextAnalysis
    probabilities: Floats
    """Before the routes' priorities. Shape (routes,)."""
    neighbours: list[Neighbour]
    """The labels that counted."""
    carried_share: float
    """How much the conversation gave, 0 to 1."""
    source: str
    """The text of the turn that gave most; empty without a conversation."""
    source_age: int
    """How many requests ago that was: 0 for the last one."""
    in_scope: float
    context: str
    """The route of the conversation that the request follows up; empty when it stands for itself."""
    correction: StoredLabel | None
    """The label of the same request in the same place, which decided."""


class LearnedRouter:
    """Decides by what it was fitted to, and learns from every label.

    Args:
        fleet: Routes of today; those that the shipped model does not know work from their description and triggers.
        rules: The rules router of the same fleet: its evidence is a feature.
        shipped: The model of the seeds.
        personal: The model fitted to the person's own verdicts.
        text_model: That of the shipped model, when another router has made it already.
    """

    name = "learned"

    @classmethod
    def as_shipped(cls, fleet: Fleet) -> LearnedRouter:
        """Make one without any label."""
        return cls(fleet, RulesRouter(fleet))

    def __init__(
        self,
        fleet: Fleet,
        rules: RulesRouter,
        *,
        shipped: ShippedModel | None = None,
        personal: PersonalModel | None = None,
        text_model: TextModel | None = None,
    ) -> None:
        self.fleet, self.rules, self.personal = fleet, rules, personal
        self.shipped = shipped or shipped_model()
        self.text_stage = TextStage(fleet, rules, self.shipped, personal, text_model)
        self.projection = self.text_stage.projection
        self.memory = KnnMemory(self.projection)
        self.mixture = Mixture(fleet, self.memory, self.shipped.context)
        self._routes = self.text_stage.routes
        self._tie_break = tie_break_order(fleet)
        self._labels_hash = hashlib.blake2b(digest_size=4)
        self._version = ""
        self._describe_new_routes()

    def _describe_new_routes(self) -> None:
        """Give each route that the shipped model does not know its own description as its first example."""
        for index, route in enumerate(self.fleet.routes):
            if not self.text_stage.known[index]:
                words = " ".join(word.rstrip("*") for t in route.triggers if t.weight > 0 for word in t.words)
                text = f"{route.name.replace('_', ' ')} {route.description} {words}"
                self.memory.add(
                    StoredLabel(-1 - index, route.description, route.name, strength=_DESCRIPTION_STRENGTH),
                    self.projection.embedding(tokenize(text)),
                )

    @property
    def version(self) -> str:
        """A hash of the shipped model, the rules, the personal model, the head and every label: eight hex digits."""
        if not self._version:
            personal = self.personal.name if self.personal is not None else ""
            head = self.text_stage.head.encoder if self.text_stage.head is not None else ""
            parts = f"{self.shipped.made_from} {self.rules.version} {personal} {head}"
            made = hashlib.blake2b(parts.encode(), digest_size=4)
            made.update(self._labels_hash.digest())
            self._version = made.hexdigest()
        return self._version

    # -- deciding ------------------------------------------------------------------------------------------------
    def decide(self, request: Request) -> Decision:
        """Decide one request. Time grows with the text only up to `text_features.HEAD + TAIL` characters."""
        start = time.perf_counter()
        trace = self.trace(request)
        ranking = self._ranking(self.mixture.with_priorities(trace.probabilities).tolist())
        return Decision(
            ranking=ranking,
            model=self.fleet.route(ranking[0][0]).model,
            reasons=self._reasons(trace, ranking[0][0]),
            router=self.name,
            version=self.version,
            elapsed_ms=(time.perf_counter() - start) * 1000,
            classified=trace.analysis.evidence.view.classified,
        )

    def decide_many(self, requests: Iterable[Request]) -> Iterator[Decision]:
        """Decide requests in their order."""
        return map(self.decide, requests)

    def rankings(self, requests: Iterable[Request]) -> Iterator[Ranking]:
        """Return the ranking of each decision, in the order of the requests; three times as fast as the decisions.

        A served encoder has no part in them: it is asked for one request at a time.
        """
        rest = iter(requests)
        while some := list(islice(rest, _BATCH)):
            yield from map(self._ranking, batch.probabilities(self.text_stage, self.mixture, some).tolist())

    def _ranking(self, p: list[float]) -> Ranking:
        return rank_routes(self._routes, p, self._tie_break)

    def use_head(self, head: EmbeddingHead | None) -> None:
        """Pool a head over the vectors of a served encoder, wherever `text_stage.add_embedding` brings a vector."""
        self.text_stage.use_head(head)
        self._version = ""

    def trace(self, request: Request) -> Trace:
        """Decide a request in its conversation, and return how the decision came about."""
        analysis, past, after_question = self._analyse(request)
        return self._mix(analysis, past, after_question, place_of(request) if self.memory.has_places else "")

    def gate_inputs(self, request: Request) -> GateInputs | None:
        """Return what the conversation gate looks at (of one request); None without a conversation."""
        analysis, past, after_question = self._analyse(request)
        return self._gate_inputs(analysis, past, after_question) if past else None

    def _analyse(self, request: Request) -> tuple[TextAnalysis, list[PriorTurn], bool]:
        """Return (the analysis of the request, the turns before it, whether the answer before it ended with a question)."""
        past: list[PriorTurn] = []
        after_question = False
        places = iter(places_of(request.history, MAX_TURNS) if self.memory.has_places else [])
        for message in conversation_gate.window(request.history):
            if message.role == "assistant":
                after_question = conversation_gate.ends_with_question(message)
                continue
            analysis = self.text_stage.read(earlier_request(message))
            decided = self._mix(analysis, past, after_question, next(places, ""))
            past.append(PriorTurn(analysis, decided.probabilities, message))
            after_question = False
        return self.text_stage.read(request), past, after_question

    def _mix(self, analysis: TextAnalysis, past: list[PriorTurn], after_question: bool, place: str) -> Trace:
        text = analysis.probabilities
        if not past and not len(self.memory):
            p = analysis.in_scope * text + (1 - analysis.in_scope) / len(text)
            return Trace(analysis, p, [], 0.0, "", 0, analysis.in_scope, "", None)
        inputs = self._gate_inputs(analysis, past, after_question) if past else None
        embeddings = analysis.embedding[None] if len(self.memory) else None
        mixed = self.mixture.mix(
            text[None], np.array([analysis.in_scope]), inputs, embeddings, [place] if place else None
        )
        age = int(mixed.source_turn[0])
        source = past[-1 - age].message.content if past else ""
        share, in_scope = float(mixed.carried_share[0]), float(mixed.in_scope[0])
        return Trace(
            analysis,
            mixed.probabilities[0],
            mixed.neighbours[0],
            share,
            source,
            age,
            in_scope,
            mixed.contexts[0],
            mixed.corrections[0],
        )

    def _gate_inputs(self, analysis: TextAnalysis, past: list[PriorTurn], after_question: bool) -> GateInputs:
        newest_first = past[: -conversation_gate.MAX_TURNS - 1 : -1]
        probabilities = np.array([[turn.probabilities for turn in newest_first]])
        turns = PriorTurns(
            probabilities,
            np.array([[turn.analysis.embedding @ analysis.embedding for turn in newest_first]]),
            self.mixture.small_talk(probabilities) > conversation_gate.SMALL_TALK,
            np.array([[turn.message.shows_image for turn in newest_first]]),
            np.array([[turn.analysis.cues.role > 0 for turn in newest_first]]),
        )
        text = analysis.probabilities[None]
        return GateInputs(
            np.array([analysis.cues]), text, turns, np.array([float(after_question)]), self.mixture.small_talk(text)
        )

    # -- why -----------------------------------------------------------------------------------------------------
    def _reasons(self, trace: Trace, route: str) -> tuple[Reason, ...]:
        """Return the decision's reasons in words, those that decided first."""
        reasons: list[Reason] = []
        if (correction := trace.correction) is not None:
            weight = round(MARGIN * correction.weight, 1)
            reasons.append(Reason(f"you marked this request as {correction.route}", correction.route, weight))
        if trace.carried_share >= 0.4:
            source = f"‘{one_line(trace.source, 40)}’"
            text = (
                f"follows on from {source}, {trace.source_age + 1} requests ago"
                if trace.source_age
                else f"follows on from your last message: {source}"
            )
            reasons.append(Reason(text, route, round(trace.carried_share * 5, 1)))
        for near in trace.neighbours[:2]:
            label = near.label
            if near.share > 0.2 and label.key >= 0 and label is not correction:
                text = f"you marked ‘{one_line(label.text, 40)}’ as {'not ' if label.negative else ''}{label.route}"
                reasons.append(Reason(text, label.route, round(near.share * label.strength, 1)))
        if trace.in_scope < 0.6:
            reasons.append(Reason("few words that the router knows", route, round(4 * (trace.in_scope - 1), 1)))
        reasons += [r for r in self.rules.reasons(trace.analysis.evidence.hits, route, limit=4) if r.weight]
        if sum(reason.route == route for reason in reasons) < _ENOUGH_REASONS:
            reasons += self._word_reasons(trace.analysis, route)
        return tuple(reasons[:_MOST_REASONS]) or (Reason("no word or form of it is typical of a route", route, 0.0),)

    def _word_reasons(self, analysis: TextAnalysis, route: str) -> list[Reason]:
        """Return the words that count most for a route; none for a route that the shipped model does not know."""
        model = self.text_stage.text_model
        known = next((model.routes[c] for c, index in self.text_stage.columns if self._routes[index] == route), None)
        if known is None:
            return []
        words = model.explain(analysis.features, analysis.scored, known, 2)
        return [
            Reason(f"often seen in {route} requests: ‘{one_line(word, 32)}’", route, round(gain, 1))
            for word, gain in words
        ]

    # -- learning ------------------------------------------------------------------------------------------------
    def learn(self, label: Label) -> None:
        """Learn a label: the same request in the same place goes to its route, similar ones move. Less than a millisecond."""
        self.memory.remove(label.key)
        trace = self.trace(label.request)
        stored = StoredLabel(
            label.key,
            label.request.text[:_STORED_TEXT],
            label.route,
            label.negative,
            weight=label.weight,
            context=trace.context,
            place=place_of(label.request),
        )
        embedding = trace.analysis.embedding
        self.memory.add(stored, embedding)
        strength = self._strength(stored, trace.analysis)
        self.restore(stored._replace(strength=strength), embedding)

    def _strength(self, label: StoredLabel, analysis: TextAnalysis) -> float:
        """Return how far the score of a label's route must move for its own request, where the move acts: on the text's scores.

        Args:
            label: In memory already, with strength 0: older labels that it contradicts have lost their standing.
            analysis: Of its request.
        """
        neighbours = self.memory.neighbours(self.memory.similarity(analysis.embedding[None])[0], label.context)
        moves = score_moves(neighbours)
        text = log(self.mixture.with_priorities(analysis.probabilities))
        scores = text + [moves.get(route, 0.0) for route in self._routes]
        index = self._routes.index(label.route)
        others = float(np.delete(scores, index).max(initial=-np.inf)) if len(scores) > 1 else float(scores[index])
        if label.negative:
            return -float(np.clip(scores[index] - others, *_NEGATIVE_STRENGTH))
        missing = others + MARGIN - float(scores[index])
        if missing <= 0:
            return 0.0
        positive = max(
            (one.share * one.label.strength for one in neighbours if one.label.route == label.route), default=0.0
        )
        return label.weight * float(np.clip(missing + max(0.0, positive), 0.0, MAX_STRENGTH))

    def restore(self, label: StoredLabel, embedding: Float32s) -> None:
        """Put a label that was learned before into memory.

        Args:
            label: The label.
            embedding: Of its request. Shape (dimensions,).
        """
        self.memory.add(label, embedding)
        self._labels_hash.update(f"{label.key} {label.route} {label.strength:.2f};".encode())
        self._version = ""

    def forget(self, key: int) -> None:
        """Forget the label of a turn."""
        self.memory.remove(key)
        self._labels_hash.update(f"{key} forgotten;".encode())
        self._version = ""
