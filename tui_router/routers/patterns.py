"""What can be read off a regular expression: whether it could run for ever, and which words it can start with.

Both walk the tree of Python's own parser, so they never disagree with what `re` will do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
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


class _Tried(NamedTuple):
    where: _Where
    place: int
    compiled: re.Pattern[str]


class _Everywhere(NamedTuple):
    place: int
    compiled: re.Pattern[str]
    pieces: frozenset[str]
    """Of which one must stand in the text, in lower case."""


_MOST_WORDS = 60_000
"""Words whose patterns are kept; then it is begun anew."""
_LOOKALIKE = re.compile(r"[\u0130\u0131\u017f\u212a]|(?![0-9])\d")
"""What a pattern takes for an ASCII letter or a digit, and a comparison does not: dotted and dotless i, long s, Kelvin."""


class PatternSet:
    """Many patterns searched in one text, without trying those that cannot match.

    What it finds is what `re.search` finds with each of them.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._all = [re.compile(pattern, FLAGS) for pattern in patterns]
        self._always: list[int] = []
        """Tried on every text."""
        self._with_sign: list[_Everywhere] = []
        """Tried on a text that has one of their pieces, each of them a single character."""
        self._with_piece: list[_Everywhere] = []
        """The same, with longer pieces."""
        self._by_stem: dict[str, list[_Tried]] = {}
        """By a stem of a word that the text must have for the pattern to match."""
        self._by_word: dict[str, tuple[_Tried, ...]] = {}
        """The same by whole words, as they are met."""
        for place, pattern in enumerate(patterns):
            if any(map(_has_lookalikes, pattern)):
                self._always.append(place)
            else:
                self._sort_in(place, pattern)

    def _sort_in(self, place: int, pattern: str) -> None:
        tree = parser.parse(pattern, FLAGS)
        starts = _first_stems(tree)
        if starts is not None:
            at_start = pattern.startswith(r"\A") and "|" not in re.sub(r"\((?:[^()]|\([^()]*\))*\)", "", pattern)
            self._try_at(starts, "start" if at_start else "word" if starts.exactly else "text", place)
            return
        ways = [(_first_stems(branch), _needed(branch)) for branch in _branches(tree)]
        if not all(starts or pieces for starts, pieces in ways):
            self._always.append(place)
            return
        for starts, _ in ways:
            if starts is not None:
                self._try_at(starts, "text", place)
        pieces = frozenset[str]().union(*(pieces for starts, pieces in ways if starts is None))
        signs = all(len(piece) == 1 for piece in pieces)
        (self._with_sign if signs else self._with_piece).append(_Everywhere(place, self._all[place], pieces))

    def _try_at(self, starts: Starts, where: _Where, place: int) -> None:
        for stem in starts.stems:
            self._by_stem.setdefault(stem, []).append(_Tried(where, place, self._all[place]))

    def search(self, text: str) -> list[tuple[int, re.Match[str]]]:
        """(place of the pattern, its first match) of every pattern that matches, in the order of the patterns."""
        if not text.isascii() and _LOOKALIKE.search(text):
            return [(place, match) for place, one in enumerate(self._all) if (match := one.search(text))]
        lowered = text.lower()
        characters = set(lowered)
        found = {place: self._all[place].search(text) for place in self._always}
        for place, compiled, signs in self._with_sign:
            if not signs.isdisjoint(characters):
                found[place] = compiled.search(text)
        for place, compiled, pieces in self._with_piece:
            for piece in pieces:
                if piece in lowered:
                    found[place] = compiled.search(text)
                    break
        by_word = self._by_word
        for word in _WORD.finditer(lowered):
            spelled = word[0]
            if (tried := by_word.get(spelled)) is None:
                tried = self._of_word(spelled)
            for where, place, compiled in tried:
                if where == "word":
                    if found.get(place) is None:
                        found[place] = compiled.match(text, word.start())
                elif place not in found:
                    found[place] = compiled.search(text) if where == "text" else compiled.match(text)
        return sorted((place, match) for place, match in found.items() if match is not None)

    def _of_word(self, word: str) -> tuple[_Tried, ...]:
        """What is tried where a word stands."""
        if len(self._by_word) >= _MOST_WORDS:
            self._by_word.clear()
        tried = (*self._by_stem.get(word[:STEM], ()), *self._by_stem.get(f"{word[:2]}*", ()))
        self._by_word[word] = tried
        return tried


