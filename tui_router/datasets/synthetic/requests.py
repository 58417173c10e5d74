"""Routing requests that a served model writes, and the filter that decides which of them are kept.

Each batch is requested for one route, persona, length and language. Every request in the reply is compared with all known
ones, and routers that were not told the intended route decide it: if all of them contradict the writer with confidence, it
is not kept. Nor is a phrasing that is used too often.
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
from tui_router.datasets.near_duplicates import MIN_SIMILARITY
from tui_router.routing.learned.knn_memory import RandomProjectionEncoder
from tui_router.routing.linear.ngrams import tokenize
from tui_router.routing.router import Router

BATCH_SIZE = 8
"""Requests in one prompt. Chosen by hand, not measured."""
MAX_CHARS = 2000
"""Characters of the longest request that is kept. Chosen by hand, not measured."""
PHRASING_SHARE, PHRASING_FROM = 0.10, 20
"""Largest share of a route's new requests that may begin with the same two words, once there are `PHRASING_FROM` of them.
Chosen by hand, not measured."""
_CONTRADICTION = 0.85
"""Confidence, 0 to 1, that one router must have when all of them contradict the writer. Chosen by hand, not measured."""
_MAX_KNOWN_CHARS = 100
"""Characters of a known request in the prompt."""
_LIST_MARK_AND_QUOTES = re.compile(r'^\s*(?:[-*\d.)]+\s+)?["“]?(.*?)["”]?\s*$', re.DOTALL)

PERSONAS = (
    "a hurried office worker on a phone, with typos",
    "a polite retired teacher",
    "a student before an exam",
    "a terse engineer",
    "a parent with a child on the arm, dictating",
    "somebody who is annoyed",
    "a shop owner",
    "a researcher who is precise",
    "a teenager who writes in lower case",
    "a traveller",
)
LENGTHS = (
    "three to eight words",
    "one sentence",
    "two or three sentences with a detail that does not matter",
    "a short paragraph",
)
LANGUAGES = ("English", "English", "English", "German", "Spanish", "French", "English with a word of another language")
"""Each batch takes one at random; English is listed three times to be the most frequent."""
_MISLEADING = "Each contains a word that suggests **{other}** at first sight, although it belongs to **{route}**."
_ORDINARY = "They are ordinary everyday requests."
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"requests": {"type": "array", "items": {"type": "string"}}},
    "required": ["requests"],
    "additionalProperties": False,
}


class RequestBatch(NamedTuple):
    """What one prompt requests."""

    route: str
    persona: str
    length: str
    language: str
    other: str
    """The route that the words should suggest at first sight; empty for ordinary requests."""


def plan_batches(fleet: Fleet, counts: Counter[str], rng: random.Random) -> Iterator[RequestBatch]:
    """Yield batches without end: for the route with the fewest requests, every third time misleading ones."""
    number = 0
    while True:
        route = min(fleet.routes, key=lambda r: (counts[r.name], r.order)).name
        others = [r.name for r in fleet.routes if r.name != route]
        other = rng.choice(others) if number % 3 == 2 and others else ""
        number += 1
        yield RequestBatch(route, rng.choice(PERSONAS), rng.choice(LENGTHS), rng.choice(LANGUAGES), other)


def prompt(batch: RequestBatch, fleet: Fleet, known: Sequence[str]) -> tuple[Message, ...]:
    """Fill in `data/prompts/generate_routing_data.md`."""
    template = assets.data("prompts/generate_routing_data.md").read_text(encoding="utf-8")
    text = template.format(
        routes="\n".join(f"- **{r.name}**: {r.description}" for r in fleet.routes),
        count=BATCH_SIZE,
        route=batch.route,
        persona=batch.persona,
        length=batch.length,
        language=batch.language,
        known="\n".join(f"- {one[:_MAX_KNOWN_CHARS]}" for one in known) or "- none",
        hard=_MISLEADING.format(other=batch.other, route=batch.route) if batch.other else _ORDINARY,
    )
    return (Message("user", text),)


def parse(text: str) -> list[str] | None:
    """Return the requests in a reply: JSON (also inside prose or a fence), or one a line; None if it is neither."""
    found = object_in_prose(text)
    if found is not None and isinstance(found.get("requests"), list):
        return [one for one in found["requests"] if isinstance(one, str)]
    lines = [line for line in text.splitlines() if line.strip() and not line.strip().startswith("```")]
    return lines if len(lines) >= 3 and "{" not in text else None


class RequestFilter:
    """Decides which written requests become examples.

    Args:
        known: All existing examples.
        encoder: Embeds requests, to find near-duplicates.
        judges: Routers that decide each request without knowing its intended route.
        origin: Noted in the examples, `generated:MODEL:ORDER`.
    """

    def __init__(
        self, known: Iterable[Example], encoder: RandomProjectionEncoder, judges: Sequence[Router], origin: str
    ) -> None:
        self._encoder, self._judges, self._origin = encoder, judges, origin
        self._texts: set[str] = set()
        rows = []
        for example in known:
            self._texts.add(normal(example.text))
            rows.append(encoder.embedding(tokenize(example.text)))
        self._embeddings = np.array(rows, np.float32).reshape(-1, encoder.dimensions)
        """Of all known and kept requests. Shape: (requests, dimensions)."""
        self._phrasings: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """Route -> first two words -> kept requests."""

    def accept(self, raw: str, batch: RequestBatch) -> Example | str:
        """Return the example, or the reason why the request is refused."""
        found = _LIST_MARK_AND_QUOTES.match(raw)
        text = (found[1] if found else raw).strip()
        if len(text) < 2 or len(text) > MAX_CHARS:
            return "empty or too long"
        if normal(text) in self._texts:
            return "known already"
        embedding = self._encoder.embedding(tokenize(text))
        if len(self._embeddings) and float((self._embeddings @ embedding).max()) >= MIN_SIMILARITY:
            return "near-duplicate"
        phrasing, used = " ".join(normal(text).split()[:2]), self._phrasings[batch.route]
        total = sum(used.values())
        if total >= PHRASING_FROM and used[phrasing] + 1 > PHRASING_SHARE * total:
            return "phrasing used too often"
        example = Example(text=text, route=batch.route, source="generated", origin=self._origin)
        decisions = [judge.decide(example.request) for judge in self._judges]
        contradicted = bool(decisions) and all(decision.route != batch.route for decision in decisions)
        if contradicted and max(decision.confidence for decision in decisions) >= _CONTRADICTION:
            return "the routers contradict the writer"
        self._texts.add(normal(text))
        self._embeddings = np.vstack([self._embeddings, embedding])
        used[phrasing] += 1
        return example


class RequestTask:
    """Routing requests as a `batches.GenerationTask`.

    Args:
        fleet: The fleet of today.
        known: All existing examples.
        request_filter: Decides which requests are kept.
    """

    schema = SCHEMA

    def __init__(self, fleet: Fleet, known: Iterable[Example], request_filter: RequestFilter) -> None:
        self._fleet, self._filter = fleet, request_filter
        self._shown: defaultdict[str, list[str]] = defaultdict(list)
        """Route -> known requests, of which some are in each prompt."""
        self._counts = Counter({r.name: 0 for r in fleet.routes})
        for example in known:
            self._shown[example.route].append(example.text)
            self._counts[example.route] += example.source == "generated"

    def batches(self, rng: random.Random) -> Iterator[RequestBatch]:
        """Yield batches without end."""
        return plan_batches(self._fleet, self._counts, rng)

    def prompt(self, batch: RequestBatch, rng: random.Random) -> tuple[Message, ...]:
        """Return the prompt of a batch, with a few known requests that must not be repeated."""
        known = self._shown[batch.route]
        return prompt(batch, self._fleet, rng.sample(known, min(5, len(known))))

    def parse(self, text: str) -> list[str] | None:
        """Return the requests in a reply."""
        return parse(text)

    def accept(self, piece: str, batch: RequestBatch) -> Example | str:
        """Return the example, or the reason why the request is refused."""
        return self._filter.accept(piece, batch)

    def finish(self, batch: RequestBatch, kept: Sequence[Example]) -> None:
        """Note what was kept."""
        self._shown[batch.route] += [one.text for one in kept]
        # At least one, so that a route of which nothing is kept is not requested for ever.
        self._counts[batch.route] += max(1, len(kept))
