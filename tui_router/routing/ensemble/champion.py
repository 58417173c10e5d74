"""Choose the champion: the router whose decision is acted on, by a comparison that may be looked at after every verdict.

A challenger is compared with the champion on the turns that both decided and of which it is known whether each was right.
Only those on which one was right and the other wrong tell them apart (McNemar 1947).

Which turns are graded depends on whether the champion was right: its wrong decisions are asked about, and rated unasked, more
often. Compared on those, a challenger that is no better would seem better. So only turns count whose chance of being graded is
known: audits, drawn with a stored probability, and answered asks, each weighted by the inverse of its chance, relative to an
audit. Ratings given unasked teach the routers, and count for no comparison.

The test is a bet (a test martingale, Shafer et al. 2011): fractions of a stake are bet on "the challenger is right", and win or
lose by the weight of the turn. If the challenger is no better, the stake grows twentyfold with a chance of at most 5 % (Ville's
inequality), however often one looks and however long the history is; with several challengers each must reach as many times
more (Bonferroni). `python scripts/sim.py champion` shows false changes and how many turns a better router takes to be found.

A trained router does not become champion this way: it is promoted, when it has passed its gate. From then on the champion before
it is the only challenger, and takes the place back when it wins the same bet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from msgspec import Struct

from tui_router.core.types import Promotion
from tui_router.routing.ensemble.grading import Grade

TUNED = "tuned"
"""The trained router: graded like the others, and champion only by promotion."""
LEVEL = 0.05
"""Chance, over a whole history, that the champion changes although no challenger is better."""
_BETS = (0.25, 0.45, 0.9)
"""Fractions of the capital that are bet on the challenger; the stake is split evenly. The small ones find a router that is five
points better soonest, the large one a promoted router that is bad (`python scripts/sim.py champion gate`)."""


class ChampionChange(Struct, frozen=True):
    """Another router became the champion."""

    at: int
    """Number of the turn whose verdict decided it."""
    old: str
    new: str
    compared: int
    """Audited and asked turns that both had decided since the last change."""
    won: int
    """Of these: the new champion was right and the old one wrong."""
    lost: int


class Comparison:
    """One challenger against the champion."""

    def __init__(self) -> None:
        self.compared = self.won = self.lost = 0
        self._capital = [1.0] * len(_BETS)
        """What each bet on the challenger has made of a stake of 1."""

    def add(self, champion_right: bool, challenger_right: bool, weight: float = 1.0) -> None:
        """Count one more turn that both decided.

        Args:
            champion_right: Whether the champion was right.
            challenger_right: Whether the challenger was right.
            weight: The chance that the turn would have been audited, over the chance that it was graded; above 0, at most 1.
        """
        self.compared += 1
        self.won += challenger_right and not champion_right
        self.lost += champion_right and not challenger_right
        if champion_right != challenger_right:
            gain = weight if challenger_right else -weight
            self._capital = [capital * (1 + bet * gain) for capital, bet in zip(self._capital, _BETS, strict=True)]

    def wins(self, challengers: int = 1) -> bool:
        """Whether the bets have shown that the challenger is better.

        Args:
            challengers: How many are compared with the champion.
        """
        return sum(self._capital) / len(self._capital) >= max(1, challengers) / LEVEL


class ChampionSelector:
    """Who is the champion, and how the challengers compare. Depends on nothing but the grades, in their order.

    After a change all comparisons begin anew: what made a router the champion must not be counted twice.

    Args:
        first: The champion before there are verdicts.
        routers: Who may become champion by the verdicts.
        promotions: Who was promoted, and when; oldest first.
    """

    def __init__(self, first: str, routers: Sequence[str], promotions: Sequence[Promotion] = ()) -> None:
        self.routers, self.champion = tuple(routers), first
        self.former = first
        """The champion before the present one was promoted."""
        self.promoted_run = ""
        """The run of the champion, when a trained router is it."""
        self.changes: list[ChampionChange] = []
        self._pending, self._since = deque(promotions), 0
        self._audit_probability = 0.0
        """Of the newest audit: the chance that an asked turn of these days would have been graded by an audit."""
        self._begin_comparisons()

    def _begin_comparisons(self) -> None:
        self.comparisons = {name: Comparison() for name in self.routers if name != self.champion}

    def promote(self, promotion: Promotion) -> None:
        """Make a router the champion; the comparisons begin anew behind it."""
        if promotion.router != self.champion and self.champion in self.routers:
            self.former = self.champion
        self.champion, self.promoted_run, self._since = promotion.router, promotion.run, promotion.after
        self._begin_comparisons()

    def finish(self) -> None:
        """Apply the promotions that came after the last rated turn."""
        while self._pending:
            self.promote(self._pending.popleft())

    def add(self, grade: Grade) -> ChampionChange | None:
        """Count one more rated turn; returns the change of the champion that it decides."""
        while self._pending and self._pending[0].after < grade.key:
            self.promote(self._pending.popleft())
        champion_right, weight = grade.right(self.champion), self._weight(grade)
        if champion_right is None or not weight or grade.key <= self._since:
            return None
        for name, comparison in self.comparisons.items():
            right = grade.right(name)
            if right is None:
                continue
            comparison.add(champion_right, right, weight)
            watched = bool(self.promoted_run)
            if (name == self.former and comparison.wins()) if watched else comparison.wins(len(self.comparisons)):
                change = ChampionChange(
                    grade.key, self.champion, name, comparison.compared, comparison.won, comparison.lost
                )
                self.champion, self.promoted_run = name, ""
                self.changes.append(change)
                self._begin_comparisons()
                return change
        return None

    def _weight(self, grade: Grade) -> float:
        """The weight of a turn; 0 when it does not count: rated unasked, or asked about before the first audit."""
        if grade.audit:
            self._audit_probability = grade.audit
            return 1.0
        return self._audit_probability if grade.asked else 0.0


def first_champion(accuracy: Mapping[str, tuple[int, int]], routers: Sequence[str]) -> str:
    """Return the champion before there are verdicts: the best on held-out seeds.

    Args:
        accuracy: Router -> (right, all).
        routers: Who may be it; those without a figure only if nobody has one.
    """
    known = [name for name in routers if accuracy.get(name, (0, 0))[1]]
    return max(known, key=lambda name: accuracy[name][0] / accuracy[name][1]) if known else routers[0]