def _has_lookalikes(char: str) -> bool:
    """Whether a letter of a pattern may match one that is not merely the same in another case, as sigma does."""
    return char in "\xb5\u0130\u0131" or (char > "\u017e" and char.lower() != char.upper())


def _branches(tree: Any) -> list[Any]:
    """The alternatives that a pattern is made of; the pattern itself when it is one."""
    items = list(tree)
    *before, (op, value) = items or [(c.ANY, None)]
    if op is c.BRANCH and all(kind is c.AT for kind, _ in before):
        return [[*before, *branch] for branch in value[1]]
    return [items]


def _first_stems(items: Any) -> Starts | None:
    """The words of which a text must have one for these items to match; None when no such set is known.

    Only where every match starts at the start of a word, such as `\\b(?:set|cancel) ...`: only those places of a text
    need to be tried.
    """
    starts = _starts(items)
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


_MOST_PIECES = 12
_PROSE = frozenset(".,?!'-:")
"""Signs that most prose has."""


def _needed(items: Any) -> frozenset[str]:
    """Pieces of text, in lower case, of which a text must have one for these items to match; empty when none are known.

    Of all that the items insist on, what the fewest texts are likely to have.
    """
    best: frozenset[str] = frozenset()
    run = frozenset([""])
    for op, value in [*items, (c.ANY, None)]:
        exact = _spellings(op, value)
        longer = frozenset(a + b for a in run for b in exact)
        if exact and len(longer) <= _MOST_PIECES:
            run = longer
            continue
        best = min(best, run, exact or _inner_needs(op, value), key=_chance)
        run = exact or frozenset([""])
    return best


def _spellings(op: Any, value: Any) -> frozenset[str]:
    """All that an item can stand for, in lower case; empty when that is too much to say."""
    if op is c.LITERAL:
        return frozenset([chr(value).lower()])
    if op is c.IN:
        if value == [(c.CATEGORY, c.CATEGORY_DIGIT)]:
            return frozenset("0123456789")
        literal = all(kind is c.LITERAL for kind, _ in value) and len(value) <= _MOST_PIECES
        return frozenset(chr(char).lower() for _, char in value) if literal else frozenset()
    if op is c.SUBPATTERN:
        return _sequence(value[-1])
    if op is c.BRANCH:
        ways = [_sequence(branch) for branch in value[1]]
        return frozenset().union(*ways) if all(ways) and sum(map(len, ways)) <= _MOST_PIECES else frozenset()
    return frozenset([""]) if op in (c.AT, c.ASSERT, c.ASSERT_NOT) else frozenset()


def _sequence(items: Any) -> frozenset[str]:
    run = frozenset([""])
    for op, value in items:
        exact = _spellings(op, value)
        if not exact or len(run) * len(exact) > _MOST_PIECES:
            return frozenset()
        run = frozenset(a + b for a in run for b in exact)
    return run


def _inner_needs(op: Any, value: Any) -> frozenset[str]:
    if op in _REPEATS and value[0] > 0:
        return _needed(value[2])
    if op is c.SUBPATTERN:
        return _needed(value[-1])
    if op is c.BRANCH:
        ways = [_needed(branch) for branch in value[1]]
        return frozenset().union(*ways) if all(ways) and sum(map(len, ways)) <= _MOST_PIECES else frozenset()
    return frozenset()


def _chance(pieces: frozenset[str]) -> float:
    """Roughly how likely a text is to have one of these pieces, and a little for each look; 2 when nothing is needed."""
    if not pieces or "" in pieces:
        return 2.0
    return sum(math.prod(map(_share, piece)) + 0.01 for piece in pieces)


def _share(char: str) -> float:
    if char.isalnum():
        return 0.5 if char.isalpha() else 0.03
    return 0.9 if char == " " else 0.3 if char in _PROSE else 0.1


def _between_words(members: Any) -> bool:
    """Whether a character class holds only characters that no word has (white space, punctuation)."""
    return all(
        (kind is c.CATEGORY and what in (c.CATEGORY_NOT_WORD, c.CATEGORY_SPACE))
        or (kind is c.LITERAL and not (chr(what).isalnum() or what == 95))
        for kind, what in members
    )
