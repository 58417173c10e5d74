"""The runs: one folder each, which holds everything that is needed to look at a run, resume it, or repeat it.

    run.json        the recipe, the data's hash, and the gate's plan, written before the run starts
    recipe.toml     the recipe with every value written out
    data/           a copy of the dataset
    events.jsonl    what happened (`training.run_events`)
    log.txt         standard error of the program
    artifact/       the trained router (`train.artifact`)
    gate.json, gate.md      the gate's result
    exports/        the forms it was exported in

A run is running as long as a process holds `run.lock`, whoever started it. So a run that was started elsewhere, or before
the app was closed, is recognised as running, and one that crashed as dead.
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
from tui_router.training.run_events import Curve, Discarded, Done, Failed, Paused, RunEvent, decode_line
from tui_router.training.training_error import TrainingError

RunState = Literal["new", "running", "paused", "done", "dropped", "failed", "dead"]
"""`dead`: its process ended without a last event, by a crash or because the memory was full."""
StopMode = Literal["pause", "stop_and_keep", "discard"]
STOP_WORDS: dict[StopMode, str] = {"pause": "pause", "stop_and_keep": "keep", "discard": "drop"}
"""How a run is asked to stop -> the word in its `control` file."""
_PROBE_S = 0.05
"""Seconds to wait when probing `run.lock`. Another prober holds it for a moment, so one failed try does not mean running."""


class RunError(TrainingError):
    """There is no such run, or it is in the wrong state; the message says which."""


class RunRecord(Struct, frozen=True, kw_only=True):
    """What is written before a run starts."""

    id: str
    made: str
    recipe: Recipe
    data: str
    """Folder that the dataset was copied from."""
    data_hash: str
    program: str
    """Hash of the training program's source."""
    plan: Plan
    notes: str = ""


