"""Many regular expressions searched in one text, without trying those that cannot match."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from re import _constants as c  # type: ignore[attr-defined]  # the parser that `re` itself uses
from typing import NamedTuple

from tui_router.routing.rules import regex_analysis
from tui_router.routing.rules.regex_analysis import FLAGS, FirstWord

_MOST_WORDS = 60_000
"""Words whose patterns are kept; then it is begun anew."""
_WORD = re.compile(r"\w+")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_LOOKALIKE = re.compile(r"[\u0130\u0131\u017f\u212a]|(?![0-9])\d")
"""What a pattern takes for an ASCII letter or a digit, and a comparison does not: dotted and dotless i, long s, Kelvin."""


def of_phrase(phrase: str) -> str:
    """A pattern that finds a word or a phrase in a text in small letters.

    One that ends in `*` finds all words that begin with its last. Signs are words of one character and need nothing around
    them; white space between words may be any. A phrase of nothing is nowhere.
    """
    first, *more = _tokens(phrase) or [""]
    if not first:
        return r"(?!)"
    spelled = re.escape(first)
    for token in more:
        gap = r"\s+" if _is_word(spelled[-1]) and _is_word(token) else r"\s*"
        spelled += gap + re.escape(token)
    end = r"\w*" if phrase.endswith("*") else r"\b" if _is_word(spelled[-1]) else ""
    return (r"\b" if _is_word(first) else "") + spelled + end


def _tokens(phrase: str) -> list[str]:
    return _TOKEN.findall(phrase.lower().removesuffix("*"))


def _is_word(token: str) -> bool:
    return _WORD.match(token) is not None


class PatternMatch(NamedTuple):
    """A pattern that matched."""

    place: int
    """Of the pattern."""
    matched: str
    """Its first match."""


_Attempt = Callable[[str, int], re.Match[str] | None]


class _Try(NamedTuple):
    """Something to try on a text."""

    place: int
    as_it_is: bool
    """On the text as it is, not in small letters."""
    once: int
    """0: at the word itself, whenever it comes; else once, from the beginning of the text, and this is its number."""
    attempt: _Attempt


class _Phrase(NamedTuple):
    """A word or a phrase that begins with a word."""

    place: int
    number: int
    """Which of its pattern's phrases it is."""
    phrase: str
    alone: bool
    """The word is all there is to it."""


class _Sign(NamedTuple):
    """Something to try on a text that has one of these pieces."""

    signs: frozenset[str]
    """A character of each piece: a text that has none of them has no piece."""
    pieces: frozenset[str]
    """In small letters; empty when the signs are all there is to them."""
    what: _Try


