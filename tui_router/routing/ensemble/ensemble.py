"""The race: every router decides every request, one leads, and each verdict grades all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from tui_router.core.types import Decision, Promotion, Ranking, Request
from tui_router.routing.ensemble.calibration import (
    NEWEST,
    CalibrationRow,
    rescale,
    rescale_ranking,
    row_of,
    temperature,
)
from tui_router.routing.ensemble.champion import TUNED, ChampionChange, ChampionSelector, first_leader
from tui_router.routing.ensemble.grading import Grade
from tui_router.routing.router import Router

AUTO = "auto"


class EnsembleMember:
    """One router as the race runs it, calibrated, for those who want a single one."""

    def __init__(self, ensemble: RouterEnsemble, name: str) -> None:
        self._race, self.name = ensemble, name

    @property
    def version(self) -> str:
        """The version of its model."""
        return self._race.routers[self.name].version

    def decide(self, request: Request) -> Decision:
        """One decision."""
        return self._race.decide_by(self.name, request)

    def decide_many(self, requests: Iterable[Request]) -> Iterator[Decision]:
        """Decisions in the order of the requests."""
        return map(self.decide, requests)

    def rankings(self, requests: Iterable[Request]) -> Iterator[Ranking]:
        """The ranking of each decision."""
        return self._race.rankings_by(self.name, requests)


class EnsembleDecision(Struct, frozen=True):
    """What all routers made of a request."""

    decision: Decision
    """The leader's."""
    shadows: tuple[Decision, ...]

    def with_champion(self, decision: Decision) -> EnsembleDecision:
        """The same, with this decision before all others."""
        return EnsembleDecision(decision, (self.decision, *self.shadows))


class RouterEnsemble:
    """The routers that decide at once, without a server, and who of them leads.

    Args:
        routers: All of them.
        accuracy: Router -> (right, all) on held-out seeds: who leads before there are verdicts.
        pinned: The name of a router that leads whatever the verdicts say, or `auto`.
        late: Names of routers that ask a model: the engine waits for them, the race grades and calibrates them.
    """

    def __init__(
        self,
        routers: Sequence[Router],
        accuracy: Mapping[str, tuple[int, int]],
        pinned: str = AUTO,
        late: Sequence[str] = (),
    ) -> None:
        self.routers = {router.name: router for router in routers}
        self._all = (*self.routers, *late)
        self._first = first_leader(accuracy, list(self.routers))
        self.pinned = pinned
        self._leads: list[Promotion] = []
        self.standing = ChampionSelector(self._first, self._all)
        """Who leads by the verdicts alone, and every change so far."""
        self._grades: dict[int, Grade] = {}
        self._rows: dict[str, dict[int, CalibrationRow]] = {name: {} for name in (*self._all, TUNED)}
        """Router -> its graded decisions, for the calibration."""
        self._temperatures = dict.fromkeys((*self._all, TUNED), 1.0)

    @property
    def champion(self) -> str:
        """The name of the router that is acted on."""
        return self.pinned if self.pinned in self._all else self.standing.champion

    @property
    def best_immediate(self) -> str:
        """The leader, or who acts when the leader does not answer in time."""
        if self.champion in self.routers:
            return self.champion
        return self.standing.former if self.standing.former in self.routers else self._first

    @property
    def champion_run(self) -> str:
        """The run whose router leads; empty when a router leads that came with the program."""
        return self.standing.promoted if self.champion == TUNED else ""

    def restore_promotions(self, leads: Sequence[Promotion]) -> None:
        """Who was given the lead so far, oldest first: in place of what was known of that."""
        self._leads = list(leads)
        self._stand()

    def _stand(self) -> None:
        """The standing, from the start."""
        self.standing = ChampionSelector(self._first, self._all, self._leads)
        for one in self.grades:
            self.standing.add(one)
        self.standing.settle()

    @property
    def grades(self) -> list[Grade]:
        """Every rated turn, oldest first."""
        return [self._grades[key] for key in sorted(self._grades)]

    def decide(self, request: Request) -> EnsembleDecision:
        """All decisions on a request that come at once."""
        champion = self.best_immediate
        decision = self.decide_by(champion, request)
        return EnsembleDecision(
            decision, tuple(self.decide_by(name, request) for name in self.routers if name != champion)
        )

    def decide_by(self, name: str, request: Request) -> Decision:
        """One router's calibrated decision."""
        return self.calibrated(self.routers[name].decide(request))

    def rankings_by(self, name: str, requests: Iterable[Request]) -> Iterator[Ranking]:
        """The rankings of one router's calibrated decisions."""
        at = self._temperatures[name]
        return (rescale_ranking(ranking, at) for ranking in self.routers[name].rankings(requests))

    def calibrated(self, decision: Decision) -> Decision:
        """A decision at its router's temperature."""
        return rescale(decision, self._temperatures[decision.router])

    def replace(self, router: Router) -> None:
        """Put a newer model of a router in its place; what its name has won stays."""
        self.routers[router.name] = router

    def grade(self, graded: Mapping[int, Grade | None]) -> ChampionChange | None:
        """Take in new, changed and withdrawn grades; returns the change of the leader, if there was one now."""
        before = self.champion
        newest = max(self._grades, default=0)
        later = all(key > newest for key in graded)
        for key in sorted(graded):
            self._grades.pop(key, None)
            for name, rows in self._rows.items():
                rows.pop(key, None)
                if (new := graded[key]) is not None and (row := row_of(new, name)) is not None:
                    rows[key] = row
            if (grade := graded[key]) is not None:
                self._grades[key] = grade
                if later:
                    self.standing.add(grade)
        if not later:  # the past has changed: from the start
            self._stand()
        self._temperatures = {
            name: temperature([rows[key] for key in sorted(rows)[-NEWEST:]]) for name, rows in self._rows.items()
        }
        return self.standing.changes[-1] if self.standing.changes and self.champion != before else None
