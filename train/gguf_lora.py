"""Writes LoRA matrices as a GGUF adapter, for `--lora` of llama.cpp and ADAPTER of Ollama."""

from __future__ import annotations

import json
from pathlib import Path

import gguf

from train.gguf_model import tensors

ARCHITECTURES = {
    "Gemma3ForCausalLM": ("gemma3", gguf.MODEL_ARCH.GEMMA3),
    "Gemma3ForConditionalGeneration": ("gemma3", gguf.MODEL_ARCH.GEMMA3),
    "Qwen3ForCausalLM": ("qwen3", gguf.MODEL_ARCH.QWEN3),
}
"""Class in config.json -> names in GGUF. Llama is missing on purpose: GGUF stores its query and key rows permuted."""


def convert(folder: Path, base: dict[str, object], path: Path) -> None:
    """Write the adapter in a folder as one file.

    Args:
        folder: What peft saved.
        base: The config.json of the base model.
        path: The file to write.

    Raises:
        ValueError: this kind of adapter or base model cannot be written.
    """
    settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    if settings.get("use_dora") or settings.get("modules_to_save"):
        raise ValueError("an adapter with DoRA or with whole modules cannot be written as GGUF; export it as merged")
    name = str(base["architectures"][0])  # type: ignore[index]
    if name not in ARCHITECTURES:
        raise ValueError(f"an adapter for {name} cannot be written as GGUF here; export it as merged")
    short, architecture = ARCHITECTURES[name]
    text = base.get("text_config") or base
    names = gguf.get_tensor_name_map(architecture, text["num_hidden_layers"])  # type: ignore[index]
    writer = gguf.GGUFWriter(path, short)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    scale = float(settings["lora_alpha"]) * (settings["r"] ** 0.5 if settings.get("use_rslora") else 1)
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, scale)
    for whole, values in tensors(folder):
        inner, _, matrix = whole.removeprefix("base_model.model.").rpartition(".lora_")  # "...q_proj", "A.weight"
        known = names.get_name(f"{inner}.weight", try_suffixes=(".weight",))
        if known is None:
            raise ValueError(f"the adapter's tensor {whole} has no name in GGUF")
        writer.add_tensor(f"{known}.lora_{matrix[0].lower()}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
