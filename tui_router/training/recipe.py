"""A recipe: how a router is fine-tuned. TOML, read with every fault at once; the shipped ones lie in `data/recipes`."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Literal

from msgspec import Struct

from tui_router.config import toml_locations
from tui_router.config.validation import Checker
from tui_router.core import assets
from tui_router.training.training_error import TrainingError

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")
ALIASES = {"google/gemma-3-1b": "google/gemma-3-1b-it", "google/gemma-3-270m": "google/gemma-3-270m-it"}
"""Names that are not models that answer, and the ones that are meant."""
MIRRORS = {"google/gemma-3-1b-it": "unsloth/gemma-3-1b-it", "google/gemma-3-270m-it": "unsloth/gemma-3-270m-it"}
"""The same weights without a licence form to accept first."""


class Recipe(Struct, frozen=True, kw_only=True):
    """How a router is fine-tuned. The text under each field is its manual."""

    base: str = "google/gemma-3-1b"
    """The model to begin with: a folder in Hugging Face form, or an id of the hub."""
    method: Literal["lora", "full"] = "lora"
    """`lora` trains small matrices beside the frozen weights; `full` trains all of them and needs four times the memory."""
    backend: Literal["auto", "unsloth", "plain"] = "auto"
    """`unsloth` needs a GPU and is faster on it; `plain` is trl and peft, anywhere; `auto` takes what is there."""
    label: Literal["letter", "text"] = "letter"
    """`letter`: the answer is one token, and its probability the confidence. `text`: ROUTE_TO=name, which any runner understands."""
    r: int = 16
    """Rank of the LoRA matrices: more can learn more, and forget more."""
    alpha: int = 16
    """Scale of the LoRA matrices; alpha / r multiplies what they say."""
    dropout: float = 0.0
    """Share of the LoRA input that is left out at random while training."""
    targets: tuple[str, ...] = ATTENTION
    """Projections that get LoRA matrices; adding gate_proj, up_proj, down_proj learns more at twice the size."""
    four_bit: bool = True
    """Load the base in 4 bits (QLoRA), on a GPU with bitsandbytes; a quarter of the memory. Ignored elsewhere."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto`: bfloat16 on a GPU that can, else float32."""
    learning_rate: float = 2e-4
    """How far a step goes. LoRA wants about ten times what a full fine-tune does."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after the warm-up."""
    warmup: float = 0.05
    """Share of the steps in which the learning rate rises."""
    batch: int = 8
    """Examples that are worked on at a time: memory grows with it."""
    accumulate: int = 2
    """Batches that make up one step."""
    epochs: float = 3.0
    """How often every example is seen; `steps` overrides it."""
    steps: int = 0
    """Optimiser steps; 0: as many as the epochs make."""
    max_length: int = 512
    """Tokens of a row; longer ones are left out and counted."""
    seed: int = 3407
    """The same seed, data and versions give the same model."""
    eval_share: float = 0.1
    """Share of the training rows that is held out when the dataset has no validation part."""
    eval_rows: int = 200
    """Most rows of an evaluation while training."""
    eval_every: int = 25
    """Steps between two evaluations."""
    checkpoint_every: int = 25
    """Steps between two checkpoints: what a crash can lose."""
    threads: int = 0
    """CPU threads; 0: all but one."""


_TOP = ("base", "method", "backend", "label", "lora", "training", "evaluation")
TABLES = {
    "lora": ("r", "alpha", "dropout", "targets", "four_bit"),
    "training": (
        "learning_rate", "schedule", "warmup", "batch", "accumulate", "epochs", "steps", "max_length", "seed", "precision",
        "checkpoint_every", "threads",
    ),
    "evaluation": ("eval_share", "eval_rows", "eval_every"),
}  # fmt: skip


class RecipeError(TrainingError):
    """A recipe is wrong; the message lists every fault, one a line."""


def shipped() -> dict[str, Path]:
    """Name -> file of the recipes that come with the program."""
    return {path.stem: path for path in sorted(assets.data("recipes").glob("*.toml"))}


def load(name: str | Path) -> Recipe:
    """The recipe in a file, or the shipped one of that name. Raises RecipeError."""
    path = shipped().get(str(name), Path(name))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(shipped())
        said = error.strerror if isinstance(error, OSError) else "it is not text"
        raise RecipeError(f"{path}: cannot be read: {said}; shipped recipes: {known}") from error
    return parse(text, str(path))


