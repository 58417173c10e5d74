"""What can be read off a regular expression without running it.

Whether it could run for ever, which words its matches can start with, which pieces a text must have, whether it tells
capitals from small letters. All of it walks the tree of Python's own parser, so it never disagrees with what `re` does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from re import _constants as c  # type: ignore[attr-defined]  # the parser that `re` itself uses
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, Literal, NamedTuple

FLAGS = re.IGNORECASE | re.MULTILINE
_REPEATS = (c.MAX_REPEAT, c.MIN_REPEAT, c.POSSESSIVE_REPEAT)


def dangerous(pattern: str) -> str:
    """Why a pattern may take exponential time (a repeat inside an unbounded repeat), or an empty string.

    `(a+)+` is refused; `(?:\\w+ ){0,3}` is not, because its outer repeat is bounded by a small number.
    """
    if _nested(parse(pattern), inside=False):
        return "has an unbounded repeat inside another one, such as (a+)+, which can take for ever; bound one of them"
    return ""


def parse(pattern: str) -> Any:
    """The tree of a pattern: a sequence of (operation, value)."""
    return parser.parse(pattern, FLAGS)


def _nested(tree: Any, inside: bool) -> bool:
    for op, value in tree:
        repeats = op in _REPEATS and value[1] > 20
        if (repeats and inside) or any(_nested(part, inside or repeats) for part in _parts(op, value)):
            return True
    return False


def _parts(op: Any, value: Any) -> list[Any]:
    """The sequences inside of an item."""
    if op in _REPEATS:
        return [value[2]]
    if op is c.BRANCH:
        return list(value[1])
    if op is c.SUBPATTERN:
        return [value[-1]]
    if op in (c.ASSERT, c.ASSERT_NOT):
        return [value[1]]
    return [value] if op is c.ATOMIC_GROUP else []


def _items(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every item, at any depth."""
    for op, value in tree:
        yield op, value
        for part in _parts(op, value):
            yield from _items(part)


# -- letters -----------------------------------------------------------------------------------------------------
ParsedPattern = Literal["unread", "as it is", "in small letters"]
"""How a pattern is to be searched.

unread: In the text as it is, and nothing more is to be read off it: its words are not those of Unicode, or one of its letters
    matches others that are not merely the same in another case, as sigma does.
as it is: In the text as it is; it names capitals, or asks for the case itself.
in small letters: Without IGNORECASE in the text in small letters it finds what it finds, with it, in the text as it is.
"""


def reading(tree: Any) -> ParsedPattern:
    """How a pattern is to be searched."""
    set_or_cleared, named, cased = tree.state.flags & ~FLAGS, set[int](), False
    for op, value in _items(tree):
        if op in (c.LITERAL, c.NOT_LITERAL):
            named.add(value)
        elif op is c.IN:
            for kind, what in value:
                if kind is c.LITERAL:
                    named.add(what)
                elif kind is c.RANGE:
                    first, last = what
                    cased = cased or last >= 128 or (first <= ord("Z") and last >= ord("A"))
                    named.update(range(max(first, 128), last + 1))
        elif op is c.SUBPATTERN:
            set_or_cleared |= value[1] | value[2]
        elif op is c.GROUPREF_EXISTS:
            return "unread"
    letters = "".join(map(chr, named))
    if set_or_cleared & ~(re.IGNORECASE | re.DOTALL | re.UNICODE) or any(map(has_lookalikes, letters)):
        return "unread"
    return "as it is" if cased or set_or_cleared & re.IGNORECASE or letters.lower() != letters else "in small letters"


def has_lookalikes(char: str) -> bool:
    """Whether a letter matches others that are not merely the same in another case; true of a few more."""
    return char in "\xb5\u0130\u0131" or (char > "\u017e" and char.lower() != char.upper())


# -- clues -------------------------------------------------------------------------------------------------------
class FirstWord(NamedTuple):
    """A word that a match can start with."""

    letters: str
    """In lower case."""
    whole: bool
    """The word is nothing but these letters; else it begins with them."""
    inside: bool
    """Other signs come before it in the match."""


class Clues(NamedTuple):
    """What tells that a text may have a match: without one of these it has none."""

    starts: frozenset[FirstWord]
    pieces: frozenset[str]
    """In lower case."""


def clues(tree: Any) -> Clues | None:
    """The clues to a pattern that the fewest texts are likely to have; None when there are none."""
    whole = _clues([tree])
    if whole is not None and not whole.pieces:
        return whole
    apart = _clues(_alternatives(tree))
    if whole is None or apart is None:
        return whole or apart
    return apart if not apart.pieces or _chance(apart.pieces) < _chance(whole.pieces) else whole


def _clues(ways: list[Any]) -> Clues | None:
    """Of each alternative the words that it starts with, or, where these are not known, the pieces that it needs."""
    begun, needed = set[FirstWord](), set[str]()
    for way in ways:
        if starts := _first_words(way):
            begun |= starts
        elif pieces := _needed(way):
            needed |= pieces
        else:
            return None
    return Clues(frozenset(begun), frozenset(needed))


