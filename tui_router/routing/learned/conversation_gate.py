"""How much of a request's route is carried over from the conversation before it.

A follow-up ("and in Rust?", "the second one") has little evidence of its own. The earlier turns give it their routes: each turn's
share falls with its age and rises with its similarity to the request ("back to the search: ..."), small talk in between
counts less, and a fitted gate (logistic regression, `train/prior.py`) decides how much is carried over at all. A request
that stands for itself keeps its own route.

The constants were chosen by hand; `tui-router eval benchmarks/sets/conversations.jsonl` shows what they do together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tui_router.core.types import Message
from tui_router.routing.arrays import Bools, Floats, Ints
from tui_router.routing.linear.probabilities import softmax

MAX_TURNS = 4
"""Earlier requests that are looked at."""
SMALL_TALK = 0.5
"""Probability of small talk from which on an earlier turn counts as that."""
_AGE_COST = 1.1
"""Natural-log units that a turn loses for each turn that it is older."""
_SIMILARITY_GAIN = 5.0
"""Natural-log units that a turn gains for a similarity of 1 above the floor."""
_SIMILARITY_FLOOR = 0.2
"""Cosine similarity that two requests about different things often have."""
_SMALL_TALK_COST = 2.5
"""Natural-log units that a turn of small talk loses: it does not end the subject."""
GATE_FEATURES = 27


class PriorTurns(NamedTuple):
    """The turns before each of n requests, newest first, at most `MAX_TURNS` of them; as many for each request."""

    probabilities: Floats
    """Of each route, as they were decided then. Shape (n, turns, routes)."""
    similarity: Floats
    """Cosine similarity to the request. Shape (n, turns)."""
    small_talk: Bools
    """Shape (n, turns)."""
    image: Bools
    """Whether an image came with it. Shape (n, turns)."""
    role: Bools
    """`FollowUpCues.role`. Shape (n, turns)."""


class GateInputs(NamedTuple):
    """What the gate looks at, for each of n requests."""

    cues: Floats
    """Rows of `FollowUpCues`. Shape (n, 10)."""
    text: Floats
    """Probabilities of the routes by the text alone. Shape (n, routes)."""
    past: PriorTurns
    after_question: Floats
    """1 where the answer before the request ended with a question. Shape (n,)."""
    small_talk: Floats
    """Probability that the request is small talk. Shape (n,)."""


def window(history: Sequence[Message]) -> Sequence[Message]:
    """Return the end of a conversation: at most `MAX_TURNS` requests of the person's, and the answers between them."""
    requests = 0
    for index in range(len(history) - 1, -1, -1):
        requests += history[index].role == "user"
        if requests == MAX_TURNS:
            return history[index:]
    return history


def ends_with_question(answer: Message) -> bool:
    """Whether an answer ends with a question mark."""
    return answer.content.rstrip().endswith("?")


def carried_over(past: PriorTurns) -> tuple[Floats, Ints]:
    """Return what the conversations would give: (probabilities (n, routes), index of the turn with the largest share (n,))."""
    age = np.arange(past.similarity.shape[1])
    share = softmax(
        _SIMILARITY_GAIN * np.maximum(0.0, past.similarity - _SIMILARITY_FLOOR)
        - _AGE_COST * age
        - _SMALL_TALK_COST * past.small_talk
    )
    return np.einsum("nt,ntk->nk", share, past.probabilities), share.argmax(axis=1)


def gate_features(inputs: GateInputs, carried: Floats, source: Ints) -> Floats:
    """Return the features of the gate. Shape (n, GATE_FEATURES).

    Args:
        inputs: Of the requests.
        carried: What their conversations would give. Shape (n, routes).
        source: The turn with the largest share in it. Shape (n,).
    """
    cues, text, past, after_question, small_talk = inputs
    row = np.arange(len(text))
    follow_up, points_back, your_answer, rework, returns, social, definite, indefinite, _, words = cues.T
    ordered = np.sort(text, axis=1)
    first, second = ordered[:, -1], ordered[:, -2] if ordered.shape[1] > 1 else np.zeros(len(text))
    hints = follow_up + rework + points_back + your_answer + returns
    length = np.minimum(words, 40) / 10
    short = words <= 4
    role = past.role.any(axis=1) * (1 - social)
    return np.column_stack(
        [
            np.ones(len(text)),
            follow_up,
            points_back,
            length * (hints == 0),
            length * (hints > 0),
            short,
            first,
            first - second,
            after_question,
            after_question * short,
            small_talk,
            past.similarity.max(axis=1),
            returns,
            past.image[:, 0] * np.maximum(points_back, words <= 12),
            your_answer,
            rework,
            text[row, carried.argmax(axis=1)],
            carried.max(axis=1),
            past.similarity[row, source],
            social,
            small_talk * (1 - social),
            definite,
            indefinite,
            definite * (1 - indefinite),
            np.minimum(3, hints) / 3,
            role,
            role * small_talk,
        ]
    )


def carry_share(weights: Floats, features: Floats) -> Floats:
    """Return how much each conversation gives to its request, 0 to 1. Shapes: (n, GATE_FEATURES) -> (n,)."""
    return np.asarray(1 / (1 + np.exp(-np.clip(features @ weights, -30, 30))))
