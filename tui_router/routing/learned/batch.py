"""Many requests decided by the learned router at once: the probabilities of `LearnedRouter.decide`, without the reasons.

One decision is a hundred small calls of numpy, and most of its time is their overhead; here each call is made once for
hundreds of requests. A conversation is a path in a tree: every request on it is decided once, whichever later requests
look back at it, level by level from the conversations' beginnings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui_router.core.types import Request
from tui_router.routing.learned import conversation_gate
from tui_router.routing.learned.text_stage import RequestKey, alone, earlier, key_of

if TYPE_CHECKING:
    from tui_router.routing.learned.learned_router import LearnedRouter

Floats = NDArray[np.floating]

_ROOT = -1


class _Step(NamedTuple):
    """A request in its conversation."""

    before: int
    """The place of the one before it; `_ROOT` for none."""
    text: int
    """The place of its text among the different ones."""
    asked: bool
    """The answer before it ended with a question."""


class _Tree:
    """The conversations of some requests, every shared beginning once."""

    def __init__(self) -> None:
        self.texts: list[Request] = []
        """The different requests, without their conversations."""
        self._text: dict[RequestKey, int] = {}
        self._place: dict[_Step, int] = {}
        self.depth: list[int] = []

    def add(self, request: Request) -> int:
        """The place of a request at the end of its conversation."""
        at, asked = _ROOT, False
        for message in conversation_gate.window(request.history):
            if message.role == "assistant":
                asked = conversation_gate.asks(message)
            else:
                at, asked = self._step(at, self._known(earlier(message)), asked), False
        return self._step(at, self._known(request), asked)

    def _known(self, request: Request) -> int:
        place = self._text.setdefault(key_of(request), len(self.texts))
        if place == len(self.texts):
            self.texts.append(alone(request))
        return place

    def _step(self, before: int, text: int, asked: bool) -> int:
        place = self._place.setdefault(_Step(before, text, asked), len(self.depth))
        if place == len(self.depth):
            self.depth.append(self.depth[before] + 1 if before != _ROOT else 0)
        return place

    def table(self) -> NDArray[np.intp]:
        """Shape (requests of all conversations, 3): rows of `_Step`."""
        return np.array(list(self._place), np.intp)


def chances(router: LearnedRouter, requests: Sequence[Request]) -> Floats:
    """The probability of each route for each request, priorities included. Shape (requests, routes)."""
    tree = _Tree()
    ends = [tree.add(request) for request in requests]
    return router.by_priority(_Levels(router, tree).decided[ends])


class _Levels:
    """All requests of a tree, decided level by level."""

    def __init__(self, router: LearnedRouter, tree: _Tree) -> None:
        self._router = router
        self._steps, depth = tree.table(), np.array(tree.depth)
        self._read = read = router.text_stage.read_many(tree.texts)
        self._shown = np.array([request.shows_image for request in tree.texts])
        self.decided = np.zeros((len(depth), read.chances.shape[1]))
        """The probabilities of each request of the tree. Shape (requests of all conversations, routes)."""
        for level in range(int(depth.max(initial=0)) + 1):
            here = np.flatnonzero(depth == level)
            texts = self._steps[here, 1]
            signs = self._signs(here, level) if level else None
            sketches = read.sketches[texts] if len(router.memory) else None
            self.decided[here] = router.mixed(read.chances[texts], read.scope[texts], signs, sketches).chances

    def _signs(self, here: NDArray[np.intp], level: int) -> conversation_gate.GateInputs:
        """What the gate looks at, of the requests in these places, each with `level` others before it."""
        before = np.empty((len(here), level), np.intp)
        at = here
        for age in range(level):
            at = before[:, age] = self._steps[at, 0]
        texts, earlier = self._steps[here, 1], self._steps[before, 1]
        read, decided, small_talk = self._read, self.decided[before], self._router.small_talk
        past = conversation_gate.Past(
            decided,
            np.einsum("ntd,nd->nt", read.sketches[earlier], read.sketches[texts]),
            small_talk(decided) > conversation_gate.IDLE,
            self._shown[earlier],
            read.said[earlier][..., conversation_gate.Said._fields.index("role")] > 0,
        )
        own = read.chances[texts]
        return conversation_gate.GateInputs(
            read.said[texts], own, past, self._steps[here, 2].astype(float), small_talk(own)
        )
