"""Text as the learned router counts it: words, pairs of neighbours, and the letter groups inside of words.

A text is a set of words and pairs; each word stands for itself and for its groups of two to five letters, padded with a
space at both ends, so that a typo or an unknown form still shares most of them. Everything is named by a 32-bit hash.
"""

from __future__ import annotations

import itertools
import re
import zlib
from typing import NamedTuple

_TOKEN = re.compile(r"\w+|[?!:]")
_DIGITS = str.maketrans("123456789", "000000000")
_SHORTEST, _LONGEST = 2, 5
_LONGEST_WORD = 24
"""Letters of a word that are looked at; what is longer is a hash, a path or a text without spaces."""


class TokenSet(NamedTuple):
    """What a text consists of, without repeats, in the order of first appearance."""

    words: tuple[str, ...]
    pairs: tuple[str, ...]
    """Neighbours, joined by a space; the first word, and the first two, with `^` before them."""


def tokenize(text: str) -> TokenSet:
    """The words and pairs of a text. Case is dropped, and every digit counts as 0."""
    tokens = _TOKEN.findall(text.lower().translate(_DIGITS))
    pairs = [*map(" ".join, itertools.pairwise(tokens))]
    if tokens:
        pairs += [f"^ {tokens[0]}", f"^ {' '.join(tokens[:2])}"]
    return TokenSet(tuple(dict.fromkeys(tokens)), tuple(dict.fromkeys(pairs)))


def name_of(piece: str) -> int:
    """The hash of a word or a pair."""
    return zlib.crc32(b"=" + piece.encode("utf-8", "surrogatepass"))


def groups(word: str) -> list[int]:
    """The hashes of the letter groups of a word, without repeats."""
    padded = f" {word[:_LONGEST_WORD]} ".encode("utf-8", "surrogatepass")
    if not padded.isascii():
        return _wide_groups(f" {word[:_LONGEST_WORD]} ")
    crc, size = zlib.crc32, len(padded)
    return list(
        {crc(padded[i : i + n]) for n in range(_SHORTEST, _LONGEST + 1) for i in range(size - n + 1)} or {crc(padded)}
    )


def _wide_groups(padded: str) -> list[int]:
    found = {padded[i : i + n] for n in range(_SHORTEST, _LONGEST + 1) for i in range(max(1, len(padded) - n + 1))}
    return [zlib.crc32(group.encode("utf-8", "surrogatepass")) for group in found]
