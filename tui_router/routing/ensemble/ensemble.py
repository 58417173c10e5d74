"""The ensemble: every router decides every request, the champion's decision is acted on, each verdict grades all of them."""

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
from tui_router.routing.ensemble.champion import TUNED, ChampionChange, ChampionSelector, first_champion
from tui_router.routing.ensemble.grading import Grade
from tui_router.routing.router import Router

AUTO = "auto"


class EnsembleMember:
    """One router of an ensemble, calibrated, as a router of its own."""

    def __init__(self, ensemble: RouterEnsemble, name: str) -> None:
        self._ensemble, self.name = ensemble, name

    @property
    def version(self) -> str:
        """The version of its model."""
        return self._ensemble.routers[self.name].version

    def decide(self, request: Request) -> Decision:
        """Decide one request."""
        return self._ensemble.decide_by(self.name, request)

    def decide_many(self, requests: Iterable[Request]) -> Iterator[Decision]:
        """Decide requests in their order."""
        return map(self.decide, requests)

    def rankings(self, requests: Iterable[Request]) -> Iterator[Ranking]:
        """Return the ranking of each decision."""
        return self._ensemble.rankings_by(self.name, requests)


class EnsembleDecision(Struct, frozen=True):
    """What all routers decided about a request."""

    decision: Decision
    """The champion's."""
    shadows: tuple[Decision, ...]

    def with_champion(self, decision: Decision) -> EnsembleDecision:
        """Return the same with this decision as the champion's; the one that was becomes a shadow."""
        return EnsembleDecision(decision, (self.decision, *self.shadows))


class RouterEnsemble:
    """The routers that decide at once, without a server, and which of them is the champion.

    Args:
        routers: All of them.
        accuracy: Router -> (right, all) on held-out seeds: decides the champion before there are verdicts.
        pinned: The name of a router that is champion whatever the verdicts say, or `auto`.
        deferred: Names of routers that ask a model: the engine waits for them, the ensemble grades and calibrates them.
    """

    def __init__(
        self,
        routers: Sequence[Router],
        accuracy: Mapping[str, tuple[int, int]],
        pinned: str = AUTO,
        deferred: Sequence[str] = (),
    ) -> None:
        self.routers = {router.name: router for router in routers}
        self._names = (*self.routers, *deferred)
        self._first = first_champion(accuracy, list(self.routers))
        self.pinned = pinned
        self._promotions: list[Promotion] = []
        self.selector = ChampionSelector(self._first, self._names)
        """The champion by the verdicts alone, and every change so far."""
        self._grades: dict[int, Grade] = {}
        """Turn number -> its grade."""
        self._rows: dict[str, dict[int, CalibrationRow]] = {name: {} for name in (*self._names, TUNED)}
        """Router -> turn number -> its graded decision, for the calibration."""
        self.temperatures = dict.fromkeys((*self._names, TUNED), 1.0)
        """Router -> the temperature of its decisions."""

    @property
    def champion(self) -> str:
        """The name of the router whose decision is acted on."""
        return self.pinned if self.pinned in self._names else self.selector.champion

    @property
    def best_immediate(self) -> str:
        """The champion, or who stands in for it when it asks a model and gets no answer in time."""
        if self.champion in self.routers:
            return self.champion
        return self.selector.former if self.selector.former in self.routers else self._first

    @property
    def champion_run(self) -> str:
        """The run that made the champion; empty when a router is champion that came with the program."""
        return self.selector.promoted_run if self.champion == TUNED else ""

    def restore_promotions(self, promotions: Sequence[Promotion]) -> None:
        """Replace the history of promotions, oldest first, and choose the champion anew."""
        self._promotions = list(promotions)
        self._select_anew()

    def _select_anew(self) -> None:
        """Choose the champion from the first grade on."""
        self.selector = ChampionSelector(self._first, self._names, self._promotions)
        for one in self.grades:
            self.selector.add(one)
        self.selector.finish()

    @property
    def grades(self) -> list[Grade]:
        """Every rated turn, oldest first."""
        return [self._grades[key] for key in sorted(self._grades)]

    def decide(self, request: Request) -> EnsembleDecision:
        """Decide a request by every router that needs no server."""
        champion = self.best_immediate
        decision = self.decide_by(champion, request)
        return EnsembleDecision(
            decision, tuple(self.decide_by(name, request) for name in self.routers if name != champion)
        )

    def decide_by(self, name: str, request: Request) -> Decision:
        """Return one router's calibrated decision."""
        return self.calibrated(self.routers[name].decide(request))

    def rankings_by(self, name: str, requests: Iterable[Request]) -> Iterator[Ranking]:
        """Return the rankings of one router's calibrated decisions, in the order of the requests."""
        t = self.temperatures[name]
        return (rescale_ranking(ranking, t) for ranking in self.routers[name].rankings(requests))

    def calibrated(self, decision: Decision) -> Decision:
        """Return a decision at its router's temperature."""
        return rescale(decision, self.temperatures[decision.router])

    def replace(self, router: Router) -> None:
        """Put a newer model of a router in its place; the comparisons of its name go on."""
        self.routers[router.name] = router

    def grade(self, graded: Mapping[int, Grade | None]) -> ChampionChange | None:
        """Take in new, changed and withdrawn grades; returns the change of the champion, if there was one now.

        Args:
            graded: Turn number -> its grade; None for a turn that has none any more.
        """
        champion_before = self.champion
        newest = max(self._grades, default=0)
        all_newer = all(key > newest for key in graded)
        for key in sorted(graded):
            self._grades.pop(key, None)
            for name, rows in self._rows.items():
                rows.pop(key, None)
                if (new := graded[key]) is not None and (row := row_of(new, name)) is not None:
                    rows[key] = row
            if (one := graded[key]) is not None:
                self._grades[key] = one
                if all_newer:
                    self.selector.add(one)
        if not all_newer:
            self._select_anew()
        self.temperatures = {
            name: temperature([rows[key] for key in sorted(rows)[-NEWEST:]]) for name, rows in self._rows.items()
        }
        return self.selector.changes[-1] if self.selector.changes and self.champion != champion_before else None
