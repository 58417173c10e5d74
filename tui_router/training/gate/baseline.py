"""The leader as the gate meets it: without what it learned from the rows of the sealed test.

What a verdict taught is left out when its turn is among them. A seed is judged by a model that was not fitted to it: its
decision on the folds, which came with the shipped model. All others the leader has never seen.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tui_router.config.settings import Config
from tui_router.core.example import Example
from tui_router.core.fleet import Fleet
from tui_router.learning.online_learner import OnlineLearner
from tui_router.routing.learned.learned_router import LearnedRouter
from tui_router.routing.learned.personal_training import with_labels
from tui_router.routing.learned.shipped_model import held_out
from tui_router.routing.router import Router
from tui_router.routing.rules.rules_router import RulesRouter
from tui_router.store.store import STORE_FILE, Store
from tui_router.training.helper import Helper
from tui_router.training.router_manifest import ROUTER, RouterManifest, read


class BaselineResult(NamedTuple):
    """What the leader made of the rows, and how fast."""

    name: str
    version: str
    choices: Sequence[str]
    p95_ms: float


def evaluate_baseline(
    config: Config, folder: Path, name: str, examples: Sequence[Example], artifact: Path | None
) -> BaselineResult:
    """Have the leader decide all rows. Blocks for seconds.

    Args:
        config: Settings and fleet.
        folder: The data folder.
        name: Who leads; a router that asks a general model is represented by the learned one.
        examples: The sealed test.
        artifact: Of the trained model that leads, when one does.
    """
    if name == "tuned" and artifact is not None:
        return _trained(config.fleet, artifact, examples)
    rules = RulesRouter(config.fleet)
    router: Router = rules if name == "rules" else _learned(config, folder, rules, examples)
    known = _of_seeds(config.fleet) if router.name == "learned" else {}
    choices, times = [], []
    for example in examples:
        start = time.perf_counter()
        route = router.decide(example.request).route
        times.append((time.perf_counter() - start) * 1000)
        choices.append(known.get(example.key, route) if example.source == "seed" else route)
    return BaselineResult(router.name, router.version, choices, _p95(times))


def _learned(config: Config, folder: Path, rules: RulesRouter, examples: Sequence[Example]) -> LearnedRouter:
    sealed = {int(e.origin.partition("-")[0]) for e in examples if e.source == "verdict" and e.origin}
    labels = []
    if (folder / STORE_FILE).exists():
        store = Store(folder)
        try:
            labels = [
                x for x in OnlineLearner(config.fleet, folder, config.settings).labels(store) if x.key not in sealed
            ]
        finally:
            store.close()
    return with_labels(config.fleet, rules, labels) if labels else LearnedRouter(config.fleet, rules)


def _of_seeds(fleet: Fleet) -> dict[str, str]:
    found = {}
    for key, chances in held_out().items():
        here = {fleet.names[route]: p for route, p in chances.items() if route in fleet.names}
        if here:
            found[key] = max(here, key=lambda route: here[route])
    return found


def _trained(fleet: Fleet, artifact: Path, examples: Sequence[Example]) -> BaselineResult:
    """An earlier trained model: the parts of a dataset never change, so it was not trained on these rows either."""
    card = read(artifact / ROUTER, RouterManifest)

    async def ask() -> tuple[list[str], list[float]]:
        helper = Helper(artifact, wait=True)
        choices, times = [], []
        try:
            for example in examples:
                start = time.perf_counter()
                messages = [{"role": m.role, "content": m.content} for m in card.sheet.messages(example.request)]
                p = await helper.probabilities(messages) or {}
                times.append((time.perf_counter() - start) * 1000)
                best = max(range(len(card.routes)), key=lambda i: p.get(card.answers[i], 0.0))
                choices.append(fleet.names.get(card.routes[best], card.routes[best]))
        finally:
            await helper.close()
        return choices, times

    choices, times = asyncio.run(ask())
    return BaselineResult("tuned", artifact.parent.name, choices, _p95(times[1:]))


def _p95(times: Sequence[float]) -> float:
    return sorted(times)[int(len(times) * 0.95)] if times else 0.0
