"""The champion under another fleet.toml: what would decide after a change, without applying it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from tui_router.config.settings import Config
from tui_router.core.fleet import Fleet
from tui_router.learning.online_learner import OnlineLearner, taught_by
from tui_router.routing.ensemble.ensemble import EnsembleMember
from tui_router.routing.learned.learned_router import LearnedRouter
from tui_router.routing.linear.text_model import TextModel
from tui_router.routing.router import Router
from tui_router.routing.rules.rules_router import RulesRouter


def champion_for(learner: OnlineLearner) -> Callable[[Fleet], Router]:
    """Return a function that makes the champion under a fleet, with all that it has learned so far.

    It decides as the champion will after the fleet was changed and the program has loaded it. The confidences are those before
    calibration, which changes no route. A champion that asks a model does not use triggers: a change of them moves nothing.

    What was learned is copied here, and nothing of the learner is changed by the routers: they may decide in another thread.
    """
    ensemble, learned = learner.ensemble, learner.learned
    labels, head = list(learned.memory.user_items()), learned.text_stage.head
    text_model: TextModel | None = None  # one for all routers made here: reading it takes a quarter of a second

    def make(fleet: Fleet) -> Router:
        nonlocal text_model
        if ensemble.champion not in ensemble.routers:
            return EnsembleMember(ensemble, ensemble.best_immediate)
        rules = RulesRouter(fleet)
        if ensemble.champion == rules.name:
            return rules
        router = LearnedRouter(fleet, rules, personal=learned.personal, text_model=text_model)
        text_model = router.text_stage.text_model
        router.use_head(head)
        for label, embedding in labels:
            if (route := fleet.names.get(label.route)) is not None:
                router.restore(label._replace(route=route), embedding)
        return router

    return make


def champion_from(config: Config, folder: Path) -> Callable[[Fleet], Router]:
    """Return the same function for a data folder. The folder is read at the first call, which may raise StoreError.

    Args:
        config: Its fleet and settings.
        folder: The data folder, checked already.
    """

    @cache
    def maker() -> Callable[[Fleet], Router]:
        return champion_for(taught_by(config, folder, check=False))

    def make(fleet: Fleet) -> Router:
        return maker()(fleet)

    return make
