"""Which of a server's models is the one that the fleet names.

Servers call one model `google/gemma-3-1b`, `gemma3:1b`, `gemma-3-1b-it-qat@q4_0`, `google_gemma-3-1b-it-Q4_K_M.gguf` or
`C:\\models\\gemma-3-1b-it.i1-Q4_K_M.gguf`. Names match when, without publisher, folder, quantisation and packaging, the name
and the size are the same, each compared whole: gemma-3-1b is never gemma-3-12b, and qwen3-vl-8b-thinking is never qwen3-vl-8b.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from tui_router.core.fleet import Model

_SIZE = re.compile(r"(?:\d+x|e)?\d+(?:\.\d+)?[bm]")
_QUANTISATION = re.compile(
    r"(?<=[^a-z0-9])(?:ud[-_])?[ti]?q\d+(?:f\d+)?(?:[-_](?:k|nl|\d|xxs|xs|s|m|l|xl|xxl|p))*(?![a-z0-9])"
)
"""`Q4_K_M`, `IQ4_XS`, `UD-Q4_K_XL`, `Q4_0_4_4` of llama.cpp, `q4f16_1` of MLC."""
_PACKAGING = re.compile(
    r"it|instruct|chat|latest|main|hf|unsloth|"  # which tuning of the model, and who packed it
    r"gguf|ggml|mlx|mlc|onnx|openvino|ov|safetensors|exl[23]|"  # file formats
    r"qat|imat(?:rix)?|i1|ud|dwq|awq|gptq|autoround|bnb|nf4|hqq|nvfp4|mxfp[48]|b?f(?:p?)(?:16|32)|fp(?:4|8)|u?int[48]|"
    r"[2-8]bit|\d+(?:\.\d+)?bpw|h[68]|w\d+a\d+|g(?:s)?(?:32|64|128)|128g|hi|dynamic|static|block|quantized|quant|"
    r"a\d+(?:\.\d+)?b|1m|\d{2,4}k|"  # active parameters of a mixture, context length
    r"2[3-9](?:0[1-9]|1[0-2])"  # year and month
)
_PARTS = re.compile(r"[-_:\s]+|\.(?!\d)|(?<!\d)\.")
_ENDING = re.compile(r"(?:-\d{5}-of-\d{5})?\.(?:gguf|ggml|bin|safetensors|llamafile)$|:\d{1,2}$")
_PUBLISHER = re.compile(r"[a-z][a-z.-]*_(?=.*\d)")
"""A publisher before the name, as bartowski and the cache of llama.cpp write it."""
_CACHED = re.compile(r"[-_]gguf_(?=.)")
"""Between repository and file in the cache of llama.cpp."""
_HUB_FOLDER = re.compile(r"models--[^/\\]+--([^/\\]+)")
"""A folder of the cache of Hugging Face, in which the last folder is named by a hash."""
_NO_NAME = re.compile(r"[0-9a-f]{12,}|(?:ggml-)?model|consolidated|snapshots|main|latest|weights|gguf")


class NameMatch(NamedTuple):
    """A served id and how it was found: `exact`, `alias` or `name`."""

    served: str
    how: str


class ModelName(NamedTuple):
    """What is left of an id without publisher and packaging: `gemma3` and `1b`."""

    stem: str
    size: str


def match(model: Model, served: Iterable[str]) -> NameMatch | None:
    """Find the best of the served ids for a model of the fleet: its own name, an alias, or the same name and size."""
    ids = list(served)
    lower = {i.lower(): i for i in reversed(ids)}
    if model.name.lower() in lower:
        return NameMatch(lower[model.name.lower()], "exact")
    for alias in model.aliases:
        if alias.lower() in lower:
            return NameMatch(lower[alias.lower()], "alias")
    names = {reading for name in (model.name, *model.aliases) for reading in readings(name)[:1]}
    same = [i for i in ids if not names.isdisjoint(readings(i))]
    return NameMatch(min(same, key=lambda i: (len(i), i)), "name") if same else None


@lru_cache(maxsize=8192)
def readings(identity: str) -> tuple[ModelName, ...]:
    """Return the names that an id may stand for: as it is written first, then without what may be a publisher."""
    text = identity.lower().partition("@")[0].rstrip("/\\")
    hub = _HUB_FOLDER.search(text)
    folders = [part for part in re.split(r"[/\\]+", hub[1] if hub else text) if part]
    while len(folders) > 1 and _NO_NAME.fullmatch(_ENDING.sub("", folders[-1])):
        folders.pop()
    last = _ENDING.sub("", folders[-1]) if folders else ""
    found = [last]
    if cached := _CACHED.search(last):
        found += [last[: cached.start()], last[cached.end() :]]
    found += [text[publisher.end() :] for text in found if (publisher := _PUBLISHER.match(text))]
    return tuple(dict.fromkeys(_name(text) for text in found))


def _name(text: str) -> ModelName:
    """Return the name and the size in a text, without what says only how the model is packed."""
    parts = [part for part in _PARTS.split(_QUANTISATION.sub("-", text)) if part]
    size = next((part for part in parts if _SIZE.fullmatch(part)), "")
    kept: list[str] = []
    seen_size = False
    for part in parts:
        if part == size and not seen_size:
            seen_size = True
        elif not ((seen_size or not size) and kept and _PACKAGING.fullmatch(part)):
            kept.append(part)
    return ModelName("".join(kept), size)
