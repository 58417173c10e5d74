"""The events of a run: one JSON object a line in its `events.jsonl`.

The program in `train/` writes them and the app reads them. The file holds everything from the start, so a reader can begin
at any time. After a resume, steps that were lost are written again: a reader drops the steps after `RunStarted.resumed_at`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import Struct

_STORED = {"message": "says"}
"""Field -> its name in the file, which older runs have."""


class RunStarted(Struct, frozen=True, kw_only=True, tag_field="event", tag="start"):
    """The model is loaded; the first step follows."""

    at: str
    backend: str
    """`unsloth` or `plain`."""
    why: str
    """Why this backend was chosen."""
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
    """The step after which this process continues; 0 at the first start."""


class RunStage(Struct, frozen=True, kw_only=True, tag_field="event", tag="stage", rename=_STORED):
    """Something begins that takes a while."""

    message: str


class Step(Struct, frozen=True, kw_only=True, tag_field="event", tag="step"):
    """One optimiser step."""

    step: int
    of: int
    """The run's last step."""
    loss: float
    learning_rate: float
    grad_norm: float
    tokens: int
    """Tokens trained on so far."""
    tokens_per_second: float
    memory_bytes: int
    """Peak memory of the GPU where there is one, else of the process."""
    seconds_left: float


class Evaluation(Struct, frozen=True, kw_only=True, tag_field="event", tag="eval"):
    """The model on rows that it is not trained on."""

    step: int
    n: int
    loss: float
    """Mean negative log probability of the tokens of the right answer, in nats: comparable with `Step.loss`."""
    accuracy: float
    ci95: tuple[float, float]
    """Wilson's interval of the accuracy."""
    ece: float
    """Expected calibration error."""
    mass: float
    """Mean probability of all labels together. Far below 1, the model has not learned to answer with a label."""
    per_route: dict[str, tuple[int, int]]
    """Route -> (rows that are right, rows)."""
    log_loss: float = 0.0
    """Mean negative log of the right route's probability at the best temperature, in nats; 0 in files of older versions."""


class Checkpoint(Struct, frozen=True, kw_only=True, tag_field="event", tag="checkpoint"):
    """A stopped run can continue after this step."""

    step: int


class RunWarning(Struct, frozen=True, kw_only=True, tag_field="event", tag="warning", rename=_STORED):
    """Something that does not stop the run."""

    message: str


class Paused(Struct, frozen=True, kw_only=True, tag_field="event", tag="paused"):
    """The process ended on request, after a checkpoint."""

    step: int


class Discarded(Struct, frozen=True, kw_only=True, tag_field="event", tag="dropped"):
    """The run was stopped on request, and its checkpoints were removed."""

    step: int


class Done(Struct, frozen=True, kw_only=True, tag_field="event", tag="done"):
    """The artifact is written."""

    step: int
    seconds: float
    """Time of this process, without those before a resume."""
    accuracy: float
    """On the validation rows."""
    n: int
    early: bool = False
    """Stopped on request before the last step, and kept."""
    kept_step: int = 0
    """The step whose weights the artifact has; 0 in files of older versions."""


class Failed(Struct, frozen=True, kw_only=True, tag_field="event", tag="error", rename=_STORED):
    """The run ended without an artifact."""

    message: str
    """What happened, in one sentence."""
    cause: Literal["data", "recipe", "base", "memory", "disk", "loss", "packages", "other"]
    next: str
    """What to try."""


RunEvent = RunStarted | RunStage | Step | Evaluation | Checkpoint | RunWarning | Paused | Discarded | Done | Failed
_decoder: msgspec.json.Decoder[RunEvent] = msgspec.json.Decoder(RunEvent)


def encode_line(event: RunEvent) -> bytes:
    """Return an event as its line of the file."""
    return msgspec.json.encode(event) + b"\n"


def decode_line(line: bytes) -> RunEvent | None:
    """Return the event in a line; None when a later version wrote it or a crash cut it off."""
    try:
        return _decoder.decode(line)
    except msgspec.DecodeError:
        return None


class Curve(Struct):
    """What a run has done so far, put together from its events."""

    start: RunStarted | None = None
    stage: str = ""
    """What takes a while now; empty while it trains."""
    steps: list[Step] = msgspec.field(default_factory=list)
    evals: list[Evaluation] = msgspec.field(default_factory=list)
    checkpoint: int = 0
    warnings: list[str] = msgspec.field(default_factory=list)
    end: Paused | Discarded | Done | Failed | None = None

    def add(self, event: RunEvent) -> None:
        """Add one event."""
        match event:
            case RunStarted():
                self.start, self.end, self.stage = event, None, ""
                at = event.resumed_at
                self.steps = [step for step in self.steps if step.step <= at]
                self.evals = [one for one in self.evals if one.step <= at]
            case RunStage():
                self.stage, self.end = event.message, None
            case Step():
                self.steps.append(event)
                self.stage = ""
            case Evaluation():
                self.evals = [one for one in self.evals if one.step != event.step] + [event]
            case Checkpoint():
                self.checkpoint = event.step
            case RunWarning():
                self.warnings.append(event.message)
            case _:
                self.end, self.stage = event, ""

    @classmethod
    def of(cls, events: Iterable[RunEvent]) -> Curve:
        """Return the curve of these events."""
        curve = cls()
        for event in events:
            curve.add(event)
        return curve
