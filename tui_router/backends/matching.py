"""Which of a server's models is the one that the fleet names.

Servers call one model `google/gemma-3-1b`, `gemma3:1b`, `gemma-3-1b-it-qat@q4_0` or `gemma-3-1b-it-Q4_K_M.gguf`.
Names match when, without publisher, quantisation and packaging, the name and the size are the same, each compared
whole: gemma-3-1b is never gemma-3-12b, and qwen3-vl-8b-thinking is never qwen3-vl-8b.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from tui_router.core.fleet import Model

_SIZE = re.compile(r"e?\d+(?:\.\d+)?[bm]")
_PACKAGING = re.compile(
    r"it|instruct|chat|gguf|mlx|qat|latest|main|hf|dwq|exl[23]|awq|gptq|nvfp4|mxfp4|fp8|fp16|bf16|f16|f32|int[48]|[2-8]bit|"
    r"i?q\d\w*|k|m|s|l|xl|xs|0|1|ud|a\d+(?:\.\d+)?b|2[3-9](?:0[1-9]|1[0-2])"
)


class NameMatch(NamedTuple):
    """A served id and how it was found: `exact`, `alias` or `name`."""

    served: str
    how: str


class _Name(NamedTuple):
    stem: str
    size: str


def match(model: Model, served: Iterable[str]) -> NameMatch | None:
    """The best of the served ids for a model of the fleet: its own name, an alias, or the same name and size."""
    ids = list(served)
    lower = {i.lower(): i for i in reversed(ids)}
    if model.name.lower() in lower:
        return NameMatch(lower[model.name.lower()], "exact")
    for alias in model.aliases:
        if alias.lower() in lower:
            return NameMatch(lower[alias.lower()], "alias")
    names = {normal(name) for name in (model.name, *model.aliases)}
    same = [i for i in ids if normal(i) in names]
    return NameMatch(min(same, key=lambda i: (len(i), i)), "name") if same else None


def normal(identity: str) -> _Name:
    """The name and the size in an id, without what says only how the model is packed."""
    text = identity.lower().rsplit("/", 1)[-1].partition("@")[0]
    text = re.sub(r"(?:-\d{5}-of-\d{5})?\.gguf$", "", text)
    parts = [p for p in re.split(r"[-_:\s]+", text) if p]
    size = next((p for p in parts if _SIZE.fullmatch(p)), "")
    kept: list[str] = []
    seen_size = False
    for part in parts:
        if part == size and not seen_size:
            seen_size = True
        elif not ((seen_size or not size) and kept and _PACKAGING.fullmatch(part)):
            kept.append(part)
    return _Name("".join(kept), size)
