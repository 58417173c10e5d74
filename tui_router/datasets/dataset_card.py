"""The card (README.md) of an exported dataset: contents, origin, limits and how to load it."""

from __future__ import annotations

import hashlib

import msgspec

from tui_router.core.clock import now
from tui_router.core.fleet import Fleet
from tui_router.datasets.exported_dataset import ExportedDataset, PiiPolicy
from tui_router.datasets.formats import Target, system_prompt
from tui_router.datasets.splits import PARTS
from tui_router.routing.rules.rules_router import RulesRouter

_LOAD = {
    "csv": 'load_dataset("csv", data_files={{{files}}})',
    "hf": 'load_dataset("{folder}")',
}
_LOAD_JSON = 'load_dataset("json", data_files={{{files}}})'
_PII_POLICY = {
    "mask": "replaced by its kind in brackets",
    "drop": "left out together with its example",
    "keep": "kept unchanged: check it before you share this folder",
}
_CHAT = (
    "The conversation before a request is part of its one user message; the label is the only assistant message. Train with",
    "`SFTConfig(assistant_only_loss=True)` so that the loss covers the label alone.",
)
_TRAINING: dict[str, tuple[str, ...]] = {
    "messages": _CHAT,
    "sharegpt": (
        *_CHAT,
        "trl knows no speakers called human and gpt: rename them to user and assistant first, or export `messages`.",
    ),
    "hf": _CHAT,
    "prompt-completion": ("trl's loss covers the completion alone, which is its default for these columns.",),
    "alpaca": ("The conversation before a request is part of `input`.",),
}
"""How to train on a format so that only the label is learned; held by tests/training/test_trl.py."""
_SEEDS = (
    "Seeds are the requests that ship with tui-router. A language model wrote them, each for a stated route; 1,470 of the "
    "8,911 were filled into templates. They are no requests of real users. In how many passes they were written, and how "
    "they were checked, was not recorded."
)


def to_markdown(dataset: ExportedDataset, fleet: Fleet, target: Target, private: PiiPolicy, version: str) -> str:
    """Write the card of a routing dataset: YAML for the Hugging Face hub, then Markdown for people."""
    rows = [f"| {route} | " + " | ".join(str(n[p]) for p in PARTS) + " |" for route, n in dataset.per_route.items()]
    sources = ", ".join(f"{source} {n:,}" for source, n in dataset.per_source.items())
    left_out = "; ".join(f"{reason}: {n:,}" for reason, n in dataset.left_out.items()) or "nothing"
    dropped = ", ".join(f"{what} (of {n:,} examples)" for what, n in dataset.dropped.items())
    return "\n".join(
        [
            *header(dataset, "text-classification"),
            "# Requests and their routes",
            "",
            f"{sum(dataset.parts.values()):,} examples, format `{dataset.form}`, target `{dataset.target}`, written by "
            f"tui-router {version} at {now()}. Hash of all rows: `{dataset.hash}`.",
            "",
            f"| route | {' | '.join(PARTS)} |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
            f"Sources: {sources}. Left out: {left_out}.",
            *([_SEEDS] if dataset.per_source.get("seed") else []),
            "",
            f"Private data (keys and passwords, e-mail, phone and card numbers, IBAN, IP addresses, file paths) was {_PII_POLICY[private]}: "
            f"{dataset.masked:,} examples changed.",
            *([f"The format has no place for: {dropped}."] if dropped else []),
            "It is found by patterns and check digits. Names and postal addresses of people are not searched for.",
            "",
            "Near-duplicate requests are always in the same part. The part of a conversation comes from a hash of its name,",
            "so it never changes as data grows. Keep `test` for the last measurement.",
            "",
            *_TRAINING.get(dataset.form, ()),
            "`weight` is 1 for a label that a person chose, less for one that was only accepted; trl does not read it.",
            "Licences: seeds are under tui-router's MIT licence. The requests of verdicts, imports and generated data are yours,",
            "or under the terms of where you took them from.",
            "",
            f"Rules {RulesRouter(fleet).version}, fleet {_fleet_version(fleet)}.",
            "",
            *footer(dataset, system_prompt(fleet, target)),
        ]
    )


def header(dataset: ExportedDataset, task: str) -> list[str]:
    """Return the YAML that tells the Hugging Face hub where the parts are."""
    yaml = ["---", "configs:", "- config_name: default", "  data_files:"]
    for part, path in _files(dataset).items():
        yaml += [f"  - split: {part}", f"    path: {path}"]
    return [*yaml, "task_categories:", f"- {task}", "---", ""]


def footer(dataset: ExportedDataset, prompt: str) -> list[str]:
    """Return the code that loads the dataset, and the system prompt of its rows."""
    files = ", ".join(f'"{part}": "{path}"' for part, path in _files(dataset).items())
    load = _LOAD.get(dataset.form, _LOAD_JSON).format(files=files, folder=dataset.folder)
    lines = ["```python", "from datasets import load_dataset", "", f"data = {load}", "```", ""]
    return [*lines, "The system prompt of every row:", "", "```text", prompt, "```", ""]


def _files(dataset: ExportedDataset) -> dict[str, str]:
    suffix = {"csv": "csv", "hf": "parquet"}.get(dataset.form, "jsonl")
    folder = "data/" if dataset.form == "hf" else ""
    return {part: f"{folder}{part}.{suffix}" for part in PARTS if dataset.parts.get(part)}


def _fleet_version(fleet: Fleet) -> str:
    """Eight hex digits that change with the routes, their descriptions or their models."""
    routes = [(r.name, r.description, r.model) for r in fleet.routes]
    return hashlib.blake2b(msgspec.json.encode(routes), digest_size=4).hexdigest()
