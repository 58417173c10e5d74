"""The rows of a dataset as a training reads them: the prompt, and the answer that the model is to learn.

A dataset is a folder that `dataset export` wrote in the format `messages`, with the target `letter`, or `route` for answers
in text.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from tui_router.core.example import Example
from tui_router.datasets.formats import RowError, example_of, format_of
from tui_router.routing.llm.control_tokens import neutralise
from tui_router.training.recipe import Recipe
from tui_router.training.training_error import TrainingError

FEWEST_ROWS = 10
"""Fewest training rows. Chosen by hand."""


class DataError(TrainingError):
    """The dataset cannot be trained on; the message says why and what to do."""


class TrainingRow(NamedTuple):
    """One example."""

    messages: tuple[dict[str, str], ...]
    """The prompt: `role` and `content` of each message."""
    answer: str
    route: str
    key: str
    """Identifies the example: its turn, or a hash of the prompt."""
    source: str
    """`verdict`, `seed`, `generated` or `imported`."""


class TrainingDataset(Struct, frozen=True, kw_only=True):
    """The rows of a training, in their parts."""

    train: tuple[TrainingRow, ...]
    validation: tuple[TrainingRow, ...]
    """Shuffled by a hash, so that the first n rows are a sample: the file may be sorted by route."""
    test: tuple[TrainingRow, ...]
    """Sealed: only the gate reads the predictions for them."""
    answers: dict[str, str]
    """Route -> answer, in the order of the answers."""
    instructions: str
    """The first paragraph of every prompt when the answers are letters, else empty."""
    hash: str
    """Of the files."""


def read_dataset(folder: Path, recipe: Recipe) -> TrainingDataset:
    """Read a dataset and check that it can be trained on. Raises DataError."""
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder; `tui-router dataset export --format messages --target letter --out DIR` makes one"
        )
    files = {part: folder / f"{part}.jsonl" for part in ("train", "validation", "test")}
    if not files["train"].is_file():
        raise DataError(f"{folder} has no train.jsonl; export it with --format messages --target {_target(recipe)}")
    digest = hashlib.blake2b(digest_size=8)
    parts: dict[str, tuple[TrainingRow, ...]] = {}
    for part, path in files.items():
        parts[part] = tuple(_read_rows(path, recipe)) if path.is_file() else ()
        if path.is_file():
            digest.update(path.read_bytes())
    train, validation, test = parts["train"], parts["validation"], parts["test"]
    if len(train) < FEWEST_ROWS:
        raise DataError(
            f"{folder} has {len(train)} training rows and needs at least {FEWEST_ROWS}; "
            "rate more turns, or export the seeds too"
        )
    routes = Counter(row.route for row in train)
    if len(routes) < 2:
        raise DataError(
            f"all training rows of {folder} have the route {next(iter(routes))!r}; add rows of other routes"
        )
    if not validation:
        train, validation = _hold_out(train, recipe.eval_share)
    rows = (*train, *validation, *test)
    answers = {row.route: row.answer for row in rows}
    instructions = {_first_paragraph(row) for row in rows} if recipe.label == "letter" else {""}
    if len(instructions) != 1:
        raise DataError(f"the rows of {folder} have {len(instructions)} different lists of routes; export it again")
    return TrainingDataset(
        train=train,
        validation=tuple(sorted(validation, key=_hash_fraction)),
        test=test,
        answers=dict(sorted(answers.items(), key=lambda item: item[1])),
        instructions=instructions.pop(),
        hash=digest.hexdigest(),
    )


def without_control_tokens(dataset: TrainingDataset, tokens: Sequence[str]) -> TrainingDataset:
    """Return the dataset with the control tokens in its prompts turned into ordinary text (see `neutralise`)."""

    def clean(row: TrainingRow) -> TrainingRow:
        return row._replace(messages=tuple({**m, "content": neutralise(m["content"], tokens)} for m in row.messages))

    return replace(
        dataset,
        train=tuple(map(clean, dataset.train)),
        validation=tuple(map(clean, dataset.validation)),
        test=tuple(map(clean, dataset.test)),
        instructions=neutralise(dataset.instructions, tokens),
    )


def read_examples(folder: Path, part: Literal["train", "validation", "test"]) -> list[Example]:
    """Return the requests of one part of a dataset, which may be missing, with their routes. Raises DataError."""
    path = folder / f"{part}.jsonl"
    if not path.is_file():
        return []
    found = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                found.append(example_of(row, format_of(row) or "messages"))
            except (ValueError, RowError) as error:
                raise DataError(f"{path}:{number}: {error}") from error
    return found


def _first_paragraph(row: TrainingRow) -> str:
    return row.messages[0]["content"].partition("\n\n")[0]


def _target(recipe: Recipe) -> str:
    return "letter" if recipe.label == "letter" else "route"


def _read_rows(path: Path, recipe: Recipe) -> Iterator[TrainingRow]:
    answers: dict[str, str] = {}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            try:
                row = _parse_row(json.loads(line))
            except (ValueError, KeyError, TypeError, IndexError) as error:
                raise DataError(
                    f"{where}: is not a row of messages with a route ({error}); export it with --format messages"
                ) from error
            if (len(row.answer) == 1) != (recipe.label == "letter"):
                raise DataError(
                    f"{where}: the answer is {row.answer!r}, and the recipe needs answers as {recipe.label}; "
                    f"export it with --target {_target(recipe)}"
                )
            if answers.setdefault(row.route, row.answer) != row.answer:
                raise DataError(
                    f"{where}: the answer for {row.route} is {row.answer!r} here and {answers[row.route]!r} before; "
                    "export it again"
                )
            yield row


def _parse_row(row: Mapping[str, Any]) -> TrainingRow:
    *prompt, last = row["messages"]
    if last["role"] != "assistant" or not prompt:
        raise ValueError("the last message is not an answer")
    messages = tuple({"role": str(m["role"]), "content": str(m["content"])} for m in prompt)
    key = row.get("origin") or hashlib.blake2b(repr(messages).encode("utf-8", "replace"), digest_size=8).hexdigest()
    return TrainingRow(
        messages, str(last["content"]).strip(), str(row["route"]), str(key), str(row.get("source", "imported"))
    )


def _hold_out(rows: tuple[TrainingRow, ...], share: float) -> tuple[tuple[TrainingRow, ...], tuple[TrainingRow, ...]]:
    """Return (the rows to train on, about a share of them), chosen by their hash: the same in every process."""
    return (
        tuple(row for row in rows if _hash_fraction(row) >= share),
        tuple(row for row in rows if _hash_fraction(row) < share),
    )


def _hash_fraction(row: TrainingRow) -> float:
    """Return a number from 0 to 1 that depends only on the row's key and prompt."""
    digest = hashlib.blake2b(f"{row.key} {row.messages}".encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
