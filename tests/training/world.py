"""A made-up company for trainings that take seconds: three routes with names of their own, a tiny base, short recipes.

A request with an image belongs to the workshop, whoever it names. A language model learns that from the line of the prompt
that says so; the learned router, fitted to the same rows, cannot. So a trained router passes its gate here.
"""

import random
import subprocess
from pathlib import Path

from tui_router.config.settings import parse_config
from tui_router.core.example import Example
from tui_router.datasets.formats import Target, line_of, row_of
from tui_router.training import launcher, recipe, runs
from tui_router.training.plan import Plan
from tui_router.training.rows import read_dataset

WORDS = {
    "harbour": "kestrel marlow tansy orrin bexley quill",
    "ledger": "corvin maple ostrow hadley wren fenwick",
    "workshop": "garrick nolan yarrow zephyr eldon hobart",
}
FORMS = (
    "what is the matter with {0}",
    "{0} is late again",
    "who looks after {0}",
    "tell the others that {0} is done",
    "when did {0} change last",
    "is {0} ready",
    "please check {0}",
    "why did we wait for {0}",
    "{0} looks odd",
    "move {0}",
)
IMAGES = 1 / 3
"""Share of the requests with an image."""
ENDINGS = ("", "please", "today", "now", "again", "at noon", "thanks")
FLEET = (
    "\n".join(
        [f'[backends."{name}"]\nremove = true' for name in ("LM Studio", "Ollama", "llama-server")]
        + [f"[routes.{r.name}]\nremove = true" for r in parse_config("", None, {}).fleet.routes]
        + [f'[routes.{name}]\ndescription = "{name}"\nmodel = "gemma-3-1b"\nfallbacks = []' for name in WORDS]
    )
    + "\n"
)
COMPANY = parse_config(FLEET, None, {})
RECIPE = """\
base = "{base}"
method = "{method}"
label = "{label}"
[training]
learning_rate = {rate}
batch = 32
accumulate = 1
steps = {steps}
checkpoint_every = 5
precision = "float32"
threads = 1
[evaluation]
eval_every = 10
best_weights = true
"""


def examples(n: int = 360) -> list[Example]:
    """Return different requests to this company."""
    dice = random.Random(0)
    found: dict[str, Example] = {}
    while len(found) < n:
        route = dice.choice(list(WORDS))
        question = dice.choice(FORMS).format(dice.choice(WORDS[route].split()))
        text = f"{question} {dice.choice(ENDINGS)}{dice.choice('.!? ')}".strip()
        image = dice.random() < IMAGES
        found[text] = Example(text=text, route="workshop" if image else route, source="imported", has_image=image)
    return list(found.values())


def dataset(folder: Path, target: Target = "letter") -> Path:
    """Write a dataset in which every part has every name, so that a model can learn it."""
    folder.mkdir(parents=True)
    for place, example in enumerate(examples()):
        part = {0: "validation", 1: "test"}.get(place % 6, "train")
        with (folder / f"{part}.jsonl").open("a", encoding="utf-8") as file:
            file.write(line_of(row_of(example, COMPANY.fleet, "messages", target), "messages"))
    return folder


def base(folder: Path, data: Path, seed: int = 0) -> Path:
    """Make a base model of random weights, with a tokenizer fitted to a dataset."""
    size = ["--size", "96", "--layers", "2", "--vocabulary", "1200", "--seed", str(seed)]
    code, _, error = launcher.run_job(["tiny", "--data", str(data), "--out", str(folder), *size], folder.parent)
    assert code == 0, error
    return folder


def recipe_for(
    base_folder: Path, *, method: str = "full", label: str = "letter", steps: int = 90, rate: float = 3e-3
) -> recipe.Recipe:
    """Return a recipe that takes seconds."""
    return recipe.parse(RECIPE.format(base=base_folder, method=method, label=label, steps=steps, rate=rate), "recipe")


def new_run(home: Path, chosen: recipe.Recipe, data: Path) -> runs.Run:
    """Create a run without starting it."""
    return runs.create(
        home, chosen, data, read_dataset(data, chosen).hash, Plan(champion="learned", champion_version="", fewest=20)
    )


def arguments(run: runs.Run) -> tuple[str, ...]:
    """Return the arguments of a run's process."""
    where = run.folder
    return ("--recipe", str(where / "recipe.toml"), "--data", str(where / "data"), "--out", str(where))


def start(run: runs.Run, *more: str) -> subprocess.Popen[bytes]:
    """Start a run's process as the app does, but as a child of the test."""
    return subprocess.Popen(
        launcher.command(*arguments(run), *more),
        cwd=run.folder,
        env=launcher.environment(run.folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def train(run: runs.Run, *more: str) -> runs.Run:
    """Train a run to its end."""
    start(run, *more).wait(170)
    return run
