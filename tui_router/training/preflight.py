"""Checks before a training starts: packages, data, base model, disk, and an estimate of memory and time."""

from __future__ import annotations

import json
import math
import os
import shutil
import struct
import subprocess
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Literal

from msgspec import Struct

from tui_router.core.example import GOAL
from tui_router.training import launcher
from tui_router.training.paired_tests import power
from tui_router.training.plan import Plan
from tui_router.training.recipe import FEED_FORWARD, MIRRORS, Recipe, resolve_base, total_steps
from tui_router.training.rows import DataError, TrainingDataset, TrainingRow, read_dataset, read_examples
from tui_router.training.sealed_looks import level_of_look, next_look

NoteLevel = Literal["stop", "warning", "note"]
FEWEST_PER_ROUTE = 10
"""Training rows of a route below which there is a warning. Chosen by hand."""
_CHARACTERS_PER_TOKEN = 3.0
_PROMPT_TOKENS = 12
"""Tokens that a chat template adds to a prompt, about."""
_CPU_FLOPS = 5e10
"""Floating-point operations a second of one CPU thread, timed on Gemma 3 models of 2 and 270 million parameters."""
_GPU_FLOPS = 3e13
"""The same of a GPU: an assumption, not measured."""
_STEP_OVERHEAD_S = 0.08
_IMPORTS_BYTES, _IMPORTS_S = 600_000_000, 12.0
"""Memory and time of importing torch, transformers and trl, measured on a CPU."""
_GAINS, _DIFFERING = (0.03, 0.05, 0.10), 0.06
"""True gains whose chances are shown, and the share of the rows on which two equally good routers differ. Chosen by hand."""
_TOKENIZERS = {"tokenizer.json", "tokenizer.model", "vocab.json"}


class PreflightNote(Struct, frozen=True):
    """One finding."""

    level: NoteLevel
    """`stop`: the training cannot start."""
    message: str


class Preflight(Struct, frozen=True, kw_only=True):
    """All findings, and the estimates."""

    notes: tuple[PreflightNote, ...]
    examples: int = 0
    steps: int = 0
    parameters: int = 0
    """Of the base model; 0 when unknown."""
    memory_bytes: int = 0
    seconds: float = 0.0
    data_hash: str = ""

    @property
    def ready(self) -> bool:
        """Whether the training can start."""
        return all(note.level != "stop" for note in self.notes)


def preflight(recipe: Recipe, data: Path, out: Path) -> Preflight:
    """Check everything. Reads the dataset: about a second for 100,000 rows.

    Args:
        recipe: How to train.
        data: The dataset's folder.
        out: Where the run will be written; need not exist.
    """
    notes: list[PreflightNote] = []
    if names := launcher.missing_packages():
        notes.append(PreflightNote("stop", f"training needs {', '.join(names)}: pip install 'tui-router[train]'"))
    notes += _check_base(recipe)
    try:
        dataset = read_dataset(data, recipe)
    except DataError as error:
        return Preflight(notes=(*notes, PreflightNote("stop", str(error))))
    notes += _check_data(dataset)
    notes += _check_gate(dataset, data, out)
    steps = total_steps(recipe, len(dataset.train))
    parameters = _count_parameters(_base_folder(resolve_base(recipe)))
    gpu_bytes = free_gpu_memory()
    memory, seconds = _estimate(recipe, dataset, parameters, steps, gpu=gpu_bytes > 0)
    if parameters:
        notes += _check_room(recipe, parameters, memory, gpu_bytes, out)
    return Preflight(
        notes=tuple(notes),
        examples=len(dataset.train),
        steps=steps,
        parameters=parameters,
        memory_bytes=memory,
        seconds=seconds,
        data_hash=dataset.hash,
    )


def _check_room(recipe: Recipe, parameters: int, memory: int, gpu_bytes: int, out: Path) -> list[PreflightNote]:
    """Check memory and disk."""
    notes = []
    available = gpu_bytes or _free_memory()
    if available and memory > available:
        place = "GPU" if gpu_bytes else "machine"
        needed = f"the training needs about {memory / 1e9:.1f} GB and this {place} has {available / 1e9:.1f} GB free"
        notes.append(PreflightNote("stop", f"{needed}; halve batch, or use LoRA"))
    disk = _free_disk(out)
    needed_disk = 3 * 4 * parameters if recipe.method == "full" else 2 * parameters + 200_000_000
    if disk and needed_disk > disk:
        needed = (
            f"the training needs about {needed_disk / 1e9:.1f} GB of disk at {out}, where {disk / 1e9:.1f} GB are free"
        )
        notes.append(PreflightNote("stop", f"{needed}; free some space"))
    return notes


def _check_base(recipe: Recipe) -> list[PreflightNote]:
    name = resolve_base(recipe)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return [PreflightNote("stop", fault) for fault in _folder_faults(folder)]
    if name.startswith(("/", "./", "~")) or name.count("/") != 1:
        return [PreflightNote("stop", f"{name} is neither a folder nor an id of the hub such as google/gemma-3-1b-it")]
    if _base_folder(name).is_dir():
        return []
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return [
            PreflightNote("stop", f"{name} is not on this machine and HF_HUB_OFFLINE is set; name a folder that has it")
        ]
    mirror = f"; if it needs a licence accepted, {MIRRORS[name]} has the same weights" if name in MIRRORS else ""
    return [PreflightNote("note", f"{name} is not on this machine and will be downloaded from the hub{mirror}")]


