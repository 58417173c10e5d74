"""Measures two decisions of the training with tiny models: what is shown of a long request, and which weights are kept.

    python -m scripts.measure_training [long] [best] [--seeds 2]

`long`: a question before or after a paste of 300 characters, of which 200 are shown: cut at the end, or the middle left out. A
fifth of the real sizes, so that a tiny model is trained in minutes.
`best`: 100 rows, a fifth with a wrong label, trained for 240 steps; the weights of the last step, or of the evaluation with
the least log loss. Both are judged on sealed rows without wrong labels. Each training takes about a minute.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from math import log
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from tests.training import world
from tui_router.core.example import Example
from tui_router.core.statistics import wilson
from tui_router.datasets.formats import line_of, row_of
from tui_router.routing.llm.llm_router import without_middle
from tui_router.training.gate.run_gate import top_route
from tui_router.training.router_manifest import ROUTER, SEALED, HeldOutCase, RouterManifest, read_json
from tui_router.training.runs import Run

PASTE, SHOWN = 300, 200
"""Characters of a paste, and of a request that is shown."""
WORDS = "time line note page day hand part side word place case week point fact room book door list form turn".split()  # noqa: SIM905


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=("long", "best", []), default=[])
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args()
    for name in args.what or ("long", "best"):
        measure = {"long": long_requests, "best": best_weights}[name]
        measure(args.seeds)
    return 0


def long_requests(seeds: int) -> None:
    """Print the accuracy by where the question stands, for both ways to shorten a request."""
    for name, shorten in (("cut at the end", cut), ("middle left out", lambda text: without_middle(text, SHOWN))):
        hits: dict[str, list[bool]] = {}
        for seed in range(seeds):
            examples, places = with_pastes(seed, shorten)
            run = trained(examples, steps=140, seed=seed + 1)
            for place, hit in zip(places[1::6], sealed_hits(run), strict=True):
                hits.setdefault(place, []).append(hit)
        shown = (f"{place} {share(found)}" for place, found in sorted(hits.items()))
        print(f"long requests, {name}: {', '.join(shown)}", flush=True)


def cut(text: str) -> str:
    """Return the first characters of a text, as a trained router was shown it before."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."


def with_pastes(seed: int, shorten: Callable[[str], str]) -> tuple[list[Example], list[str]]:
    """Return (requests of which two thirds have a paste, where the question of each stands)."""
    dice, examples, places = random.Random(seed), [], []
    for example in [one for one in world.examples(520) if not one.has_image][:330]:
        place = dice.choice(("no paste", "before the paste", "after the paste"))
        paste = ""
        while len(paste) < PASTE:
            paste += f"{dice.choice(WORDS)} "
        parts = {"before the paste": (example.text, paste), "after the paste": (paste, example.text)}
        text = shorten("\n".join(parts[place])) if place in parts else example.text
        examples.append(replace(example, text=text))
        places.append(place)
    return examples, places


def best_weights(seeds: int) -> None:
    """Print accuracy and log loss on the sealed rows, for the weights of the last step and the best ones."""
    for best in (False, True):
        hits: list[bool] = []
        losses: list[float] = []
        for seed in range(seeds):
            examples = with_wrong_labels(seed)
            run = trained(examples, steps=240, best_weights=best, eval_every=20, checkpoint_every=500, seed=seed + 1)
            hits += sealed_hits(run)
            losses += sealed_losses(run)
        name = "least log loss" if best else "last step"
        print(f"weights of the {name}: {share(hits)}, log loss {sum(losses) / len(losses):.3f}", flush=True)


def with_wrong_labels(seed: int) -> list[Example]:
    """Return requests in the world's order of parts: sealed rows are right, a fifth of the others are wrong."""
    dice = random.Random(seed)
    examples = []
    for i, example in enumerate(world.examples(150)):
        wrong = i % 6 != 1 and dice.random() < 0.2
        others = [route for route in world.WORDS if route != example.route]
        examples.append(replace(example, route=dice.choice(others)) if wrong else example)
    return examples


def trained(examples: Sequence[Example], **changes: Any) -> Run:
    """Write a dataset of these requests, make a base model and train it, with these changes of the tests' recipe."""
    home = Path(tempfile.mkdtemp(prefix="tui-router-measure-"))
    data = home / "data"
    data.mkdir()
    for place, example in enumerate(examples):
        part = {0: "validation", 1: "test"}.get(place % 6, "train")
        with (data / f"{part}.jsonl").open("a", encoding="utf-8") as file:
            file.write(line_of(row_of(example, world.COMPANY.fleet, "messages", "letter"), "messages"))
    recipe = replace(world.recipe_for(world.base(home / "base", data)), **changes)
    run = world.new_run(home, recipe, data)
    world.start(run).wait()
    return run


def sealed_hits(run: Run) -> list[bool]:
    """Return whether each sealed row is decided correctly."""
    manifest = read_json(run.artifact / ROUTER, RouterManifest)
    cases = read_json(run.artifact / SEALED, list[HeldOutCase])
    return [top_route(manifest, case.probabilities)[0] == case.route for case in cases]


def sealed_losses(run: Run) -> list[float]:
    """Return the negative log probability of the right route of each sealed row, in nats."""
    manifest = read_json(run.artifact / ROUTER, RouterManifest)
    cases = read_json(run.artifact / SEALED, list[HeldOutCase])
    return [-log(max(1e-9, c.probabilities[manifest.routes.index(c.route)])) for c in cases]


def share(found: Sequence[bool]) -> str:
    """Return an accuracy with its interval."""
    low, high = wilson(sum(found), len(found))
    return f"{sum(found) / len(found):.1%} [{low:.0%}-{high:.0%}] n={len(found)}"


if __name__ == "__main__":
    sys.exit(main())