class Run:
    """One run. Raises RunError when its `run.json` cannot be read.

    Args:
        folder: The run's folder. It is made absolute: jobs of this run are started in other folders.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder = folder.absolute()
        try:
            self.record = msgspec.json.decode((folder / "run.json").read_bytes(), type=RunRecord)
        except (OSError, msgspec.DecodeError) as error:
            raise RunError(f"{folder / 'run.json'} cannot be read: {error}") from error

    @property
    def id(self) -> str:
        """The run's name: when it was created, and four random digits."""
        return self.record.id

    @property
    def artifact(self) -> Path:
        """The folder of the trained router."""
        return self.folder / "artifact"

    @property
    def finished(self) -> bool:
        """Whether the trained router is written."""
        return (self.artifact / ROUTER).is_file()

    def events(self) -> Iterator[RunEvent]:
        """Yield the events so far; lines that a crash cut off are skipped."""
        return (event for event, _ in self.events_from(0))

    def events_from(self, offset: int) -> Iterator[tuple[RunEvent, int]]:
        """Yield (event, byte offset of the next line) of all complete lines after an offset."""
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
                if (event := decode_line(line)) is not None:
                    yield event, offset

    def curve(self) -> Curve:
        """Return what has happened so far."""
        return Curve.of(self.events())

    def is_running(self) -> bool:
        """Return whether a process, started by anyone, works on this run."""
        lock = FileLock(self.folder / "run.lock")
        try:
            lock.acquire(timeout=_PROBE_S, poll_interval=_PROBE_S / 5)
        except Timeout:
            return True
        lock.release()
        return False

    def state(self) -> RunState:
        """Return the state of the run."""
        return self.read_new_events(Curve())[0]

    def read_new_events(self, curve: Curve, offset: int = 0) -> tuple[RunState, int]:
        """Add the events after an offset to a curve; returns (state of the run, offset of the next event).

        The lock is probed before the events are read. A process writes its last event before it releases the lock, so the
        events of a run that was not running then are complete.
        """
        running = self.is_running()
        for event, next_offset in self.events_from(offset):
            curve.add(event)
            offset = next_offset
        return ("running" if running else self._end_state(curve)), offset

    def _end_state(self, curve: Curve) -> RunState:
        match curve.end:
            case Paused():
                return "paused"
            case Discarded():
                return "dropped"
            case Done():
                return "done"
            case Failed():
                return "failed"
        return "dead" if (self.folder / "events.jsonl").exists() else "new"

    def start(self, *, resume: bool = False) -> None:
        """Start the run's process, from the beginning or after the newest checkpoint. Raises RunError, NotInstalledError."""
        launcher.require_packages()
        if self.is_running():
            raise RunError(f"run {self.id} is running already")
        (self.folder / "control").unlink(missing_ok=True)
        if not resume:
            (self.folder / "events.jsonl").unlink(missing_ok=True)
        arguments = ["--recipe", str(self.folder / "recipe.toml"), "--data", str(self.folder / "data")]
        arguments += ["--out", str(self.folder), "--nice", str(launcher.NICE), *(["--resume"] if resume else [])]
        process = launcher.start_job(arguments, self.folder)
        (self.folder / "pid").write_text(str(process.pid), encoding="utf-8")

    def request_stop(self, mode: StopMode) -> None:
        """Ask the run to pause, to stop and keep what it has learned, or to stop and discard it, after its present step."""
        (self.folder / "control").write_text(STOP_WORDS[mode], encoding="utf-8")

    def kill(self) -> None:
        """End the run's process at once; the newest checkpoint is kept."""
        try:
            pid = int((self.folder / "pid").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if self.is_running():
            os.kill(pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)

    def set_note(self, text: str) -> None:
        """Replace the person's note on this run."""
        self.record = replace(self.record, notes=text)
        _write_record(self.folder, self.record)

    def size_bytes(self) -> int:
        """Return the disk space of the run's folder."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def delete(self) -> None:
        """Remove the run and its exports. Raises RunError while it is running."""
        if self.is_running():
            raise RunError(f"run {self.id} is running; stop it first")
        shutil.rmtree(self.folder)


def create(folder: Path, chosen: Recipe, data: Path, data_hash: str, plan: Plan) -> Run:
    """Create a run in a data folder: the recipe, a copy of the dataset, and the gate's plan. Raises OSError."""
    made = now()
    name = f"{local(made):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    home = folder.absolute() / RUNS / name
    home.mkdir(parents=True, mode=0o700)
    try:
        shutil.copytree(data, home / "data")
        base = Path(chosen.base).expanduser()
        if base.is_dir():  # the program runs in another folder, where a relative path would not be found
            chosen = replace(chosen, base=str(base.resolve()))
        (home / "recipe.toml").write_text(recipe.to_toml(chosen), encoding="utf-8")
        record = RunRecord(
            id=name,
            made=made,
            recipe=chosen,
            data=str(data.absolute()),
            data_hash=data_hash,
            program=launcher.program_hash(),
            plan=plan,
        )
        _write_record(home, record)
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise
    return Run(home)


def _write_record(home: Path, record: RunRecord) -> None:
    part = home / "run.json.part"
    part.write_bytes(msgspec.json.format(msgspec.json.encode(record)))
    part.replace(home / "run.json")


def run_ids(folder: Path) -> list[str]:
    """Return the names of the runs in a data folder, newest first. Reads no file, so a screen can ask often."""
    return sorted((path.parent.name for path in (folder / RUNS).glob("*/run.json")), reverse=True)


def all_runs(folder: Path) -> list[Run]:
    """Return the runs of a data folder, newest first; folders without a readable `run.json` are skipped."""
    found = []
    for path in sorted((folder / RUNS).glob("*/run.json"), reverse=True):
        try:
            found.append(Run(path.parent))
        except RunError:
            continue
    return found


def find_run(folder: Path, name: str) -> Run:
    """Return a run by its name, by the start or end of its name, or the newest for `last`. Raises RunError."""
    runs = all_runs(folder)
    if name == "last" and runs:
        return runs[0]
    found = [run for run in runs if run.id == name] or [
        run for run in runs if name and (run.id.startswith(name) or run.id.endswith(name))
    ]
    if len(found) != 1:
        known = ", ".join(run.id for run in runs[:5]) or "none yet"
        count = "no run" if not found else f"{len(found)} runs"
        raise RunError(f"there is {count} {name!r}; newest: {known}")
    return found[0]
