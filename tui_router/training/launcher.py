"""Starts the training program `train/` in a process of its own, from a checkout or an installed wheel."""

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
"""Niceness of a training: the dashboard stays quick while it runs."""


class NotInstalledError(TrainingError):
    """The packages for training are not installed; the message says how to get them."""


def missing_packages() -> list[str]:
    """Return the packages that training needs and that are not installed."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def require_packages() -> None:
    """Raise NotInstalledError when packages are missing."""
    if names := missing_packages():
        raise NotInstalledError(f"training needs {', '.join(names)}: pip install 'tui-router[train]'")


def program_hash() -> str:
    """Return eight hex digits that change with the source of the training program."""
    digest = hashlib.blake2b(digest_size=4)
    program = assets.root() / "train"
    for path in sorted([*program.glob("*.py"), *Path(__file__).parent.rglob("*.py")]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def command(*arguments: str) -> list[str]:
    """Return the command line of one job of the program."""
    return [sys.executable, "-m", "train", *arguments]


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a job: it finds the program's modules, and its caches are written into `folder`."""
    threads = str(max(1, (os.cpu_count() or 2) - 1))
    return {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(assets.root()), str(Path(__file__).parents[2])]),
        "UNSLOTH_COMPILE_LOCATION": str(folder / "compiled"),
        "UNSLOTH_DISABLE_STATISTICS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def start_job(arguments: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a job that survives the process that starts it. Its standard error is appended to `folder/log.txt`."""
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            command(*arguments),
            cwd=folder,
            env=environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )


def run_job(arguments: Sequence[str], folder: Path) -> tuple[int, str, str]:
    """Run a job to its end; blocks. Returns (exit code, standard output, last line of standard error)."""
    done = subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    output = done.stdout.decode("utf-8", "replace")
    return done.returncode, output, done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
