"""Routers that ask a model: too slow to wait for by the rules, so they are given a deadline and may come late.

`llm` shows a small general model the routes with their descriptions and lets it choose, nothing trained (zero-shot). `tuned`
is the place of a model that was fitted to this very question; it answers with the letter of a route after the same
instructions, and is told from `llm` by its name and its version alone. How the question travels is not their business: a
`Chooser` is handed in.
"""

from __future__ import annotations

import hashlib
import math
import time
from string import ascii_uppercase
from typing import Literal

from tui_router.core.choice import Chooser, Chosen
from tui_router.core.fleet import Fleet
from tui_router.core.types import Decision, Message, Reason, Request
from tui_router.routers.shape import Look

LateName = Literal["llm", "tuned"]
DEADLINE_S = 2.0
_TEXT = 2000
"""Characters of a request that are shown to the model."""
_EARLIER, _EARLIER_TEXT = 2, 300
_WITHOUT_PROBABILITIES = 0.7
"""Probability of the chosen route when the server tells none; the temperature of the race corrects it by verdicts."""
_LEAST = 1e-4


class LateRouter:
    """A router that asks a model.

    Args:
        name: `llm` or `tuned`.
        fleet: Whose routes are chosen from.
        model: Which model answers; part of the version.
        chooser: How it is asked.
    """

    def __init__(self, name: LateName, fleet: Fleet, model: str, chooser: Chooser) -> None:
        self.name, self.fleet, self.model, self._chooser = name, fleet, model, chooser
        self._instructions = instructions(fleet)
        self.version = hashlib.blake2b(f"{name} {model} {self._instructions}".encode(), digest_size=4).hexdigest()

    async def decide(self, request: Request, deadline_s: float = DEADLINE_S) -> Decision | None:
        """One decision; None when there is none in time. Never raises for any text."""
        start = time.perf_counter()
        letters = ascii_uppercase[: len(self.fleet.routes)]
        messages = (Message("system", self._instructions), Message("user", question(request)))
        chosen = await self._chooser.choose(messages, letters, deadline_s)
        if chosen is None or chosen.letter not in letters:
            return None
        p = _spread(chosen, letters)
        order = sorted(range(len(p)), key=lambda i: (-p[i], i))
        first = self.fleet.routes[order[0]]
        return Decision(
            ranking=tuple((self.fleet.routes[i].name, p[i]) for i in order),
            model=first.model,
            reasons=(
                Reason(
                    f"{self.model} chose it by its description", first.name, round(math.log(p[order[0]] * len(p)), 1)
                ),
            ),
            router=self.name,
            version=self.version,
            elapsed_ms=(time.perf_counter() - start) * 1000,
        )


def instructions(fleet: Fleet) -> str:
    """What the model is told: a letter for each route, with what the route is for."""
    lines = [f"{letter} = {r.name}: {r.description}" for letter, r in zip(ascii_uppercase, fleet.routes, strict=False)]
    return "\n".join(
        [
            "You route requests to specialists. Do not answer the request. Say which specialist it is for.",
            "",
            *lines,
            "",
            "Answer with one letter and nothing else.",
        ]
    )


def question(request: Request) -> str:
    """What the model is shown of a request: its end of the conversation, whether an image comes with it, its text."""
    past = [m for m in request.history if m.role == "user"][-_EARLIER:]
    lines = [f"Earlier request: {' '.join(m.content.split())[:_EARLIER_TEXT]}" for m in past]
    if request.has_image or request.attachments:
        lines.append("An image is attached.")
    text = Look(request).text
    return "\n".join([*lines, f"Request: {text if len(text) <= _TEXT else f'{text[:_TEXT]} ...'}", "Letter:"])


def _spread(chosen: Chosen, letters: str) -> list[float]:
    """A probability for every route, which sum to 1."""
    if chosen.probabilities is None:
        rest = (1 - _WITHOUT_PROBABILITIES) / max(1, len(letters) - 1)
        p = [_WITHOUT_PROBABILITIES if letter == chosen.letter else rest for letter in letters]
    else:
        p = [max(_LEAST, chosen.probabilities.get(letter, 0.0)) for letter in letters]
    total = sum(p)
    return [one / total for one in p]
