"""Compares an export in Hugging Face form with the model it was made from."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
from msgspec.structs import replace

from tui_router.core.text import one_line
from tui_router.training.router_manifest import (
    REFERENCE,
    ROUTER,
    ParityReport,
    ReferenceCase,
    RouterManifest,
    read_json,
)


def check(folder: Path, artifact: Path) -> int:
    """Print a `ParityReport` as one JSON object, or `{"error": ...}`; returns the exit code."""
    try:
        sys.stdout.buffer.write(msgspec.json.encode(compare(folder, artifact)) + b"\n")
    except Exception as error:  # the parent process shows one sentence, whatever went wrong
        print(json.dumps({"error": f"{type(error).__name__}: {one_line(str(error))}"}))
        return 1
    return 0


def compare(folder: Path, artifact: Path) -> ParityReport:
    """Run the artifact's reference cases through the export and count what agrees."""
    from train.labels import BATCH, label_log_probabilities, render_prompt, tokenize_answers, tokenize_prompt
    from train.serve import load

    manifest = read_json(artifact / ROUTER, RouterManifest)
    cases = read_json(artifact / REFERENCE, list[ReferenceCase])
    is_adapter = (folder / "adapter_config.json").is_file()
    exported = read_json(folder / ROUTER, RouterManifest) if is_adapter else replace(manifest, method="full")
    model, tokenizer = load(folder, exported)
    prompts = [render_prompt(tokenizer, case.messages) for case in cases]
    ids = [tokenize_prompt(tokenizer, case.prompt) for case in cases]
    answers = tokenize_answers(
        tokenizer, dict(zip(manifest.routes, manifest.answers, strict=True)), letters=manifest.label == "letter"
    )
    found: list[list[float]] = []
    for start in range(0, len(prompts), BATCH):
        batch = prompts[start : start + BATCH]
        found += label_log_probabilities(model, tokenizer, batch, answers).softmax(-1).tolist()
    return ParityReport.compare(cases, prompts, ids, found)
