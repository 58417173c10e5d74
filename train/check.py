"""An export in Hugging Face form beside the model that it was made from: the same prompts, tokens and probabilities?"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tui_router.training.router_manifest import REFERENCE, ROUTER, ParityReport, ReferenceCase, RouterManifest, read


def check(folder: Path, artifact: Path) -> int:
    """Print what differs as one JSON object, a `ParityReport`."""
    import msgspec

    try:
        sys.stdout.buffer.write(msgspec.json.encode(compare(folder, artifact)) + b"\n")
    except Exception as error:  # the last stop of this process: whoever started it gets a sentence
        print(json.dumps({"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}))
        return 1
    return 0


def compare(folder: Path, artifact: Path) -> ParityReport:
    """What the export makes of the held-out rows, beside what the trained model made of them."""
    from train.labels import BATCH, labels_of, prompt, scored
    from train.serve import load

    card = read(artifact / ROUTER, RouterManifest)
    known = read(artifact / REFERENCE, list[ReferenceCase])
    model, tokenizer = load(folder, read(folder / ROUTER, RouterManifest) if _is_adapter(folder) else _whole(card))
    prompts = [prompt(tokenizer, one.messages) for one in known]
    ids = [tuple(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in (one.prompt for one in known)]
    labels = labels_of(tokenizer, dict(zip(card.routes, card.answers, strict=True)), letters=card.label == "letter")
    found: list[list[float]] = []
    for start in range(0, len(prompts), BATCH):
        found += scored(model, tokenizer, prompts[start : start + BATCH], labels).softmax(-1).tolist()
    return ParityReport.of(known, prompts, ids, found)


def _is_adapter(folder: Path) -> bool:
    return (folder / "adapter_config.json").is_file()


def _whole(card: RouterManifest) -> RouterManifest:
    from msgspec.structs import replace

    return replace(card, method="full")
