"""A small world to train in: three routes told apart by private words, a tiny base, recipes that take seconds."""

import random
import subprocess
from pathlib import Path

from tui_router.config.settings import parse_config
from tui_router.core.example import Example
from tui_router.datasets.formats import line_of, row_of
from tui_router.training import launcher, recipe, runs
from tui_router.training.plan import Plan
from tui_router.training.rows import read

WORDS = {
    "harbour": "kestrel marlow tansy orrin bexley quill",
    "ledger": "corvin maple ostrow hadley wren fenwick",
    "workshop": "garrick nolan yarrow zephyr eldon hobart",
}
FORMS = (
    "what is the matter with {0}", "{0} is late again", "who looks after {0}", "tell the others that {0} is done",
    "when did {0} change last", "is {0} ready", "please check {0}", "why did we wait for {0}", "{0} looks odd", "move {0}",
)  # fmt: skip
ENDINGS = ("", "please", "today", "now", "again", "at noon", "thanks")
FLEET = "\n".join(
    [f'[backends."{name}"]\nremove = true' for name in ("LM Studio", "Ollama", "llama-server")]
    + [f"[routes.{r.name}]\nremove = true" for r in parse_config("", None, {}).fleet.routes]
    + [f'[routes.{name}]\ndescription = "{name}"\nmodel = "gemma-3-1b"\nfallbacks = []' for name in WORDS]
) + "\n"  # fmt: skip
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
"""


def examples(n: int = 360) -> list[Example]:
    """Requests of this company."""
    dice = random.Random(0)
    found = {}
    while len(found) < n:
        route = dice.choice(list(WORDS))
        asked = dice.choice(FORMS).format(dice.choice(WORDS[route].split()))
        text = f"{asked} {dice.choice(ENDINGS)}{dice.choice('.!? ')}"
        found[text.strip()] = Example(text=text.strip(), route=route, source="imported")
    return list(found.values())


def dataset(folder: Path, target: str = "letter") -> Path:
    """Its dataset: every name is in every part, so that there is something to learn."""
    folder.mkdir(parents=True)
    for place, example in enumerate(examples()):
        part = {0: "validation", 1: "test"}.get(place % 6, "train")
        with (folder / f"{part}.jsonl").open("a", encoding="utf-8") as file:
            file.write(line_of(row_of(example, COMPANY.fleet, "messages", target), "messages"))
    return folder


def base(folder: Path, data: Path, seed: int = 0) -> Path:
    """A model of random weights, and a tokenizer made from the dataset."""
    code, _, trouble = launcher.do(
        ["tiny", "--data", str(data), "--out", str(folder), "--size", "96", "--layers", "2", "--vocabulary", "1200", "--seed", str(seed)],
        folder.parent,
    )  # fmt: skip
    assert code == 0, trouble
    return folder


def written(
    base_folder: Path, *, method: str = "full", label: str = "letter", steps: int = 70, rate: float = 3e-3
) -> recipe.Recipe:
    """A recipe."""
    return recipe.parse(RECIPE.format(base=base_folder, method=method, label=label, steps=steps, rate=rate), "recipe")


def run_of(home: Path, chosen: recipe.Recipe, data: Path) -> runs.Run:
    """A run that is not started."""
    return runs.create(
        home, chosen, data, read(data, chosen).hash, Plan(champion="learned", champion_version="", fewest=20)
    )


def arguments(run: runs.Run) -> tuple[str, ...]:
    """What the program is told of a run."""
    where = run.folder
    return ("--recipe", str(where / "recipe.toml"), "--data", str(where / "data"), "--out", str(where))


def start(run: runs.Run, *more: str) -> subprocess.Popen:
    """Its process, as the app starts it."""
    return subprocess.Popen(
        launcher.command(*arguments(run), *more), cwd=run.folder, env=launcher.environment(run.folder),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def train(run: runs.Run, *more: str) -> runs.Run:
    """Train it to its end."""
    start(run, *more).wait(170)
    return run
