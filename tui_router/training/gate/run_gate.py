"""Applies the gate to a run: its sealed rows, the trained router's predictions for them, and the champion's decisions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from tui_router.config.settings import Config
from tui_router.core.clock import now
from tui_router.core.example import Example
from tui_router.core.fleet import Fleet
from tui_router.core.types import Decision
from tui_router.routing.ensemble.calibration import rescale
from tui_router.training.gate.baseline import evaluate_baseline
from tui_router.training.gate.gate import GateResult, PairedCase, judge, to_markdown, wrong_cases
from tui_router.training.router_manifest import (
    LATENCY,
    ROUTER,
    SEALED,
    HeldOutCase,
    Latency,
    RouterManifest,
    read_json,
)
from tui_router.training.rows import read_examples
from tui_router.training.runs import Run, RunError, find_run
from tui_router.training.sealed_looks import count_look


def evaluate_run(
    run: Run, config: Config, folder: Path, champion: str, champion_run: str, *, promoting: bool = False
) -> GateResult:
    """Judge a finished run and write the result into its folder. Blocks for seconds.

    Args:
        run: The candidate.
        config: Settings and fleet.
        folder: The data folder.
        champion: The name of the present champion.
        champion_run: Its run, when it is a trained router.
        promoting: The run is promoted when it passes; then the page shows the sealed rows that it decides wrongly.

    Raises:
        RunError, ArtifactError, DataError: the run, its artifact or its dataset cannot be read.
        OSError: the result cannot be written.
    """
    if not run.finished:
        raise RunError(f"run {run.id} has no artifact yet; its training must end first")
    data = run.folder / "data"
    sealed = read_examples(data, "test")
    predictions = read_json(run.artifact / SEALED, list[HeldOutCase])
    if len(predictions) != len(sealed):
        raise RunError(
            f"run {run.id} has predictions for {len(predictions)} sealed rows, but its dataset has {len(sealed)}; "
            "train it again"
        )
    artifact = None
    if champion == "tuned" and champion_run not in ("", run.id):
        artifact = find_run(folder, champion_run).artifact
    training = [*read_examples(data, "train"), *read_examples(data, "validation")]
    opponent = evaluate_baseline(config, folder, champion, sealed, training, artifact)
    cases = _pair(config.fleet, read_json(run.artifact / ROUTER, RouterManifest), sealed, predictions, opponent.choices)
    result = judge(
        run.record.plan,
        cases,
        read_json(run.artifact / LATENCY, Latency).p95_ms,
        opponent.p95_ms,
        now(),
        champion=opponent.name,
        champion_version=opponent.version,
        look=count_look(folder, run.id, [example.key for example in sealed]) if sealed else 1,
        baseline_rows=opponent.fitted_rows,
    )
    if promoting and result.passed:
        result = replace(result, wrong=wrong_cases(cases))
    (run.folder / "gate.json").write_bytes(msgspec.json.encode(result))
    (run.folder / "gate.md").write_text(to_markdown(result, run.id), encoding="utf-8")
    return result


def _pair(
    fleet: Fleet,
    manifest: RouterManifest,
    sealed: Sequence[Example],
    predictions: Sequence[HeldOutCase],
    baseline_choices: Sequence[str],
) -> list[PairedCase]:
    names, cases = fleet.names, []
    for example, prediction, baseline_choice in zip(sealed, predictions, baseline_choices, strict=True):
        route, confidence = top_route(manifest, prediction.probabilities)
        cases.append(
            PairedCase(
                key=prediction.key,
                route=names.get(example.route, example.route),
                text=example.text[:200],
                candidate=names.get(route, route),
                confidence=confidence,
                baseline=baseline_choice,
                source=example.source,
            )
        )
    return cases


def last_result(run: Run) -> GateResult | None:
    """Return the gate's last result for a run; None when there is none or it cannot be read."""
    try:
        return msgspec.json.decode((run.folder / "gate.json").read_bytes(), type=GateResult)
    except (OSError, msgspec.DecodeError):
        return None


def top_route(manifest: RouterManifest, probabilities: tuple[float, ...]) -> tuple[str, float]:
    """Return (route, confidence) of the most probable route, at the manifest's temperature."""
    order = sorted(zip(manifest.routes, probabilities, strict=True), key=lambda one: -one[1])
    decision = Decision(ranking=tuple(order), model="", reasons=(), router="tuned", version="", elapsed_ms=0.0)
    calibrated = rescale(decision, manifest.temperature)
    return calibrated.route, calibrated.confidence
