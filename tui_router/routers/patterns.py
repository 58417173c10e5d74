"""What can be read off a regular expression: whether it could run for ever, and which words it can start with.

Both walk the tree of Python's own parser, so they never disagree with what `re` will do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from re import _constants as c  # type: ignore[attr-defined]  # the parser that `re` itself uses
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, Literal, NamedTuple

FLAGS = re.IGNORECASE | re.MULTILINE
STEM = 3
"""Words are compared by their first three characters."""

_REPEATS = (c.MAX_REPEAT, c.MIN_REPEAT)
_MOST_STARTS = 600
_WORD = re.compile(r"\w+")


def dangerous(pattern: str) -> str:
    """Why a pattern may take exponential time (a repeat inside an unbounded repeat), or an empty string.

    `(a+)+` is refused; `(?:\\w+ ){0,3}` is not, because its outer repeat is bounded by a small number.
    """
    if _nested(parser.parse(pattern, FLAGS), inside=False):
        return "has an unbounded repeat inside another one, such as (a+)+, which can take for ever; bound one of them"
    return ""


def _nested(tree: Any, inside: bool) -> bool:
    for op, value in tree:
        if op in _REPEATS:
            _, most, body = value
            unbounded = most > 20
            if (inside and unbounded) or _nested(body, inside or unbounded):
                return True
        elif op is c.SUBPATTERN:
            if _nested(value[-1], inside):
                return True
        elif op is c.BRANCH:
            if any(_nested(branch, inside) for branch in value[1]):
                return True
        elif op in (c.ASSERT, c.ASSERT_NOT) and _nested(value[1], inside):
            return True
    return False


class Starts(NamedTuple):
    """Where the matches of a pattern can start."""

    stems: frozenset[str]
    """Stems of words; one ending in `*` stands for the first two characters."""
    exactly: bool
    """A match starts with the word itself, not with signs or spaces before it."""


_Where = Literal["word", "text", "start"]
"""Where a pattern is tried: at the words with its stem only, on the whole text, or at the start of the text only."""


class _Pattern(NamedTuple):
    place: int
    compiled: re.Pattern[str]
    needs: frozenset[str]
    """Characters of which the text must have one; empty: none."""


class PatternSet:
    """Many patterns searched in one text, without trying those that cannot match.

    What it finds is what `re.search` finds with each of them.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._all = [re.compile(pattern, FLAGS) for pattern in patterns]
        self._anywhere: list[_Pattern] = []
        """Tried on every text."""
        self._by_stem: dict[str, list[tuple[_Where, _Pattern]]] = {}
        """By a stem of a word that the text must have for the pattern to match."""
        for place, pattern in enumerate(patterns):
            self._sort_in(place, pattern)

    def _sort_in(self, place: int, pattern: str) -> None:
        made = _Pattern(place, self._all[place], needed_characters(pattern) or frozenset())
        starts = first_stems(pattern)
        at_start = pattern.startswith(r"\A") and "|" not in re.sub(r"\((?:[^()]|\([^()]*\))*\)", "", pattern)
        if starts is None:
            self._anywhere.append(made)
            return
        where: _Where = "start" if at_start else "word" if starts.exactly else "text"
        for stem in starts.stems:
            self._by_stem.setdefault(stem, []).append((where, made))

    def search(self, text: str) -> list[tuple[int, re.Match[str]]]:
        """(place of the pattern, its first match) of every pattern that matches, in the order of the patterns."""
        if not text.isascii():  # letters that only look alike would slip past the quick looks
            return [(i, match) for i, one in enumerate(self._all) if (match := one.search(text))]
        characters = set(text)
        found: dict[int, re.Match[str] | None] = {}
        for one in self._anywhere:
            if not (one.needs and one.needs.isdisjoint(characters)):
                found[one.place] = one.compiled.search(text)
        by_stem = self._by_stem
        for word in _WORD.finditer(text.lower()):
            spelled = word[0]
            for stem in (spelled[:STEM], spelled[:2] + "*"):
                for where, one in by_stem.get(stem, ()):
                    if where == "word":
                        if found.get(one.place) is None:
                            found[one.place] = one.compiled.match(text, word.start())
                    elif one.place not in found:
                        compiled = one.compiled
                        found[one.place] = compiled.search(text) if where == "text" else compiled.match(text)
        return sorted((place, match) for place, match in found.items() if match is not None)


