"""Which router leads: the best one, by a comparison that may be looked at after every verdict.

A candidate is compared with the leader on the turns that both decided and of which it is known whether each was right. Only those on which
one was right and the other wrong tell them apart (McNemar 1947); if neither is better, each of these is a fair coin. The
comparison is looked at when 50, 100, 200, 400, ... turns were compared, and each look may only use up its share of the
5 % (alpha spending, Lan and DeMets 1983), divided among the candidates (Bonferroni). So a lucky streak changes nothing:
with routers that are equally good, the leader changes in at most 5 % of all histories, however long they are.

A trained router does not come to lead this way: it is promoted, when it has passed its gate. From then on it is watched more
closely than others, at 10, 20, 40, ... turns, by the one who led before it: that one takes the lead back when it is shown to
be better, again with a chance of at most 5 % that it was not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from msgspec import Struct

from tui_router.core.statistics import tail
from tui_router.core.types import Promotion
from tui_router.routing.ensemble.grading import Grade

TUNED = "tuned"
"""A trained router: graded like the others, and leading only when it was promoted."""
LEVEL = 0.05
"""Chance, over a whole history, that the leader changes although no candidate is better."""
FIRST_LOOK = 50
_SPENDING = (0.02, 0.06, 0.12, 0.60)
"""Share of `LEVEL` that the first looks use up; every later one uses half of what is left."""


_BETS = (0.65, 0.80, 0.95)
"""Shares of the turns that tell them apart on which the former leader is bet to be right; the fortune is split evenly."""


class ChampionChange(Struct, frozen=True):
    """A router took the lead."""

    at: int
    """Number of the turn whose verdict decided it."""
    old: str
    new: str
    compared: int
    """Turns that both had decided since the last change."""
    won: int
    """Of these: the new leader was right and the old one wrong."""
    lost: int


class Comparison:
    """One candidate against the leader."""

    def __init__(self) -> None:
        self.compared = self.won = self.lost = 0
        self._fortunes = [1.0] * len(_BETS)

    def add(self, champion: bool, candidate: bool) -> None:
        """One more turn that both decided."""
        self.compared += 1
        self.won += candidate and not champion
        self.lost += champion and not candidate
        if champion != candidate:
            self._fortunes = [f * 2 * (p if candidate else 1 - p) for f, p in zip(self._fortunes, _BETS, strict=True)]

    def wins(self, candidates: int) -> bool:
        """Whether this is a look, and the candidate has won by it."""
        if not is_look(self.compared):
            return False
        return tail(self.won, self.won + self.lost, 0.5) <= LEVEL * share(self.compared) / max(1, candidates)

    def takes_back(self) -> bool:
        """Whether the bet on the candidate, who led before, has shown that it is better."""
        return sum(self._fortunes) / len(self._fortunes) >= 1 / LEVEL


def is_look(compared: int) -> bool:
    """Whether the comparison is looked at after this many turns: at 50, 100, 200, ..."""
    times, rest = divmod(compared, FIRST_LOOK)
    return rest == 0 and times > 0 and times & (times - 1) == 0


def share(compared: int) -> float:
    """The share of `LEVEL` that the look after this many turns may use up; all looks together use at most 1."""
    look = (compared // FIRST_LOOK).bit_length() - 1
    if look < len(_SPENDING):
        return _SPENDING[look]
    left = 1 - sum(_SPENDING)
    return left * 0.5 ** (look - len(_SPENDING) + 1)


class ChampionSelector:
    """The race so far: who leads, and how far the others have come. Depends on nothing but the grades, in their order.

    After a change all comparisons begin anew: what made the leader lead must not be counted twice.

    Args:
        first: Who leads before there are verdicts.
        routers: Who may lead by the verdicts.
        leads: Who was given the lead, and when; oldest first.
    """

    def __init__(self, first: str, routers: Sequence[str], leads: Sequence[Promotion] = ()) -> None:
        self.routers, self.champion = tuple(routers), first
        self.former = first
        """Who led before the present leader was promoted."""
        self.promoted = ""
        """The run that leads, when a trained router does."""
        self.changes: list[ChampionChange] = []
        self._leads, self._since = deque(leads), 0
        self._begin()

    def _begin(self) -> None:
        self.matches = {name: Comparison() for name in self.routers if name != self.champion}

    def give(self, lead: Promotion) -> None:
        """Somebody is given the lead; the comparisons begin anew behind it."""
        if lead.router != self.champion and self.champion in self.routers:
            self.former = self.champion
        self.champion, self.promoted, self._since = lead.router, lead.run, lead.after
        self._begin()

    def settle(self) -> None:
        """All rated turns are in: who was given the lead since leads now."""
        while self._leads:
            self.give(self._leads.popleft())

    def add(self, grade: Grade) -> ChampionChange | None:
        """One more rated turn; returns the change of the leader that it decides."""
        while self._leads and self._leads[0].after < grade.key:
            self.give(self._leads.popleft())
        led = grade.right(self.champion)
        if led is None or grade.key <= self._since:
            return None
        for name, match in self.matches.items():
            right = grade.right(name)
            if right is None:
                continue
            match.add(led, right)
            won = match.takes_back() if self.promoted and name == self.former else False
            if won or (not self.promoted and match.wins(len(self.matches))):
                change = ChampionChange(grade.key, self.champion, name, match.compared, match.won, match.lost)
                self.champion, self.promoted = name, ""
                self.changes.append(change)
                self._begin()
                return change
        return None


def first_leader(accuracy: Mapping[str, tuple[int, int]], routers: Sequence[str]) -> str:
    """Who leads before there are verdicts: the best on held-out seeds.

    Args:
        accuracy: Router -> (right, all).
        routers: Who may lead; those without a figure only if nobody has one.
    """
    known = [name for name in routers if accuracy.get(name, (0, 0))[1]]
    return max(known, key=lambda name: accuracy[name][0] / accuracy[name][1]) if known else routers[0]
