"""Whether a request is of the kind that the router was made for.

Random keys, a lone noun, a language that no seed was written in: a linear model still prefers some route, and often
with confidence. A second, tiny model looks at how much of the text is known at all, and the confidence shrinks with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import mul

from tui_router.routing.linear.text_model import KnownShare

FEATURES = 13


def features(known: KnownShare, surest: float, evidence: int, strongest: float) -> list[float]:
    """The numbers behind the judgement, FEATURES of them.

    Args:
        known: How much of the text is known.
        surest: The greatest probability of a route.
        evidence: How many of the rules' triggers speak, the mere length of the text left aside.
        strongest: The greatest weight of these.
    """
    words = known.words
    return [
        1.0, known.known_words / max(1, words), words == 0, words == 1, words == 2, min(words, 8) / 8, known.groups,
        known.known_pairs / max(1, known.pairs), min(known.known_pairs, 5) / 5, min(evidence, 4) / 4, surest,
        math.log1p(known.length) / 6, min(max(strongest, 0.0), 5.0) / 5,
    ]  # fmt: skip


def in_scope_probability(weights: Sequence[float], found: Sequence[float]) -> float:
    """The probability that the request is in scope, from `features`."""
    score = sum(map(mul, weights, found))
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, score))))
