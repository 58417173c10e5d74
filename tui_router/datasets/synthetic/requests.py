"""Requests that a served model writes, and the sieve that most of them do not pass.

Each is written for a stated route, person, length and language. What comes back is parsed, checked, compared with all that
there is already, and judged by the routers, who were not told what it was written for: where both contradict the writer,
it is not kept. Nor is a phrasing that has had its share.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tui_router.core import assets
from tui_router.core.example import Example, normal
from tui_router.core.fleet import Fleet
from tui_router.core.json_value import object_in_prose
from tui_router.core.types import Message
from tui_router.datasets.near_duplicates import ALIKE
from tui_router.routing.learned.knn_memory import RandomProjectionEncoder
from tui_router.routing.linear.ngrams import tokenize
from tui_router.routing.router import Router

A_BATCH = 8
"""Requests that are asked for at a time."""
LONGEST = 2000
SHARE, FEWEST_TO_SHARE = 0.10, 20
"""Most that one phrasing (its first two words) may have of a route's new requests, once there are this many."""
_SURE = 0.85
"""Confidence that at least one of the routers must have, when all of them contradict the writer."""
_OPTIONAL_QUOTES = re.compile(r'^\s*(?:[-*\d.)]+\s+)?["“]?(.*?)["”]?\s*$', re.DOTALL)

PERSONAS = (
    "a hurried office worker on a phone, with typos", "a polite retired teacher", "a student before an exam", "a terse engineer",
    "a parent with a child on the arm, dictating", "somebody who is annoyed", "a shop owner", "a researcher who is precise",
    "a teenager who writes in lower case", "a traveller",
)  # fmt: skip
LENGTHS = (
    "three to eight words",
    "one sentence",
    "two or three sentences with a detail that does not matter",
    "a short paragraph",
)
LANGUAGES = ("English", "English", "English", "German", "Spanish", "French", "English with a word of another language")
_HARD = "Each holds a word that points to **{other}** at first sight, although it belongs to **{route}**."
_EASY = "They are ordinary requests of every day."
SCHEMA: dict[str, Any] = {
    "type": "object", "properties": {"requests": {"type": "array", "items": {"type": "string"}}}, "required": ["requests"],
    "additionalProperties": False,
}  # fmt: skip


class RequestBatch(NamedTuple):
    """What the writer is asked for."""

    route: str
    persona: str
    length: str
    language: str
    other: str
    """The route that the words should point to at first sight; empty: none."""


def asks(fleet: Fleet, counts: Counter[str], dice: random.Random) -> Iterator[RequestBatch]:
    """What to ask for, without end: the route with the fewest first, every third time with misleading words."""
    place = 0
    while True:
        route = min(fleet.routes, key=lambda r: (counts[r.name], r.order)).name
        others = [r.name for r in fleet.routes if r.name != route]
        hard = dice.choice(others) if place % 3 == 2 and others else ""
        place += 1
        yield RequestBatch(route, dice.choice(PERSONAS), dice.choice(LENGTHS), dice.choice(LANGUAGES), hard)


def prompt(ask: RequestBatch, fleet: Fleet, known: Sequence[str]) -> tuple[Message, ...]:
    """The question, out of `data/prompts/generate_routing_data.md`."""
    template = assets.data("prompts/generate_routing_data.md").read_text(encoding="utf-8")
    text = template.format(
        routes="\n".join(f"- **{r.name}**: {r.description}" for r in fleet.routes), count=A_BATCH, route=ask.route,
        persona=ask.persona, length=ask.length, language=ask.language, known="\n".join(f"- {one[:100]}" for one in known) or "- none",
        hard=_HARD.format(other=ask.other, route=ask.route) if ask.other else _EASY,
    )  # fmt: skip
    return (Message("user", text),)


def parse(text: str) -> list[str] | None:
    """The requests in a reply: JSON, or JSON in prose or a fence, or a line each; None when it is none of these."""
    found = object_in_prose(text)
    if found is not None and isinstance(found.get("requests"), list):
        return [one for one in found["requests"] if isinstance(one, str)]
    lines = [line for line in text.splitlines() if line.strip() and not line.strip().startswith("```")]
    return lines if len(lines) >= 3 and "{" not in text else None


class Sieve:
    """What is let through.

    Args:
        known: All examples that there are.
        sketcher: Compares requests.
        judges: Routers that were not told what a request was written for.
        origin: What is noted of the examples, `generated:MODEL:ORDER`.
    """

    def __init__(
        self, known: Iterable[Example], projection: RandomProjectionEncoder, judges: Sequence[Router], origin: str
    ) -> None:
        self._sketcher, self._judges, self._origin = projection, judges, origin
        self._texts: set[str] = set()
        rows = []
        for example in known:
            self._texts.add(normal(example.text))
            rows.append(projection.embedding(tokenize(example.text)))
        self._sketches = np.array(rows, np.float32).reshape(-1, projection.dimensions)
        self._phrasings: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def take(self, raw: str, ask: RequestBatch) -> Example | str:
        """The example, or why it is none."""
        found = _OPTIONAL_QUOTES.match(raw)
        text = (found[1] if found else raw).strip()
        if len(text) < 2 or len(text) > LONGEST:
            return "empty or too long"
        if normal(text) in self._texts:
            return "known already"
        embedding = self._sketcher.embedding(tokenize(text))
        if len(self._sketches) and float((self._sketches @ embedding).max()) >= ALIKE:
            return "nearly the same as another"
        phrasing, used = " ".join(normal(text).split()[:2]), self._phrasings[ask.route]
        total = sum(used.values())
        if total >= FEWEST_TO_SHARE and used[phrasing] + 1 > SHARE * total:
            return "its phrasing has had its share"
        example = Example(text=text, route=ask.route, source="generated", origin=self._origin)
        decided = [judge.decide(example.request) for judge in self._judges]
        contradicted = bool(decided) and all(made.route != ask.route for made in decided)
        if contradicted and max(made.confidence for made in decided) >= _SURE:
            return "the routers contradict the writer"
        self._texts.add(normal(text))
        self._sketches = np.vstack([self._sketches, embedding])
        used[phrasing] += 1
        return example


class RequestWork:
    """Routing requests as something to be written, `writing.Work`.

    Args:
        fleet: Routes of today.
        known: All examples that there are.
        sieve: What is let through.
    """

    schema = SCHEMA

    def __init__(self, fleet: Fleet, known: Iterable[Example], sieve: Sieve) -> None:
        self._fleet, self._sieve = fleet, sieve
        self._shown: defaultdict[str, list[str]] = defaultdict(list)
        self._counts = Counter({r.name: 0 for r in fleet.routes})
        for example in known:
            self._shown[example.route].append(example.text)
            self._counts[example.route] += example.source == "generated"

    def asks(self, dice: random.Random) -> Iterator[RequestBatch]:
        """What to ask for, without end."""
        return asks(self._fleet, self._counts, dice)

    def prompt(self, ask: RequestBatch, dice: random.Random) -> tuple[Message, ...]:
        """The question, with some of what is known already."""
        known = self._shown[ask.route]
        return prompt(ask, self._fleet, dice.sample(known, min(5, len(known))))

    def parse(self, text: str) -> list[str] | None:
        """The requests in a reply."""
        return parse(text)

    def take(self, piece: str, ask: RequestBatch) -> Example | str:
        """The example, or why it is none."""
        return self._sieve.take(piece, ask)

    def done(self, ask: RequestBatch, kept: Sequence[Example]) -> None:
        """A batch is over; a barren route must not be asked for ever."""
        self._shown[ask.route] += [one.text for one in kept]
        self._counts[ask.route] += max(1, len(kept))
