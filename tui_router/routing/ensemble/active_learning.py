"""When to ask for a label although the decision is sure enough: where the label would teach most.

Uncertainty sampling (Lewis and Gale 1994) and query by committee (Seung et al. 1992), made into a yes or no for one request at
a time, because a person is asked now or never. At most a few times a day, and never twice for similar requests.

The thresholds were chosen on a stream of 1,600 labelled requests: `python scripts/sim.py asking --file FILE` shows what
labels chosen by them teach, against labels of any requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tui_router.core.types import Decision
from tui_router.routing.arrays import Float32s

NARROW_LEAD = 0.55
"""Difference between the two most probable routes below which a request lies near a boundary."""
TOO_SURE = 0.97
"""Confidence above which routers that disagree are not worth a question: the others are simply worse."""
RARE_ROUTE_CONFIDENCE = 0.90
"""Confidence from which on a rarely labelled route alone is no reason to ask."""
RARE_LABELS = 3
"""Labels of a route up to which it counts as rarely labelled, if others have more."""
SAME_QUESTION = 0.75
"""Cosine similarity from which on two requests are the same question."""
_REMEMBERED = 200
"""Requests that the person was asked about, which are remembered."""


def is_informative(decision: Decision, shadows: Sequence[Decision], labels: Mapping[str, int]) -> bool:
    """Whether the label of this request would teach more than most.

    Args:
        decision: The champion's.
        shadows: The other routers'.
        labels: Route -> labels so far.
    """
    first, second = decision.ranking[0][1], decision.ranking[1][1] if len(decision.ranking) > 1 else 0.0
    if first - second < NARROW_LEAD:
        return True
    if first >= TOO_SURE:
        return False
    if any(shadow.route != decision.route for shadow in shadows):
        return True
    most = max(labels.values(), default=0)
    return first < RARE_ROUTE_CONFIDENCE and labels.get(decision.route, 0) <= RARE_LABELS < most


class QueryBudget:
    """What the person was asked about: how often today, and which requests.

    Args:
        asks_a_day: Most questions a day.
    """

    def __init__(self, asks_a_day: int) -> None:
        self.asks_a_day = asks_a_day
        self._day, self._today = "", 0
        self._embeddings: list[Float32s] = []

    def allows(self, day: str, embedding: Float32s) -> bool:
        """Whether one more question is allowed on this day, and no similar request was asked about before."""
        if (self._today if day == self._day else 0) >= self.asks_a_day:
            return False
        return all(float(one @ embedding) < SAME_QUESTION for one in self._embeddings)

    def record(self, day: str, embedding: Float32s) -> None:
        """Count that the person was asked about a request with this embedding."""
        self._today = self._today + 1 if day == self._day else 1
        self._day = day
        self._embeddings = [*self._embeddings[1 - _REMEMBERED :], embedding]
