"""Trains two tiny routers on this machine and judges each by the gate. `make train-demo`: under 15 minutes, no GPU.

(a) The shipped seeds. A model with a million random weights has never read a sentence. The learned router knows these
    requests better, and the gate must refuse the model: the refusal is the success.
(b) A made-up company in which the order of the words decides. "Ask our good Kestrel upstairs, not the new Corvin next
    door" belongs to Kestrel's desk; with the names swapped it belongs to Corvin's. The learned router counts words and
    pairs of neighbours, so it cannot tell the two apart, even when it is fitted to the same rows. A language model reads
    the order. It must pass, become champion, and decide two requests of `tui-router route`, served by llama.cpp.

In both, the exported GGUF must decide as the trained model does, with probabilities within 0.02. The exit code is 0 when all
of this holds.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tui_router.config.settings import Config, load_config, parse_config
from tui_router.core.example import Example
from tui_router.datasets.export import ExportOptions, export
from tui_router.datasets.sources import seed_examples
from tui_router.learning.online_learner import taught_by
from tui_router.routing.learned.learned_router import LearnedRouter
from tui_router.training import launcher, recipe, runs, start
from tui_router.training.export import forms, parity
from tui_router.training.export.forms import ExportedRouter, served_name
from tui_router.training.gate.gate import GateResult, to_markdown
from tui_router.training.gate.run_gate import evaluate_run
from tui_router.training.preflight import preflight
from tui_router.training.run_events import Evaluation, Failed, Step

MAX_DIFFERENCE = 0.02
"""Greatest difference of a probability between the trained model and its GGUF."""
COMPANY_ACCURACY = 0.90
"""Least accuracy of the trained router in (b)."""
RECIPE = """\
base = "{base}"
method = "full"

[training]
learning_rate = 2e-3
batch = 32
accumulate = 1
steps = {steps}
checkpoint_every = 200
precision = "float32"

