"""How much of a request's route comes from the conversation before it.

A follow-up ("and in Rust?", "the second one") says little by itself. The earlier turns lend their routes: each turn's
share falls with its age and rises with its likeness to the request ("back to the search: ..."), small talk in between
is passed over, and a fitted gate decides how much is lent at all. What speaks for itself keeps its own route.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui_router.core.types import Message
from tui_router.routing.linear.lbfgs import softmax
from tui_router.routing.rules.pattern_set import PatternSet

Floats = NDArray[np.floating]

IDLE = 0.5
"""Probability of small talk from which on a turn counts as idle."""
TURNS = 4
"""Earlier turns that are looked at."""
AGEING, LIKING, IDLING = 1.1, 5.0, 2.5
"""How fast a turn's share falls with its age, rises with its likeness, and falls when it was small talk."""

_FOLLOW_UP = (
    r"\A\W*(?:and|now|also|but|so|then|again|or|ok(?:ay)?,? (?:now|so|and|but|another|a)|actually|wait|no,|yes,?|next|"
    r"make (?:it|that|them|this)|do (?:it|that|the same)|can you also|commit (?:it|that)|(?:shorter|longer|simpler|louder|cheaper|"
    r"funnier|another|one more|more|less|continue|go on|keep going|instead|same|without|with|only|just|under|over)\b|"
    r"what about|how about|why\W*\Z|why not|how so|are you sure|in \w+\W*\Z|use \w+ instead|try again|rewrite|rephrase|fix (?:it|that)|"
    r"take (?:the|your)|redo|explain (?:it|that|the)|show me|give (?:it|me) (?:one|another|more)|back to|check it|add (?:a|an|one|another)\b)"
)
_POINTS_BACK = (
    r"\b(?:it|its|them|they|those|he|she|his|her|that(?= one\b|\W*\Z|[,.;!?]| (?:again|instead|please|too|to|into|with|as|in)\b)|"
    r"these(?!\s+\w+s\b)|this one|the (?:first|second|third|last|other|others|previous|above|cheapest|same|rest)(?: one| part| line|"
    r" step| paragraph)?|your (?:answer|response|previous|last|own)|previous|above|earlier|same|there|one)\b"
)
_BACK = r"\b(?:back to|return to|about the \w+ again|as before|the earlier)\b"


_YOURS = r"\b(?:your|you) (?:\w+ )?(?:answer|response|reply|solution|code|draft|poem|story|assumptions?|made|wrote|said|gave|just)\b"
_REWORK = (
    r"\A\W*(?:please |can you |could you |now |then |ok(?:ay)?,? )*(?:re\w+|make|change|turn|convert|translate|update|add|remove|replace|"
    r"use|include|exclude|expand|shorten|explain|elaborate|continue|finish|fix|improve|swap|skip|cancel|move|test|check|show)\b"
)

_SOCIAL = (
    r"\b(?:thanks?|thank you|thx|ty|cheers|bye|goodbye|see you|good ?night|good (?:morning|evening)|hello|hi|hey|lol|haha+|cool|nice|great|wow|"
    r"awesome|perfect|yum|love it|you rock|the best|how are you|are you (?:a |human|real|happy|ok)|do you (?:ever|like|sleep|have a))\b"
)
_ROLE = (
    r"\b(?:act as|act like|pretend|role-?play|play the role|in character|imagine (?:you|yourself)|you(?:'re| are) (?:an?|the|my)|"
    r"let's play|text adventure|embrace the role|be my)\b"
)
_DEFINITE = r"\b(?:the|this|these|those|that|both|which|all of|each of)\b"
_INDEFINITE = r"\b(?:an?|some|any|my|me)\b"

_SAID = PatternSet((_FOLLOW_UP, _POINTS_BACK, _YOURS, _REWORK, _BACK, _SOCIAL, _DEFINITE, _INDEFINITE, _ROLE))
"""What `Said` tells of, in its order."""
FEATURES = 27


