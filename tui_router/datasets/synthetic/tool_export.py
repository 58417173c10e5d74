"""Writing a dataset of conversations with tools: split, in OpenAI's or ShareGPT's form, with a card. Whole or not at all."""

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
from tui_router.datasets.dataset_card import foot, head
from tui_router.datasets.export import DatasetExportError, ExportedDataset, Private, whole
from tui_router.datasets.formats import Format
from tui_router.datasets.near_duplicates import clusters
from tui_router.datasets.splits import PARTS, split
from tui_router.datasets.synthetic.tool_dialogues import acting_route, as_example, row_of, system_prompt
from tui_router.routing.learned.knn_memory import RandomProjectionEncoder

FORMS: tuple[Format, ...] = ("messages", "sharegpt")
"""The formats that have a place for tool calls."""


def export(
    dialogues: Sequence[ToolDialogue], fleet: Fleet, form: Format, folder: Path, projection: RandomProjectionEncoder,
    private_data: Private = "keep", tell: Callable[[int, int], None] = lambda done, of: None,
) -> ExportedDataset:  # fmt: skip
    """Write all conversations into a new folder; of those whose requests are nearly the same, the first.

    Args:
        dialogues: All that there are.
        fleet: Routes of today.
        form: One of `FORMS`.
        folder: Must not exist, or be empty.
        sketcher: Compares requests.
        private_data: What becomes of private data. A model made the people up, so by default it is kept: masked arguments
            teach a model to call tools with `[e-mail]`.
        tell: Hears how many of how many are done.

    Raises:
        ExportError: the folder is in the way or cannot be written, or nothing is left to write.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DatasetExportError(f"{folder} is there already and not empty; choose another folder")
    route = acting_route(fleet)
    examples = [as_example(one, route) for one in dialogues]
    stands_for = clusters(examples, projection).tolist()
    parts = split(examples, stands_for)
    left_out: Counter[str] = Counter()
    count: dict[str, dict[str, int]] = {scenario: dict.fromkeys(map(str, PARTS), 0) for scenario in SCENARIOS}
    changed, made = 0, hashlib.blake2b(digest_size=8)
    try:
        with whole(folder) as unfinished, ExitStack() as stack:
            files: dict[str, Any] = {}
            for place, (dialogue, part) in enumerate(zip(dialogues, parts, strict=True)):
                if stands_for[place] != place:
                    left_out["nearly the same as another"] += 1
                    continue
                clean = dialogue if private_data == "keep" else masked(dialogue)
                if clean != dialogue and private_data == "drop":
                    left_out["private data"] += 1
                    continue
                changed += clean != dialogue
                if part not in files:
                    files[part] = stack.enter_context((unfinished / f"{part}.jsonl").open("w", encoding="utf-8"))
                line = json.dumps(row_of(clean, fleet, form)) + "\n"
                made.update(line.encode())
                files[part].write(line)
                count[dialogue.scenario][part] += 1
                tell(place, len(dialogues))
            if not files:
                raise DatasetExportError(
                    "there is no conversation with tools; tui-router dataset generate --kind tool-use has some written"
                )
            result = ExportedDataset(
                folder=str(folder), form=form, target="tool-use", parts={p: sum(n[p] for n in count.values()) for p in PARTS},
                per_route=count, per_source={"generated": sum(sum(n.values()) for n in count.values())},
                left_out=dict(left_out), masked=changed, hash=made.hexdigest(),
            )  # fmt: skip
            (unfinished / "README.md").write_text(_card(result, fleet, private_data), encoding="utf-8")
            stack.close()
    except OSError as error:
        raise DatasetExportError(f"{folder} cannot be written: {error.strerror}") from error
    tell(len(dialogues), len(dialogues))
    return result


def masked(dialogue: ToolDialogue) -> ToolDialogue:
    """Without private data, in every text of it."""
    calls = tuple(
        Call(tool=c.tool, arguments=_without(c.arguments), result=pii.mask(c.result), ok=c.ok) for c in dialogue.calls
    )
    return replace(dialogue, request=pii.mask(dialogue.request), calls=calls, answer=pii.mask(dialogue.answer))


def _without(value: Any) -> Any:
    if isinstance(value, str):
        return pii.mask(value)
    if isinstance(value, list):
        return [_without(one) for one in value]
    return {name: _without(one) for name, one in value.items()} if isinstance(value, dict) else value


def _card(made: ExportedDataset, fleet: Fleet, private_data: Private) -> str:
    """The README.md."""
    rows = [f"| {name} | " + " | ".join(str(n[p]) for p in PARTS) + " |" for name, n in made.per_route.items()]
    left_out = "; ".join(f"{why}: {n:,}" for why, n in made.left_out.items()) or "nothing"
    does = {"keep": "kept", "mask": f"masked in {made.masked:,}", "drop": "left out with its conversation"}[
        private_data
    ]
    return "\n".join(
        [
            *head(made, "text-generation"),
            "# Conversations with tool calls",
            "",
            f"{sum(made.parts.values()):,} conversations, format `{made.form}`, written by a served model, checked and exported by",
            f"tui-router {__version__} at {now()}. Hash of all rows: `{made.hash}`.",
            "",
            f"| kind | {' | '.join(PARTS)} |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
            "`immediate`: one call at once. `recovery`: a call fails, and another way is found. `steps`: several calls.",
            "The arguments of every call are valid by the JSON schema of its tool. The results are invented by the model that wrote",
            f"them. Left out: {left_out}. Private data was {does}. `tools` is JSON text: the tools on offer.",
            "",
            *foot(made, system_prompt(fleet)),
        ]
    )
