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

from train import checkpoints
from train.base import LoadedBase, TrainingBackend
from train.best_weights import BestWeights
from train.errors import NotFiniteError
from train.event_writer import EventWriter
from train.labels import AnswerTokens, completion_loss, evaluate, predict
from train.stop_requests import StopRequests
from tui_router.training.recipe import Recipe, total_steps
from tui_router.training.rows import TrainingRow
from tui_router.training.run_events import Checkpoint, Step
from tui_router.training.runs import StopMode

_TIMED_STEPS = 20
"""The time that is left is estimated from this many last steps."""


class TrainingLoop:
    """A trainer that writes events and obeys stop requests.

    Args:
        recipe: How to train.
        backend: What trains.
        base: The loaded base model.
        answers: The tokens of each route's answer.
        rows: What is trained on.
        held_out: Rows of the evaluations while training.
        folder: Where checkpoints are written.
        emit: Writes the events.
        stop_requests: Asked after every step.
    """

    def __init__(
        self,
        recipe: Recipe,
        backend: TrainingBackend,
        base: LoadedBase,
        answers: AnswerTokens,
        rows: Sequence[TrainingRow],
        held_out: Sequence[TrainingRow],
        folder: Path,
        emit: EventWriter,
        stop_requests: StopRequests,
    ) -> None:
        self.recipe, self.answers, self.emit, self.stop_requests = recipe, answers, emit, stop_requests
        self.tokenizer = base.tokenizer
        self.held_out = list(held_out)[: recipe.eval_rows]
        self.stopped_by: StopMode | None = None
        self._best = BestWeights(folder)
        disable_progress_bar()
        data = Dataset.from_list(
            [
                {"prompt": list(row.messages), "completion": [{"role": "assistant", "content": row.answer}]}
                for row in rows
            ]
        )
        self.trainer = SFTTrainer(
            model=base.model,
            args=_config(recipe, backend, folder),
            train_dataset=data,
            processing_class=base.tokenizer,
            peft_config=base.lora,
            callbacks=[EventCallback(self)],
        )
        self.trainer.remove_callback(PrinterCallback)  # standard output is for events
        self.model = self.trainer.model
        sizes = [(p.numel(), p.requires_grad) for p in self.model.parameters()]
        self.parameters = sum(n for n, _ in sizes)
        self.trainable = sum(n for n, requires_grad in sizes if requires_grad)
        self.steps = total_steps(recipe, len(rows), self.trainer.args.world_size)

    @property
    def step(self) -> int:
        """Optimiser steps done."""
        return int(self.trainer.state.global_step)

    def run(self, checkpoint: Path | None) -> StopMode | None:
        """Train to the last step or to a stop request; returns the request."""
        self.trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        return self.stopped_by

    def evaluate(self, step: int) -> None:
        """Evaluate on the held-out rows, write the event, and keep the weights if they are the best so far."""
        if not self.held_out:
            return
        predictions = predict(self.model, self.tokenizer, self.held_out, self.answers)
        found = evaluate(predictions, self.answers, step, completion_loss(self.model, self.tokenizer, self.held_out))
        self.emit(found)
        if self.recipe.best_weights and self.emit.is_main_process:
            self._best.offer(self.model, step, found.log_loss)

    def use_best_weights(self) -> int:
        """Evaluate the last step, then put the best weights into the model; returns their step."""
        self.evaluate(self.step)
        best = self._best.best
        if not self.recipe.best_weights or best is None:
            return self.step
        self._best.restore(self.model)
        return best.step


def _config(recipe: Recipe, backend: TrainingBackend, folder: Path) -> SFTConfig:
    cpu = backend.device == "cpu"
    return SFTConfig(
        output_dir=str(folder),
        num_train_epochs=recipe.epochs,
        max_steps=recipe.steps or -1,
        per_device_train_batch_size=recipe.batch,
        gradient_accumulation_steps=recipe.accumulate,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule,
        warmup_steps=recipe.warmup,
        logging_steps=1,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=recipe.checkpoint_every,
        save_total_limit=2,
        eval_strategy="no",
        use_cpu=cpu,
        bf16=backend.precision == "bfloat16",
        gradient_checkpointing=False,
        dataloader_pin_memory=not cpu,
        dataloader_num_workers=0,
        report_to="none",
        disable_tqdm=True,
        max_length=recipe.max_length,
        packing=False,
        completion_only_loss=True,
        include_num_input_tokens_seen="all",
        seed=recipe.seed,
        data_seed=recipe.seed,
    )


class EventCallback(TrainerCallback):
    """Turns what the trainer logs into events, and stop requests into its end."""

    def __init__(self, loop: TrainingLoop) -> None:
        self._loop = loop
        self._times: deque[float] = deque(maxlen=_TIMED_STEPS)
        self._started, self._tokens_before = time.monotonic(), -1

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Start the clock; a resumed run has seen tokens already."""
        self._started = time.monotonic()
        self._tokens_before = state.num_input_tokens_seen
        self._times.append(self._started)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **more: Any) -> None:
        """Write a step event. Raises NotFiniteError."""
        if not logs or "loss" not in logs:
            return
        loss, now = float(logs["loss"]), time.monotonic()
        if not math.isfinite(loss):
            raise NotFiniteError(f"the loss is {loss} at step {state.global_step}")
        self._times.append(now)
        step_s = (self._times[-1] - self._times[0]) / max(1, len(self._times) - 1)
        tokens = int(state.num_input_tokens_seen)
        self._loop.emit(
            Step(
                step=state.global_step,
                of=state.max_steps,
                loss=loss,
                learning_rate=float(logs.get("learning_rate", 0.0)),
                grad_norm=float(logs.get("grad_norm", 0.0)),
                tokens=tokens,
                tokens_per_second=(tokens - self._tokens_before) / max(1e-9, now - self._started),
                memory_bytes=_peak_memory(),
                seconds_left=step_s * (state.max_steps - state.global_step),
            )
        )

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> Any:
        """Obey a stop request, or evaluate when it is due."""
        loop = self._loop
        if state.global_step >= state.max_steps:
            control.should_save = False  # the artifact comes next; there is no step left to resume
            return control
        loop.stopped_by = _same_in_all_processes(loop.stop_requests.current())
        if loop.stopped_by:
            control.should_training_stop = True
            control.should_save = loop.stopped_by == "pause"
        elif state.global_step % loop.recipe.eval_every == 0:
            loop.evaluate(state.global_step)
        return control

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Mark the checkpoint as complete and write its event."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if folder.is_dir():
            checkpoints.mark_complete(folder)
            self._loop.emit(Checkpoint(step=state.global_step))


def _same_in_all_processes(request: StopMode | None) -> StopMode | None:
    """Return the main process's request in every process.

    If they stopped after different steps, the others would wait for gradients for ever.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return request
    shared = [request]
    torch.distributed.broadcast_object_list(shared, src=0)
    return shared[0]


def _peak_memory() -> int:
    """Return the peak memory in bytes: of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
