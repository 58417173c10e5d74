"""Report on data/seed_routing_data.jsonl: balance, shares of kinds, duplicates, overlap with other files. `make seeds`.

    python train/seeds.py [FILE.jsonl ...]

Every FILE holds requests that must not be among the seeds, such as a test set. Two requests are near when the cosine of
their letter groups is above 0.85. Exit code 1 when seeds repeat each other, or stand in a FILE.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tui_router.core import assets
from tui_router.routing.linear.ngrams import ngram_hashes, tokenize

NEAR = 0.85
_BUCKETS = 1 << 12
SETS = sorted((Path(__file__).parent.parent / "benchmarks" / "sets").glob("*.jsonl"))


def main(files: list[str]) -> int:
    seeds = list(rows(assets.data("seed_routing_data.jsonl")))
    print(f"{len(seeds):,} seeds")
    share(seeds, "route", lambda row: row["route"])
    share(seeds, "kind", kind)
    share(seeds, "length", lambda row: size(row["text"]))
    bad = repeated(seeds)
    for path in [*SETS, *map(Path, files)]:
        bad += overlap(seeds, path)
    return min(1, bad)


def rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def share(seeds: list[dict[str, Any]], title: str, of: Any) -> None:
    counts = Counter(map(of, seeds))
    print(f"by {title}: " + ", ".join(f"{name} {n:,} ({n / len(seeds):.1%})" for name, n in counts.most_common()))


def kind(row: dict[str, Any]) -> str:
    if row.get("history"):
        return "follow-up"
    return str(row.get("kind") or ("with an image" if row.get("has_image") else "by hand"))


def size(text: str) -> str:
    n = len(text.split())
    return next(
        (name for most, name in ((3, "1-3 words"), (8, "4-8"), (20, "9-20"), (60, "21-60")) if n <= most), "long"
    )


def key(row: dict[str, Any]) -> tuple[str, bool, str]:
    """What two rows share that are the same request."""
    text = re.sub(r"\W+", " ", row["text"].lower()).strip() or row["text"].strip()
    return text, bool(row.get("has_image")), json.dumps(row.get("history", []))


def repeated(seeds: list[dict[str, Any]]) -> int:
    """Print what stands there twice; how many."""
    counts = Counter(map(key, seeds))
    twice = [k for k, n in counts.items() if n > 1]
    print(f"the same request twice: {len(twice)}")
    for text, *_ in twice[:10]:
        print(f"  {text[:100]}")
    return len(twice)


def vectors(texts: list[str]) -> np.ndarray:
    """The letter groups of each text, hashed, of length 1. Shape (texts, _BUCKETS)."""
    found = np.zeros((len(texts), _BUCKETS), np.float32)
    for row, text in zip(found, texts, strict=True):
        for word in tokenize(text).words:
            np.add.at(row, [group % _BUCKETS for group in ngram_hashes(word)], 1)
    scaled: np.ndarray = found / np.maximum(1e-9, np.linalg.norm(found, axis=1, keepdims=True))
    return scaled


def overlap(seeds: list[dict[str, Any]], path: Path) -> int:
    """Print which seeds stand in a file, word for word or nearly; how many. Follow-ups are alike by nature: left out."""
    held = [row for row in rows(path) if row["text"].strip()]
    texts = [row["text"] for row in held] + [text for row in held for text in row.get("paraphrases", ())]
    mine = [row["text"] for row in seeds if not row.get("history")]
    names = {key({"text": text})[0] for text in texts}
    exact = [text for text in mine if key({"text": text})[0] in names and len(text.split()) > 2]
    theirs = vectors(texts)
    near = []
    for start in range(0, len(mine), 1024):
        block = mine[start : start + 1024]
        likeness = (vectors(block) @ theirs.T).max(axis=1)
        near += [text for text, like in zip(block, likeness, strict=True) if like > NEAR and len(text.split()) > 2]
    print(f"in {path.name} too ({len(texts):,} texts): {len(exact)}, and nearly: {len(set(near) - set(exact))}")
    for text in sorted({*exact, *near})[:10]:
        print(f"  {' '.join(text.split())[:100]}")
    return len(exact)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
