"""The JSON files of an artifact: how the trained router is asked, and its predictions on held-out requests."""

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
"""File names of a RouterManifest, of ReferenceCases, of HeldOutCases and of a Latency."""


class ArtifactError(TrainingError):
    """An artifact cannot be read; the message says which file and why."""


class RouterManifest(Struct, frozen=True, kw_only=True):
    """How the trained router is asked."""

    routes: tuple[str, ...]
    """In the order of their answers."""
    answers: tuple[str, ...]
    instructions: str
    """The first paragraph of every prompt; empty for answers in text."""
    method: Literal["lora", "full"]
    label: Literal["letter", "text"]
    base: str
    """The model that the LoRA matrices belong to: a folder or an id of the hub."""
    temperature: float
    """Divides the logits of the answers; fitted on the validation rows."""
    control_tokens: tuple[str, ...] = ()
    """Control tokens of the base's tokenizer: a request that holds one is shown with a space inside it."""

    @property
    def letter_prompt(self) -> LetterPrompt:
        """The prompt that the router was trained on. Raises ArtifactError for a router that answers in text."""
        if self.label == "text":
            raise ArtifactError(
                'it answers in text, for programs that read only text; train with label = "letter" to let it decide here'
            )
        return as_trained(self.routes, "".join(self.answers), self.instructions, self.control_tokens)


class ReferenceCase(Struct, frozen=True):
    """A held-out request and each step of the trained model's prediction, for comparing exports."""

    messages: tuple[dict[str, str], ...]
    prompt: str
    """The rendered chat template."""
    ids: tuple[int, ...]
    """The prompt's token ids."""
    probabilities: tuple[float, ...]
    """One for each route, in the manifest's order."""


class HeldOutCase(Struct, frozen=True):
    """The trained model's prediction for a sealed row."""

    key: str
    route: str
    """The right one."""
    probabilities: tuple[float, ...]
    """One for each route, in the manifest's order."""
    mass: float
    """Probability of all answers together, among everything that the model could write."""


class Latency(Struct, frozen=True):
    """The time of one decision."""

    p50_ms: float
    p95_ms: float
    device: str


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON."""
    path.write_bytes(msgspec.json.encode(value))


def read_json(path: Path, kind: type[T]) -> T:
    """Return the value in a JSON file. Raises ArtifactError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror or error}") from error
    except msgspec.DecodeError as error:
        raise ArtifactError(f"{path} is damaged, or another version wrote it: {error}") from error


class ParityReport(
    Struct,
    frozen=True,
    kw_only=True,
    rename={"same_route": "same", "max_difference": "worst", "same_prompt": "prompts", "same_tokens": "tokens"},
):
    """How many held-out requests an export treats as the trained model does."""

    n: int
    same_route: int
    max_difference: float
    """The greatest difference of a probability."""
    same_prompt: int
    """Requests for which the chat template writes the same text."""
    same_tokens: int
    """Prompts that the tokenizer splits into the same tokens."""

    @classmethod
    def compare(
        cls,
        cases: Sequence[ReferenceCase],
        prompts: Sequence[str],
        ids: Sequence[Sequence[int]],
        probabilities: Sequence[Sequence[float]],
    ) -> ParityReport:
        """Compare the reference cases with what an export gives for each: prompt, token ids, probabilities."""
        pairs = list(zip(cases, probabilities, strict=True))
        differences = [abs(p - q) for case, found in pairs for p, q in zip(case.probabilities, found, strict=True)]
        return cls(
            n=len(cases),
            same_route=sum(_argmax(case.probabilities) == _argmax(found) for case, found in pairs),
            max_difference=max(differences, default=0.0),
            same_prompt=sum(case.prompt == prompt for case, prompt in zip(cases, prompts, strict=True)),
            same_tokens=sum(tuple(case.ids) == tuple(one) for case, one in zip(cases, ids, strict=True)),
        )


def _argmax(p: Sequence[float]) -> int:
    return max(range(len(p)), key=lambda i: p[i])
