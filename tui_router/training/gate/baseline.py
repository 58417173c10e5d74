"""The gate's baseline: what the person could have without a language model.

That is the stronger of two routers on the sealed rows: the present champion, and the learned router fitted to the rows that
the candidate was trained on, which takes seconds. Comparing with a champion that never saw those rows would only show that
rows help, not that a language model does.

Neither router has learned from the sealed rows. Labels of turns that are among them are left out. A sealed seed is decided by
the cross-validation model that is shipped with the learned router and was not fitted to it.

The fit takes seconds of a whole core, so it is done in a process of its own, `python -m tui_router.training.gate.baseline`: in a
thread of the dashboard it would slow down every key.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from tui_router.config.settings import Config
from tui_router.core.example import Example
from tui_router.core.fleet import Fleet
from tui_router.core.types import Request
from tui_router.learning.online_learner import OnlineLearner
from tui_router.routing.labels import Label
from tui_router.routing.learned.knn_memory import MAX_LABELS
from tui_router.routing.learned.learned_router import LearnedRouter
from tui_router.routing.learned.personal_training import fit_personal_model
from tui_router.routing.learned.shipped_model import held_out
from tui_router.routing.router import Router
from tui_router.routing.rules.rules_router import RulesRouter
from tui_router.store.store import STORE_FILE, Store
from tui_router.training.model_process import ModelProcess
from tui_router.training.router_manifest import ROUTER, RouterManifest, read_json
from tui_router.training.training_error import TrainingError

_FIRST_KEY = 1_000_000_000
"""Key of the first training row without a turn: above every turn's number, so that no verdict replaces it."""


class BaselineResult(NamedTuple):
    """The baseline's decisions on the sealed rows."""

    name: str
    version: str
    choices: Sequence[str]
    """The route of each row."""
    p95_ms: float
    """95th percentile of one decision."""
    fitted_rows: int = 0
    """Training rows of the candidate that it was fitted to as well."""


def evaluate_baseline(
    config: Config,
    folder: Path,
    champion: str,
    sealed: Sequence[Example],
    training: Sequence[Example],
    artifact: Path | None,
) -> BaselineResult:
    """Return the decisions of the stronger baseline. Blocks for seconds; about ten for 1,000 training rows.

    Args:
        config: Settings and fleet.
        folder: The data folder.
        champion: The champion's name. The learned router stands in for one that asks an LLM.
        sealed: The sealed rows.
        training: The rows that the candidate was trained on or chosen by.
        artifact: The champion's artifact, when it is a trained router.

    Raises:
        TrainingError: the learned router cannot be fitted.
    """
    learned = _decide_by_learned(config, folder, sealed, training)
    if champion == "tuned" and artifact is not None:
        present = _decide_by_model(config.fleet, artifact, sealed)
    elif champion == "rules":
        present = decide(RulesRouter(config.fleet), [example.request for example in sealed])
    else:
        return learned
    names = config.fleet.names
    routes = [names.get(example.route, example.route) for example in sealed]

    def right(result: BaselineResult) -> int:
        return sum(choice == route for choice, route in zip(result.choices, routes, strict=True))

    return max(present, learned, key=right)


def decide(router: Router, requests: Sequence[Request]) -> BaselineResult:
    """Let a router decide requests one by one, as it does in use, and time it."""
    choices, times = [], []
    for request in requests:
        start = time.perf_counter()
        choices.append(router.decide(request).route)
        times.append((time.perf_counter() - start) * 1000)
    return BaselineResult(router.name, router.version, choices, _p95(times))


class BaselineJob(Struct, frozen=True):
    """What the learned router is fitted to, and what it decides then."""

    fleet: Fleet
    labels: tuple[Label, ...]
    requests: tuple[Request, ...]


def _decide_by_learned(
    config: Config, folder: Path, sealed: Sequence[Example], training: Sequence[Example]
) -> BaselineResult:
    """Fit the learned router in another process and let it decide; it knows the seeds already.

    It is fitted to the labels in the store, without those of sealed turns, and to the training rows that are not among them.
    """
    labels = _stored_labels(config, folder, {_turn(example) for example in sealed})
    known = {label.key for label in labels}
    added: list[Label] = []
    for example in training:
        route = config.fleet.names.get(example.route)
        if example.source != "seed" and route is not None and _turn(example) not in known:
            key = _FIRST_KEY + len(added)
            added.append(Label(key=key, request=example.request, route=route, weight=example.weight))
    job = BaselineJob(config.fleet, (*labels, *added), tuple(example.request for example in sealed))
    sent = json.dumps(msgspec.to_builtins(job)).encode()  # msgspec's own JSON cannot hold half of a surrogate pair
    command = [sys.executable, "-m", "tui_router.training.gate.baseline"]
    done = subprocess.run(command, input=sent, capture_output=True, check=False)
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise TrainingError(f"the learned router could not be fitted to the training rows: {last}")
    found = msgspec.json.decode(done.stdout, type=BaselineResult)
    by_key = _cross_validated(config.fleet)
    choices = [
        by_key.get(example.key, choice) if example.source == "seed" else choice
        for example, choice in zip(sealed, found.choices, strict=True)
    ]
    return found._replace(choices=choices, fitted_rows=len(training) if job.labels else 0)


def main() -> int:
    """Do one BaselineJob from standard input; writes a BaselineResult to standard output."""
    job = msgspec.convert(json.load(sys.stdin.buffer), BaselineJob)
    rules = RulesRouter(job.fleet)
    personal = fit_personal_model(LearnedRouter(job.fleet, rules), job.labels)
    router = LearnedRouter(job.fleet, rules, personal=personal)
    for label in job.labels[-MAX_LABELS:]:  # its memory would drop the others again
        router.learn(label)
    sys.stdout.buffer.write(msgspec.json.encode(decide(router, job.requests)))
    return 0


def _stored_labels(config: Config, folder: Path, sealed_turns: set[int]) -> list[Label]:
    if not (folder / STORE_FILE).exists():
        return []
    store = Store(folder)
    try:
        labels = OnlineLearner(config.fleet, folder, config.settings).labels(store)
    finally:
        store.close()
    return [label for label in labels if label.key not in sealed_turns]


def _turn(example: Example) -> int:
    """Return the number of the turn that an example comes from; 0 when it comes from none."""
    number = example.origin.partition("-")[0]
    return int(number) if example.source == "verdict" and number.isdigit() else 0


def _cross_validated(fleet: Fleet) -> dict[str, str]:
    """Return seed key -> route chosen by the model of the fold that the seed was held out of."""
    found = {}
    for key, by_route in held_out().items():
        present = {fleet.names[route]: p for route, p in by_route.items() if route in fleet.names}
        if present:
            found[key] = max(present, key=lambda route: present[route])
    return found


def _decide_by_model(fleet: Fleet, artifact: Path, sealed: Sequence[Example]) -> BaselineResult:
    """Let an earlier trained router decide. A row never changes its part, so it was not trained on sealed rows."""
    manifest = read_json(artifact / ROUTER, RouterManifest)

    async def ask() -> tuple[list[str], list[float]]:
        process = ModelProcess(artifact, wait=True)
        choices, times = [], []
        try:
            for example in sealed:
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


if __name__ == "__main__":
    sys.exit(main())
