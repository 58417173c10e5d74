"""Deciding in a process of its own: a line with messages in, a line with probabilities out. Ends with its input."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tui_router.training.router_manifest import ROUTER, ArtifactError, RouterManifest, read


def serve(artifact: Path) -> int:
    """Answer until standard input ends: `{"id", "messages"}` -> `{"id", "probabilities": {answer: p}, "mass"}`."""
    try:
        card = read(artifact / ROUTER, RouterManifest)
    except ArtifactError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    try:
        model, tokenizer = load(artifact, card)
        from train.labels import labels_of, prompt, scored

        labels = labels_of(tokenizer, dict(zip(card.routes, card.answers, strict=True)), letters=card.label == "letter")
    except Exception as error:  # the last stop of this process: whoever started it gets a sentence
        print(json.dumps({"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}), flush=True)
        return 1
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        try:
            asked = json.loads(line)
            text = prompt(tokenizer, asked["messages"])
        except (ValueError, KeyError, TypeError) as error:
            print(json.dumps({"error": f"not understood: {error}"}), flush=True)
            continue
        logs = scored(model, tokenizer, [text], labels)[0]
        p = logs.softmax(-1).tolist()
        told = {
            "id": asked.get("id"), "mass": min(1.0, float(logs.exp().sum())),
            "probabilities": dict(zip(card.answers, p, strict=True)),
        }  # fmt: skip
        print(json.dumps(told), flush=True)
    return 0


def load(artifact: Path, card: RouterManifest) -> tuple[Any, Any]:
    """The trained model and its tokenizer, ready to be asked."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    gpu = torch.cuda.is_available()
    torch.set_num_threads(max(1, torch.get_num_threads() // 2))
    source = card.base if card.method == "lora" else str(artifact)
    model: Any = AutoModelForCausalLM.from_pretrained(
        source, dtype=torch.bfloat16 if gpu else torch.float32, attn_implementation="eager"
    )
    if card.method == "lora":
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, artifact)
    if gpu:
        model = model.to("cuda")
    return model.eval(), AutoTokenizer.from_pretrained(artifact)
