"""Runs one training, from recipe and dataset to artifact. Writes its progress and every failure as events.

The run's folder:

    run.lock            held while the process runs
    control             a stop request: pause, keep or drop
    events.jsonl        the events
    checkpoints/        the newest two
    artifact/           what the training leaves: weights, tokenizer, `router.json`, `reference.json`, `sealed.json`
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from train import checkpoints
from train.errors import BaseModelError, NotFiniteError
from train.event_writer import EventWriter
from train.stop_requests import StopRequests
from tui_router.core.clock import now
from tui_router.core.text import one_line
from tui_router.training.recipe import Recipe, RecipeError, load
from tui_router.training.rows import DataError, TrainingDataset, TrainingRow, read_dataset, without_control_tokens
from tui_router.training.run_events import (
    Discarded,
    Done,
    Failed,
    Paused,
    RunEvent,
    RunStage,
    RunStarted,
    RunWarning,
)

_LOCK_S = 2.0
"""Seconds to wait for the run's lock: `Run.is_running` holds it for a moment to see whether it is free."""
_MEMORY_FULL = ("out of memory", "can't allocate memory")
_DISK_FULL = ("no space left", "disk quota", "file too large")


def run(recipe_name: str, data: Path, out: Path, *, resume: bool) -> int:
    """Train; returns the exit code: 0 when done, paused or discarded, 1 when failed."""
    out.mkdir(parents=True, exist_ok=True)
    emit = EventWriter(out / "events.jsonl")
    lock = FileLock(out / "run.lock")
    try:
        if emit.is_main_process:
            lock.acquire(timeout=_LOCK_S)
    except Timeout:
        print(f"{out}: another process is training this run", file=sys.stderr)
        return 1
    try:
        emit(_train(load(recipe_name), data, out, emit, resume=resume))
    except Exception as error:  # whatever went wrong, the run must end with an event that says so
        traceback.print_exc()
        emit(_failure(error))
        return 1
    finally:
        lock.release()
    return 0


def _failure(error: Exception) -> Failed:
    """Return the event for an exception: what happened, its cause, and what to try."""
    message, low = str(error), str(error).lower()
    match error:
        case RecipeError():
            return Failed(message=message, cause="recipe", next="correct the recipe and start again")
        case DataError():
            return Failed(message=message, cause="data", next="export the dataset again, then start again")
        case BaseModelError():
            return Failed(message=message, cause="base", next="choose another base or correct its folder")
        case NotFiniteError():
            next_step = "divide the learning rate by three, or set precision to float32"
            return Failed(message=message, cause="loss", next=next_step)
        case ModuleNotFoundError():
            message = f"the package {error.name} is not installed"
            return Failed(message=message, cause="packages", next="pip install 'tui-router[train]'")
    if isinstance(error, MemoryError) or any(mark in low for mark in _MEMORY_FULL):
        next_step = "halve batch and double accumulate, or lower max_length"
        return Failed(message="the memory is full", cause="memory", next=next_step)
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if full or any(mark in low for mark in _DISK_FULL):
        next_step = "free some space and resume; the last checkpoint is kept"
        return Failed(message="the disk is full", cause="disk", next=next_step)
    message = f"the training failed: {type(error).__name__}: {one_line(message)}"
    return Failed(message=message, cause="other", next="read log.txt in the run's folder")


def _train(recipe: Recipe, data: Path, out: Path, emit: EventWriter, *, resume: bool) -> RunEvent:
    started = time.monotonic()
    dataset = read_dataset(data, recipe)
    emit(RunStage(message="loading torch"))
    stop_requests = StopRequests(out / "control")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import torch

    torch.set_num_threads(recipe.threads or max(1, (os.cpu_count() or 2) - 1))
    from train.base import choose_backend, installed_versions, load_base
    from train.labels import control_tokens, tokenize_answers

    backend = choose_backend(recipe)
    from transformers import logging as transformers_logging
    from transformers import set_seed

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    emit(RunStage(message=f"loading {recipe.base}"))
    set_seed(recipe.seed)
    base = load_base(recipe, backend)
    dataset = without_control_tokens(dataset, control_tokens(base.tokenizer))
    from train.artifact import save  # imported before training: an update of the program must not break the end
    from train.training_loop import TrainingLoop

    answers = tokenize_answers(base.tokenizer, dataset.answers, letters=recipe.label == "letter")
    checkpoint = checkpoints.newest(out / "checkpoints") if resume else None
    if not resume and emit.is_main_process:
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
    kept, too_long = _drop_long_rows(dataset, recipe, base.tokenizer)
    if too_long:
        emit(RunWarning(message=f"{too_long} rows are longer than {recipe.max_length} tokens and are not trained on"))
    set_seed(recipe.seed)  # the trainer draws the LoRA matrices
    loop = TrainingLoop(
        recipe, backend, base, answers, kept, dataset.validation, out / "checkpoints", emit, stop_requests
    )
    emit(
        RunStarted(
            at=now(),
            backend=backend.name,
            why=backend.why,
            device=backend.device,
            versions=installed_versions(),
            base=recipe.base,
            parameters=loop.parameters,
            trainable=loop.trainable,
            examples=len(kept),
            left_out=too_long,
            steps=loop.steps,
            resumed_at=checkpoints.step_of(checkpoint) if checkpoint else 0,
        )
    )
    stopped_by = loop.run(checkpoint)
    if stopped_by:
        stop_requests.clear()
    if stopped_by == "pause":
        return Paused(step=loop.step)
    if stopped_by == "discard":
        if emit.is_main_process:
            shutil.rmtree(out / "checkpoints", ignore_errors=True)
        return Discarded(step=loop.step)
    if not emit.is_main_process:  # the main process writes the artifact
        return Done(step=loop.step, seconds=time.monotonic() - started, accuracy=0.0, n=0)
    emit(RunStage(message="testing"))
    kept_step = loop.use_best_weights()
    last = save(loop.model, base.tokenizer, recipe, dataset, answers, backend, out / "artifact", loop.step)
    emit(last)
    shutil.rmtree(out / "checkpoints", ignore_errors=True)
    return Done(
        step=loop.step,
        seconds=time.monotonic() - started,
        accuracy=last.accuracy,
        n=last.n,
        early=stopped_by == "stop_and_keep",
        kept_step=kept_step,
    )


def _drop_long_rows(dataset: TrainingDataset, recipe: Recipe, tokenizer: Any) -> tuple[list[TrainingRow], int]:
    """Return the training rows that fit, and how many do not: a row cut at the end would lose its answer.

    Raises DataError when fewer than two rows fit.
    """
    from train.labels import render_prompt, tokenize_prompt

    kept = []
    for row in dataset.train:
        ids = tokenize_prompt(tokenizer, render_prompt(tokenizer, row.messages) + row.answer)
        if len(ids) + 2 <= recipe.max_length:
            kept.append(row)
    if len(kept) < 2:
        raise DataError(f"no row fits into {recipe.max_length} tokens; raise max_length in the recipe")
    return kept, len(dataset.train) - len(kept)
