"""Keeps the weights of the step with the least log loss on the held-out rows.

The last step is not always the best: a small dataset is soon learned by heart, and then the model grows too sure of itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from msgspec import Struct
from safetensors.torch import load_file, save_file

from tui_router.training.router_manifest import ArtifactError, read_json, write_json


class BestStep(Struct, frozen=True, kw_only=True):
    """The step whose weights are kept."""

    step: int
    log_loss: float
    """On the held-out rows, in nats."""


class BestWeights:
    """The best trainable weights of a run so far, in a folder: a resumed run finds them there.

    Args:
        folder: The run's folder of checkpoints.
    """

    def __init__(self, folder: Path) -> None:
        self._weights, self._record = folder / "best.safetensors", folder / "best.json"

    @property
    def best(self) -> BestStep | None:
        """The best step so far; None before the first."""
        try:
            return read_json(self._record, BestStep) if self._weights.is_file() else None
        except ArtifactError:  # a crash while it was written: the next better step replaces it
            return None

    def offer(self, model: Any, step: int, log_loss: float) -> None:
        """Keep the model's trainable weights if no earlier step is as good."""
        best = self.best
        if best is not None and best.step != step and best.log_loss <= log_loss:
            return
        self._record.unlink(missing_ok=True)
        self._weights.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: p.detach().contiguous().cpu() for name, p in _trainable(model).items()}, self._weights)
        write_json(self._record, BestStep(step=step, log_loss=log_loss))

    def restore(self, model: Any) -> None:
        """Put the best weights into the model. Raises OSError when there are none."""
        kept = load_file(self._weights)
        with torch.no_grad():
            for name, p in _trainable(model).items():
                p.copy_(kept[name])


def _trainable(model: Any) -> dict[str, torch.nn.Parameter]:
    """Return the parameters that are trained, by name; tied ones once."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}
