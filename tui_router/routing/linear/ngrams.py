"""Text as the learned router counts it: words, pairs of neighbouring words, and letter n-grams inside of words.

A text is a set of words and pairs. Each word stands for itself and for its n-grams of two to five letters, padded with a
space at both ends (as in fastText, Bojanowski et al. 2017), so that a typo or an unknown form still shares most of them.
Each is known by a 32-bit hash.
"""

from __future__ import annotations

import itertools
import re
import zlib
from typing import NamedTuple

_TOKEN = re.compile(r"\w+|[?!:]")
_DIGITS = str.maketrans("123456789", "000000000")
_SHORTEST_NGRAM, _LONGEST_NGRAM = 2, 5
_LONGEST_WORD = 24
"""Letters of a word that are looked at; what is longer is a hash, a path or a text without spaces."""


class TokenSet(NamedTuple):
    """What a text consists of, without repeats, in the order of first appearance."""

    words: tuple[str, ...]
    pairs: tuple[str, ...]
    """Neighbouring words, joined by a space; the first word, and the first two, with `^` before them."""


def tokenize(text: str) -> TokenSet:
    """Return the words and pairs of a text. Case is dropped, and every digit counts as 0."""
    tokens = _TOKEN.findall(text.lower().translate(_DIGITS))
    pairs = [*map(" ".join, itertools.pairwise(tokens))]
    if tokens:
        pairs += [f"^ {tokens[0]}", f"^ {' '.join(tokens[:2])}"]
    return TokenSet(tuple(dict.fromkeys(tokens)), tuple(dict.fromkeys(pairs)))


def token_hash(token: str) -> int:
    """Return the 32-bit hash of a word or a pair."""
    return zlib.crc32(b"=" + token.encode("utf-8", "surrogatepass"))


def ngram_hashes(word: str) -> list[int]:
    """Return the 32-bit hashes of the letter n-grams of a word, without repeats."""
    padded = f" {word[:_LONGEST_WORD]} ".encode("utf-8", "surrogatepass")
    if not padded.isascii():
        return _ngram_hashes_of_any_script(f" {word[:_LONGEST_WORD]} ")
    crc, size = zlib.crc32, len(padded)
    return list(
        {crc(padded[i : i + n]) for n in range(_SHORTEST_NGRAM, _LONGEST_NGRAM + 1) for i in range(size - n + 1)}
        or {crc(padded)}
    )


def _ngram_hashes_of_any_script(padded: str) -> list[int]:
    ngrams = {
        padded[i : i + n]
        for n in range(_SHORTEST_NGRAM, _LONGEST_NGRAM + 1)
        for i in range(max(1, len(padded) - n + 1))
    }
    # sorted: the order of a set of texts changes from process to process, and a fit would with it
    return [zlib.crc32(ngram.encode("utf-8", "surrogatepass")) for ngram in sorted(ngrams)]
