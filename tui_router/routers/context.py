"""How much of a request's route comes from the conversation before it.

A follow-up ("and in Rust?", "the second one") says little by itself. The earlier turns lend their routes: each turn's
share falls with its age and rises with its likeness to the request ("back to the search: ..."), small talk in between
is passed over, and a fitted gate decides how much is lent at all. What speaks for itself keeps its own route.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui_router.routers.logistic import softmax

Floats = NDArray[np.floating]

TURNS = 4
"""Earlier turns that are looked at."""
AGEING, LIKING, IDLING = 1.1, 5.0, 2.5
"""How fast a turn's share falls with its age, rises with its likeness, and falls when it was small talk."""

_FOLLOW_UP = re.compile(
    r"\A\W*(?:and|now|also|but|so|then|again|or|ok(?:ay)?,? (?:now|so|and|but|another|a)|actually|wait|no,|yes,?|next|"
    r"make (?:it|that|them|this)|do (?:it|that|the same)|can you also|commit (?:it|that)|(?:shorter|longer|simpler|louder|cheaper|"
    r"funnier|another|one more|more|less|continue|go on|keep going|instead|same|without|with|only|just|under|over)\b|"
    r"what about|how about|why\W*\Z|why not|how so|are you sure|in \w+\W*\Z|use \w+ instead|try again|rewrite|rephrase|fix (?:it|that)|"
    r"take (?:the|your)|redo|explain (?:it|that|the)|show me|give (?:it|me) (?:one|another|more)|back to|check it|add (?:a|an|one|another)\b)",
    re.IGNORECASE,
)
_POINTS_BACK = re.compile(
    r"\b(?:it|its|them|they|those|he|she|his|her|that(?= one\b|\W*\Z|[,.;!?]| (?:again|instead|please|too|to|into|with|as|in)\b)|"
    r"these(?!\s+\w+s\b)|this one|the (?:first|second|third|last|other|others|previous|above|cheapest|same|rest)(?: one| part| line|"
    r" step| paragraph)?|your (?:answer|response|previous|last|own)|previous|above|earlier|same|there|one)\b",
    re.IGNORECASE,
)
_BACK = re.compile(r"\b(?:back to|return to|about the \w+ again|as before|the earlier)\b", re.IGNORECASE)


_YOURS = re.compile(
    r"\b(?:your|you) (?:\w+ )?(?:answer|response|reply|solution|code|draft|poem|story|assumptions?|made|wrote|said|gave|just)\b",
    re.IGNORECASE,
)
_REWORK = re.compile(
    r"\A\W*(?:please |can you |could you |now |then |ok(?:ay)?,? )*(?:re\w+|make|change|turn|convert|translate|update|add|remove|replace|"
    r"use|include|exclude|expand|shorten|explain|elaborate|continue|finish|fix|improve|swap|skip|cancel|move|test|check|show)\b",
    re.IGNORECASE,
)

_SOCIAL = re.compile(
    r"\b(?:thanks?|thank you|thx|ty|cheers|bye|goodbye|see you|good ?night|good (?:morning|evening)|hello|hi|hey|lol|haha+|cool|nice|great|wow|"
    r"awesome|perfect|yum|love it|you rock|the best|how are you|are you (?:a |human|real|happy|ok)|do you (?:ever|like|sleep|have a))\b",
    re.IGNORECASE,
)
_ROLE = re.compile(
    r"\b(?:act as|act like|pretend|role-?play|play the role|in character|imagine (?:you|yourself)|you(?:'re| are) (?:an?|the|my)|"
    r"let's play|text adventure|embrace the role|be my)\b",
    re.IGNORECASE,
)
_DEFINITE = re.compile(r"\b(?:the|this|these|those|that|both|which|all of|each of)\b", re.IGNORECASE)
_INDEFINITE = re.compile(r"\b(?:an?|some|any|my|me)\b", re.IGNORECASE)

FEATURES = 27


class Past(NamedTuple):
    """An earlier turn of the conversation."""

    text: str
    probabilities: Floats
    """Of each route, as they were decided then."""
    likeness: float
    """To the request, -1 to 1."""
    idle: bool
    """Small talk: it does not end the subject."""
    image: bool


class Signs(NamedTuple):
    """What the gate looks at."""

    text: str
    own: Floats
    """Probabilities of the routes by the text alone."""
    past: tuple[Past, ...]
    """Newest first, at most `TURNS`."""
    asked: bool
    """The answer before the request ended with a question."""
    idle: float
    """Probability that the request is small talk."""


def attention(past: tuple[Past, ...]) -> Floats:
    """The share of each earlier turn; they sum to 1. Shape (turns,)."""
    weight = np.array(
        [LIKING * max(0.0, p.likeness - 0.2) - AGEING * age - IDLING * p.idle for age, p in enumerate(past)]
    )
    shares: Floats = softmax(weight)
    return shares


def lent(past: tuple[Past, ...]) -> tuple[Floats, int]:
    """(the probabilities that the conversation lends, the place of the turn that lends most)."""
    share = attention(past)
    return share @ np.array([p.probabilities for p in past]), int(share.argmax())


def features(signs: Signs) -> Floats:
    """The numbers behind the gate. Shape (FEATURES,)."""
    text, own = signs.text, signs.own
    shared, place = lent(signs.past)
    words = len(text.split())
    ordered = np.sort(own)
    newest = signs.past[0]
    best = max(p.likeness for p in signs.past)
    short = words <= 4
    follows, reworks = bool(_FOLLOW_UP.search(text)), bool(_REWORK.search(text))
    points, yours = bool(_POINTS_BACK.search(text)), bool(_YOURS.search(text))
    back, social = bool(_BACK.search(text)), bool(_SOCIAL.search(text))
    definite, indefinite = bool(_DEFINITE.search(text)), bool(_INDEFINITE.search(text))
    role = any(_ROLE.search(p.text) for p in signs.past) and not social
    hints = follows + reworks + points + yours + back
    length = min(words, 40) / 10
    return np.array(
        [
            1.0, follows, points, length * (hints == 0), length * (hints > 0), short, ordered[-1], ordered[-1] - ordered[-2],
            signs.asked, signs.asked and short, signs.idle, best, back, newest.image and (points or words <= 12), yours,
            reworks, float(own[int(shared.argmax())]), float(shared.max()), signs.past[place].likeness, social,
            signs.idle * (not social), definite, indefinite, definite and not indefinite, min(3, hints) / 3,
            role, role * signs.idle,
        ],
        dtype=np.float64,
    )  # fmt: skip


def gate(weights: Floats, signs: Signs) -> float:
    """How much the conversation lends, 0 to 1."""
    return float(1 / (1 + np.exp(-np.clip(features(signs) @ weights, -30, 30))))
