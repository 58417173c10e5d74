"""The steps of a training: trl's trainer, with our events, evaluations and checkpoints."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from datasets.utils.logging import disable_progress_bar
from transformers import PrinterCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from train.base import Loaded, TrainingBackend
from train.control import Control, Word
from train.emit import Emitter
from train.labels import Labels, completion_loss, evaluation, judge
from train.program import WHOLE, NotFiniteError
from tui_router.training.recipe import Recipe, steps_of
from tui_router.training.rows import TrainingRow
from tui_router.training.run_events import Checkpoint, Step

_LOOKED_BACK = 20
"""Steps by whose time the time that is left is told."""


class Loop:
    """A trainer and what is told of it."""

    def __init__(
        self, recipe: Recipe, backend: TrainingBackend, loaded: Loaded, labels: Labels, rows: Sequence[TrainingRow],
        held_out: Sequence[TrainingRow], checkpoints: Path, emit: Emitter, control: Control,
    ) -> None:  # fmt: skip
        self.recipe, self.labels, self.emit, self.control = recipe, labels, emit, control
        self.tokenizer = loaded.tokenizer
        self.held_out = list(held_out)[: recipe.eval_rows]
        self.word: Word = ""
        disable_progress_bar()
        data = Dataset.from_list(
            [
                {"prompt": list(row.messages), "completion": [{"role": "assistant", "content": row.answer}]}
                for row in rows
            ]
        )
        self.trainer = SFTTrainer(
            model=loaded.model, args=_config(recipe, backend, checkpoints), train_dataset=data,
            processing_class=loaded.tokenizer, peft_config=loaded.lora, callbacks=[EventCallback(self)],
        )  # fmt: skip
        self.trainer.remove_callback(PrinterCallback)  # standard output is for events
        self.model = self.trainer.model
        sizes = [(p.numel(), p.requires_grad) for p in self.model.parameters()]
        self.parameters = sum(n for n, _ in sizes)
        self.trainable = sum(n for n, wanted in sizes if wanted)
        self.steps = steps_of(recipe, len(rows), self.trainer.args.world_size)

    @property
    def step(self) -> int:
        """Optimiser steps done."""
        return int(self.trainer.state.global_step)

    def run(self, checkpoint: Path | None) -> Word:
        """Train to the end, or until asked to stop; returns what was asked, if anything."""
        self.trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        return self.word

    def evaluate(self, step: int) -> None:
        """Judge the held-out rows, and tell."""
        if self.held_out:
            judged = judge(self.model, self.tokenizer, self.held_out, self.labels)
            loss = completion_loss(self.model, self.tokenizer, self.held_out)
            self.emit(evaluation(judged, self.labels, step, loss))


def _config(recipe: Recipe, backend: TrainingBackend, checkpoints: Path) -> SFTConfig:
    cpu = backend.device == "cpu"
    return SFTConfig(
        output_dir=str(checkpoints), num_train_epochs=recipe.epochs, max_steps=recipe.steps or -1,
        per_device_train_batch_size=recipe.batch, gradient_accumulation_steps=recipe.accumulate,
        learning_rate=recipe.learning_rate, lr_scheduler_type=recipe.schedule, warmup_steps=recipe.warmup,
        logging_steps=1, logging_first_step=True, logging_nan_inf_filter=False, save_strategy="steps",
        save_steps=recipe.checkpoint_every, save_total_limit=2, eval_strategy="no", use_cpu=cpu,
        bf16=backend.precision == "bfloat16", gradient_checkpointing=False, dataloader_pin_memory=not cpu,
        dataloader_num_workers=0, report_to="none", disable_tqdm=True, max_length=recipe.max_length, packing=False,
        completion_only_loss=True, include_num_input_tokens_seen="all", seed=recipe.seed, data_seed=recipe.seed,
    )  # fmt: skip


class EventCallback(TrainerCallback):
    """Turns what the trainer logs into events, and what a person asked into its end."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._times: deque[float] = deque(maxlen=_LOOKED_BACK)
        self._began, self._tokens_before = time.monotonic(), -1

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self._began = time.monotonic()
        self._tokens_before = state.num_input_tokens_seen
        self._times.append(self._began)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **more: Any) -> None:
        if not logs or "loss" not in logs:
            return
        loss, now = float(logs["loss"]), time.monotonic()
        if not math.isfinite(loss):
            raise NotFiniteError(f"the loss is {loss} at step {state.global_step}")
        self._times.append(now)
        a_step = (self._times[-1] - self._times[0]) / max(1, len(self._times) - 1)
        tokens = int(state.num_input_tokens_seen)
        self._loop.emit(
            Step(
                step=state.global_step, of=state.max_steps, loss=loss, learning_rate=float(logs.get("learning_rate", 0.0)),
                grad_norm=float(logs.get("grad_norm", 0.0)), tokens=tokens,
                tokens_per_second=(tokens - self._tokens_before) / max(1e-9, now - self._began),
                memory_bytes=_memory(), seconds_left=a_step * (state.max_steps - state.global_step),
            )
        )  # fmt: skip

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> Any:
        loop = self._loop
        if state.global_step >= state.max_steps:
            control.should_save = False  # the artifact comes next; from the last step there is nothing to go on with
            return control
        loop.word = _agreed(loop.control.word())
        if loop.word:
            control.should_training_stop = True
            control.should_save = loop.word == "pause"
        elif state.global_step % loop.recipe.eval_every == 0:
            loop.evaluate(state.global_step)
        return control

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if folder.is_dir():
            (folder / WHOLE).touch()
            self._loop.emit(Checkpoint(step=state.global_step))


def _agreed(word: Word) -> Word:
    """What the first of several processes heard: all must stop behind the same step, or they wait for each other for ever."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return word
    heard = [word]
    torch.distributed.broadcast_object_list(heard, src=0)
    return heard[0]


def _memory() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