# -- first words -------------------------------------------------------------------------------------------------
_BOUNDARY, _GAP, _STOP, _OPEN = "\x01", "\x02", "\x03", "\x04"
"""In a start: the beginning of a word, or characters that no word has, before its letters; after them, the end of the
word, or anything."""
_LONGEST, _MOST = 16, 4000
"""Letters of a start; how many there may be."""


def _first_words(items: Any) -> frozenset[FirstWord]:
    """The words of which a text must have one for these items to match; empty when no such set is known.

    Only where every match starts at the start of a word, such as `\\b(?:set|cancel) ...`, or with signs before one:
    only those places of a text need to be tried.
    """
    found = set()
    for start in _starts(items) or [""]:
        before, letters, after = start[:1], start[1:].rstrip(_STOP + _OPEN), start[-1:]
        if before not in (_BOUNDARY, _GAP) or not letters:
            return frozenset()
        found.add(FirstWord(letters, after == _STOP, before == _GAP))
    return frozenset(found)


def _starts(items: Any) -> set[str] | None:
    """How matches of a sequence can start, up to the end of their first word; None when there are too many ways."""
    found = {""}
    for op, value in items:
        pieces = _pieces(op, value)
        if pieces is None:
            return None
        found = {_join(start, piece) for start in found for piece in pieces}
        if len(found) > _MOST:
            return None
        if all(start.endswith((_STOP, _OPEN)) for start in found):
            break
    return found


def _join(start: str, piece: str) -> str:
    if not piece or start.endswith((_STOP, _OPEN)):
        return start
    if start in ("", _BOUNDARY, _GAP):
        if piece[0] == _BOUNDARY:
            return start + piece[1:] if start else piece
        return piece if piece[0] == _GAP else start + piece
    if piece[0] in (_BOUNDARY, _GAP):  # letters stand before it
        return start + _STOP
    joined = start + piece
    return joined if len(joined) <= _LONGEST else joined[:_LONGEST] + _OPEN


def _pieces(op: Any, value: Any) -> set[str] | None:
    if op is c.AT:
        return {"" if value in (c.AT_END, c.AT_END_STRING, c.AT_NON_BOUNDARY) else _BOUNDARY}
    if op is c.LITERAL:
        return {_piece(value)}
    if op is c.IN:
        if all(kind is c.LITERAL for kind, _ in value):
            return {_piece(char) for _, char in value}
        return {_GAP if _between_words(value) else _OPEN}
    if op in _REPEATS:
        least, most, body = value
        inner = _starts(body)
        if inner is None:
            return None
        ways, last = {""}, {""}
        for _ in range(min(most, _LONGEST)):
            last = {_join(a, b) for a in last for b in inner} - ways
            ways |= last
            if len(ways) > _MOST:
                return None
        return ways if least == 0 or "" in inner else ways - {""}
    if op is c.BRANCH:
        branches = [_starts(branch) for branch in value[1]]
        return None if None in branches else set[str]().union(*(b for b in branches if b is not None))
    if op in (c.SUBPATTERN, c.ATOMIC_GROUP):
        return _starts(_parts(op, value)[0])
    return {""} if op in (c.ASSERT, c.ASSERT_NOT) else {_OPEN}


def _piece(char: int) -> str:
    return chr(char).lower() if _in_word(char) else _GAP


def _in_word(char: int) -> bool:
    return chr(char).isalnum() or chr(char) == "_"


def _between_words(members: Any) -> bool:
    """Whether a character class holds only characters that no word has (white space, punctuation)."""
    return all(
        (kind is c.CATEGORY and what in (c.CATEGORY_NOT_WORD, c.CATEGORY_SPACE))
        or (kind is c.LITERAL and not _in_word(what))
        for kind, what in members
    )


# -- pieces ------------------------------------------------------------------------------------------------------
_MOST_PIECES = 12
_PROSE = frozenset(".,?!'-:")
"""Signs that most prose has."""


def _alternatives(tree: Any) -> list[list[Any]]:
    """The alternatives that a pattern is made of, its first choice between alternatives taken apart: of `a(?:b|c)d`, `abd`
    and `acd`. The pattern itself when it has none."""
    items = list(tree)
    for at, item in enumerate(items):
        inner: Any = item[1][-1] if item[0] is c.SUBPATTERN else []
        op, value = inner[0] if len(inner) == 1 else item
        if op is c.BRANCH:
            return [[*items[:at], *way, *items[at + 1 :]] for way in value[1]]
    return [items]


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
    return best if _chance(best) < _NEVER else frozenset()


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


_NEVER = 2.0


def _chance(pieces: frozenset[str]) -> float:
    """Roughly how likely a text is to have one of these pieces, and a little for each look; `_NEVER` when nothing is
    needed."""
    if not pieces or "" in pieces:
        return _NEVER
    return sum(math.prod(map(chance_of, piece)) + 0.01 for piece in pieces)


def chance_of(char: str) -> float:
    """Roughly how likely a text is to have this character, in lower case."""
    if char.isalnum():
        return 0.5 if char.isalpha() else 0.03
    return 0.9 if char == " " else 0.3 if char in _PROSE else 0.1
