"""The champion as the gate's baseline, without what it learned from the sealed rows.

Labels of turns that are among the sealed rows are left out. A seed is decided by a model that was not fitted to it: the
cross-validation decisions that are shipped with the model. The champion has seen no other sealed row.
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
from tui_router.training.model_process import ModelProcess
from tui_router.training.router_manifest import ROUTER, RouterManifest, read_json


class BaselineResult(NamedTuple):
    """The baseline's decisions on the sealed rows."""

    name: str
    version: str
    choices: Sequence[str]
    """The route of each row."""
    p95_ms: float
    """95th percentile of one decision."""


def evaluate_baseline(
    config: Config, folder: Path, name: str, examples: Sequence[Example], artifact: Path | None
) -> BaselineResult:
    """Let the champion decide the sealed rows. Blocks for seconds.

    Args:
        config: Settings and fleet.
        folder: The data folder.
        name: The champion. The learned router stands in for one that asks an LLM.
        examples: The sealed rows.
        artifact: The champion's artifact, when it is a trained router.
    """
    if name == "tuned" and artifact is not None:
        return _evaluate_trained(config.fleet, artifact, examples)
    rules = RulesRouter(config.fleet)
    router: Router = rules if name == "rules" else _learned_router(config, folder, rules, examples)
    by_key = _cross_validated(config.fleet) if router.name == "learned" else {}
    choices, times = [], []
    for example in examples:
        start = time.perf_counter()
        route = router.decide(example.request).route
        times.append((time.perf_counter() - start) * 1000)
        choices.append(by_key.get(example.key, route) if example.source == "seed" else route)
    return BaselineResult(router.name, router.version, choices, _p95(times))


def _learned_router(config: Config, folder: Path, rules: RulesRouter, examples: Sequence[Example]) -> LearnedRouter:
    """Return the learned router without the labels of turns that are among these examples."""
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


def _cross_validated(fleet: Fleet) -> dict[str, str]:
    """Return seed key -> route chosen by the model of the fold that the seed was held out of."""
    found = {}
    for key, by_route in held_out().items():
        present = {fleet.names[route]: p for route, p in by_route.items() if route in fleet.names}
        if present:
            found[key] = max(present, key=lambda route: present[route])
    return found


def _evaluate_trained(fleet: Fleet, artifact: Path, examples: Sequence[Example]) -> BaselineResult:
    """Let an earlier trained router decide. A row never changes its part, so it was not trained on sealed rows."""
    manifest = read_json(artifact / ROUTER, RouterManifest)

    async def ask() -> tuple[list[str], list[float]]:
        process = ModelProcess(artifact, wait=True)
        choices, times = [], []
        try:
            for example in examples:
                start = time.perf_counter()
                prompt = manifest.letter_prompt.messages(example.request)
                p = await process.probabilities([{"role": m.role, "content": m.content} for m in prompt]) or {}
                times.append((time.perf_counter() - start) * 1000)
                best = max(range(len(manifest.routes)), key=lambda i: p.get(manifest.answers[i], 0.0))
                choices.append(fleet.names.get(manifest.routes[best], manifest.routes[best]))
        finally:
            await process.close()
        return choices, times

    choices, times = asyncio.run(ask())
    return BaselineResult("tuned", artifact.parent.name, choices, _p95(times[1:]))  # the first waits for the process


def _p95(times: Sequence[float]) -> float:
    return sorted(times)[int(len(times) * 0.95)] if times else 0.0
