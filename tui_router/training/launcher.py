"""Starting the fine-tune program: a process of its own, from a checkout or from an installed wheel alike."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tui_router.core import assets
from tui_router.training.training_error import TrainingError

NEEDED = ("torch", "transformers", "trl", "peft", "datasets", "accelerate", "gguf", "safetensors")
NICE = 10


class NotInstalledError(TrainingError):
    """The packages for training are not installed; the message says how to get them."""


def missing() -> list[str]:
    """The packages that a training needs and that are not installed."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def require() -> None:
    """Raise NotInstalledError when packages are missing."""
    if names := missing():
        raise NotInstalledError(f"training needs {', '.join(names)}: pip install 'tui-router[train]'")


def program() -> Path:
    """The folder of the program."""
    return assets.root() / "train"


def program_hash() -> str:
    """Eight hex digits of the program's text."""
    made = hashlib.blake2b(digest_size=4)
    for path in sorted([*program().glob("*.py"), *Path(__file__).parent.rglob("*.py")]):
        made.update(path.name.encode() + path.read_bytes())
    return made.hexdigest()


def command(*arguments: str) -> list[str]:
    """The command line of one job of the program."""
    return [sys.executable, "-m", "train", *arguments]


def environment(folder: Path) -> dict[str, str]:
    """What the program is started with: it finds itself, and writes nothing outside of `folder`."""
    found = {
        **os.environ, "PYTHONPATH": os.pathsep.join([str(assets.root()), str(Path(__file__).parents[2])]),
        "UNSLOTH_COMPILE_LOCATION": str(folder / "compiled"), "UNSLOTH_DISABLE_STATISTICS": "1",
        "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    threads = str(max(1, (os.cpu_count() or 2) - 1))
    return {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, **found}


def begin(arguments: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a job that goes on when whoever started it ends. What it says on standard error goes into `folder/log.txt`."""
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            command(*arguments), cwd=folder, env=environment(folder), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=log, start_new_session=True,
        )  # fmt: skip


def do(arguments: Sequence[str], folder: Path) -> tuple[int, str, str]:
    """Do a job to its end, in a thread: (exit code, what it said, the last line of standard error)."""
    done = subprocess.run(
        command(*arguments), cwd=folder, env=environment(folder), stdin=subprocess.DEVNULL, capture_output=True, check=False
    )  # fmt: skip
    said = done.stdout.decode("utf-8", "replace")
    return done.returncode, said, done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
