"""Real trainings, in processes of their own, on a CPU."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from msgspec.structs import replace

from tests.training import world
from tui_router.training import launcher, recipe
from tui_router.training.router_manifest import (
    LATENCY,
    REFERENCE,
    ROUTER,
    SEALED,
    HeldOutCase,
    Latency,
    ReferenceCase,
    RouterManifest,
    read_json,
)
from tui_router.training.run_events import Curve, Discarded, Done, Evaluation, Failed, Paused, RunStarted, Step
from tui_router.training.runs import Run

pytestmark = [pytest.mark.timeout(300), pytest.mark.trains]


def decisions(run):
    return read_json(run.artifact / REFERENCE, list[ReferenceCase])


def test_a_run_tells_its_story_and_leaves_an_artifact(full):
    events = list(full.events())
    (start,) = [e for e in events if isinstance(e, RunStarted)]
    steps = [e for e in events if isinstance(e, Step)]
    assert (start.backend, start.device, start.steps) == (
        "plain",
        "cpu",
        90,
    ) and start.trainable == start.parameters > 50_000
    assert start.versions["trl"] and start.why
    assert [s.step for s in steps] == list(range(1, 91)) and steps[-1].loss < steps[0].loss / 4
    assert all(s.grad_norm > 0 and s.tokens_per_second > 0 and s.memory_bytes > 1e8 for s in steps)
    last = [e for e in events if isinstance(e, Evaluation)][-1]
    assert (
        last.accuracy >= 0.9
        and last.ci95[0] <= last.accuracy <= last.ci95[1] + 1e-9
        and set(last.per_route) == set(world.WORDS)
    )
    assert isinstance(events[-1], Done) and full.state() == "done"
    card = read_json(full.artifact / ROUTER, RouterManifest)
    assert (card.routes, card.answers) == (tuple(world.WORDS), ("A", "B", "C"))
    assert (
        len(read_json(full.artifact / SEALED, list[HeldOutCase])) > 20
        and read_json(full.artifact / LATENCY, Latency).p50_ms > 0
    )
    assert not list(full.folder.rglob("*.bin")) and not list(full.folder.rglob("*.pt"))


def test_the_same_seed_data_and_versions_give_the_same_adapter(lora, tmp_path, data):
    again = world.train(world.new_run(tmp_path, lora.record.recipe, data))
    name = "adapter_model.safetensors"
    assert (again.artifact / name).read_bytes() == (lora.artifact / name).read_bytes()


def when_step(run, step):
    """Wait until a run has told of a step."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if any(isinstance(e, Step) and e.step >= step for e in run.events()):
            return
        time.sleep(0.02)
    raise AssertionError(f"no step {step}: {(run.folder / 'events.jsonl').read_text()[-500:]}")


def same_as(run, other):
    mine, theirs = (r.curve().steps for r in (run, other))
    assert [s.step for s in mine] == [s.step for s in theirs]
    assert [s.loss for s in mine] == pytest.approx([s.loss for s in theirs], abs=1e-9)
    for a, b in zip(decisions(run), decisions(other), strict=True):
        assert a.probabilities == pytest.approx(b.probabilities, abs=1e-9)


def test_paused_and_resumed_is_as_if_never_stopped(full, tmp_path, data):
    run = world.new_run(tmp_path, full.record.recipe, data)
    going = world.start(run)
    when_step(run, 22)
    run.request_stop("pause")
    assert going.wait(60) == 0 and run.state() == "paused"
    assert isinstance(run.curve().end, Paused)
    world.train(run, "--resume")
    same_as(run, full)


def test_killed_twice_and_resumed_is_as_if_never_stopped(full, tmp_path, data):
    run = world.new_run(tmp_path, full.record.recipe, data)
    for step, more in ((18, ()), (41, ("--resume",))):
        going = world.start(run, *more)
        when_step(run, step)
        going.send_signal(signal.SIGKILL)
        going.wait(30)
        assert run.state() == "dead"
        assert run.curve().steps[-1].step - run.curve().checkpoint <= 6
    world.train(run, "--resume")
    same_as(run, full)


def test_stopped_and_kept_or_dropped(full, tmp_path, data):
    run = world.new_run(tmp_path, full.record.recipe, data)
    going = world.start(run)
    when_step(run, 10)
    run.request_stop("stop_and_keep")
    assert going.wait(60) == 0 and run.finished
    assert run.curve().end.early
    discarded = world.new_run(tmp_path / "other", full.record.recipe, data)
    going = world.start(discarded)
    when_step(discarded, 6)
    discarded.request_stop("discard")
    assert going.wait(60) == 0 and isinstance(discarded.curve().end, Discarded)
    assert not discarded.finished and not (discarded.folder / "checkpoints").exists()


def test_answers_in_text(full, tmp_path):
    """The form comes first: after some steps the model says nothing but routes, whichever."""
    chosen = replace(world.recipe_for(full.artifact, label="text", steps=40), eval_every=5)
    run = world.new_run(tmp_path, chosen, world.dataset(tmp_path / "text", "route"))
    world.train(run)
    card, curve = read_json(run.artifact / ROUTER, RouterManifest), run.curve()
    assert card.answers == tuple(f"ROUTE_TO={route}" for route in world.WORDS) and isinstance(curve.end, Done)
    assert curve.steps[-1].loss < curve.steps[0].loss / 4 and curve.evals[-1].mass > 100 * curve.evals[0].mass
    for one in decisions(run):
        assert sum(one.probabilities) == pytest.approx(1) and len(one.probabilities) == 3


