"""What a training leaves: weights, tokenizer, how it is asked, and what it said, so that every later form can be compared."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from train.base import TrainingBackend
from train.labels import Labels, RowPrediction, best_temperature, completion_loss, evaluation, judge, prompt, scored
from tui_router.training.recipe import Recipe, base_of
from tui_router.training.router_manifest import (
    REFERENCE,
    ROUTER,
    SEALED,
    HeldOutCase,
    ReferenceCase,
    RouterManifest,
    write,
)
from tui_router.training.rows import Dataset, TrainingRow
from tui_router.training.run_events import Eval

COMPARED = 200
"""Held-out rows by which an export is compared with the model it was made from."""
_TIMED = 30


def save(
    model: Any, tokenizer: Any, recipe: Recipe, dataset: Dataset, labels: Labels, backend: TrainingBackend, folder: Path, step: int
) -> Eval:  # fmt: skip
    """Write the artifact, whole or not at all; returns the last evaluation on the validation rows."""
    held = dataset.validation or dataset.train[:COMPARED]
    judged = judge(model, tokenizer, held, labels)
    last = evaluation(judged, labels, step, completion_loss(model, tokenizer, held[: recipe.eval_rows]))
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".artifact."))
    try:
        _save_weights(model, tokenizer, recipe, unfinished)
        sealed = judge(model, tokenizer, dataset.test, labels)
        write(
            unfinished / ROUTER,
            RouterManifest(
                routes=labels.routes, answers=labels.answers, instructions=dataset.instructions, method=recipe.method, label=recipe.label,
                base=base_of(recipe), temperature=best_temperature(judged, labels),
            ),
        )  # fmt: skip
        rows = held[:COMPARED]
        write(unfinished / REFERENCE, [_reference(tokenizer, one) for one in judged[: len(rows)]])
        latency = _latency(model, tokenizer, labels, (*dataset.test, *held)[:_TIMED])
        write(
            unfinished / SEALED,
            [HeldOutCase(key=j.row.key, route=j.row.route, probabilities=j.probabilities, mass=j.mass) for j in sealed],
        )
        (unfinished / "latency.json").write_text(
            json.dumps({"p50_ms": latency[0], "p95_ms": latency[1], "device": backend.device})
        )
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.chmod(0o755)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return last


def _save_weights(model: Any, tokenizer: Any, recipe: Recipe, folder: Path) -> None:
    if recipe.method == "full":
        _restore_endings(model, base_of(recipe))
    model.save_pretrained(folder)  # safetensors is the only form that it writes
    tokenizer.save_pretrained(folder)
    base = Path(base_of(recipe)).expanduser()
    if (base / "tokenizer.model").is_file():  # converters of SentencePiece models want it
        shutil.copyfile(base / "tokenizer.model", folder / "tokenizer.model")


def _restore_endings(model: Any, base: str) -> None:
    """The trainer narrows the end tokens to the tokenizer's own; a model that answers wants those of its base."""
    from transformers import GenerationConfig

    try:
        model.generation_config = GenerationConfig.from_pretrained(base)
    except OSError:
        return  # a base without a generation config: nothing was narrowed
    if model.generation_config.eos_token_id is not None:
        model.config.eos_token_id = model.generation_config.eos_token_id


def _reference(tokenizer: Any, judged: RowPrediction) -> ReferenceCase:
    text = prompt(tokenizer, judged.row.messages)
    return ReferenceCase(
        messages=judged.row.messages, prompt=text, ids=tuple(tokenizer(text, add_special_tokens=False)["input_ids"]),
        probabilities=judged.probabilities,
    )  # fmt: skip


@torch.inference_mode()
def _latency(model: Any, tokenizer: Any, labels: Labels, rows: Sequence[TrainingRow]) -> tuple[float, float]:
    """(median, 95th percentile) of one decision at a time, in ms."""
    model.eval()
    times = []
    for row in rows:
        start = time.perf_counter()
        scored(model, tokenizer, [prompt(tokenizer, row.messages)], labels)
        times.append((time.perf_counter() - start) * 1000)
    times.sort()
    return times[len(times) // 2], times[int(len(times) * 0.95)]
