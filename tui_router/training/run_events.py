"""What a training tells while it runs: one JSON object a line, in `events.jsonl` of its run.

The program in `train/` writes them and the app reads them; the file is the run's whole story, so whoever comes later reads
it from the start. After a resume the steps that were lost are told again: a reader drops steps beyond `RunStarted.resumed_at`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import Struct


class RunStarted(Struct, frozen=True, kw_only=True, tag_field="event", tag="start"):
    """The model is there, the first step comes next."""

    at: str
    backend: str
    """`unsloth` or `plain`."""
    why: str
    """Why this backend."""
    device: str
    versions: dict[str, str]
    base: str
    parameters: int
    trainable: int
    examples: int
    """Rows that are trained on."""
    left_out: int
    """Rows that are longer than the recipe's `max_length`."""
    steps: int
    resumed_at: int = 0
    """The step after which this process goes on; 0 at a first start."""


class RunStage(Struct, frozen=True, kw_only=True, tag_field="event", tag="stage"):
    """Something begins that takes a while."""

    says: str


class Step(Struct, frozen=True, kw_only=True, tag_field="event", tag="step"):
    """One optimiser step."""

    step: int
    of: int
    loss: float
    learning_rate: float
    grad_norm: float
    tokens: int
    """Seen so far."""
    tokens_per_second: float
    memory_bytes: int
    """Peak: of the GPU where there is one, else of the process."""
    seconds_left: float


class Eval(Struct, frozen=True, kw_only=True, tag_field="event", tag="eval"):
    """The model on rows that it is not trained on."""

    step: int
    n: int
    loss: float
    """Mean negative log probability of the tokens of the right answer, in nats: the same as `Step.loss`."""
    accuracy: float
    ci95: tuple[float, float]
    ece: float
    mass: float
    """Mean probability of all labels together: far below 1, the model has not learned the form of the answer."""
    per_route: dict[str, tuple[int, int]]
    """Route -> (right, all)."""


class Checkpoint(Struct, frozen=True, kw_only=True, tag_field="event", tag="checkpoint"):
    """From here a stopped run can go on."""

    step: int


class Warn(Struct, frozen=True, kw_only=True, tag_field="event", tag="warning"):
    """Something that does not stop the run."""

    says: str


class Paused(Struct, frozen=True, kw_only=True, tag_field="event", tag="paused"):
    """The process ended on request, behind a checkpoint."""

    step: int


class Dropped(Struct, frozen=True, kw_only=True, tag_field="event", tag="dropped"):
    """The run was given up on request."""

    step: int


class Done(Struct, frozen=True, kw_only=True, tag_field="event", tag="done"):
    """The artifact is there."""

    step: int
    seconds: float
    """Of this process."""
    accuracy: float
    n: int
    early: bool = False
    """Stopped before the last step, and kept."""


class Failed(Struct, frozen=True, kw_only=True, tag_field="event", tag="error"):
    """The run ended without an artifact."""

    says: str
    """What happened, in a sentence."""
    cause: Literal["data", "recipe", "base", "memory", "disk", "loss", "packages", "other"]
    next: str
    """What to try."""


RunEvent = RunStarted | RunStage | Step | Eval | Checkpoint | Warn | Paused | Dropped | Done | Failed
_decoder: msgspec.json.Decoder[RunEvent] = msgspec.json.Decoder(RunEvent)


def line_of(event: RunEvent) -> bytes:
    """An event as its line."""
    return msgspec.json.encode(event) + b"\n"


def event_of(line: bytes) -> RunEvent | None:
    """The event in a line; None when it is not one (a later version's, or cut off by a crash)."""
    try:
        return _decoder.decode(line)
    except msgspec.DecodeError:
        return None


class Curve(Struct):
    """A run so far, as its events tell it."""

    start: RunStarted | None = None
    stage: str = ""
    steps: list[Step] = msgspec.field(default_factory=list)
    evals: list[Eval] = msgspec.field(default_factory=list)
    checkpoint: int = 0
    warnings: list[str] = msgspec.field(default_factory=list)
    end: Paused | Dropped | Done | Failed | None = None

    def add(self, event: RunEvent) -> None:
        """One event more."""
        match event:
            case RunStarted():
                self.start, self.end, self.stage = event, None, ""
                at = event.resumed_at
                self.steps = [s for s in self.steps if s.step <= at]
                self.evals = [e for e in self.evals if e.step <= at]
            case RunStage():
                self.stage, self.end = event.says, None
            case Step():
                self.steps.append(event)
                self.stage = ""
            case Eval():
                self.evals = [e for e in self.evals if e.step != event.step] + [event]
            case Checkpoint():
                self.checkpoint = event.step
            case Warn():
                self.warnings.append(event.says)
            case _:
                self.end, self.stage = event, ""

    @classmethod
    def of(cls, events: Iterable[RunEvent]) -> Curve:
        """The curve of all these events."""
        curve = cls()
        for event in events:
            curve.add(event)
        return curve
