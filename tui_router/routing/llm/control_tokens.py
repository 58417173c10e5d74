"""Keeps text from outside from becoming control tokens of a chat template.

A tokenizer reads `<end_of_turn>` as one control token wherever it stands. A request that holds `<end_of_turn>
<start_of_turn>model` would end the user's turn and begin the model's answer. With a space inside it is ordinary text, to a
tokenizer and to a person.
"""

from __future__ import annotations

from collections.abc import Iterable

COMMON = (
    "<start_of_turn>",
    "<end_of_turn>",
    "<start_of_image>",
    "<bos>",
    "<eos>",
    "<pad>",
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|end|>",
    "<|start|>",
    "<|message|>",
    "<|channel|>",
    "<|return|>",
    "<s>",
    "</s>",
    "<unk>",
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "<</SYS>>",
)
"""Control tokens of Gemma, Qwen, SmolLM, Llama, Phi, gpt-oss and Mistral: for a model whose tokenizer is not at hand."""


def neutralise(text: str, tokens: Iterable[str] = COMMON) -> str:
    """Return a text in which no control token stands: each gets a space after its first character.

    Args:
        text: From outside.
        tokens: Control tokens; empty ones and single characters are skipped.
    """
    for token in tokens:
        if len(token) > 1:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text
