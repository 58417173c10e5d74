"""The card of a dataset: what is in it, how it was chosen, and how it is read."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from tui_router.core.clock import now
from tui_router.core.fleet import Fleet
from tui_router.datasets.formats import Target, system_prompt
from tui_router.datasets.splits import PARTS
from tui_router.routing.rules.rules_router import RulesRouter

if TYPE_CHECKING:
    from tui_router.datasets.export import ExportedDataset

_READ = {
    "csv": 'load_dataset("csv", data_files={{{files}}})',
    "hf": 'load_dataset("{folder}")',
}
_JSON = 'load_dataset("json", data_files={{{files}}})'
_PRIVATE = {
    "mask": "replaced by its kind in brackets",
    "drop": "left out with its whole example",
    "keep": "kept as it is: look at it before this leaves your machine",
}


def card(made: ExportedDataset, fleet: Fleet, target: Target, private: str, version: str) -> str:
    """The README.md of an export: YAML for the hub's readers, then Markdown for people."""
    rows = [f"| {route} | " + " | ".join(str(n[p]) for p in PARTS) + " |" for route, n in made.per_route.items()]
    sources = ", ".join(f"{source} {n:,}" for source, n in made.per_source.items())
    left_out = "; ".join(f"{why}: {n:,}" for why, n in made.left_out.items()) or "nothing"
    return "\n".join(
        [
            *head(made, "text-classification"),
            "# Requests and the routes they belong to",
            "",
            f"{sum(made.parts.values()):,} examples, format `{made.form}`, target `{made.target}`, written by tui-router {version}",
            f"at {now()}. Hash of all rows: `{made.hash}`.",
            "",
            f"| route | {' | '.join(PARTS)} |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
            f"Sources: {sources}. Left out: {left_out}.",
            f"Private data (e-mail, phone, keys, card numbers, IBAN, IP addresses, file paths) was {_PRIVATE[private]}: "
            f"{made.masked:,} examples.",
            "",
            "Parts follow from a hash of each conversation and never change as data grows; requests that are nearly the same",
            "are in one part. `test` is sealed: keep it for the last measurement.",
            "",
            f"Rules {RulesRouter(fleet).version}, fleet {_fleet_version(fleet)}.",
            "",
            *foot(made, system_prompt(fleet, target)),
        ]
    )


def head(made: ExportedDataset, task: str) -> list[str]:
    """What the hub's readers want to know first: where the parts lie."""
    yaml = ["---", "configs:", "- config_name: default", "  data_files:"]
    for part, path in _files(made).items():
        yaml += [f"  - split: {part}", f"    path: {path}"]
    return [*yaml, "task_categories:", f"- {task}", "---", ""]


def foot(made: ExportedDataset, prompt: str) -> list[str]:
    """How the rows are read, and what every one of them begins with."""
    files = ", ".join(f'"{part}": "{path}"' for part, path in _files(made).items())
    read = _READ.get(made.form, _JSON).format(files=files, folder=made.folder)
    lines = ["```python", "from datasets import load_dataset", "", f"data = {read}", "```", ""]
    return [*lines, "The system prompt of every row:", "", "```text", prompt, "```", ""]


def _files(made: ExportedDataset) -> dict[str, str]:
    ending = {"csv": "csv", "hf": "parquet"}.get(made.form, "jsonl")
    folder = "data/" if made.form == "hf" else ""
    return {part: f"{folder}{part}.{ending}" for part in PARTS if made.parts.get(part)}


def _fleet_version(fleet: Fleet) -> str:
    """Eight hex digits of the routes and models that the labels speak of."""
    what = [(r.name, r.description, r.model) for r in fleet.routes]
    return hashlib.blake2b(msgspec.json.encode(what), digest_size=4).hexdigest()