def parse(text: str, name: str) -> Recipe:
    """The recipe in a text. Raises RecipeError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{name}: is not TOML: {error}") from error
    check = Checker(name, toml_locations.locate(text))
    check.known(data, (), _TOP)
    plain = Recipe()
    lora, training, evaluation = (check.table(data, (table,)) for table in TABLES)
    for table, known in TABLES.items():
        check.known(check.table(data, (table,)), (table,), known)
    method = check.choice(data, (), "method", ("lora", "full"), plain.method)
    at = ("training",)
    recipe = Recipe(
        base=check.text(data, (), "base", plain.base),
        method=method,  # type: ignore[arg-type]  # `choice` allows only these
        backend=check.choice(data, (), "backend", ("auto", "unsloth", "plain"), plain.backend),  # type: ignore[arg-type]
        label=check.choice(data, (), "label", ("letter", "text"), plain.label),  # type: ignore[arg-type]
        r=check.whole(lora, ("lora",), "r", plain.r, 1, 512),
        alpha=check.whole(lora, ("lora",), "alpha", plain.alpha, 1, 1024),
        dropout=check.number(lora, ("lora",), "dropout", plain.dropout, 0, 0.9),
        targets=check.texts(lora, ("lora",), "targets") or plain.targets,
        four_bit=check.flag(lora, ("lora",), "four_bit", plain.four_bit),
        precision=check.choice(training, at, "precision", ("auto", "float32", "bfloat16"), plain.precision),  # type: ignore[arg-type]
        learning_rate=check.number(training, at, "learning_rate", plain.learning_rate, 1e-8, 1),
        schedule=check.choice(training, at, "schedule", ("cosine", "linear", "constant"), plain.schedule),  # type: ignore[arg-type]
        warmup=check.number(training, at, "warmup", plain.warmup, 0, 0.9),
        batch=check.whole(training, at, "batch", plain.batch, 1, 4096),
        accumulate=check.whole(training, at, "accumulate", plain.accumulate, 1, 1024),
        epochs=check.number(training, at, "epochs", plain.epochs, 0.01, 1000),
        steps=check.whole(training, at, "steps", plain.steps, 0, 10_000_000),
        max_length=check.whole(training, at, "max_length", plain.max_length, 16, 131_072),
        seed=check.whole(training, at, "seed", plain.seed, 0, 2**31 - 1),
        eval_share=check.number(evaluation, ("evaluation",), "eval_share", plain.eval_share, 0.01, 0.5),
        eval_rows=check.whole(evaluation, ("evaluation",), "eval_rows", plain.eval_rows, 1, 1_000_000),
        eval_every=check.whole(evaluation, ("evaluation",), "eval_every", plain.eval_every, 1, 1_000_000),
        checkpoint_every=check.whole(training, at, "checkpoint_every", plain.checkpoint_every, 1, 1_000_000),
        threads=check.whole(training, at, "threads", plain.threads, 0, 1024),
    )
    if not recipe.base.strip():
        check.fault(("base",), "names no model")
    if check.problems:
        raise RecipeError("\n".join(map(str, check.problems)))
    return recipe


def write(recipe: Recipe) -> str:
    """A recipe as TOML, every value written out."""
    import msgspec

    values = msgspec.to_builtins(recipe)
    lines = [f"{name} = {_toml(values[name])}" for name in _TOP if name in values]
    for table, names in TABLES.items():
        lines += ["", f"[{table}]", *(f"{name} = {_toml(values[name])}" for name in names)]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    import json

    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value) if isinstance(value, str | bool) else repr(value)


def described() -> dict[str, str]:
    """Field -> its manual, read off the class."""
    import ast
    import inspect

    body = ast.parse(inspect.getsource(Recipe)).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, doc in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant):
            assert isinstance(field.target, ast.Name)
            found[field.target.id] = " ".join(str(doc.value.value).split())
    return found


def steps_of(recipe: Recipe, rows: int, processes: int = 1) -> int:
    """Optimiser steps of a training on so many rows."""
    a_pass = math.ceil(math.ceil(rows / (recipe.batch * processes)) / recipe.accumulate)
    return recipe.steps or max(1, math.ceil(a_pass * recipe.epochs))


def base_of(recipe: Recipe) -> str:
    """The base as it is loaded: a folder, or the id that an alias stands for."""
    return recipe.base if Path(recipe.base).expanduser().is_dir() else ALIASES.get(recipe.base, recipe.base)
