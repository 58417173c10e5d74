"""The rows of a dataset as a training reads them: what the model is shown, and what it is to say.

A dataset is a folder that `dataset export` wrote in the format `messages` with
the target `letter`, or `route` for answers in text.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct

from tui_router.training.recipe import Recipe
from tui_router.training.training_error import TrainingError

FEWEST = 10
"""Rows below which there is nothing to train on."""


class DataError(TrainingError):
    """The dataset cannot be trained on; the message says why and what to do."""


class TrainingRow(NamedTuple):
    """One example."""

    messages: tuple[dict[str, str], ...]
    """What the model is shown."""
    answer: str
    route: str
    key: str
    """Which example it is: its turn, or a hash of what the model is shown."""
    source: str


class Dataset(Struct, frozen=True, kw_only=True):
    """What is trained on, and what it is judged by."""

    train: tuple[TrainingRow, ...]
    validation: tuple[TrainingRow, ...]
    """In an order that has nothing to do with that of the file, which may go route by route: any first so many are a sample."""
    test: tuple[TrainingRow, ...]
    """Sealed: only the gate looks at it."""
    answers: dict[str, str]
    """Route -> what the model says for it, in the order of the letters, or of the names."""
    instructions: str
    """What stands before each request when the answers are letters; else empty."""
    hash: str
    """Of the files."""


def read(folder: Path, recipe: Recipe) -> Dataset:
    """Read a dataset and check that it can be trained on. Raises DataError."""
    if not folder.is_dir():
        raise DataError(
            f"{folder} is no folder; tui-router dataset export --format messages --target letter --out DIR makes one"
        )
    files = {part: folder / f"{part}.jsonl" for part in ("train", "validation", "test")}
    if not files["train"].is_file():
        raise DataError(f"{folder} has no train.jsonl; export it with --format messages --target {_target(recipe)}")
    made = hashlib.blake2b(digest_size=8)
    parts: dict[str, tuple[TrainingRow, ...]] = {}
    for part, path in files.items():
        parts[part] = tuple(_rows(path, recipe)) if path.is_file() else ()
        if path.is_file():
            made.update(path.read_bytes())
    train = parts["train"]
    if len(train) < FEWEST:
        raise DataError(
            f"{folder} has {len(train)} rows to train on, and {FEWEST} are the fewest; rate more turns, or export the seeds too"
        )
    routes = Counter(row.route for row in train)
    if len(routes) < 2:
        raise DataError(
            f"all rows of {folder} belong to one route, {next(iter(routes))!r}; there is nothing to tell apart"
        )
    validation = parts["validation"]
    if not validation:
        train, validation = _held_out(train, recipe.eval_share)
    answers = {row.route: row.answer for row in (*train, *validation, *parts["test"])}
    said = {_instructions(row) for row in (*train, *validation, *parts["test"])} if recipe.label == "letter" else {""}
    if len(said) != 1:
        raise DataError(f"the rows of {folder} were exported for {len(said)} different lists of routes; export it anew")
    order = sorted(answers, key=lambda route: answers[route])
    return Dataset(
        train=train, validation=tuple(sorted(validation, key=_place)), test=parts["test"], answers={route: answers[route] for route in order},
        instructions=said.pop(), hash=made.hexdigest(),
    )  # fmt: skip


def _instructions(row: TrainingRow) -> str:
    """The first paragraph of what the model is shown."""
    return row.messages[0]["content"].partition("\n\n")[0]


def _target(recipe: Recipe) -> str:
    return "letter" if recipe.label == "letter" else "route"


def _rows(path: Path, recipe: Recipe) -> Iterator[TrainingRow]:
    said: dict[str, str] = {}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            try:
                row = _row(json.loads(line))
            except (ValueError, KeyError, TypeError, IndexError) as error:
                raise DataError(
                    f"{where}: is no row of messages with a route ({error}); export it with --format messages"
                ) from error
            lettered = len(row.answer) == 1
            if lettered != (recipe.label == "letter"):
                raise DataError(
                    f"{where}: answers {row.answer!r}, and the recipe wants answers as {recipe.label}; "
                    f"export it with --target {_target(recipe)}"
                )
            if said.setdefault(row.route, row.answer) != row.answer:
                raise DataError(
                    f"{where}: {row.route} is {row.answer!r} here and {said[row.route]!r} before; export it anew"
                )
            yield row


def _row(row: Mapping[str, Any]) -> TrainingRow:
    *shown, last = row["messages"]
    if last["role"] != "assistant" or not shown:
        raise ValueError("its last message is no answer")
    messages = tuple({"role": str(m["role"]), "content": str(m["content"])} for m in shown)
    key = row.get("origin") or hashlib.blake2b(repr(messages).encode("utf-8", "replace"), digest_size=8).hexdigest()
    return TrainingRow(
        messages, str(last["content"]).strip(), str(row["route"]), str(key), str(row.get("source", "imported"))
    )


def _held_out(rows: tuple[TrainingRow, ...], share: float) -> tuple[tuple[TrainingRow, ...], tuple[TrainingRow, ...]]:
    """Rows without a share of them, chosen by what they say."""

    return tuple(row for row in rows if _place(row) >= share), tuple(row for row in rows if _place(row) < share)


def _place(row: TrainingRow) -> float:
    """A number from 0 to 1 that follows from what a row says."""
    made = hashlib.blake2b(f"{row.key} {row.messages}".encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(made, "big") / 2**64