@pytest.mark.skipif(
    importlib.util.find_spec("unsloth") is None, reason="needs pip install --no-deps -r train/unsloth.txt"
)
def test_unsloth_trains_the_same_recipe(lora, tmp_path, data):
    chosen = replace(lora.record.recipe, backend="unsloth", steps=5)
    run = world.train(world.new_run(tmp_path, chosen, data))
    curve = run.curve()
    assert isinstance(curve.end, Done), curve.end
    assert curve.start.backend == "unsloth" and curve.start.versions["unsloth"]
    assert (run.artifact / "adapter_model.safetensors").is_file()


def test_several_processes_are_one_run(full, tmp_path, data):
    """`accelerate launch` starts the same program more than once; one of them speaks."""
    chosen = replace(full.record.recipe, steps=4)
    run = world.new_run(tmp_path, chosen, data)
    command = launcher.command(*world.arguments(run))
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--cpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
        "-m",
        *command[2:],
    ]
    done = subprocess.run(
        launch, cwd=run.folder, env=launcher.environment(run.folder), capture_output=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert [s.step for s in run.curve().steps] == [1, 2, 3, 4] and run.finished


# -- what goes wrong -----------------------------------------------------------------------------------------------
def failed(run):
    end = world.train(run).curve().end
    assert isinstance(end, Failed), end
    assert "Traceback" not in end.message and end.next
    return end


def test_a_loss_that_is_no_number(tmp_path, data, base):
    broken = tmp_path / "base"
    code = (
        "import sys; from safetensors.torch import load_file, save_file; p = sys.argv[1];"
        "w = load_file(p); w['model.norm.weight'][0] = float('nan'); save_file(w, p, metadata={'format': 'pt'})"
    )
    subprocess.run(["cp", "-r", str(base), str(broken)], check=True)
    subprocess.run([sys.executable, "-c", code, str(broken / "model.safetensors")], check=True)
    end = failed(world.new_run(tmp_path, world.recipe_for(broken), data))
    assert end.cause == "loss" and "loss is nan at step 1" in end.message and "learning rate" in end.next


def limited(run, limit):
    """How the program ends in a process that was limited first."""
    code = (
        f"{limit}\nimport sys; sys.argv = ['train', *sys.argv[1:]]; from train.__main__ import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", code, *world.arguments(run)]
    done = subprocess.run(command, cwd=run.folder, env=launcher.environment(run.folder), capture_output=True)
    end = run.curve().end
    assert done.returncode == 1 and isinstance(end, Failed), end
    return end


def test_a_full_disk(tmp_path, data, base):
    run = world.new_run(tmp_path, world.recipe_for(base, steps=12), data)
    end = limited(
        run,
        "import resource, signal; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)",
    )
    assert end.cause == "disk" and "full" in end.message


def test_a_full_memory(tmp_path, data, base):
    run = world.new_run(tmp_path, replace(world.recipe_for(base, steps=3), batch=240), data)
    end = limited(
        run,
        "import resource, torch, transformers, trl, peft, datasets\n"
        "room = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize() + 150_000_000\n"
        "resource.setrlimit(resource.RLIMIT_AS, (room, room))",
    )
    assert end.cause == "memory" and "halve batch" in end.next


def test_a_base_without_a_chat_template(tmp_path, data, base):
    broken = tmp_path / "base"
    subprocess.run(["cp", "-r", str(base), str(broken)], check=True)
    (broken / "chat_template.jinja").unlink()
    end = failed(world.new_run(tmp_path, world.recipe_for(broken), data))
    assert end.cause == "base" and "chat template" in end.message


def test_a_base_that_cannot_be_fetched(tmp_path, data, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    chosen = replace(recipe.load("gemma-3-1b"), steps=1)
    end = failed(world.new_run(tmp_path, chosen, data))
    assert end.cause == "base" and "google/gemma-3-1b-it" in end.message and "folder" in end.message


def test_two_processes_on_one_run(full, tmp_path, data):
    run = world.new_run(tmp_path, full.record.recipe, data)
    going = world.start(run)
    when_step(run, 3)
    assert world.start(run, "--resume").wait(60) == 1
    os.kill(going.pid, signal.SIGTERM)
    assert going.wait(60) == 0 and run.state() == "paused"


def test_a_run_outlives_whoever_started_it(full, tmp_path, data):
    run = world.new_run(tmp_path, replace(full.record.recipe, steps=2000), data)
    code = (
        "import sys, time; from pathlib import Path; from tui_router.training.runs import Run\n"
        "Run(Path(sys.argv[1])).start(); time.sleep(60)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code, str(run.folder)])
    when_step(run, 3)
    starter.send_signal(signal.SIGKILL)
    starter.wait(10)
    before = run.curve().steps[-1].step
    when_step(run, before + 3)
    assert run.state() == "running"
    run.kill()
    while run.is_running():
        time.sleep(0.05)
    assert run.state() == "dead"


def test_a_run_that_ends_while_its_story_is_read_is_not_dead(full, tmp_path):
    """Its last word comes after what was read, and before anybody asks whether it lives."""
    home = tmp_path / full.folder.name
    shutil.copytree(full.folder, home)
    events = home / "events.jsonl"
    lines = events.read_bytes().splitlines(keepends=True)
    events.write_bytes(b"".join(lines[:-1]))

    class Ending(Run):
        alive = True

        def is_running(self):
            return self.alive

        def events_from(self, offset):
            yield from super().events_from(offset)
            if self.alive:
                events.write_bytes(b"".join(lines))
                self.alive = False

    run, curve = Ending(home), Curve()
    state, offset = run.read_new_events(curve)
    assert state == "running" and curve.end is None
    assert run.read_new_events(curve, offset)[0] == "done" and isinstance(curve.end, Done)