class Said(NamedTuple):
    """What the words of a request say of its place in a conversation; each of them 0 or 1, but for the last."""

    follows: float
    points: float
    yours: float
    reworks: float
    back: float
    social: float
    definite: float
    indefinite: float
    role: float
    """It asks the model to be somebody."""
    words: float
    """How many there are."""


def said(text: str) -> Said:
    """What the words of a text say."""
    row = [0.0] * len(Said._fields)
    for place, _ in _SAID.search(text):
        row[place] = 1.0
    row[-1] = float(len(text.split()))
    return Said._make(row)


class Past(NamedTuple):
    """The turns before each of n requests, newest first, at most `TURNS` of them; as many for each."""

    probabilities: Floats
    """Of each route, as they were decided then. Shape (n, turns, routes)."""
    likeness: Floats
    """To the request, -1 to 1. Shape (n, turns)."""
    idle: NDArray[np.bool_]
    """Small talk: it does not end the subject. Shape (n, turns)."""
    image: NDArray[np.bool_]
    """Shape (n, turns)."""
    role: NDArray[np.bool_]
    """`Said.role`. Shape (n, turns)."""


class GateInputs(NamedTuple):
    """What the gate looks at, for each of n requests."""

    said: Floats
    """Rows of `Said`. Shape (n, 10)."""
    own: Floats
    """Probabilities of the routes by the text alone. Shape (n, routes)."""
    past: Past
    asked: Floats
    """1 where the answer before the request ended with a question. Shape (n,)."""
    idle: Floats
    """Probability that the request is small talk. Shape (n,)."""


def window(history: Sequence[Message]) -> Sequence[Message]:
    """The end of a conversation: at most `TURNS` requests of the person's, and the answers between them."""
    seen = 0
    for place in range(len(history) - 1, -1, -1):
        seen += history[place].role == "user"
        if seen == TURNS:
            return history[place:]
    return history


def asks(answer: Message) -> bool:
    """Whether an answer ends with a question."""
    return answer.content.rstrip().endswith("?")


def lent(past: Past) -> tuple[Floats, NDArray[np.intp]]:
    """(the probabilities that the conversations lend (n, routes), the place of the turn that lends most (n,))."""
    age = np.arange(past.likeness.shape[1])
    share = softmax(LIKING * np.maximum(0.0, past.likeness - 0.2) - AGEING * age - IDLING * past.idle)
    return np.einsum("nt,ntk->nk", share, past.probabilities), share.argmax(axis=1)


def features(signs: GateInputs, shared: Floats, place: NDArray[np.intp]) -> Floats:
    """The numbers behind the gate. Shape (n, FEATURES).

    Args:
        signs: Of the requests.
        shared: What their conversations lend.
        place: The turn that lends most.
    """
    said, own, past, asked, idle = signs
    here = np.arange(len(own))
    follows, points, yours, reworks, back, social, definite, indefinite, _, words = said.T
    ordered = np.sort(own, axis=1)
    hints = follows + reworks + points + yours + back
    length = np.minimum(words, 40) / 10
    short = words <= 4
    role = past.role.any(axis=1) * (1 - social)
    return np.column_stack(
        [
            np.ones(len(own)), follows, points, length * (hints == 0), length * (hints > 0), short,
            ordered[:, -1], ordered[:, -1] - ordered[:, -2], asked, asked * short, idle, past.likeness.max(axis=1), back,
            past.image[:, 0] * np.maximum(points, words <= 12), yours, reworks, own[here, shared.argmax(axis=1)],
            shared.max(axis=1), past.likeness[here, place], social, idle * (1 - social), definite, indefinite,
            definite * (1 - indefinite), np.minimum(3, hints) / 3, role, role * idle,
        ]
    )  # fmt: skip


def gate(weights: Floats, found: Floats) -> Floats:
    """How much each conversation lends, 0 to 1, from `features`. Shape (n,)."""
    return np.asarray(1 / (1 + np.exp(-np.clip(found @ weights, -30, 30))))
