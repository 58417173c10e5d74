"""When to ask although the decision is sure enough: where a label would teach most.

Uncertainty sampling (Lewis and Gale 1994) and query by committee (Seung et al. 1992), made into a yes or no for one request at
a time, because a person is asked now or never. At most a few times a day, and never twice for requests that are alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tui_router.core.types import Decision

NARROW = 0.55
"""Difference between the two likeliest routes below which a request lies near a boundary."""
SURE = 0.97
"""Confidence above which routers that disagree are not worth a question: the others are simply worse."""
RATHER_SURE = 0.90
"""Confidence from which on a rarely seen route alone is no reason to ask."""
RARE = 3
"""Labels of a route up to which it counts as rarely seen, if others have more."""
ALIKE = 0.75
"""Likeness from which on two requests are the same question."""


def is_informative(decision: Decision, shadows: Sequence[Decision], labels: Mapping[str, int]) -> bool:
    """Whether the label of this request would teach more than most.

    Args:
        decision: The leader's.
        shadows: The other routers'.
        labels: Route -> labels so far.
    """
    first, second = decision.ranking[0][1], decision.ranking[1][1] if len(decision.ranking) > 1 else 0.0
    if first - second < NARROW:
        return True
    if first >= SURE:
        return False
    if any(shadow.route != decision.route for shadow in shadows):
        return True
    most = max(labels.values(), default=0)
    return first < RATHER_SURE and labels.get(decision.route, 0) <= RARE < most


class QueryBudget:
    """What the person was asked about: how often today, and the likes of what."""

    def __init__(self, a_day: int) -> None:
        self.a_day = a_day
        self._day, self._today = "", 0
        self._sketches: list[NDArray[np.float32]] = []

    def may(self, day: str, embedding: NDArray[np.float32]) -> bool:
        """Whether one more question is allowed on this day, and this is not a question that was asked before."""
        if (self._today if day == self._day else 0) >= self.a_day:
            return False
        return all(float(one @ embedding) < ALIKE for one in self._sketches)

    def note(self, day: str, embedding: NDArray[np.float32]) -> None:
        """The person was asked."""
        self._today = self._today + 1 if day == self._day else 1
        self._day = day
        self._sketches = [*self._sketches[-199:], embedding]
