"""A recipe: how a router is fine-tuned. A TOML file whose faults are reported all at once; shipped ones are in `data/recipes`."""

from __future__ import annotations

import json
import math
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from tui_router.config import toml_locations
from tui_router.config.validation import Checker, read_fields
from tui_router.core import assets
from tui_router.training.training_error import TrainingError

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")
ALIASES = {"google/gemma-3-1b": "google/gemma-3-1b-it", "google/gemma-3-270m": "google/gemma-3-270m-it"}
"""Short names of models -> the instruction-tuned model that is meant."""
MIRRORS = {"google/gemma-3-1b-it": "unsloth/gemma-3-1b-it", "google/gemma-3-270m-it": "unsloth/gemma-3-270m-it"}
"""Models with a licence form -> a copy with the same weights and no form."""
_LORA, _TRAINING, _EVALUATION = {"table": "lora"}, {"table": "training"}, {"table": "evaluation"}
"""The table of the file in which a field is written; fields without one come before the tables."""


class Recipe(Struct, frozen=True, kw_only=True):
    """How a router is fine-tuned. The text under each field is its help on the screen."""

    base: Annotated[str, Meta(pattern=r"\S")] = "google/gemma-3-1b"
    """The model to start from: a folder in Hugging Face form, or an id of the hub."""
    method: Literal["lora", "full"] = "lora"
    """`lora` trains small matrices added to the frozen weights; `full` trains all weights and needs four times the memory."""
    backend: Literal["auto", "unsloth", "plain"] = "auto"
    """`unsloth` needs a GPU and is faster there; `plain` is trl and peft and runs anywhere; `auto` chooses."""
    label: Literal["letter", "text"] = "letter"
    """`letter`: the answer is one token, and its probability is the confidence. `text`: ROUTE_TO=name, for any server."""
    r: Annotated[int, Meta(ge=1, le=512, extra=_LORA)] = 16
    """Rank of the LoRA matrices: a higher rank learns more and can forget more."""
    alpha: Annotated[int, Meta(ge=1, le=1024, extra=_LORA)] = 16
    """Scale of the LoRA matrices: their output is multiplied by alpha / r."""
    dropout: Annotated[float, Meta(ge=0, le=0.9, extra=_LORA)] = 0.0
    """Share of the LoRA input that is set to zero at random while training."""
    targets: Annotated[tuple[Annotated[str, Meta(pattern=r"\S")], ...], Meta(min_length=1, extra=_LORA)] = ATTENTION
    """Projections that get LoRA matrices. Adding gate_proj, up_proj, down_proj learns more and doubles the size."""
    four_bit: Annotated[bool, Meta(extra=_LORA)] = True
    """Load the base in 4 bits (QLoRA): a quarter of the memory. Needs a GPU and bitsandbytes; ignored elsewhere."""
    learning_rate: Annotated[float, Meta(ge=1e-8, le=1, extra=_TRAINING)] = 2e-4
    """Size of a step. LoRA needs about ten times the rate of a full fine-tune."""
    schedule: Annotated[Literal["cosine", "linear", "constant"], Meta(extra=_TRAINING)] = "cosine"
    """How the learning rate falls after the warm-up."""
    warmup: Annotated[float, Meta(ge=0, le=0.9, extra=_TRAINING)] = 0.05
    """Share of the steps in which the learning rate rises."""
    batch: Annotated[int, Meta(ge=1, le=4096, extra=_TRAINING)] = 8
    """Examples in one forward pass: memory grows with it."""
    accumulate: Annotated[int, Meta(ge=1, le=1024, extra=_TRAINING)] = 2
    """Batches in one optimiser step."""
    epochs: Annotated[float, Meta(ge=0.01, le=1000, extra=_TRAINING)] = 3.0
    """How often each example is trained on; ignored when `steps` is set."""
    steps: Annotated[int, Meta(ge=0, le=10_000_000, extra=_TRAINING)] = 0
    """Optimiser steps; 0: as many as the epochs need."""
    max_length: Annotated[int, Meta(ge=16, le=131_072, extra=_TRAINING)] = 512
    """Most tokens of a row; longer rows are not trained on, and counted."""
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1, extra=_TRAINING)] = 3407
    """The same seed, data and versions give the same model."""
    precision: Annotated[Literal["auto", "float32", "bfloat16"], Meta(extra=_TRAINING)] = "auto"
    """`auto`: bfloat16 on a GPU that supports it, else float32."""
    checkpoint_every: Annotated[int, Meta(ge=1, le=1_000_000, extra=_TRAINING)] = 25
    """Steps between two checkpoints: the most that a crash can lose."""
    threads: Annotated[int, Meta(ge=0, le=1024, extra=_TRAINING)] = 0
    """CPU threads; 0: all but one."""
    eval_share: Annotated[float, Meta(ge=0.01, le=0.5, extra=_EVALUATION)] = 0.1
    """Share of the training rows that is held out when the dataset has no validation part."""
    eval_rows: Annotated[int, Meta(ge=1, le=1_000_000, extra=_EVALUATION)] = 200
    """Most rows of an evaluation while training."""
    eval_every: Annotated[int, Meta(ge=1, le=1_000_000, extra=_EVALUATION)] = 25
    """Steps between two evaluations."""
    best_weights: Annotated[bool, Meta(extra=_EVALUATION)] = False
    """Keep the weights of the evaluation with the least log loss, instead of those of the last step. No gain has been
    measured yet (`python -m scripts.measure_training best`), so it is off."""


