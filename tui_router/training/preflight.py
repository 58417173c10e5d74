"""What can be known before minutes are spent: packages, data, base, disk, and about how much memory and time it takes."""

from __future__ import annotations

import json
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
from tui_router.training.recipe import FEED_FORWARD, MIRRORS, Recipe, base_of, steps_of
from tui_router.training.rows import DataError, Dataset, TrainingRow, read

NoteLevel = Literal["stop", "warning", "note"]
_CHARACTERS_A_TOKEN = 3.0
_CPU_FLOPS = 5e10
"""Of one thread, measured on small Gemmas; a GPU's is taken as 3e13."""
_GPU_FLOPS = 3e13
_A_STEP_S = 0.08
_IMPORTS_BYTES, _IMPORTS_S = 600_000_000, 12.0
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")


class Note(Struct, frozen=True):
    """One thing that was found."""

    level: NoteLevel
    says: str


class Preflight(Struct, frozen=True, kw_only=True):
    """What was found."""

    notes: tuple[Note, ...]
    examples: int = 0
    steps: int = 0
    parameters: int = 0
    """Of the base; 0 when that is not known."""
    memory_bytes: int = 0
    seconds: float = 0.0
    data_hash: str = ""

    @property
    def ready(self) -> bool:
        """Whether nothing stands against a start."""
        return all(note.level != "stop" for note in self.notes)


def preflight(recipe: Recipe, data: Path, out: Path) -> Preflight:
    """Look at everything. Reads the dataset; a second for 100,000 rows."""
    notes: list[Note] = []
    if names := launcher.missing():
        notes.append(Note("stop", f"training needs {', '.join(names)}: pip install 'tui-router[train]'"))
    try:
        dataset = read(data, recipe)
    except DataError as error:
        return Preflight(notes=(*notes, Note("stop", str(error)), *_of_base(recipe)))
    notes += _of_base(recipe)
    notes += _of_data(dataset)
    steps = steps_of(recipe, len(dataset.train))
    parameters = _parameters(_folder_of(base_of(recipe)))
    gpu = gpu_memory()
    memory, seconds = _estimate(recipe, dataset, parameters, steps, gpu=gpu > 0)
    there = gpu or _memory()
    if parameters and there and memory > there:
        where = "GPU" if gpu else "machine"
        notes.append(
            Note(
                "stop",
                f"it takes about {memory / 1e9:.1f} GB and this {where} has {there / 1e9:.1f} GB; halve batch, or take LoRA",
            )
        )
    room, wanted = _room(out), 3 * 4 * parameters if recipe.method == "full" else 2 * parameters + 200_000_000
    if room and parameters and wanted > room:
        notes.append(
            Note("stop", f"it takes about {wanted / 1e9:.1f} GB of disk at {out} and {room / 1e9:.1f} GB are free")
        )
    return Preflight(
        notes=tuple(notes), examples=len(dataset.train),
        steps=steps, parameters=parameters, memory_bytes=memory, seconds=seconds, data_hash=dataset.hash,
    )  # fmt: skip


def _of_base(recipe: Recipe) -> list[Note]:
    name = base_of(recipe)
    folder = Path(name).expanduser()
    if folder.is_dir():
        files = {path.name for path in folder.iterdir()}
        if "config.json" not in files:
            return [Note("stop", f"{folder} is no model in Hugging Face form: it has no config.json")]
        if not files & set(_TOKENIZERS):
            return [
                Note("stop", f"{folder} has no tokenizer (tokenizer.json); copy it from the model it was made from")
            ]
        if not any(file.endswith(".safetensors") for file in files):
            return [Note("stop", f"{folder} has no weights in safetensors; other forms are not read")]
        return []
    if name.startswith(("/", "./", "~")) or name.count("/") != 1:
        return [Note("stop", f"{name} is no folder, and no id of the hub such as google/gemma-3-1b-it")]
    if _folder_of(name).is_dir():
        return []
    mirror = f"; if it wants a licence accepted, {MIRRORS[name]} has the same weights" if name in MIRRORS else ""
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return [Note("stop", f"{name} is not on this machine and HF_HUB_OFFLINE is set; name a folder that holds it")]
    return [Note("note", f"{name} is not on this machine yet and will be fetched from the hub{mirror}")]


def _folder_of(name: str) -> Path:
    """Where a base lies: the folder that is named, or the hub's cache of an id; may not be there."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    hub = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    found = sorted((hub / f"models--{name.replace('/', '--')}").glob("snapshots/*/config.json"))
    return found[-1].parent if found else folder


def _of_data(dataset: Dataset) -> list[Note]:
    found = []
    rows = (*dataset.train, *dataset.validation, *dataset.test)
    verdicts = sum(row.source == "verdict" for row in rows)
    if verdicts < GOAL:
        found.append(
            Note("warning", f"{verdicts} of its {len(rows):,} examples are your own verdicts; {GOAL} make it yours")
        )
    counts = Counter(row.route for row in dataset.train)
    scarce = [f"{route} {counts[route]}" for route in dataset.answers if counts[route] < FEWEST_A_ROUTE]
    if scarce:
        found.append(Note("warning", f"few examples to learn from: {', '.join(scarce)}"))
    if not dataset.test:
        found.append(Note("warning", "the dataset has no sealed test, so the gate cannot pass it"))
    return found


FEWEST_A_ROUTE = 10


def _parameters(folder: Path) -> int:
    """Of the safetensors files of a folder, read off their headers; 0 when there are none."""
    count = 0
    for path in folder.glob("*.safetensors") if folder.is_dir() else ():
        with suppress(OSError, ValueError, struct.error, KeyError), path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            for name, tensor in json.loads(file.read(size)).items():
                if name != "__metadata__":
                    shape = 1
                    for side in tensor["shape"]:
                        shape *= side
                    count += shape
    return count


def _estimate(recipe: Recipe, dataset: Dataset, parameters: int, steps: int, *, gpu: bool) -> tuple[int, float]:
    """(bytes, seconds), both about."""
    tokens = sum(map(_tokens, dataset.train)) / len(dataset.train)
    a_batch = recipe.batch * min(tokens, recipe.max_length)
    full = recipe.method == "full"
    weights = parameters * (0.7 if recipe.four_bit and gpu else 2 if gpu else 4)
    wide = 2 if set(recipe.targets) & set(FEED_FORWARD) else 1
    trained = 12 * parameters if full else parameters * 0.01 * wide * recipe.r / 16 * 16
    memory = int(_IMPORTS_BYTES + weights + trained + a_batch * (parameters**0.5) * 60)
    flops = (6 if full else 4) * parameters * a_batch * recipe.accumulate
    threads = recipe.threads or max(1, (os.cpu_count() or 2) - 1)
    seconds = _IMPORTS_S + steps * (_A_STEP_S + flops / (_GPU_FLOPS if gpu else _CPU_FLOPS * threads))
    return memory, seconds if parameters else 0.0


def _tokens(row: TrainingRow) -> float:
    return sum(len(m["content"]) for m in row.messages) / _CHARACTERS_A_TOKEN + 12


def _memory() -> int:
    """Free memory of the machine in bytes; 0 when that is not known."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 0


def gpu_memory() -> int:
    """Free memory of the first GPU in bytes, as nvidia-smi tells; 0 without one."""
    if shutil.which("nvidia-smi") is None:
        return 0
    with suppress(OSError, subprocess.SubprocessError, ValueError, IndexError):
        asked = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
        said = subprocess.run(asked, capture_output=True, text=True, timeout=5, check=True).stdout
        return int(said.split()[0]) * 1024 * 1024
    return 0


def _room(path: Path) -> int:
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return 0
