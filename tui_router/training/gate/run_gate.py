"""Applies the gate to a run: its sealed rows, the trained router's predictions for them, and the champion's decisions."""

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
from tui_router.training.router_manifest import (
    LATENCY,
    ROUTER,
    SEALED,
    HeldOutCase,
    Latency,
    RouterManifest,
    read_json,
)
from tui_router.training.runs import Run, RunError, find_run


def evaluate_run(run: Run, config: Config, folder: Path, champion: str, champion_run: str) -> GateResult:
    """Judge a finished run and write the result into its folder. Blocks for seconds. Raises RunError, ArtifactError.

    Args:
        run: The candidate.
        config: Settings and fleet.
        folder: The data folder.
        champion: The name of the present champion.
        champion_run: Its run, when it is a trained router.
    """
    if not run.finished:
        raise RunError(f"run {run.id} has no artifact yet; its training must end first")
    examples = sealed_examples(run)
    manifest = read_json(run.artifact / ROUTER, RouterManifest)
    predictions = read_json(run.artifact / SEALED, list[HeldOutCase])
    if len(predictions) != len(examples):
        raise RunError(
            f"run {run.id} has predictions for {len(predictions)} sealed rows, but its dataset has {len(examples)}; "
            "train it again"
        )
    artifact = (
        find_run(folder, champion_run).artifact if champion == "tuned" and champion_run not in ("", run.id) else None
    )
    if champion == "tuned" and artifact is None:
        champion = "learned"
    opponent = baseline.evaluate_baseline(config, folder, champion, examples, artifact)
    cases = []
    names = config.fleet.names
    for example, prediction, baseline_choice in zip(examples, predictions, opponent.choices, strict=True):
        route, confidence = top_route(manifest, prediction.probabilities)
        cases.append(
            PairedCase(
                key=prediction.key,
                route=names.get(example.route, example.route),
                text=example.text[:200],
                candidate=names.get(route, route),
                confidence=confidence,
                baseline=baseline_choice,
            )
        )
    latency = read_json(run.artifact / LATENCY, Latency)
    result = judge(
        run.record.plan,
        cases,
        latency.p95_ms,
        opponent.p95_ms,
        now(),
        champion=opponent.name,
        champion_version=opponent.version,
    )
    (run.folder / "gate.json").write_bytes(msgspec.json.encode(result))
    (run.folder / "gate.md").write_text(to_markdown(result, run.id), encoding="utf-8")
    return result


def last_result(run: Run) -> GateResult | None:
    """Return the gate's last result for a run; None when there is none or it cannot be read."""
    try:
        return msgspec.json.decode((run.folder / "gate.json").read_bytes(), type=GateResult)
    except (OSError, msgspec.DecodeError):
        return None


def sealed_examples(run: Run) -> list[Example]:
    """Return the sealed rows of a run's dataset. Raises RunError."""
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


def top_route(manifest: RouterManifest, probabilities: tuple[float, ...]) -> tuple[str, float]:
    """Return (route, confidence) of the most probable route, at the manifest's temperature."""
    order = sorted(zip(manifest.routes, probabilities, strict=True), key=lambda one: -one[1])
    decision = Decision(ranking=tuple(order), model="", reasons=(), router="tuned", version="", elapsed_ms=0.0)
    calibrated = rescale(decision, manifest.temperature)
    return calibrated.route, calibrated.confidence