@lru_cache(2000)
def first_stems(pattern: str) -> Starts | None:
    """The words of which an ASCII text must have one for the pattern to match; None when no such set is known.

    Only for patterns whose every match starts at the start of a word, such as `\\b(?:set|cancel) ...`: only those
    places of a text need to be tried.
    """
    starts = _starts(parser.parse(pattern, FLAGS))
    keys = set()
    for start in starts or ():
        if not start.startswith((_BOUNDARY, _GAP)):
            return None
        known = start[1:].partition(_ANYTHING)[0]
        letters = re.match(r"\w*", known)[0]  # type: ignore[index]  # always matches
        if len(letters) >= STEM or (letters and len(letters) < len(known)):
            keys.add(letters[:STEM])
        elif len(letters) == 2:
            keys.add(f"{letters}*")
        else:
            return None
    return Starts(frozenset(keys), all(s.startswith(_BOUNDARY) for s in starts or ())) if keys else None


_BOUNDARY, _ANYTHING, _GAP = "\x01", "\x02", "\x03"
"""In a start: a word boundary, any character from here on, characters that no word has."""
_KNOWN = STEM + 2
"""Length of a start: the mark of a word start, a stem, and the character after it."""


def _starts(items: Any) -> set[str] | None:
    """How matches of a sequence can start, in at most `_KNOWN` characters; None when there are too many ways."""
    starts = {""}
    for op, value in items:
        pieces = _pieces(op, value)
        if pieces is None:
            return None
        starts = {_join(start, piece) for start in starts for piece in pieces}
        if len(starts) > _MOST_STARTS:
            return None
    return starts


def _join(start: str, piece: str) -> str:
    if start.endswith(_ANYTHING) or len(start) >= _KNOWN:
        return start
    bare = start in ("", _BOUNDARY, _GAP)
    if piece.startswith(_BOUNDARY) and start:
        piece = piece[1:]
    elif piece.startswith(_GAP):
        start, piece = ("", piece) if bare else (start, f" {piece[1:]}")
    return (start + piece)[:_KNOWN]


def _pieces(op: Any, value: Any) -> set[str] | None:
    if op is c.AT:
        return {"" if value in (c.AT_END, c.AT_END_STRING, c.AT_NON_BOUNDARY) else _BOUNDARY}
    if op is c.LITERAL:
        return {chr(value).lower()}
    if op is c.IN:
        if all(kind is c.LITERAL for kind, _ in value):
            return {chr(char).lower() for _, char in value}
        return {_GAP if _between_words(value) else _ANYTHING}
    if op in _REPEATS:
        least, most, body = value
        inner = _starts(body)
        if inner is None:
            return None
        ways, last = {""}, {""}
        for _ in range(min(most, _KNOWN)):
            last = {_join(a, b) for a in last for b in inner} - ways
            ways |= last
            if len(ways) > _MOST_STARTS:
                return None
        return ways if least == 0 or "" in inner else ways - {""}
    if op is c.SUBPATTERN:
        return _starts(value[-1])
    if op is c.BRANCH:
        branches = [_starts(branch) for branch in value[1]]
        return None if None in branches else set[str]().union(*(b for b in branches if b is not None))
    return {""} if op in (c.ASSERT, c.ASSERT_NOT) else {_ANYTHING}


@lru_cache(2000)
def needed_characters(pattern: str) -> frozenset[str] | None:
    """Characters of which an ASCII text must have one for the pattern to match; None when none are needed.

    The rarest kind that the pattern insists on: digits and signs, never letters or spaces.
    """
    found = _needed(parser.parse(pattern, FLAGS))
    return frozenset(found) if found else None


_DIGITS = set("0123456789")


def _needed(items: Any) -> set[str]:
    best: set[str] = set()
    for op, value in items:
        need: set[str] = set()
        if op is c.LITERAL:
            need = {chr(value)}
        elif op is c.IN:
            if all(kind is c.LITERAL for kind, _ in value):
                need = {chr(char) for _, char in value}
            elif value == [(c.CATEGORY, c.CATEGORY_DIGIT)]:
                need = _DIGITS
        elif op in _REPEATS and value[0] > 0:
            need = _needed(value[2])
        elif op is c.SUBPATTERN:
            need = _needed(value[-1])
        elif op is c.BRANCH:
            parts = [_needed(branch) for branch in value[1]]
            need = set[str]().union(*parts) if all(parts) else set()
        if any(char.isalpha() or char.isspace() for char in need):
            continue
        if need and (not best or len(need) < len(best)):
            best = need
    return best


def _between_words(members: Any) -> bool:
    """Whether a character class holds only characters that no word has (white space, punctuation)."""
    return all(
        (kind is c.CATEGORY and what in (c.CATEGORY_NOT_WORD, c.CATEGORY_SPACE))
        or (kind is c.LITERAL and not (chr(what).isalnum() or what == 95))
        for kind, what in members
    )
