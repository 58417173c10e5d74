"""The second stage of the learned router: text, memory and conversation mixed into one decision, for one request or many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tui_router.core.fleet import Fleet
from tui_router.routing.arrays import Float32s, Floats, Ints
from tui_router.routing.learned import conversation_gate
from tui_router.routing.learned.conversation_gate import GateInputs
from tui_router.routing.learned.knn_memory import (
    MARGIN,
    MIN_SIMILARITY,
    KnnMemory,
    Neighbour,
    StoredLabel,
    score_moves,
)
from tui_router.routing.linear.probabilities import log, softmax

_SMALL_TALK_ROUTE = "simple_chat"


class Mixed(NamedTuple):
    """The decisions on n requests, and how they came about."""

    probabilities: Floats
    """Of each route, before the routes' priorities. Shape (n, routes)."""
    neighbours: list[list[Neighbour]]
    """The labels that counted for each."""
    carried_share: Floats
    """How much the conversation gave, 0 to 1. Shape (n,)."""
    source_turn: Ints
    """The turn that gave most, counted back from the request: 0 is the one before it. Shape (n,)."""
    in_scope: Floats
    """Shape (n,)."""
    contexts: list[str]
    """The route of the conversation that each follows up, whatever labels there are; empty for one that stands for itself."""
    corrections: list[StoredLabel | None]
    """The label of the same request in the same place, which decided each."""


class Mixture:
    """Mixes the evidence of text, memory and conversation.

    Args:
        fleet: Routes of today.
        memory: The labels at hand.
        gate_weights: Of `conversation_gate.carry_share`. Shape (GATE_FEATURES,).
    """

    def __init__(self, fleet: Fleet, memory: KnnMemory, gate_weights: Floats) -> None:
        self.memory, self.gate_weights = memory, gate_weights
        self.routes = [route.name for route in fleet.routes]
        self._log_priority = np.log(np.array([route.priority for route in fleet.routes]))
        self._equal_priorities = not self._log_priority.any()
        self._small_talk = next((i for i, r in enumerate(fleet.routes) if _SMALL_TALK_ROUTE in (r.name, *r.was)), -1)

    def small_talk(self, p: Floats) -> Floats:
        """Return the probability of small talk; 0 where the fleet has no route for it. Shapes: (..., routes) -> (...)."""
        return p[..., self._small_talk] if self._small_talk >= 0 else np.zeros(p.shape[:-1])

    def with_priorities(self, p: Floats) -> Floats:
        """Return the probabilities weighted by the routes' priorities; they sum to 1. Shape (..., routes)."""
        return p if self._equal_priorities else softmax(log(p) + self._log_priority)

    def mix(
        self,
        text: Floats,
        in_scope: Floats,
        inputs: GateInputs | None,
        embeddings: Float32s | None,
        places: Sequence[str] | None,
    ) -> Mixed:
        """Decide n requests.

        Args:
            text: Probabilities by the text of each alone. Shape (n, routes).
            in_scope: Of each. Shape (n,).
            inputs: Of the gate; None when the requests have no conversation.
            embeddings: Of the requests (n, dimensions); None when the memory is empty.
            places: Of the requests; None when no label has a place.
        """
        n = len(text)
        share: Floats = np.zeros(n)
        carried, source = text, np.zeros(n, np.intp)
        if inputs is not None:
            carried, source = conversation_gate.carried_over(inputs.past)
            features = conversation_gate.gate_features(inputs, carried, source)
            share = conversation_gate.carry_share(self.gate_weights, features)
        contexts = [self.routes[i] if s >= 0.5 else "" for i, s in zip(carried.argmax(axis=1), share, strict=True)]
        neighbours: list[list[Neighbour]] = [[]] * n
        if embeddings is not None:
            label_share, moves = np.zeros(n), np.zeros(text.shape)
            similarity = self.memory.similarity(embeddings)
            near = np.flatnonzero((similarity > MIN_SIMILARITY).any(axis=1))
            for i in near.tolist():
                neighbours[i] = self.memory.neighbours(similarity[i], contexts[i])
                positive = (one.share for one in neighbours[i] if not one.label.negative and one.label.key >= 0)
                label_share[i] = max(positive, default=0.0)
                by_route = score_moves(neighbours[i])
                moves[i] = [by_route.get(route, 0.0) for route in self.routes]
            text = text.copy()
            text[near] = softmax(log(text[near]) + moves[near])
            share = share * (1 - label_share)
            in_scope = np.maximum(in_scope, label_share)
        in_scope = np.maximum(in_scope, share)
        p = (1 - share)[:, None] * text + share[:, None] * carried
        p = in_scope[:, None] * p + ((1 - in_scope) / text.shape[1])[:, None]
        corrections = [self.memory.at_place(place) for place in places or [""] * n]
        for i, label in enumerate(corrections):
            if label is not None:
                p[i] = self.corrected(p[i], label)
                share[i], in_scope[i] = 0.0, 1.0
        return Mixed(p, neighbours, share, source, in_scope, contexts, corrections)

    def corrected(self, p: Floats, label: StoredLabel) -> Floats:
        """Return the probabilities with the label's route first, its priority included, by at least its margin. Shape (routes,).

        How far they must move is worked out here, after conversation, scope and every model, so that a correction always takes.
        """
        scores = log(p) + self._log_priority
        route = self.routes.index(label.route)
        others = np.delete(scores, route).max(initial=-np.inf)
        scores[route] = max(scores[route], others + MARGIN * label.weight)
        return softmax(scores - self._log_priority)