[evaluation]
eval_every = 100
"""


def main() -> int:
    started = time.monotonic()
    launcher.require_packages()
    with tempfile.TemporaryDirectory(prefix="tui-router-train-demo-") as name:
        home = Path(name)
        holds = refuse_seeds(home / "seeds") and promote_company(home / "company")
    print(f"{'everything holds' if holds else 'NOT everything holds'}, {time.monotonic() - started:.0f} s")
    return 0 if holds else 1


# -- (a) -----------------------------------------------------------------------------------------------------------
def refuse_seeds(home: Path) -> bool:
    """Train on the shipped seeds; return whether the gate refuses the model, and its GGUF is faithful."""
    print_title("(a) the shipped seeds, a model of random weights")
    shipped = parse_config("", None, {})
    run, result = train(shipped, home, list(seed_examples(shipped.fleet)), steps=300, vocabulary=4096)
    made = export_gguf(run)
    print(f"the gate {'PASSED it, which it should not' if result.passed else 'refused it, as it should'}")
    print("A base model that has read text before is needed here: tui-router train --recipe gemma-3-270m\n")
    return not result.passed and result.candidate_right < result.baseline_right and is_faithful(made)


# -- (b) -----------------------------------------------------------------------------------------------------------
DESKS = {
    "harbour": ("port operations", "Kestrel Marlow Tansy Orrin Bexley Quill"),
    "ledger": ("accounting", "Corvin Maple Ostrow Hadley Wren Fenwick"),
    "greenhouse": ("plant science", "Ilex Rowan Thorne Vesper Juniper Larkin"),
    "workshop": ("machine maintenance", "Garrick Nolan Yarrow Zephyr Eldon Hobart"),
}
"""Route -> (its description, the names of its people)."""
ONE_NAME = (
    "ask {a} {0}",
    "{a} {0} is late again",
    "this is for {a} {0} {c}",
    "has {a} {0} {c} seen it",
    "tell {a} {0} about it",
    "what does {a} {0} {c} say",
)
TWO_NAMES = (
    "ask {a} {0} {c}, not {b} {1} {d}",
    "not {b} {1} {d} but {a} {0} {c}",
    "give it to {a} {0} {c} instead of {b} {1} {d}",
    "instead of {b} {1} {d} take {a} {0} {c}",
    "leave {b} {1} {d} out and ask {a} {0} {c}",
    "anyone but {b} {1} {d}, so {a} {0} {c}",
    "forget {b} {1} {d}, this is for {a} {0} {c}",
    "{a} {0} {c} has to do it without {b} {1} {d}",
)
"""{0} is wanted and {1} is not. The other words stand between a name and the word that tells which, so that no pair of neighbours
tells it."""
BEFORE_A_NAME = (
    "our good",
    "the new",
    "the old",
    "poor",
    "young",
    "dear",
    "that busy",
    "the quiet",
    "our own",
    "clever",
)
BEHIND_A_NAME = (
    "upstairs",
    "next door",
    "from Leeds",
    "over there",
    "at the gate",
    "with the hat",
    "on the phone",
    "in the yard",
)
ENDINGS = ("", " today", " please", " on Monday", " this week", " at noon", " again", " tomorrow")
ROWS, TWO_NAMES_SHARE = 2000, 0.6
SWAPPED = (
    "ask our good Kestrel upstairs, not the new Corvin next door",
    "ask the new Corvin next door, not our good Kestrel upstairs",
)
"""The same words in another order, and their routes."""


def promote_company(home: Path) -> bool:
    """Train on the company's requests; return whether the model passes, is promoted and decides by the order of words."""
    print_title("(b) a made-up company in which the order of the words decides")
    home.mkdir(parents=True)
    file = home / "fleet.toml"
    file.write_text(fleet_text(), encoding="utf-8")
    run, result = train(load_config(file), home, list(company_requests()), steps=500, vocabulary=1500)
    made = export_gguf(run)
    accuracy = result.candidate_right / max(1, result.n)
    if not result.passed or not result.baseline_rows or accuracy < COMPANY_ACCURACY or not is_faithful(made):
        print(f"NOT passed, or below {COMPANY_ACCURACY:.0%}\n")
        return False
    tui_router("promote", run.id, "--config", str(file), "--data-dir", str(home))
    (model,) = Path(made.folder).glob("*.gguf")
    with parity.llama_server(model, None, "", served_name(run)) as url:
        file.write_text(f'{fleet_text()}[backends.demo]\nurl = "{url}"\n', encoding="utf-8")
        answers = [
            json.loads(tui_router("route", text, "--json", "--config", str(file), "--data-dir", str(home)))
            for text in SWAPPED
        ]
    for text, answer in zip(SWAPPED, answers, strict=True):
        print(f"{text!r} -> {answer['route']} {answer['confidence']:.0%} by {answer['router']}")
    print()
    return [(a["route"], a["router"]) for a in answers] == [("harbour", "tuned"), ("ledger", "tuned")]


def fleet_text() -> str:
    """Return a fleet.toml with four routes instead of the shipped ones, and no server but the one of the demo."""
    lines = [f'[backends."{name}"]\nremove = true' for name in ("LM Studio", "Ollama", "llama-server")]
    lines += [f"[routes.{route.name}]\nremove = true" for route in parse_config("", None, {}).fleet.routes]
    lines += [
        f'[routes.{name}]\ndescription = "{description}"\nmodel = "gemma-3-1b"\nfallbacks = []'
        for name, (description, _) in DESKS.items()
    ]
    return "\n".join(lines) + "\n"


