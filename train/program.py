"""One training, from recipe and dataset to artifact. Tells what it does by events; every failure is one of them.

The run's folder:

    run.lock            held while the process lives
    control             a word from outside: pause, keep, drop
    events.jsonl        all that was told
    checkpoints/        the newest two, each with a file `whole` once it is written completely
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

from train.control import Control
from train.emit import Emitter
from tui_router.core.clock import now
from tui_router.training.recipe import Recipe, RecipeError, load
from tui_router.training.rows import DataError, Dataset, TrainingRow, read
from tui_router.training.run_events import Done, Dropped, Failed, Paused, RunEvent, RunStage, RunStarted, Warn

WHOLE = "whole"


def run(recipe_name: str, data: Path, out: Path, *, resume: bool) -> int:
    """Train; returns the exit code: 0 done, paused or dropped, 1 failed."""
    out.mkdir(parents=True, exist_ok=True)
    emit = Emitter(out / "events.jsonl")
    lock = FileLock(out / "run.lock")
    try:
        if emit.speaks:
            lock.acquire(timeout=2)  # whoever looks whether it is held holds it for a moment
    except Timeout:
        print(f"{out}: another process trains this run already", file=sys.stderr)
        return 1
    try:
        emit(_train(load(recipe_name), data, out, emit, resume=resume))
    except Exception as error:  # the last stop of this process: whatever it is, it is told in a sentence
        traceback.print_exc()
        emit(_failure(error))
        return 1
    finally:
        lock.release()
    return 0


def _failure(error: Exception) -> Failed:
    """A sentence, its cause, and what to try."""
    from train.labels import BaseModelError

    said = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    low = str(error).lower()
    match error:
        case RecipeError():
            return Failed(says=str(error), cause="recipe", next="correct the recipe and start again")
        case DataError():
            return Failed(says=str(error), cause="data", next="export the dataset again, then start again")
        case BaseModelError():
            return Failed(says=str(error), cause="base", next="choose another base or correct its folder")
        case NotFiniteError():
            return Failed(
                says=str(error), cause="loss", next="lower the learning rate to a third, or set precision to float32"
            )
        case ModuleNotFoundError():
            return Failed(
                says=f"the package {error.name} is not installed",
                cause="packages",
                next="pip install 'tui-router[train]'",
            )
    if isinstance(error, MemoryError) or "out of memory" in low or "can't allocate memory" in low:
        return Failed(
            says="the memory is full", cause="memory", next="halve batch and double accumulate, or shorten max_length"
        )
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if full or any(said_so in low for said_so in ("no space left", "disk quota", "file too large")):
        return Failed(
            says="the disk is full", cause="disk", next="free some space and resume; the last checkpoint is kept"
        )
    return Failed(says=f"the training failed: {said}", cause="other", next="the log of the run has the whole story")


class NotFiniteError(ValueError):
    """The loss is no number any more."""


def _train(recipe: Recipe, data: Path, out: Path, emit: Emitter, *, resume: bool) -> RunEvent:
    started = time.monotonic()
    dataset = read(data, recipe)
    emit(RunStage(says="loading torch"))
    control = Control(out / "control")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import torch

    torch.set_num_threads(recipe.threads or max(1, (os.cpu_count() or 2) - 1))
    from train.base import choose, load, versions

    backend = choose(recipe)
    from transformers import logging as transformers_logging
    from transformers import set_seed

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    emit(RunStage(says=f"loading {recipe.base}"))
    set_seed(recipe.seed)
    loaded = load(recipe, backend)
    from train.artifact import save  # now, so that an update of the program while it trains cannot break its end
    from train.labels import labels_of
    from train.loop import Loop

    labels = labels_of(loaded.tokenizer, dataset.answers, letters=recipe.label == "letter")
    checkpoint = _newest(out / "checkpoints") if resume else None
    if not resume and emit.speaks:
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
    kept, left_out = _fitting(dataset, recipe, loaded.tokenizer)
    if left_out:
        emit(Warn(says=f"{left_out} rows are longer than {recipe.max_length} tokens and are left out"))
    set_seed(recipe.seed)  # the LoRA matrices are drawn by the trainer
    loop = Loop(recipe, backend, loaded, labels, kept, dataset.validation, out / "checkpoints", emit, control)
    emit(
        RunStarted(
            at=now(), backend=backend.name, why=backend.why, device=backend.device, versions=versions(), base=recipe.base,
            parameters=loop.parameters, trainable=loop.trainable, examples=len(kept), left_out=left_out, steps=loop.steps,
            resumed_at=int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0,
        )
    )  # fmt: skip
    word = loop.run(checkpoint)
    if word:
        control.obeyed()
    if word == "pause":
        return Paused(step=loop.step)
    if word == "drop":
        if emit.speaks:
            shutil.rmtree(out / "checkpoints", ignore_errors=True)
        return Dropped(step=loop.step)
    if not emit.speaks:
        return Done(step=loop.step, seconds=time.monotonic() - started, accuracy=0.0, n=0)  # another process writes it
    emit(RunStage(says="testing"))
    last = save(loop.model, loaded.tokenizer, recipe, dataset, labels, backend, out / "artifact", loop.step)
    emit(last)
    shutil.rmtree(out / "checkpoints", ignore_errors=True)
    return Done(
        step=loop.step, seconds=time.monotonic() - started, accuracy=last.accuracy, n=last.n, early=word == "keep"
    )


def _newest(folder: Path) -> Path | None:
    """The newest checkpoint that was written completely; the others are removed."""
    found: list[Path] = []
    for path in folder.glob("checkpoint-*"):
        if (path / WHOLE).is_file():
            found.append(path)
        else:
            shutil.rmtree(path, ignore_errors=True)
    return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _fitting(dataset: Dataset, recipe: Recipe, tokenizer: Any) -> tuple[list[TrainingRow], int]:
    """The training rows that are not longer than the recipe allows: a cut row would lose its answer."""
    from train.labels import prompt

    kept = []
    for row in dataset.train:
        ids = tokenizer(prompt(tokenizer, row.messages) + row.answer, add_special_tokens=False)["input_ids"]
        if len(ids) + 2 <= recipe.max_length:
            kept.append(row)
    if len(kept) < 2:
        raise DataError(f"no row fits into {recipe.max_length} tokens; raise max_length in the recipe")
    return kept, len(dataset.train) - len(kept)