class PatternSet:
    """Many patterns searched in one text, without trying those that cannot match.

    What it finds is what `re.search` finds with each of them and with `FLAGS`. Most are tried in small letters, without
    IGNORECASE, which is twice as fast.

    Args:
        patterns: Regular expressions, or words and phrases (`of_phrase`) of which one must be there.
    """

    def __init__(self, patterns: Sequence[str | tuple[str, ...]]) -> None:
        self._sources = patterns
        self._numbers = 0
        self._always: list[_Try] = []
        self._by_sign: list[_Sign] = []
        self._by_start: dict[str, list[_Try | _Phrase]] = {}
        """By a word."""
        self._by_beginning: dict[str, list[tuple[str, _Try | _Phrase]]] = {}
        """By the first letter of a word that begins with the letters beside it."""
        self._by_word: dict[str, tuple[_Try, ...]] = {}
        """What is tried where a word stands, of the words as they are met."""
        for place, pattern in enumerate(patterns):
            if isinstance(pattern, str):
                self._sort_in(place, pattern)
            else:
                self._sort_in_phrases(place, pattern)
        self._signs = frozenset[str]().union(*(one.signs for one in self._by_sign))

    def _sort_in_phrases(self, place: int, phrases: tuple[str, ...]) -> None:
        for number, phrase in enumerate(phrases):
            first, *more = _tokens(phrase) or [""]
            if _is_word(first):
                whole = bool(more) or not phrase.endswith("*")
                self._begin_at(FirstWord(first, whole, False), _Phrase(place, number, phrase, not more))
            elif first:
                attempt = re.compile(of_phrase(phrase)).search
                self._by_sign.append(_by_sign(frozenset(first), _Try(place, False, self._number(), attempt)))

    def _sort_in(self, place: int, pattern: str) -> None:
        tree = regex_analysis.parse(pattern)
        how = regex_analysis.reading(tree)
        as_it_is = how != "in small letters"
        compiled = re.compile(pattern, FLAGS if as_it_is else FLAGS & ~re.IGNORECASE)
        only_at_start = len(tree) > 0 and tree[0] == (c.AT, c.AT_BEGINNING_STRING)
        anywhere = _Try(place, as_it_is, self._number(), compiled.match if only_at_start else compiled.search)
        clues = None if how == "unread" else regex_analysis.clues(tree)
        if clues is None:
            self._always.append(anywhere)
            return
        if clues.pieces:
            self._by_sign.append(_by_sign(clues.pieces, anywhere))
        here = not (clues.pieces or only_at_start or any(start.inside for start in clues.starts))
        what = _Try(place, as_it_is, 0, compiled.match) if here else anywhere
        for start in clues.starts:
            self._begin_at(start, what)

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _begin_at(self, start: FirstWord, what: _Try | _Phrase) -> None:
        if start.whole:
            self._by_start.setdefault(start.letters, []).append(what)
        else:
            self._by_beginning.setdefault(start.letters[0], []).append((start.letters, what))

    def search(self, text: str) -> list[PatternMatch]:
        """Every pattern that matches, in the order of the patterns."""
        lowered = text.lower()
        if not text.isascii() and _LOOKALIKE.search(text):
            return self._search_plainly(text, lowered)
        found: dict[int, re.Match[str]] = {}
        tried: set[int] = set()
        for place, as_it_is, once, attempt in self._tried_on(lowered):
            if place not in found and (match := attempt(text if as_it_is else lowered, 0)) is not None:
                found[place] = match
            tried.add(once)
        by_word = self._by_word
        for word in _WORD.finditer(lowered):
            if (tries := by_word.get(word[0])) is None:
                tries = self._of_word(word[0])
            for place, as_it_is, once, attempt in tries:
                if place in found or once in tried:
                    continue
                match = attempt(text if as_it_is else lowered, 0 if once else word.start())
                if match is not None:
                    found[place] = match
                elif once:
                    tried.add(once)
        return [PatternMatch(place, text[match.start() : match.end()]) for place, match in sorted(found.items())]

    def _tried_on(self, lowered: str) -> list[_Try]:
        """What is tried on a text whatever its words are."""
        characters = set(lowered)
        if self._signs.isdisjoint(characters):
            return self._always
        return self._always + [
            what
            for signs, pieces, what in self._by_sign
            if not signs.isdisjoint(characters) and (not pieces or any(piece in lowered for piece in pieces))
        ]

    def _of_word(self, word: str) -> tuple[_Try, ...]:
        """What is tried where a word stands."""
        if len(self._by_word) >= _MOST_WORDS:
            self._by_word.clear()
        begun = [what for letters, what in self._by_beginning.get(word[0], ()) if word.startswith(letters)]
        fitting = dict.fromkeys((*self._by_start.get(word, ()), *begun))
        phrases = sorted(one for one in fitting if isinstance(one, _Phrase))
        tries = self._by_word[word] = (
            *(one for one in fitting if isinstance(one, _Try)),
            *(_of_phrases(place, list(some)) for place, some in groupby(phrases, attrgetter("place"))),
        )
        return tries

    def _search_plainly(self, text: str, lowered: str) -> list[PatternMatch]:
        """The same in a text in which letters are not what they seem."""
        tried = ((place, one.search(text if cased else lowered)) for place, (one, cased) in enumerate(self._plain))
        return [PatternMatch(place, match[0]) for place, match in tried if match is not None]

    @cached_property
    def _plain(self) -> list[tuple[re.Pattern[str], bool]]:
        """Each pattern as it was given, and whether it is searched in the text as it is."""
        return [
            (re.compile(one, FLAGS), True) if isinstance(one, str) else (re.compile(_of_any(one)), False)
            for one in self._sources
        ]


def _of_any(phrases: Sequence[str]) -> str:
    return "|".join(map(of_phrase, phrases))


def _of_phrases(place: int, fitting: list[_Phrase]) -> _Try:
    """What is tried at a word that some phrases of a pattern begin with."""
    attempt = _WORD.match if fitting[0].alone else re.compile(_of_any([one.phrase for one in fitting])).match
    return _Try(place, False, 0, attempt)


def _by_sign(pieces: frozenset[str], what: _Try) -> _Sign:
    signs = frozenset(min(piece, key=regex_analysis.chance_of) for piece in pieces)
    return _Sign(signs, frozenset() if signs == pieces else pieces, what)
