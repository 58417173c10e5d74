"""Writes a Gemma 3 text model in Hugging Face form as GGUF, with nothing but the `gguf` package.

Only for models whose tokenizer is a byte-level BPE. Published Gemmas have a SentencePiece vocabulary, which llama.cpp's
convert_hf_to_gguf.py can read. The names of tensors and keys are those of gguf-py (`constants`, `tensor_mapping`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

ROPE_THETA = 1e6
"""Base of the rotary position encoding when config.json names none: the default of transformers for Gemma 3."""
_TYPES = {
    "f32": (gguf.LlamaFileType.ALL_F32, gguf.GGMLQuantizationType.F32),
    "f16": (gguf.LlamaFileType.MOSTLY_F16, gguf.GGMLQuantizationType.F16),
    "bf16": (gguf.LlamaFileType.MOSTLY_BF16, gguf.GGMLQuantizationType.BF16),
    "q8_0": (gguf.LlamaFileType.MOSTLY_Q8_0, gguf.GGMLQuantizationType.Q8_0),
    "q4_0": (gguf.LlamaFileType.MOSTLY_Q4_0, gguf.GGMLQuantizationType.Q4_0),
}
QUANTISED_IN = 32
"""Weights of a block that share a scale. A matrix whose rows are not a multiple of it is written in 16 bits."""


class UnknownModelError(ValueError):
    """Our writer does not know this model; the message says why. llama.cpp's own script may."""


def convert(folder: Path, path: Path, quant: str) -> None:
    """Write the model in a folder as one file. Raises UnknownModelError."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    if config["architectures"][0] != "Gemma3ForCausalLM":
        raise UnknownModelError(f"{config['architectures'][0]} is an architecture that our writer does not know")
    if (tokenizer.get("pre_tokenizer") or {}).get("type") != "ByteLevel":
        raise UnknownModelError("its tokenizer is not a byte-level BPE")
    writer = gguf.GGUFWriter(path, "gemma3")
    file_type, weight_type = _TYPES[quant]
    _describe(writer, config, path.stem, file_type)
    _vocabulary(writer, folder, config, tokenizer)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GEMMA3, config["num_hidden_layers"])
    for name, values in tensors(folder):
        if name == "lm_head.weight":
            continue  # Gemma shares it with the embedding
        known = names.get_name(name, try_suffixes=(".weight",))
        if known is None:
            raise UnknownModelError(f"its tensor {name} has no name in GGUF")
        kind = gguf.GGMLQuantizationType.F32 if values.ndim == 1 else weight_type
        if kind.name.startswith("Q") and values.shape[-1] % QUANTISED_IN:
            kind = gguf.GGMLQuantizationType.F16
        shifted = values + 1.0 if name.endswith("norm.weight") else values  # Gemma multiplies by 1 + w, llama.cpp by w
        plain = kind == gguf.GGMLQuantizationType.F32
        writer.add_tensor(known, shifted if plain else gguf.quants.quantize(shifted, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tensors(folder: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield (name, values) of all tensors in a folder's safetensors files."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  # safe_open is not a mapping
                yield name, file.get_tensor(name).float().numpy()


def _describe(writer: Any, config: dict[str, Any], name: str, file_type: Any) -> None:
    rope = (config.get("rope_parameters") or {}).get("sliding_attention") or config.get("rope_parameters") or {}
    full = (config.get("rope_parameters") or {}).get("full_attention") or {}
    writer.add_name(name)
    writer.add_file_type(file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_freq_base(
        float(full.get("rope_theta", rope.get("rope_theta", config.get("rope_theta", ROPE_THETA))))
    )
    writer.add_sliding_window(config["sliding_window"])


def _vocabulary(writer: Any, folder: Path, config: dict[str, Any], tokenizer: dict[str, Any]) -> None:
    added = {token["id"]: token for token in tokenizer["added_tokens"]}
    names = {i: token for token, i in tokenizer["model"]["vocab"].items()}
    names |= {i: token["content"] for i, token in added.items()}
    kinds, tokens = [], []
    for i in range(config["vocab_size"]):
        tokens.append(names.get(i, f"[PAD{i}]"))
        kind = gguf.TokenType.NORMAL if i in names else gguf.TokenType.UNUSED
        if i in added:
            kind = gguf.TokenType.CONTROL if added[i]["special"] else gguf.TokenType.USER_DEFINED
        kinds.append(kind)
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    ids = {token: i for i, token in enumerate(tokens)}
    for role in ("bos", "eos", "pad", "unk"):
        if (token := settings.get(f"{role}_token")) in ids:
            getattr(writer, f"add_{role}_token_id")(ids[token])
    if "<end_of_turn>" in ids:
        writer.add_eot_token_id(ids["<end_of_turn>"])
    writer.add_add_bos_token(False)  # the chat template writes it
    writer.add_add_space_prefix(False)
    template = folder / "chat_template.jinja"
    writer.add_chat_template(template.read_text(encoding="utf-8") if template.is_file() else settings["chat_template"])
