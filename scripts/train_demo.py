"""Train two tiny routers for real on this machine, and put each to its gate. `make train-demo`: about ten minutes, no GPU.

(a) The shipped seeds. A model with a million random weights has never read a sentence; it cannot beat the learned router,
    and the gate must say so: the refusal is the success.
(b) A made-up company whose routes are told apart by names that nobody outside knows. The leader cannot guess them, the
    trained router learns them: it passes, is promoted, and `tui-router route` answers by it, served by llama.cpp.

In both, the exported GGUF must decide as the trained model does, with probabilities within 0.02. Exit code 0 when all of it
holds.
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

WITHIN = 0.02
"""Greatest difference of a probability between the trained model and its GGUF."""
PRIVATE_ACCURACY = 0.90
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
    began = time.monotonic()
    launcher.require_packages()
    with tempfile.TemporaryDirectory(prefix="tui-router-train-demo-") as name:
        home = Path(name)
        held = seeds(home / "seeds") and private(home / "private")
    print(f"{'all of it holds' if held else 'NOT all of it holds'}, {time.monotonic() - began:.0f} s")
    return 0 if held else 1


# -- (a) -----------------------------------------------------------------------------------------------------------
def seeds(home: Path) -> bool:
    """The shipped seeds: the gate must refuse what is worse."""
    title("(a) the shipped seeds, a model of random weights")
    shipped = parse_config("", None, {})
    examples = list(seed_examples(shipped.fleet))
    run, verdict = trained(shipped, home, examples, steps=700)
    made = written(run)
    print(f"the gate {'PASSED it, which it should not' if verdict.passed else 'refused it, as it should'}\n")
    return not verdict.passed and verdict.candidate_right < verdict.baseline_right and alike(made)


# -- (b) -----------------------------------------------------------------------------------------------------------
DESKS = {
    "harbour": ("port operations", "Kestrel Marlow Tansy Orrin Bexley Quill Sorrel Dunmore Pell Vantry"),
    "ledger": ("accounting", "Corvin Maple Ostrow Hadley Wren Fenwick Brill Lorne Sable Twyne"),
    "greenhouse": ("plant science", "Ilex Rowan Thorne Vesper Juniper Larkin Moss Perrin Astley Crane"),
    "workshop": ("machine maintenance", "Garrick Nolan Yarrow Zephyr Eldon Hobart Ketch Upton Ranger Stroud"),
}
"""Route -> (what fleet.toml says of it, the names that only this company knows)."""
ASKED = (
    "what is the matter with {0} today", "{0} is late again", "who looks after {0}", "tell the others that {0} is done",
    "compare {0} and {1}", "when did {0} change last", "I need the numbers of {0} for {day}", "is {0} ready for {day}",
    "put {0} behind {1}", "please check {0} before {day}", "why did {1} wait for {0}", "{0} looks odd since {day}",
    "summarise what happened to {0}", "can {0} take over from {1}", "move {0} to {day}", "{0}: anything new?",
    "explain {0} to a new colleague", "which of {0} and {1} comes first", "the report on {0} is missing", "stop {0} until {day}",
)  # fmt: skip
DAYS = (
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "the weekend",
    "next week",
    "the first",
    "June",
    "tonight",
)


def private(home: Path) -> bool:
    """Routes that no outsider can tell apart: the gate must pass what is better, and it must come to lead."""
    title("(b) a made-up company whose routes go by private names")
    home.mkdir(parents=True)
    file = home / "fleet.toml"
    file.write_text(fleet_text(), encoding="utf-8")
    company = load_config(file)
    run, verdict = trained(company, home, list(requests()), steps=500)
    accuracy = verdict.candidate_right / max(1, verdict.n)
    made = written(run)
    if not verdict.passed or accuracy < PRIVATE_ACCURACY or not alike(made):
        print(f"NOT passed, or below {PRIVATE_ACCURACY:.0%}\n")
        return False
    said("promote", run.id, "--config", str(file), "--data-dir", str(home))
    (model,) = Path(made.folder).glob("*.gguf")
    with parity.llama_server(model, None, "", served_name(run)) as url:
        file.write_text(f'{fleet_text()}[backends.demo]\nurl = "{url}"\n', encoding="utf-8")
        text = "what is the matter with Vesper since Tuesday"
        answer = json.loads(said("route", text, "--json", "--config", str(file), "--data-dir", str(home)))
    print(f"{text!r} -> {answer['route']} {answer['confidence']:.0%} by {answer['router']}\n")
    return bool(answer["router"] == "tuned" and answer["route"] == "greenhouse")


def fleet_text() -> str:
    """Four routes instead of the shipped ones, and no server but the one of the demo."""
    lines = [f'[backends."{name}"]\nremove = true' for name in ("LM Studio", "Ollama", "llama-server")]
    shipped = parse_config("", None, {}).fleet
    lines += [f"[routes.{route.name}]\nremove = true" for route in shipped.routes]
    lines += [
        f'[routes.{name}]\ndescription = "{says}"\nmodel = "gemma-3-1b"\nfallbacks = []'
        for name, (says, _) in DESKS.items()
    ]
    return "\n".join(lines) + "\n"


def requests() -> Iterator[Example]:
    """About 1,600 requests; every name is asked about in many ways."""
    dice = random.Random(0)
    seen = set()
    for route, (_, names) in DESKS.items():
        for name in names.split():
            for form in dice.sample(ASKED, len(ASKED)) * 2:
                other = dice.choice([n for n in names.split() if n != name])
                text = form.format(name, other, day=dice.choice(DAYS))
                if text not in seen:
                    seen.add(text)
                    yield Example(text=text, route=route, source="imported")


# -- both ----------------------------------------------------------------------------------------------------------
def trained(made_for: Config, home: Path, examples: list[Example], steps: int) -> tuple[runs.Run, GateResult]:
    """Export, build the base, train, put to the gate."""
    data, base, file = home / "data", home / "base", home / "recipe.toml"
    random.Random(0).shuffle(examples)
    projection = LearnedRouter.as_shipped(made_for.fleet).projection
    export(
        lambda: examples,
        made_for.fleet,
        ExportOptions(form="messages", target="letter", duplicates=True),
        data,
        projection,
    )
    code, _, trouble = launcher.run_job(
        ["tiny", "--data", str(data), "--out", str(base), "--size", "128", "--layers", "2", "--vocabulary", "4096"],
        home,
    )
    if code:
        sys.exit(f"the base could not be made: {trouble}")
    file.write_text(RECIPE.format(base=base, steps=steps), encoding="utf-8")
    chosen = recipe.load(file)
    found = preflight(chosen, data, home)
    run = start.create(home, chosen, data, found.data_hash, taught_by(made_for, home).ensemble)
    print(
        f"{found.examples:,} examples, {found.parameters:,} weights, {steps} steps, about {found.seconds / 60:.0f} minutes"
    )
    run.start()
    follow(run)
    verdict = evaluate_run(run, made_for, home, run.record.plan.champion, "")
    print(to_markdown(verdict, run.id).partition("\nWrong, surest")[0])
    return run, verdict


def follow(run: runs.Run) -> None:
    """Tell how it goes, until it ends."""
    offset = 0
    while True:
        lives = run.is_running() or offset == 0
        for event, place in run.events_from(offset):
            offset = place
            match event:
                case Step() if event.step % 100 == 0:
                    print(
                        f"  step {event.step}/{event.of}, loss {event.loss:.3f}, {event.seconds_left:.0f} s left",
                        flush=True,
                    )
                case Evaluation():
                    print(f"  held out {event.accuracy:.1%} n={event.n}", flush=True)
                case Failed():
                    sys.exit(f"{event.message}; {event.next}")
        if not lives:
            break
        time.sleep(0.5)
    if not run.finished:
        sys.exit(f"the training ended without a word: {(run.folder / 'log.txt').read_text(encoding='utf-8')[-500:]}")


def written(run: runs.Run) -> ExportedRouter:
    """The GGUF, compared."""
    made = forms.export(run, "gguf", "f16", run.folder / "exports" / "gguf")
    if made.parity is not None:
        c = made.parity
        print(f"GGUF in llama.cpp: {c.same_route} of {c.n} the same route, probabilities within {c.max_difference:.4f}")
    return made


def alike(made: ExportedRouter) -> bool:
    """Whether the GGUF decides as the trained model does."""
    c = made.parity
    return c is not None and c.same_route >= parity.LEAST_SAME_ROUTE * c.n and c.max_difference <= WITHIN


def said(*arguments: str) -> str:
    """What `tui-router` says."""
    done = subprocess.run([sys.executable, "-m", "tui_router", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"tui-router {arguments[0]} failed: {done.stderr}")
    print(done.stdout.strip())
    return done.stdout


def title(text: str) -> None:
    print(f"{text}\n{'-' * len(text)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
