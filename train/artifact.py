"""Writes what a training leaves: weights, tokenizer, how the router is asked, and its predictions on held-out rows.

The predictions are what every later form of the model (merged, GGUF, quantised) is compared with.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from train.base import TrainingBackend
from train.labels import (
    AnswerTokens,
    RowPrediction,
    best_temperature,
    completion_loss,
    control_tokens,
    evaluate,
    evaluation_mode,
    label_log_probabilities,
    predict,
    render_prompt,
    tokenize_prompt,
)
from tui_router.training.recipe import Recipe, resolve_base
from tui_router.training.router_manifest import (
    LATENCY,
    REFERENCE,
    ROUTER,
    SEALED,
    HeldOutCase,
    Latency,
    ReferenceCase,
    RouterManifest,
    write_json,
)
from tui_router.training.rows import TrainingDataset, TrainingRow
from tui_router.training.run_events import Evaluation

REFERENCE_ROWS = 200
"""Most held-out rows by which an export is compared with the trained model."""
_TIMED_ROWS = 30


def save(
    model: Any,
    tokenizer: Any,
    recipe: Recipe,
    dataset: TrainingDataset,
    answers: AnswerTokens,
    backend: TrainingBackend,
    folder: Path,
    step: int,
) -> Evaluation:
    """Write the artifact, complete or not at all; returns the evaluation on the validation rows."""
    held_out = dataset.validation or dataset.train[:REFERENCE_ROWS]
    predictions = predict(model, tokenizer, held_out, answers)
    last = evaluate(predictions, answers, step, completion_loss(model, tokenizer, held_out[: recipe.eval_rows]))
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".artifact."))
    try:
        _save_weights(model, tokenizer, recipe, unfinished)
        manifest = RouterManifest(
            routes=answers.routes,
            answers=answers.answers,
            instructions=dataset.instructions,
            method=recipe.method,
            label=recipe.label,
            base=resolve_base(recipe),
            temperature=best_temperature(predictions, answers),
            control_tokens=control_tokens(tokenizer),
        )
        write_json(unfinished / ROUTER, manifest)
        write_json(unfinished / REFERENCE, [_reference(tokenizer, one) for one in predictions[:REFERENCE_ROWS]])
        write_json(
            unfinished / SEALED,
            [
                HeldOutCase(key=one.row.key, route=one.row.route, probabilities=one.probabilities, mass=one.mass)
                for one in predict(model, tokenizer, dataset.test, answers)
            ],
        )
        rows = (*dataset.test, *held_out)[:_TIMED_ROWS]
        write_json(unfinished / LATENCY, _measure_latency(model, tokenizer, answers, rows, backend.device))
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.chmod(0o755)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return last


def _save_weights(model: Any, tokenizer: Any, recipe: Recipe, folder: Path) -> None:
    if recipe.method == "full":
        _restore_end_tokens(model, resolve_base(recipe))
    model.save_pretrained(folder)  # transformers writes safetensors and nothing else
    tokenizer.save_pretrained(folder)
    base = Path(resolve_base(recipe)).expanduser()
    if (base / "tokenizer.model").is_file():  # llama.cpp's converter needs it for SentencePiece models
        shutil.copyfile(base / "tokenizer.model", folder / "tokenizer.model")


def _restore_end_tokens(model: Any, base: str) -> None:
    """Give the model the end tokens of its base again.

    trl's trainer reduces them to the tokenizer's `eos_token`, and drops `<end_of_turn>`; an exported model would then
    write on after its answer.
    """
    from transformers import GenerationConfig

    try:
        model.generation_config = GenerationConfig.from_pretrained(base)
    except OSError:
        return  # the base has no generation config, so nothing was dropped
    if model.generation_config.eos_token_id is not None:
        model.config.eos_token_id = model.generation_config.eos_token_id


def _reference(tokenizer: Any, prediction: RowPrediction) -> ReferenceCase:
    text = render_prompt(tokenizer, prediction.row.messages)
    return ReferenceCase(
        messages=prediction.row.messages,
        prompt=text,
        ids=tokenize_prompt(tokenizer, text),
        probabilities=prediction.probabilities,
    )


@torch.inference_mode()
def _measure_latency(
    model: Any, tokenizer: Any, answers: AnswerTokens, rows: Sequence[TrainingRow], device: str
) -> Latency:
    """Time single decisions. Needs at least one row."""
    times = []
    with evaluation_mode(model):
        for row in rows:
            start = time.perf_counter()
            label_log_probabilities(model, tokenizer, [render_prompt(tokenizer, row.messages)], answers)
            times.append((time.perf_counter() - start) * 1000)
    times.sort()
    return Latency(p50_ms=times[len(times) // 2], p95_ms=times[int(len(times) * 0.95)], device=device)
