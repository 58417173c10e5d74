"""Writes a dataset of conversations with tools: split into parts, in OpenAI's or ShareGPT's format, with a card.

The folder is complete or not there.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from tui_router import __version__
from tui_router.core.clock import now
from tui_router.core.fleet import Fleet
from tui_router.core.tool_dialogue import SCENARIOS, Call, ToolDialogue
from tui_router.datasets import pii
from tui_router.datasets.dataset_card import footer, header
from tui_router.datasets.export import atomic_folder, require_empty
from tui_router.datasets.exported_dataset import DatasetExportError, ExportedDataset, PiiPolicy
from tui_router.datasets.formats import Format
from tui_router.datasets.near_duplicates import representatives
from tui_router.datasets.splits import PARTS, split
from tui_router.datasets.synthetic.tool_dialogues import acting_route, as_example, row_of, system_prompt
from tui_router.routing.learned.knn_memory import RandomProjectionEncoder

FORMS: tuple[Format, ...] = ("messages", "sharegpt")
"""The formats that have fields for tool calls."""


def export(
    dialogues: Sequence[ToolDialogue],
    fleet: Fleet,
    form: Format,
    folder: Path,
    encoder: RandomProjectionEncoder,
    private_data: PiiPolicy = "keep",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ExportedDataset:
    """Write all conversations into a new folder; of those with near-duplicate requests, the first.

    Args:
        dialogues: All of them.
        fleet: The fleet of today.
        form: One of `FORMS`.
        folder: Must not exist, or be empty.
        encoder: Embeds requests, to find near-duplicates.
        private_data: What happens to private data. By default it is kept: a model invented the people, and masked
            arguments would teach the trained model to call tools with `[e-mail]`.
        progress: Called with (done, total).

    Raises:
        DatasetExportError: the folder is not empty or cannot be written, or there is no conversation to write.
    """
    require_empty(folder)
    route = acting_route(fleet)
    examples = [as_example(one, route) for one in dialogues]
    represented_by = representatives(examples, encoder).tolist()
    parts = split(examples, represented_by)
    left_out: Counter[str] = Counter()
    counts: dict[str, dict[str, int]] = {scenario: dict.fromkeys(map(str, PARTS), 0) for scenario in SCENARIOS}
    changed, rows_hash = 0, hashlib.blake2b(digest_size=8)
    try:
        with atomic_folder(folder) as unfinished, ExitStack() as stack:
            files: dict[str, Any] = {}
            for index, (dialogue, part) in enumerate(zip(dialogues, parts, strict=True)):
                if represented_by[index] != index:
                    left_out["near-duplicate"] += 1
                    continue
                clean = dialogue if private_data == "keep" else masked_dialogue(dialogue)
                if clean != dialogue and private_data == "drop":
                    left_out["private data"] += 1
                    continue
                changed += clean != dialogue
                if part not in files:
                    files[part] = stack.enter_context((unfinished / f"{part}.jsonl").open("w", encoding="utf-8"))
                line = json.dumps(row_of(clean, fleet, form)) + "\n"
                rows_hash.update(line.encode())
                files[part].write(line)
                counts[dialogue.scenario][part] += 1
                progress(index, len(dialogues))
            if not files:
                raise DatasetExportError(
                    "there is no conversation with tools; tui-router dataset generate --kind tool-use generates some"
                )
            dataset = ExportedDataset(
                folder=str(folder),
                form=form,
                target="tool-use",
                parts={part: sum(n[part] for n in counts.values()) for part in PARTS},
                per_route=counts,
                per_source={"generated": sum(sum(n.values()) for n in counts.values())},
                left_out=dict(left_out),
                masked=changed,
                hash=rows_hash.hexdigest(),
            )
            (unfinished / "README.md").write_text(_card(dataset, fleet, private_data), encoding="utf-8")
            stack.close()
    except OSError as error:
        raise DatasetExportError(f"{folder} cannot be written: {error.strerror}") from error
    progress(len(dialogues), len(dialogues))
    return dataset


def masked_dialogue(dialogue: ToolDialogue) -> ToolDialogue:
    """Return a conversation with private data replaced in all its texts."""
    calls = tuple(
        Call(tool=c.tool, arguments=_masked(c.arguments), result=pii.mask(c.result), ok=c.ok) for c in dialogue.calls
    )
    return replace(dialogue, request=pii.mask(dialogue.request), calls=calls, answer=pii.mask(dialogue.answer))


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return pii.mask(value)
    if isinstance(value, list):
        return [_masked(one) for one in value]
    return {name: _masked(one) for name, one in value.items()} if isinstance(value, dict) else value


def _card(dataset: ExportedDataset, fleet: Fleet, private_data: PiiPolicy) -> str:
    rows = [f"| {name} | " + " | ".join(str(n[p]) for p in PARTS) + " |" for name, n in dataset.per_route.items()]
    left_out = "; ".join(f"{reason}: {n:,}" for reason, n in dataset.left_out.items()) or "nothing"
    policy = {
        "keep": "kept unchanged",
        "mask": f"masked in {dataset.masked:,}",
        "drop": "left out together with its conversation",
    }[private_data]
    return "\n".join(
        [
            *header(dataset, "text-generation"),
            "# Conversations with tool calls",
            "",
            f"{sum(dataset.parts.values()):,} conversations, format `{dataset.form}`. A language model wrote them; "
            f"tui-router {__version__} checked and exported them at {now()}. Hash of all rows: `{dataset.hash}`.",
            "",
            f"| scenario | {' | '.join(PARTS)} |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
            "`immediate`: one call. `recovery`: a call fails and another one succeeds. `steps`: several calls.",
            "The arguments of every call are valid for the JSON schema of its tool. The model invented the results; no tool was run.",
            f"Left out: {left_out}. Private data was {policy}; names and postal addresses of people are not searched for.",
            "`tools` is JSON text: the tools offered in the conversation.",
            "",
            *footer(dataset, system_prompt(fleet)),
        ]
    )
