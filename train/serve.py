"""Answers routing questions on standard input with the trained model.

Ends when standard input ends, also while the model is being loaded: then the program that started it has ended.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tui_router.core.text import one_line
from tui_router.routing.llm.control_tokens import neutralise
from tui_router.training.router_manifest import ROUTER, ArtifactError, RouterManifest, read_json


def serve(artifact: Path) -> int:
    """Read `{"id", "messages"}` lines and write `{"id", "probabilities": {answer: p}, "mass"}` lines.

    The first line written is `{"ready": true}` or `{"error": ...}`. Returns the exit code when the model cannot be loaded;
    otherwise it ends the process at the end of standard input.
    """
    lines = _lines_of_stdin()
    try:
        manifest = read_json(artifact / ROUTER, RouterManifest)
    except ArtifactError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    try:
        model, tokenizer = load(artifact, manifest)
        from train.labels import label_log_probabilities, render_prompt, tokenize_answers

        answers = tokenize_answers(
            tokenizer, dict(zip(manifest.routes, manifest.answers, strict=True)), letters=manifest.label == "letter"
        )
    except Exception as error:  # the parent process shows one sentence, whatever went wrong
        print(json.dumps({"error": f"{type(error).__name__}: {one_line(str(error))}"}), flush=True)
        return 1
    print(json.dumps({"ready": True}), flush=True)
    for line in lines:
        try:
            question = json.loads(line)
            messages = [
                {**m, "content": neutralise(m["content"], manifest.control_tokens)} for m in question["messages"]
            ]
            text = render_prompt(tokenizer, messages)
        except (ValueError, KeyError, TypeError) as error:
            print(json.dumps({"error": f"this line is not a question: {error}"}), flush=True)
            continue
        logs = label_log_probabilities(model, tokenizer, [text], answers)[0]
        reply = {
            "id": question.get("id"),
            "mass": min(1.0, float(logs.exp().sum())),
            "probabilities": dict(zip(manifest.answers, logs.softmax(-1).tolist(), strict=True)),
        }
        print(json.dumps(reply), flush=True)
    return 0


def _lines_of_stdin() -> Iterator[str]:
    """Yield the lines of standard input, read in a thread that ends the process after the last one."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)  # a normal exit would wait for torch to finish loading

    threading.Thread(target=read, daemon=True).start()
    return iter(lines.get, None)


def load(artifact: Path, manifest: RouterManifest) -> tuple[Any, Any]:
    """Load the trained model and its tokenizer, in bfloat16 on a GPU and in float32 on a CPU."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    gpu = torch.cuda.is_available()
    torch.set_num_threads(max(1, torch.get_num_threads() // 2))
    source = manifest.base if manifest.method == "lora" else str(artifact)
    model: Any = AutoModelForCausalLM.from_pretrained(
        source, dtype=torch.bfloat16 if gpu else torch.float32, attn_implementation="eager"
    )
    if manifest.method == "lora":
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, artifact)
    if gpu:
        model = model.to("cuda")
    return model.eval(), AutoTokenizer.from_pretrained(artifact)
