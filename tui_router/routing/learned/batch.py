"""Many requests decided by the learned router at once: the probabilities of `LearnedRouter.decide`, without the reasons.

One decision is a hundred small calls of numpy, and most of its time is their overhead; here each call is made once for
hundreds of requests, which makes it three times as fast (`python -m benchmarks replay`). A conversation is a path in a tree:
every request on it is decided once, whichever later requests follow it, level by level from the conversations' beginnings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tui_router.core.types import Request
from tui_router.routing.arrays import Floats, Ints
from tui_router.routing.learned import conversation_gate
from tui_router.routing.learned.conversation_gate import MAX_TURNS, GateInputs, PriorTurns
from tui_router.routing.learned.mixture import Mixture
from tui_router.routing.learned.place import place_of, places_of
from tui_router.routing.learned.text_stage import (
    RequestKey,
    TextStage,
    earlier_request,
    request_key,
    without_history,
)
from tui_router.routing.rules.follow_up import FollowUpCues

_ROOT = -1
_ROLE = FollowUpCues._fields.index("role")


class _Node(NamedTuple):
    """A request in its conversation."""

    parent: int
    """Index of the request before it; `_ROOT` for none."""
    text: int
    """Index of its text among the different ones."""
    after_question: bool
    """The answer before it ended with a question."""
    place: int
    """Index of its place among the different ones."""


class _ConversationTree:
    """The conversations of some requests, every shared beginning once."""

    def __init__(self, with_places: bool) -> None:
        self._with_places = with_places
        self.places: list[str] = [""]
        """The different places; only the empty one when they are not needed."""
        self._place_index = {"": 0}
        self.texts: list[Request] = []
        """The different requests, without their conversations."""
        self._text_index: dict[RequestKey, int] = {}
        self._index: dict[_Node, int] = {}
        self.depth: list[int] = []
        """Of each node."""

    def add(self, request: Request) -> int:
        """Add a request behind its conversation; returns the index of its node."""
        parent, after_question = _ROOT, False
        shown = conversation_gate.window(request.history)
        places = iter(places_of(request.history, MAX_TURNS) if self._with_places else [])
        for message in shown:
            if message.role == "assistant":
                after_question = conversation_gate.ends_with_question(message)
            else:
                text, place = self._add_text(earlier_request(message)), self._add_place(next(places, ""))
                parent = self._add_node(_Node(parent, text, after_question, place))
                after_question = False
        place = self._add_place(place_of(request) if self._with_places else "")
        return self._add_node(_Node(parent, self._add_text(request), after_question, place))

    def _add_place(self, place: str) -> int:
        index = self._place_index.setdefault(place, len(self.places))
        if index == len(self.places):
            self.places.append(place)
        return index

    def _add_text(self, request: Request) -> int:
        index = self._text_index.setdefault(request_key(request), len(self.texts))
        if index == len(self.texts):
            self.texts.append(without_history(request))
        return index

    def _add_node(self, node: _Node) -> int:
        index = self._index.setdefault(node, len(self.depth))
        if index == len(self.depth):
            self.depth.append(self.depth[node.parent] + 1 if node.parent != _ROOT else 0)
        return index

    def nodes(self) -> Ints:
        """Return all nodes as rows of `_Node`. Shape (nodes, 4)."""
        return np.array(list(self._index), np.intp)


def probabilities(text_stage: TextStage, mixture: Mixture, requests: Sequence[Request]) -> Floats:
    """Return the probability of each route for each request, priorities included. Shape (requests, routes)."""
    tree = _ConversationTree(mixture.memory.has_places)
    ends = [tree.add(request) for request in requests]
    return mixture.with_priorities(_decide_levels(text_stage, mixture, tree)[ends])


def _decide_levels(text_stage: TextStage, mixture: Mixture, tree: _ConversationTree) -> Floats:
    """Decide all nodes of a tree, level by level. Shape (nodes, routes)."""
    nodes, depth = tree.nodes(), np.array(tree.depth)
    analyses = text_stage.read_many(tree.texts)
    image = np.array([request.shows_image for request in tree.texts])
    decided = np.zeros((len(depth), analyses.probabilities.shape[1]))

    def gate_inputs(here: Ints, level: int) -> GateInputs:
        """Return the gate's inputs of these nodes, each with `level` others before it."""
        before = np.empty((len(here), level), np.intp)
        parents = here
        for age in range(level):
            parents = before[:, age] = nodes[parents, 0]
        texts, earlier_texts = nodes[here, 1], nodes[before, 1]
        embeddings, text = analyses.embeddings, analyses.probabilities[texts]
        past = PriorTurns(
            decided[before],
            np.einsum("ntd,nd->nt", embeddings[earlier_texts], embeddings[texts]),
            mixture.small_talk(decided[before]) > conversation_gate.SMALL_TALK,
            image[earlier_texts],
            analyses.cues[earlier_texts][..., _ROLE] > 0,
        )
        return GateInputs(analyses.cues[texts], text, past, nodes[here, 2].astype(float), mixture.small_talk(text))

    for level in range(int(depth.max(initial=0)) + 1):
        here = np.flatnonzero(depth == level)
        texts = nodes[here, 1]
        inputs = gate_inputs(here, level) if level else None
        embeddings = analyses.embeddings[texts] if len(mixture.memory) else None
        places = [tree.places[i] for i in nodes[here, 3]] if mixture.memory.has_places else None
        mixed = mixture.mix(analyses.probabilities[texts], analyses.in_scope[texts], inputs, embeddings, places)
        decided[here] = mixed.probabilities
    return decided
