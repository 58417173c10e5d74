"""Routers that ask a model: too slow to wait for by the rules, so they are given a deadline and may come late.

`llm` shows a small general model the routes with their descriptions and lets it choose, nothing trained (zero-shot). `tuned`
is a model that was fitted to this very question: it was shown the same sheet with the same letters while it was trained.
What is asked is a `LetterPrompt`; how it travels is not their business: a `LetterChooser` is handed in.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Literal

from msgspec import Struct

from tui_router.core.fleet import Fleet
from tui_router.core.letter_choice import LetterChoice, LetterChooser
from tui_router.core.types import Decision, Message, Reason, Request
from tui_router.routing.router import ranked, ties
from tui_router.routing.rules.text_features import TextView

LLMRouterName = Literal["llm", "tuned"]
DEADLINE_S = 2.0
MOST_ROUTES = len(ascii_uppercase)
"""Routes that can be told apart by a letter."""
_TEXT = 2000
"""Characters of a request that an untrained model is shown."""
_TRAINED_TEXT = 1000
"""Characters of a request that a trained model is shown: with its routes and the end of the conversation about 400 tokens."""
_EARLIER, _EARLIER_TEXT = 2, 300
_WITHOUT_PROBABILITIES = 0.7
"""Probability of the chosen route when the server tells none; the temperature of the race corrects it by verdicts."""
_LEAST = 1e-4


class LetterPrompt(Struct, frozen=True, kw_only=True):
    """The question that a model is asked: which letter stands for which route, and what is said before each request."""

    routes: tuple[str, ...]
    letters: str
    """One for each route, in the order of the routes."""
    instructions: str
    alone: bool = False
    """Instructions and request are one message. Some chat templates have no place for instructions of their own, so this
    is the same text in every one of them."""
    most: int = _TEXT
    """Characters of the request that are shown."""

    def messages(self, request: Request) -> tuple[Message, ...]:
        """What the model is shown."""
        asked = question(request, self.most)
        if self.alone:
            return (Message("user", f"{self.instructions}\n\n{asked}"),)
        return (Message("system", self.instructions), Message("user", asked))


def zero_shot_prompt(fleet: Fleet) -> LetterPrompt:
    """The sheet for a model that was never trained on the question: with what each route is for."""
    lines = [f"{letter} = {r.name}: {r.description}" for letter, r in zip(ascii_uppercase, fleet.routes, strict=False)]
    said = [
        "You route requests to specialists. Do not answer the request. Say which specialist it is for.",
        "",
        *lines,
        "",
        "Answer with one letter and nothing else.",
    ]
    routes = tuple(r.name for r in fleet.routes[:MOST_ROUTES])
    return LetterPrompt(routes=routes, letters=ascii_uppercase[: len(routes)], instructions="\n".join(said))


def trained_prompt(routes: Sequence[str]) -> LetterPrompt:
    """The sheet that a model is trained on, and asked with afterwards: short, because it has learned what the routes are for."""
    pairs = " ".join(f"{letter}={name}" for letter, name in zip(ascii_uppercase, routes, strict=False))
    return as_trained(routes[:MOST_ROUTES], ascii_uppercase[: len(routes)], f"Route the request. {pairs}")


def as_trained(routes: Sequence[str], letters: str, instructions: str) -> LetterPrompt:
    """The sheet of a training: its own instructions, and of the letters in them those that it had examples of."""
    return LetterPrompt(
        routes=tuple(routes), letters=letters, instructions=instructions, alone=True, most=_TRAINED_TEXT
    )


def question(request: Request, most: int = _TEXT) -> str:
    """What the model is shown of a request: its end of the conversation, whether an image comes with it, its text."""
    past = [m for m in request.history if m.role == "user"][-_EARLIER:]
    lines = [f"Earlier request: {' '.join(m.content.split())[:_EARLIER_TEXT]}" for m in past]
    if request.shows_image:
        lines.append("An image is attached.")
    text = TextView(request).text
    return "\n".join([*lines, f"Request: {text if len(text) <= most else f'{text[:most]} ...'}", "Letter:"])


class LLMRouter:
    """A router that asks a model.

    Args:
        name: `llm` or `tuned`.
        fleet: Whose routes are chosen from; a sheet made earlier may know them by former names.
        model: Which model answers; part of the version.
        chooser: How it is asked.
        sheet: What it is asked; by default the routes with their descriptions.
        temperature: By which its probabilities are flattened, as its training found it.
    """

    def __init__(
        self, name: LLMRouterName, fleet: Fleet, model: str, chooser: LetterChooser, sheet: LetterPrompt | None = None, temperature: float = 1.0
    ) -> None:  # fmt: skip
        self.name, self.fleet, self.model, self.chooser = name, fleet, model, chooser
        self.sheet, self._temperature = sheet or zero_shot_prompt(fleet), temperature
        made_from = f"{name} {model} {self.sheet.instructions}"
        self.version = hashlib.blake2b(made_from.encode(), digest_size=4).hexdigest()
        self._says = "chose it by its description" if name == "llm" else "was trained on your examples"

    async def decide(self, request: Request, deadline_s: float = DEADLINE_S) -> Decision | None:
        """One decision; None when there is none in time. Never raises for any text."""
        start = time.perf_counter()
        letters = self.sheet.letters
        chosen = await self.chooser.choose(self.sheet.messages(request), letters, deadline_s)
        if chosen is None or chosen.letter not in letters:
            return None
        p = self._by_route(_spread(chosen, letters, self._temperature))
        untold = "; its server tells no probability" if chosen.probabilities is None else ""
        ranking = ranked([route.name for route in self.fleet.routes], p, ties(self.fleet))
        first = self.fleet.route(ranking[0][0])
        return Decision(
            ranking=ranking,
            model=first.model,
            reasons=(
                Reason(f"{self.model} {self._says}{untold}", first.name, round(math.log(ranking[0][1] * len(p)), 1)),
            ),
            router=self.name,
            version=self.version,
            elapsed_ms=(time.perf_counter() - start) * 1000,
        )

    def _by_route(self, p: Sequence[float]) -> list[float]:
        """Probabilities of the sheet's routes -> of the fleet's: a removed route's is shared out, a new one has next to none."""
        found = dict.fromkeys((r.name for r in self.fleet.routes), 0.0)
        for name, one in zip(self.sheet.routes, p, strict=True):
            now = self.fleet.names.get(name)
            if now is not None:
                found[now] += one
        spread = [max(_LEAST, found[r.name]) for r in self.fleet.routes]
        return [one / sum(spread) for one in spread]


def _spread(chosen: LetterChoice, letters: str, temperature: float) -> list[float]:
    """A probability for every letter, which sum to 1."""
    if chosen.probabilities is None:
        rest = (1 - _WITHOUT_PROBABILITIES) / max(1, len(letters) - 1)
        return [_WITHOUT_PROBABILITIES if letter == chosen.letter else rest for letter in letters]
    p = [max(1e-12, chosen.probabilities.get(letter, 0.0)) ** (1 / temperature) for letter in letters]
    total = sum(p)
    return [one / total for one in p]
