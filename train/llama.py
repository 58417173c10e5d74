"""Serves a GGUF file with the llama.cpp server in the xllamacpp wheel. Prints READY and its URL."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

CONTEXT = 4096
"""Tokens. A routing prompt has about 400."""


def serve_gguf(model: Path, lora: Path | None, alias: str) -> int:
    """Serve a model, with a LoRA adapter if one is given, until SIGTERM or SIGINT; returns the exit code."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {alias}
    params.n_ctx, params.n_parallel, params.n_gpu_layers, params.port = CONTEXT, 1, 0, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.endpoint_props = params.endpoint_slots = True
    params.warmup, params.use_jinja = False, True
    if lora is not None:
        adapter = xllamacpp.CommonAdapterLoraInfo()
        adapter.path, adapter.scale = str(lora), 1.0
        params.lora_adapters = [adapter]
    server = xllamacpp.Server(params)
    sys.stdout.write(f"READY {server.listening_address}\n")
    sys.stdout.flush()
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    while not stop.wait(0.5):
        continue
    return 0