class RecipeError(TrainingError):
    """A recipe is wrong; the message lists every fault, one a line."""


@cache
def tables() -> dict[str, tuple[str, ...]]:
    """Return the tables of a recipe file, each with its fields; "" holds those before the first table."""
    found: dict[str, tuple[str, ...]] = {"": ()}
    for field in msgspec.structs.fields(Recipe):
        info = msgspec.inspect.type_info(field.type)
        extra = (info.extra if isinstance(info, msgspec.inspect.Metadata) else None) or {}
        table = extra.get("table", "")
        found[table] = (*found.get(table, ()), field.name)
    return found


def shipped() -> dict[str, Path]:
    """Return name -> file of the recipes that come with the program."""
    return {path.stem: path for path in sorted(assets.data("recipes").glob("*.toml"))}


def load(name: str | Path) -> Recipe:
    """Return the recipe in a file, or the shipped one of that name. Raises RecipeError."""
    path = shipped().get(str(name), Path(name))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror or error) if isinstance(error, OSError) else "it is not text in UTF-8"
        raise RecipeError(f"{path}: cannot be read: {why}; shipped recipes: {', '.join(shipped())}") from error
    return parse(text, str(path))


def parse(text: str, name: str) -> Recipe:
    """Return the recipe in a text; `name` stands for it in messages. Raises RecipeError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{name}: is not TOML: {error}") from error
    check = Checker(name, toml_locations.locate(text))
    check.known(data, (), (*tables()[""], *filter(None, tables())))
    values = read_fields(data, (), Recipe, check, tables()[""])
    for table, fields in tables().items():
        if table:
            inner = check.table(data, (table,))
            check.known(inner, (table,), fields)
            values |= read_fields(inner, (table,), Recipe, check, fields)
    if check.problems:
        raise RecipeError("\n".join(map(str, check.problems)))
    return Recipe(**values)


def to_toml(recipe: Recipe) -> str:
    """Return a recipe as TOML with every value written out."""
    values = msgspec.to_builtins(recipe)
    lines: list[str] = []
    for table, fields in tables().items():
        lines += ["", f"[{table}]"] if table else []
        lines += [f"{name} = {_toml_value(values[name])}" for name in fields]
    return "\n".join(lines) + "\n"


def _toml_value(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    return json.dumps(value) if isinstance(value, str | bool) else repr(value)


def total_steps(recipe: Recipe, rows: int, processes: int = 1) -> int:
    """Return the optimiser steps of a training on so many rows, as trl's trainer counts them."""
    steps_per_epoch = math.ceil(math.ceil(rows / (recipe.batch * processes)) / recipe.accumulate)
    return recipe.steps or max(1, math.ceil(steps_per_epoch * recipe.epochs))


def resolve_base(recipe: Recipe) -> str:
    """Return the base to load: a folder, or the hub id that an alias stands for."""
    return recipe.base if Path(recipe.base).expanduser().is_dir() else ALIASES.get(recipe.base, recipe.base)
