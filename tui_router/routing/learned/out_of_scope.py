"""The probability that a request is in scope: of the kind that the router was made for.

Random keys, a lone noun, a language that no seed was written in: a linear model still prefers some route, and often
with confidence. A second, tiny model (logistic regression, `train/prior.py`) looks at how much of the text is known at all;
confidence shrinks with what it finds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import mul

from tui_router.routing.linear.text_model import KnownShare

SCOPE_FEATURES = 13


def scope_features(known: KnownShare, top_probability: float, triggers: int, top_weight: float) -> list[float]:
    """Return the features of the judgement, SCOPE_FEATURES of them.

    Args:
        known: How much of the text is known.
        top_probability: The greatest probability of a route.
        triggers: How many of the rules' triggers matched, those of mere length left out.
        top_weight: The greatest weight of these.
    """
    words = known.words
    return [
        1.0,
        known.known_words / max(1, words),
        words == 0,
        words == 1,
        words == 2,
        min(words, 8) / 8,
        known.ngrams,
        known.known_pairs / max(1, known.pairs),
        min(known.known_pairs, 5) / 5,
        min(triggers, 4) / 4,
        top_probability,
        math.log1p(known.length) / 6,
        min(max(top_weight, 0.0), 5.0) / 5,
    ]


def in_scope_probability(weights: Sequence[float], features: Sequence[float]) -> float:
    """Return the probability that the request is in scope. Plain Python: faster than numpy on 13 numbers."""
    score = sum(map(mul, weights, features))
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, score))))