def _folder_faults(folder: Path) -> list[str]:
    files = {path.name for path in folder.iterdir()}
    if "config.json" not in files:
        return [f"{folder} is not a model in Hugging Face form: it has no config.json"]
    if not files & _TOKENIZERS:
        return [f"{folder} has no tokenizer (tokenizer.json); copy it from the model it was made from"]
    if not any(file.endswith(".safetensors") for file in files):
        return [f"{folder} has no weights in safetensors, the only form that is read"]
    return []


def _base_folder(name: str) -> Path:
    """Return the folder of a base model: the one that is named, or the hub's cache of an id. It may not exist."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    hub = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    found = sorted((hub / f"models--{name.replace('/', '--')}").glob("snapshots/*/config.json"))
    return found[-1].parent if found else folder


def _check_data(dataset: TrainingDataset) -> list[PreflightNote]:
    notes = []
    rows = (*dataset.train, *dataset.validation, *dataset.test)
    verdicts = sum(row.source == "verdict" for row in rows)
    if verdicts < GOAL:
        message = f"{verdicts} of its {len(rows):,} examples are your own verdicts; {GOAL} make it yours"
        notes.append(PreflightNote("warning", message))
    counts = Counter(row.route for row in dataset.train)
    scarce = [f"{route} {counts[route]}" for route in dataset.answers if counts[route] < FEWEST_PER_ROUTE]
    if scarce:
        notes.append(PreflightNote("warning", f"few examples to learn from: {', '.join(scarce)}"))
    return notes


def _check_gate(dataset: TrainingDataset, data: Path, out: Path) -> list[PreflightNote]:
    """Say how likely the gate is to recognise a better router on this dataset's sealed rows."""
    n = len(dataset.test)
    if not n:
        return [PreflightNote("warning", "the dataset has no sealed test rows, so the gate cannot pass this run")]
    plan = Plan(champion="", champion_version="")
    look = next_look(out, [example.key for example in read_examples(data, "test")])
    level = level_of_look(plan.level, look)
    chances = ", ".join(f"{gain:.0%} in {power(n, gain, gain + _DIFFERING, level):.0%}" for gain in _GAINS)
    message = f"the gate has {n} sealed rows, look {look}; it recognises a gain in accuracy of {chances} of trials"
    if n < plan.fewest:
        message += f"; it needs at least {plan.fewest} rows"
    weak = n < plan.fewest or power(n, _GAINS[-1], _GAINS[-1] + _DIFFERING, level) < 0.5
    return [PreflightNote("warning" if weak else "note", message)]


def _count_parameters(folder: Path) -> int:
    """Return the number of weights, from the headers of the folder's safetensors files; 0 without any."""
    count = 0
    for path in folder.glob("*.safetensors") if folder.is_dir() else ():
        with suppress(OSError, ValueError, struct.error, KeyError), path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            for name, tensor in json.loads(file.read(size)).items():
                if name != "__metadata__":
                    count += math.prod(tensor["shape"])
    return count


def _estimate(recipe: Recipe, dataset: TrainingDataset, parameters: int, steps: int, *, gpu: bool) -> tuple[int, float]:
    """Return (bytes, seconds) of a training, roughly; (0 parameters: the time is unknown and 0).

    A step costs 6 floating-point operations a weight and token, 4 with LoRA, which needs no gradients of the base.
    Activations take about 60 bytes a token for each unit of the square root of the number of weights.
    """
    tokens = sum(map(_token_count, dataset.train)) / len(dataset.train)
    batch_tokens = recipe.batch * min(tokens, recipe.max_length)
    full = recipe.method == "full"
    weights = parameters * (0.7 if recipe.four_bit and gpu else 2 if gpu else 4)
    matrices = 2 if set(recipe.targets) & set(FEED_FORWARD) else 1
    trained = 12 * parameters if full else parameters * 0.01 * matrices * recipe.r
    memory = int(_IMPORTS_BYTES + weights + trained + batch_tokens * (parameters**0.5) * 60)
    operations = (6 if full else 4) * parameters * batch_tokens * recipe.accumulate
    threads = recipe.threads or max(1, (os.cpu_count() or 2) - 1)
    seconds = _IMPORTS_S + steps * (_STEP_OVERHEAD_S + operations / (_GPU_FLOPS if gpu else _CPU_FLOPS * threads))
    return memory, seconds if parameters else 0.0


def _token_count(row: TrainingRow) -> float:
    return sum(len(m["content"]) for m in row.messages) / _CHARACTERS_PER_TOKEN + _PROMPT_TOKENS


def _free_memory() -> int:
    """Return the free memory of the machine in bytes; 0 when unknown."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 0


def free_gpu_memory() -> int:
    """Return the free memory of the first GPU in bytes, as nvidia-smi reports it; 0 without one."""
    if shutil.which("nvidia-smi") is None:
        return 0
    with suppress(OSError, subprocess.SubprocessError, ValueError, IndexError):
        query = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
        output = subprocess.run(query, capture_output=True, text=True, timeout=5, check=True).stdout
        return int(output.split()[0]) * 1024 * 1024
    return 0


def _free_disk(path: Path) -> int:
    """Return the free bytes of the disk that a path lies on, which may not exist yet; 0 when unknown."""
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return 0
