"""LoRA matrices -> a GGUF adapter: llama.cpp's `--lora`, Ollama's ADAPTER."""

from __future__ import annotations

import json
from pathlib import Path

import gguf

from train.gguf_model import tensors

ARCHITECTURES = {
    "Gemma3ForCausalLM": ("gemma3", gguf.MODEL_ARCH.GEMMA3),
    "Gemma3ForConditionalGeneration": ("gemma3", gguf.MODEL_ARCH.GEMMA3),
    "Qwen3ForCausalLM": ("qwen3", gguf.MODEL_ARCH.QWEN3),
    "LlamaForCausalLM": ("llama", gguf.MODEL_ARCH.LLAMA),
}
"""Of the bases that the shipped recipes name. Llama is left out of what is written: its query and key rows are permuted."""


def convert(folder: Path, base: dict[str, object], path: Path) -> None:
    """Write the adapter in a folder as one file. Raises ValueError.

    Args:
        folder: As peft saved it.
        base: The config.json of the base.
        path: Where to.
    """
    settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    if settings.get("use_dora") or settings.get("modules_to_save"):
        raise ValueError("an adapter with DoRA or whole modules cannot be written as GGUF; export it merged")
    name = str(base["architectures"][0])  # type: ignore[index]
    if name not in ARCHITECTURES or name == "LlamaForCausalLM":
        raise ValueError(f"an adapter of {name} is not converted here; export it merged")
    short, architecture = ARCHITECTURES[name]
    text = base.get("text_config") or base
    names = gguf.get_tensor_name_map(architecture, text["num_hidden_layers"])  # type: ignore[index]
    writer = gguf.GGUFWriter(path, short)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    scale = float(settings["lora_alpha"]) * (settings["r"] ** 0.5 if settings.get("use_rslora") else 1)
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, scale)
    for whole, values in tensors(folder):
        inner, _, matrix = whole.removeprefix("base_model.model.").rpartition(".lora_")  # ...q_proj . A.weight
        known = names.get_name(f"{inner}.weight", try_suffixes=(".weight",))
        if known is None:
            raise ValueError(f"the adapter's tensor {whole} has no place in a GGUF file")
        writer.add_tensor(f"{known}.lora_{matrix[0].lower()}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
