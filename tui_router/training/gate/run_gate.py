"""Putting a run to the gate: its sealed rows, what it made of them, what the leader makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from tui_router.config.settings import Config
from tui_router.core.clock import now
from tui_router.core.example import Example
from tui_router.core.types import Decision
from tui_router.datasets.formats import RowError, example_of, format_of
from tui_router.routing.ensemble.calibration import rescale
from tui_router.training.gate import baseline
from tui_router.training.gate.gate import GateResult, PairedCase, judge, to_markdown
from tui_router.training.router_manifest import LATENCY, ROUTER, SEALED, HeldOutCase, Latency, RouterManifest, read
from tui_router.training.runs import Run, RunError, find


def evaluate_run(run: Run, config: Config, folder: Path, champion: str, leading_run: str) -> GateResult:
    """Judge a run, and keep what was said beside it. Blocks for seconds. Raises RunError, ArtifactError.

    Args:
        run: Finished.
        config: Settings and fleet.
        folder: The data folder.
        leader: The router that leads now.
        leading_run: Its run, when it is a trained one.
    """
    if not run.finished:
        raise RunError(f"run {run.id} has no artifact yet; its training must end first")
    examples = sealed_examples(run)
    card = read(run.artifact / ROUTER, RouterManifest)
    told = read(run.artifact / SEALED, list[HeldOutCase])
    if len(told) != len(examples):
        raise RunError(
            f"run {run.id} was tested on {len(told)} rows and its dataset has {len(examples)}; train it again"
        )
    artifact = find(folder, leading_run).artifact if champion == "tuned" and leading_run not in ("", run.id) else None
    if champion == "tuned" and artifact is None:
        champion = "learned"
    met = baseline.evaluate_baseline(config, folder, champion, examples, artifact)
    trials = []
    for example, one, theirs in zip(examples, told, met.choices, strict=True):
        route, confidence = chosen(card, one.probabilities)
        names = config.fleet.names
        trials.append(
            PairedCase(
                key=one.key, route=names.get(example.route, example.route), text=example.text[:200],
                mine=names.get(route, route), confidence=confidence, theirs=theirs,
            )
        )  # fmt: skip
    latency = read(run.artifact / LATENCY, Latency)
    verdict = judge(
        run.record.plan, trials, latency.p95_ms, met.p95_ms, now(), champion=met.name, champion_version=met.version
    )
    (run.folder / "gate.json").write_bytes(msgspec.json.encode(verdict))
    (run.folder / "gate.md").write_text(to_markdown(verdict, run.id), encoding="utf-8")
    return verdict


def last_verdict(run: Run) -> GateResult | None:
    """What the gate said of a run; None when it was not put to it, or that cannot be read."""
    try:
        return msgspec.json.decode((run.folder / "gate.json").read_bytes(), type=GateResult)
    except (OSError, msgspec.DecodeError):
        return None


def sealed_examples(run: Run) -> list[Example]:
    """The rows of the run's sealed test. Raises RunError."""
    path = run.folder / "data" / "test.jsonl"
    if not path.is_file():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            found.append(example_of(row, format_of(row) or "messages"))
        except (ValueError, RowError) as error:
            raise RunError(f"{path}:{number}: {error}") from error
    return found


def chosen(card: RouterManifest, probabilities: tuple[float, ...]) -> tuple[str, float]:
    """(route, confidence) of what the model said, at its temperature."""
    order = sorted(zip(card.routes, probabilities, strict=True), key=lambda one: -one[1])
    decision = Decision(ranking=tuple(order), model="", reasons=(), router="tuned", version="", elapsed_ms=0.0)
    calm = rescale(decision, card.temperature)
    return calm.route, calm.confidence
