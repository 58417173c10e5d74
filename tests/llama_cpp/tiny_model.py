"""A model of 3 MB that llama.cpp loads in milliseconds and whose answers are known.

A hand-wired bigram model: attention and feed-forward write nothing, so the next token depends on the last one only,
and the output matrix sends every scripted token to its successor. The chat template ends the prompt with one control
token that it picks by a word of the last message, so that a test asks for a scenario by name:

`You watch a router` makes it remark as the observer (with an escape sequence), `Answer with JSON` makes it write two
requests, `long` counts for ever, `utf8` sends characters in single bytes, `think`
reasons first, `unsure` says Yes (0.75) or No (0.25), anything else is answered by `Hello from <name>! A real engine.`
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

WIDTH, HEADS, FEED, CONTEXT, END = 256, 4, 256, 4096, 2
SPACE = "\u2581"
SCENARIOS = ("remark", "writes", "long", "utf8", "think", "unsure", "hello")
WRITES = ("mend this loop", "sort that list")
"""The requests that it writes when it is asked for some."""
_PICKED_BY = {"remark": "You watch a router", "writes": "Answer with JSON"}


class _Vocabulary:
    def __init__(self) -> None:
        kind = gguf.TokenType
        self.tokens = ["<unk>", "<s>", "</s>"]
        self.types = [kind.UNKNOWN, kind.CONTROL, kind.CONTROL]
        self.next: dict[int, dict[int, float]] = {}
        self.first_byte = len(self.tokens)
        for byte in range(256):
            self.add(f"<0x{byte:02X}>", kind.BYTE)
        for char in [SPACE, *map(chr, range(33, 127))]:
            self.add(char)

    def add(self, token: str, kind: gguf.TokenType = gguf.TokenType.NORMAL) -> int:
        if token in self.tokens:  # llama.cpp aborts on duplicate tokens
            return self.tokens.index(token)
        self.tokens.append(token)
        self.types.append(kind)
        return len(self.tokens) - 1

    def chain(self, start: int, pieces: list[str | int], end: int) -> None:
        at = start
        for piece in [*pieces, end]:
            token = self.add(piece) if isinstance(piece, str) else piece
            assert at not in self.next, "a token has one successor only"
            self.next[at] = {token: 1.0}
            at = token


def _pieces(text: str) -> list[str]:
    """A text as tokens that occur nowhere else: a token has one successor only."""
    head, *rest = text.split()
    return [head, *(f"{SPACE}{word}" for word in rest)]


def _scripts(name: str) -> _Vocabulary:
    vocabulary = _Vocabulary()
    go = {s: vocabulary.add(f"<|go_{s}|>", gguf.TokenType.CONTROL) for s in SCENARIOS}
    vocabulary.add("<|user|>", gguf.TokenType.CONTROL)
    vocabulary.add("<|assistant|>", gguf.TokenType.CONTROL)
    words = [f"{SPACE}{word}" for word in ("from", name, "A", "real", "engine")]
    vocabulary.chain(go["hello"], ["Hello", words[0], words[1], "!", *words[2:], "."], END)
    ring = [vocabulary.add("tick"), *(vocabulary.add(f"{SPACE}t{i}") for i in range(2, 22))]
    vocabulary.chain(go["long"], ring, ring[0])
    vocabulary.chain(go["utf8"], [vocabulary.first_byte + b for b in "日🦊".encode()], END)
    thoughts = [
        "<think>",
        f"{SPACE}Let",
        f"{SPACE}me",
        f"{SPACE}see",
        "</think>",
        "Answer",
        f"{SPACE}is",
        f"{SPACE}42",
    ]
    vocabulary.chain(go["think"], thoughts, END)
    first, second = WRITES
    pieces = ['{"requests"', ':["', *_pieces(first), '","', *_pieces(second), '"]}']
    vocabulary.chain(go["writes"], pieces, END)
    pieces = [
        '{"tag":',
        '"edge_case",',
        '"remark":',
        '"\\u001b[2Jodd:',
        f"{SPACE}turn",
        f"{SPACE}1.",
        '","turns":',
        "[1]}",
    ]
    vocabulary.chain(go["remark"], pieces, END)
    yes, no = vocabulary.add("Yes"), vocabulary.add("No")
    vocabulary.next[go["unsure"]] = {yes: 0.75, no: 0.25}
    vocabulary.next |= {yes: {END: 1.0}, no: {END: 1.0}}
    return vocabulary


_PICK = "".join(
    f"{{%- {'if' if i == 0 else 'elif'} '{_PICKED_BY.get(s, s)}' in q -%}}{{{{ '<|go_{s}|>' }}}}"
    for i, s in enumerate(SCENARIOS[:-1])
)
TEMPLATE = (
    "{{ '<s>' }}{%- for m in messages -%}{%- if m['role'] == 'assistant' -%}{{ '<|assistant|>' }}"
    "{%- if m['reasoning_content'] -%}{{ '<think>' + m['reasoning_content'] + '</think>' }}{%- endif -%}"
    "{%- if m['content'] -%}{{ m['content'] }}{%- endif -%}{{ '</s>' }}"
    "{%- else -%}{{ '<|user|>' + (m['content'] if m['content'] is string else '') }}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}"
    "{%- set q = messages[-1]['content'] if messages[-1]['content'] is string else '' -%}"
    "{{ '<|assistant|>' }}" + _PICK + "{%- else -%}{{ '<|go_hello|>' }}{%- endif -%}{%- endif -%}"
)


def write(path: Path, name: str = "tiny") -> Path:
    """Write the model; returns its path."""
    vocabulary = _scripts(name)
    size, f32 = len(vocabulary.tokens), np.float32
    dice = np.random.default_rng(0)
    embedding = dice.standard_normal((size, WIDTH)).astype(f32)
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    # RMS norm makes sqrt(width) * e of a unit vector e; the pseudo-inverse makes the wanted logits exact.
    sources = list(vocabulary.next)
    wanted = np.zeros((size, len(sources)), f32)
    for column, source in enumerate(sources):
        for token, p in vocabulary.next[source].items():
            wanted[token, column] = 20.0 + np.log(p)
    output = (wanted @ np.linalg.pinv(np.sqrt(WIDTH) * embedding[sources]).T).astype(f32)

    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name(name)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_scores([-float(i) if t == gguf.TokenType.NORMAL else 0.0 for i, t in enumerate(vocabulary.types)])
    writer.add_token_types([int(t) for t in vocabulary.types])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(END)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)
    square = (dice.standard_normal((WIDTH, WIDTH)) / np.sqrt(WIDTH)).astype(f32)
    tensors = {
        "token_embd.weight": embedding,
        "output_norm.weight": np.ones(WIDTH, f32),
        "output.weight": output,
        "blk.0.attn_norm.weight": np.ones(WIDTH, f32),
        "blk.0.ffn_norm.weight": np.ones(WIDTH, f32),
        "blk.0.attn_q.weight": square,
        "blk.0.attn_k.weight": square,
        "blk.0.attn_v.weight": square,
        "blk.0.attn_output.weight": np.zeros((WIDTH, WIDTH), f32),
        "blk.0.ffn_gate.weight": np.ones((FEED, WIDTH), f32),
        "blk.0.ffn_up.weight": np.ones((FEED, WIDTH), f32),
        "blk.0.ffn_down.weight": np.zeros((WIDTH, FEED), f32),
    }
    for tensor, values in tensors.items():
        writer.add_tensor(tensor, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
