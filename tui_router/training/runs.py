"""The runs that are kept: one folder each, which holds everything that is needed to look at a run, go on with it, or repeat it.

    run.json        who made it from what, and the gate's plan, written down before it starts
    recipe.toml     every value written out
    data/           a copy of the dataset
    events.jsonl    its story (`training.events`)
    log.txt         what the program said besides
    artifact/       what it left (`training.artifact`)
    gate.json, gate.md      what the gate said
    exports/        the forms that it was written in

A run lives as long as its process holds `run.lock`, whoever started it: so it is found again after the app was closed, or
found dead.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
from filelock import FileLock, Timeout
from msgspec import Struct
from msgspec.structs import replace

from tui_router.core.clock import local, now
from tui_router.training import RUNS, launcher, recipe
from tui_router.training.plan import Plan
from tui_router.training.recipe import Recipe
from tui_router.training.router_manifest import ROUTER
from tui_router.training.run_events import Curve, Done, Dropped, Failed, Paused, RunEvent, event_of
from tui_router.training.training_error import TrainingError

RunState = Literal["new", "running", "paused", "done", "dropped", "failed", "dead"]
"""`dead`: its process ended without a word, by a crash or because the memory was full."""
_PROBE_S = 0.05
"""How long it is tried to get a run's lock: whoever else looks whether it is held holds it for a moment."""
ControlWord = Literal["pause", "keep", "drop"]


class RunError(TrainingError):
    """There is no such run, or it cannot be done with it; the message says which."""


class RunRecord(Struct, frozen=True, kw_only=True):
    """What is written down before a run starts."""

    id: str
    made: str
    recipe: Recipe
    data: str
    """Where the dataset was."""
    data_hash: str
    program: str
    """Hash of the program's text."""
    plan: Plan
    notes: str = ""


class Run:
    """One run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.record = msgspec.json.decode((folder / "run.json").read_bytes(), type=RunRecord)
        except (OSError, msgspec.DecodeError) as error:
            raise RunError(f"{folder / 'run.json'} cannot be read: {error}") from error

    @property
    def id(self) -> str:
        """Its name."""
        return self.record.id

    @property
    def artifact(self) -> Path:
        """What it left."""
        return self.folder / "artifact"

    @property
    def finished(self) -> bool:
        """Whether the artifact is there."""
        return (self.artifact / ROUTER).is_file()

    def events(self) -> Iterator[RunEvent]:
        """Its story so far; lines that were cut off by a crash are left out."""
        return (event for event, _ in self.events_from(0))

    def events_from(self, offset: int) -> Iterator[tuple[RunEvent, int]]:
        """(event, where the next one begins) of all whole lines behind an offset."""
        try:
            file = (self.folder / "events.jsonl").open("rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                if (event := event_of(line)) is not None:
                    yield event, offset

    def curve(self) -> Curve:
        """Its story so far, put together."""
        return Curve.of(self.events())

    def lives(self) -> bool:
        """Whether a process works on it."""
        lock = FileLock(self.folder / "run.lock")
        try:
            lock.acquire(timeout=_PROBE_S, poll_interval=_PROBE_S / 5)
        except Timeout:
            return True
        lock.release()
        return False

    def state(self) -> RunState:
        """What has become of it."""
        return self.read_on(Curve())[0]

    def read_on(self, curve: Curve, offset: int = 0) -> tuple[RunState, int]:
        """Add what a curve does not hold yet, from an offset on: (what has become of the run, where the next event begins).

        Whether it lives is asked before its story is read: a process writes its last word before it goes, so what is read
        of one that was gone is whole.
        """
        lives = self.lives()
        for event, place in self.events_from(offset):
            curve.add(event)
            offset = place
        return ("running" if lives else self._became(curve)), offset

    def _became(self, curve: Curve) -> RunState:
        match curve.end:
            case Paused():
                return "paused"
            case Dropped():
                return "dropped"
            case Done():
                return "done"
            case Failed():
                return "failed"
        return "dead" if (self.folder / "events.jsonl").exists() else "new"

    def begin(self, *, resume: bool = False) -> None:
        """Start its process, or go on behind the newest checkpoint. Raises RunError, NotInstalledError."""
        launcher.require()
        if self.lives():
            raise RunError(f"run {self.id} is running already")
        more = ["--resume"] if resume else []
        (self.folder / "control").unlink(missing_ok=True)
        if not resume:
            (self.folder / "events.jsonl").unlink(missing_ok=True)
        started = launcher.begin(
            ["--recipe", str(self.folder / "recipe.toml"), "--data", str(self.folder / "data"), "--out", str(self.folder),
             "--nice", str(launcher.NICE), *more],
            self.folder,
        )  # fmt: skip
        (self.folder / "pid").write_text(str(started.pid), encoding="utf-8")

    def ask(self, word: ControlWord) -> None:
        """Have it pause, stop and keep what it has, or stop and drop it; it does so after the step that it is at."""
        (self.folder / "control").write_text(word, encoding="utf-8")

    def kill(self) -> None:
        """End its process at once; the newest checkpoint is kept."""
        try:
            pid = int((self.folder / "pid").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if self.lives():
            os.kill(pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)

    def note(self, text: str) -> None:
        """Write something down about it."""
        self.record = replace(self.record, notes=text)
        _write(self.folder, self.record)

    def size_bytes(self) -> int:
        """What it takes of the disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def delete(self) -> None:
        """Remove it. Raises RunError while it is running."""
        if self.lives():
            raise RunError(f"run {self.id} is running; stop it first")
        shutil.rmtree(self.folder)


def create(folder: Path, chosen: Recipe, data: Path, data_hash: str, plan: Plan) -> Run:
    """A new run in a data folder: its recipe, a copy of its dataset, and the gate's plan. Raises OSError."""
    made = now()
    name = f"{local(made):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    home = folder / RUNS / name
    home.mkdir(parents=True, mode=0o700)
    try:
        shutil.copytree(data, home / "data")
        base = Path(chosen.base).expanduser()
        if base.is_dir():
            chosen = replace(chosen, base=str(base.resolve()))
        (home / "recipe.toml").write_text(recipe.write(chosen), encoding="utf-8")
        record = RunRecord(
            id=name,
            made=made,
            recipe=chosen,
            data=str(data),
            data_hash=data_hash,
            program=launcher.program_hash(),
            plan=plan,
        )
        _write(home, record)
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise
    return Run(home)


def _write(home: Path, record: RunRecord) -> None:
    part = home / "run.json.part"
    part.write_bytes(msgspec.json.format(msgspec.json.encode(record)))
    part.replace(home / "run.json")


def all_runs(folder: Path) -> list[Run]:
    """The runs of a data folder, newest first; what is no run is left out."""
    found = []
    for path in sorted((folder / RUNS).glob("*/run.json"), reverse=True):
        try:
            found.append(Run(path.parent))
        except RunError:
            continue
    return found


def find(folder: Path, name: str) -> Run:
    """A run by its name or the beginning or end of it, or `last`. Raises RunError."""
    runs = all_runs(folder)
    if name == "last" and runs:
        return runs[0]
    found = [run for run in runs if run.id == name] or [
        run for run in runs if name and (run.id.startswith(name) or run.id.endswith(name))
    ]
    if len(found) != 1:
        known = ", ".join(run.id for run in runs[:5]) or "none yet"
        what = "no run" if not found else f"{len(found)} runs"
        raise RunError(f"there is {what} {name!r}; newest: {known}")
    return found[0]
