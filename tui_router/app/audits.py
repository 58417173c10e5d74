"""Random audits: which turns the person is asked about, so that an accuracy over *all* turns can be estimated.

Who rates unasked depends on whether the turn was wrong, and no weighting mends that. So a turn is drawn when it ends, with a
probability that is stored with it and that depends neither on the turn nor on its rating (`insight.estimate` says how the
answers are used). The question comes after the answer and never holds anything up.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from tui_router.app.context import AppContext
from tui_router.core.types import Turn
from tui_router.insight.estimate import audit_probability

QUESTIONS_FROM = 10
"""Turns of a store before which nobody is audited or asked to teach: a new person first sees what the program does."""
DAYS = 14
"""Days whose turns say how many to expect today. Chosen by hand, not measured."""


class AuditDraw:
    """Draws turns for audits.

    Args:
        context: Settings: of the questions a day, one is an audit.
        turns_a_day: Returns the turns of each day with any, oldest first.
        dice: Returns a random number, 0 to 1.
    """

    def __init__(
        self, context: AppContext, turns_a_day: Callable[[], Sequence[int]], dice: Callable[[], float] = random.random
    ) -> None:
        self._context, self._turns_a_day, self._dice = context, turns_a_day, dice

    def draw(self, turn: Turn) -> float:
        """Return the probability with which this turn was drawn, or 0 when it was not.

        Turns that were asked about and pinned ones are never drawn: their strata are known otherwise. Nor are the first turns
        of a store, and those that the disk did not take.
        """
        a_day = min(1, self._context.config.settings.asks_a_day)
        is_new = not turn.id[:1].isdigit() or turn.number <= QUESTIONS_FROM
        if is_new or not a_day or not self._context.feedback or turn.asked or turn.pinned_route:
            return 0.0
        probability = audit_probability(self._turns_a_day()[-DAYS:], a_day)
        return probability if self._dice() < probability else 0.0