def company_requests() -> Iterator[Example]:
    """Yield different requests of the company."""
    dice, seen = random.Random(0), set(SWAPPED)
    people = [(route, name) for route, (_, names) in DESKS.items() for name in names.split()]
    while len(seen) < ROWS + len(SWAPPED):
        (route, wanted), (other_route, other) = dice.sample(people, 2)
        if route == other_route:
            continue
        form = dice.choice(TWO_NAMES if dice.random() < TWO_NAMES_SHARE else ONE_NAME)
        before, behind = dice.choices(BEFORE_A_NAME, k=2), dice.choices(BEHIND_A_NAME, k=2)
        text = form.format(wanted, other, a=before[0], b=before[1], c=behind[0], d=behind[1]) + dice.choice(ENDINGS)
        if text not in seen:
            seen.add(text)
            yield Example(text=text, route=route, source="imported")


# -- both ----------------------------------------------------------------------------------------------------------
def train(
    config: Config, home: Path, examples: list[Example], steps: int, vocabulary: int
) -> tuple[runs.Run, GateResult]:
    """Export the dataset, make a base model, train it and judge it; prints what happens."""
    data, base, file = home / "data", home / "base", home / "recipe.toml"
    random.Random(0).shuffle(examples)
    projection = LearnedRouter.as_shipped(config.fleet).projection
    options = ExportOptions(form="messages", target="letter", duplicates=True)
    export(lambda: examples, config.fleet, options, data, projection)
    size = ["--size", "128", "--layers", "2", "--vocabulary", str(vocabulary)]
    code, _, error = launcher.run_job(["tiny", "--data", str(data), "--out", str(base), *size], home)
    if code:
        sys.exit(f"the base model could not be made: {error}")
    file.write_text(RECIPE.format(base=base, steps=steps), encoding="utf-8")
    chosen = recipe.load(file)
    found = preflight(chosen, data, home)
    for note in found.notes:
        print(f"{note.level}: {note.message}")
    run = start.create(home, chosen, data, found.data_hash, taught_by(config, home).ensemble)
    weights = f"{found.examples:,} examples, {found.parameters:,} weights"
    print(f"{weights}, {steps} steps, about {found.seconds / 60:.0f} minutes")
    run.start()
    print_progress(run)
    result = evaluate_run(run, config, home, run.record.plan.champion, "")
    print(to_markdown(result, run.id))
    return run, result


def print_progress(run: runs.Run) -> None:
    """Print the run's progress until it ends."""
    offset = 0
    while True:
        running = run.is_running() or offset == 0
        for event, place in run.events_from(offset):
            offset = place
            match event:
                case Step() if event.step % 100 == 0:
                    left = f"{event.seconds_left:.0f} s left"
                    print(f"  step {event.step}/{event.of}, loss {event.loss:.3f}, {left}", flush=True)
                case Evaluation():
                    print(f"  held out {event.accuracy:.1%} n={event.n}", flush=True)
                case Failed():
                    sys.exit(f"{event.message}; {event.next}")
        if not running:
            break
        time.sleep(0.5)
    if not run.finished:
        log = (run.folder / "log.txt").read_text(encoding="utf-8")
        sys.exit(f"the training ended without an artifact: {log[-500:]}")


def export_gguf(run: runs.Run) -> ExportedRouter:
    """Write the GGUF and print how it compares with the trained model."""
    made = forms.export(run, "gguf", "f16", run.folder / "exports" / "gguf")
    if made.parity is not None:
        c = made.parity
        print(f"GGUF in llama.cpp: {c.same_route} of {c.n} the same route, probabilities within {c.max_difference:.4f}")
    return made


def is_faithful(made: ExportedRouter) -> bool:
    """Return whether the GGUF decides as the trained model does."""
    c = made.parity
    if c is None:
        return False
    return c.same_route >= parity.LEAST_SAME_ROUTE * c.n and c.max_difference <= MAX_DIFFERENCE


def tui_router(*arguments: str) -> str:
    """Run a command of the program; returns and prints its output."""
    done = subprocess.run([sys.executable, "-m", "tui_router", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"tui-router {arguments[0]} failed: {done.stderr}")
    print(done.stdout.strip())
    return done.stdout


def print_title(text: str) -> None:
    """Print an underlined title."""
    print(f"{text}\n{'-' * len(text)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
