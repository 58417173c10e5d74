"""Makes a tiny Gemma 3 with random weights and a tokenizer fitted to a dataset, for tests and `make train-demo`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from string import ascii_uppercase

SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "<start_of_turn>{{ role }}\n{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def build(data: Path, out: Path, width: int = 192, vocabulary: int = 1024, layers: int = 4, seed: int = 0) -> None:
    """Write the model into a folder in Hugging Face form.

    All layers use sliding attention with a window longer than any prompt. llama.cpp assumes Gemma 3's pattern of five
    sliding layers to one full layer; with this window both kinds see the same, so the pattern makes no difference.

    Args:
        data: A dataset folder; its texts are what the tokenizer is fitted to.
        out: The folder to write into.
        width: Hidden size.
        vocabulary: Most tokens of the vocabulary.
        layers: Number of layers.
        seed: Of the random weights.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig, PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE(unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(_texts(data), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=["<start_of_turn>", "<end_of_turn>"],
        padding_side="left",
        model_max_length=2048,
    )
    tokenizer.chat_template = TEMPLATE
    ends = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<end_of_turn>")]
    config = Gemma3TextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=width * 8 // 3 // 32 * 32,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=width // 4,
        query_pre_attn_scalar=width // 4,
        max_position_embeddings=2048,
        sliding_window=2048,
        layer_types=["sliding_attention"] * layers,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=ends,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(seed)
    model = Gemma3ForCausalLM(config)
    model.generation_config.eos_token_id = ends
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.bos_token_id = tokenizer.bos_token_id
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def _texts(data: Path) -> Iterator[str]:
    """Yield the texts of the prompts, the words of the template and the letters."""
    for line in (data / "train.jsonl").open(encoding="utf-8"):
        yield from (message["content"] for message in json.loads(line)["messages"])
    yield from ["user\n", "model\n", "system\n", " ".join(ascii_uppercase)] * 20
