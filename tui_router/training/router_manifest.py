"""The files beside the weights of an artifact: how the router is asked, and what it said, as plain JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from tui_router.routing.llm.llm_router import LetterPrompt, as_trained
from tui_router.training.training_error import TrainingError

T = TypeVar("T")
ROUTER, REFERENCE, SEALED, LATENCY = "router.json", "reference.json", "sealed.json", "latency.json"


class ArtifactError(TrainingError):
    """An artifact cannot be read; the message says which file and why."""


class RouterManifest(Struct, frozen=True, kw_only=True):
    """How the router is asked."""

    routes: tuple[str, ...]
    """In the order of their answers."""
    answers: tuple[str, ...]
    instructions: str
    """What stood before each request while it was trained; empty for answers in text."""
    method: Literal["lora", "full"]
    label: Literal["letter", "text"]
    base: str
    """The model that LoRA matrices belong to: a folder or an id of the hub."""
    temperature: float
    """By which its probabilities are flattened; fitted on the validation rows."""

    @property
    def sheet(self) -> LetterPrompt:
        """The question, as it was put while it was trained. Raises ArtifactError for a model that answers in text."""
        if self.label == "text":
            raise ArtifactError(
                'it answers in text, for programs that can do nothing but write; train with label = "letter" to have it decide here'
            )
        return as_trained(self.routes, "".join(self.answers), self.instructions)


class ReferenceCase(Struct, frozen=True):
    """What the trained model made of a held-out request, step by step."""

    messages: tuple[dict[str, str], ...]
    prompt: str
    """What the chat template made of the messages."""
    ids: tuple[int, ...]
    """What the tokenizer made of the prompt."""
    probabilities: tuple[float, ...]
    """Of the routes, in their order."""


class HeldOutCase(Struct, frozen=True):
    """What the trained model made of a row of the sealed test."""

    key: str
    route: str
    """The right one."""
    probabilities: tuple[float, ...]
    mass: float


class Latency(Struct, frozen=True):
    """Time of one decision."""

    p50_ms: float
    p95_ms: float
    device: str


def write(path: Path, value: Any) -> None:
    """Write JSON."""
    path.write_bytes(msgspec.json.encode(value))


def read(path: Path, kind: type[T]) -> T:
    """Read JSON of a kind. Raises ArtifactError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ArtifactError(f"{path} is not what a training wrote: {error}") from error


class ParityReport(Struct, frozen=True, kw_only=True):
    """Something that an artifact was made into, beside the trained model, on the same held-out requests."""

    n: int
    same: int
    """Requests that get the same route."""
    worst: float
    """The greatest difference of a probability."""
    prompts: int
    """Requests of which the chat template makes the same text."""
    tokens: int
    """Prompts of which the tokenizer makes the same tokens."""

    @classmethod
    def of(
        cls,
        known: Sequence[ReferenceCase],
        prompts: Sequence[str],
        ids: Sequence[Sequence[int]],
        probabilities: Sequence[Sequence[float]],
    ) -> ParityReport:
        """Count what agrees."""
        return cls(
            n=len(known),
            same=sum(_top(a.probabilities) == _top(b) for a, b in zip(known, probabilities, strict=True)),
            worst=max(
                (abs(p - q) for a, b in zip(known, probabilities, strict=True) for p, q in zip(a.probabilities, b, strict=True)),
                default=0.0,
            ),
            prompts=sum(a.prompt == b for a, b in zip(known, prompts, strict=True)),
            tokens=sum(tuple(a.ids) == tuple(b) for a, b in zip(known, ids, strict=True)),
        )  # fmt: skip


def _top(p: Sequence[float]) -> int:
    return max(range(len(p)), key=lambda i: p[i])
