"""Choose the champion: the router whose decision is acted on, by a comparison that may be looked at after every verdict.

A challenger is compared with the champion on the turns that both decided and of which it is known whether each was right.
Only those on which one was right and the other wrong tell them apart (McNemar 1947); if neither is better, each of these is
a fair coin. The comparison is looked at when 50, 100, 200, 400, ... turns were compared, and each look may only use up its
share of the 5 % (alpha spending, Lan and DeMets 1983), divided among the challengers (Bonferroni). So a lucky streak changes
nothing: with routers that are equally good, the champion changes in at most 5 % of all histories, however long they are
(`python scripts/sim.py promotion`).

A trained router does not become champion this way: it is promoted, when it has passed its gate. From then on it is watched
after every turn by the champion before it, which takes the place back when it is shown to be better. That test is a bet (a
test martingale, Shafer et al. 2011): if the promoted router is as good, the bet wins with a chance of at most 5 % (Ville).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from msgspec import Struct

from tui_router.core.statistics import tail
from tui_router.core.types import Promotion
from tui_router.routing.ensemble.grading import Grade

TUNED = "tuned"
"""The trained router: graded like the others, and champion only by promotion."""
LEVEL = 0.05
"""Chance, over a whole history, that the champion changes although no challenger is better."""
FIRST_LOOK = 50
"""Compared turns at the first look."""
_SPENDING = (0.02, 0.06, 0.12, 0.60)
"""Share of `LEVEL` that the first looks use up; every later one uses half of what is left. Chosen so that a router that is five
points better is found within 400 verdicts most often (`python scripts/sim.py promotion`)."""
_BETS = (0.65, 0.80, 0.95)
"""Shares of the turns that tell the two apart on which the former champion is bet to be right; the stake is split evenly."""


class ChampionChange(Struct, frozen=True):
    """Another router became the champion."""

    at: int
    """Number of the turn whose verdict decided it."""
    old: str
    new: str
    compared: int
    """Turns that both had decided since the last change."""
    won: int
    """Of these: the new champion was right and the old one wrong."""
    lost: int


class Comparison:
    """One challenger against the champion."""

    def __init__(self) -> None:
        self.compared = self.won = self.lost = 0
        self._capital = [1.0] * len(_BETS)
        """What each bet on the challenger has made of a stake of 1."""

    def add(self, champion_right: bool, challenger_right: bool) -> None:
        """Count one more turn that both decided."""
        self.compared += 1
        self.won += challenger_right and not champion_right
        self.lost += champion_right and not challenger_right
        if champion_right != challenger_right:
            self._capital = [
                capital * 2 * (bet if challenger_right else 1 - bet)
                for capital, bet in zip(self._capital, _BETS, strict=True)
            ]

    def wins(self, challengers: int) -> bool:
        """Whether this is a look, and the challenger has won by it.

        Args:
            challengers: How many are compared with the champion.
        """
        if not is_look(self.compared):
            return False
        p_value = tail(self.won, self.won + self.lost, 0.5)
        return p_value <= LEVEL * spending_share(self.compared) / max(1, challengers)

    def reverts(self) -> bool:
        """Whether the bets on the challenger, the champion before, have shown that it is better."""
        return sum(self._capital) / len(self._capital) >= 1 / LEVEL


def is_look(compared: int) -> bool:
    """Whether the comparison is looked at after this many turns: at 50, 100, 200, ..."""
    times, rest = divmod(compared, FIRST_LOOK)
    return rest == 0 and times > 0 and times & (times - 1) == 0


def spending_share(compared: int) -> float:
    """Return the share of `LEVEL` that the look after this many turns may use up; all looks together use at most 1."""
    look = (compared // FIRST_LOOK).bit_length() - 1
    if look < len(_SPENDING):
        return _SPENDING[look]
    left = 1 - sum(_SPENDING)
    return left * 0.5 ** (look - len(_SPENDING) + 1)


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
        champion_right = grade.right(self.champion)
        if champion_right is None or grade.key <= self._since:
            return None
        for name, comparison in self.comparisons.items():
            right = grade.right(name)
            if right is None:
                continue
            comparison.add(champion_right, right)
            watched = bool(self.promoted_run)
            if (name == self.former and comparison.reverts()) if watched else comparison.wins(len(self.comparisons)):
                change = ChampionChange(
                    grade.key, self.champion, name, comparison.compared, comparison.won, comparison.lost
                )
                self.champion, self.promoted_run = name, ""
                self.changes.append(change)
                self._begin_comparisons()
                return change
        return None


def first_champion(accuracy: Mapping[str, tuple[int, int]], routers: Sequence[str]) -> str:
    """Return the champion before there are verdicts: the best on held-out seeds.

    Args:
        accuracy: Router -> (right, all).
        routers: Who may be it; those without a figure only if nobody has one.
    """
    known = [name for name in routers if accuracy.get(name, (0, 0))[1]]
    return max(known, key=lambda name: accuracy[name][0] / accuracy[name][1]) if known else routers[0]
