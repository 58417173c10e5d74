"""Routers that ask a served model. They answer within a deadline or not at all, so the engine runs them as asynchronous shadows.

`llm` shows a small general model the routes with their descriptions and lets it choose, nothing trained (zero-shot). `tuned`
is a model that was fine-tuned on this question: it was trained on the same prompt with the same letters. What is asked is a
`LetterPrompt`; a `LetterChooser` asks it.
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
from tui_router.routing.llm.control_tokens import neutralise
from tui_router.routing.router import rank_routes, tie_break_order
from tui_router.routing.rules.text_features import TextView

LLMRouterName = Literal["llm", "tuned"]
DEADLINE_S = 2.0
"""Seconds after which an answer is not waited for any more."""
MOST_ROUTES = len(ascii_uppercase)
"""Routes that can be told apart by a letter."""
_TEXT = 2000
"""Characters of a request that an untrained model is shown."""
_TRAINED_TEXT = 1000
"""Characters of a request that a trained model is shown: with its routes and the end of the conversation about 400 tokens."""
_EARLIER_REQUESTS, _EARLIER_TEXT = 2, 300
"""Earlier requests that a model is shown, and characters of each."""
_WITHOUT_PROBABILITIES = 0.7
"""Probability of the chosen route when the server tells none; calibration by verdicts corrects it."""
_LEAST_PROBABILITY = 1e-4
"""Probability of a route that the model did not know."""


class LetterPrompt(Struct, frozen=True, kw_only=True):
    """The prompt template: which letter stands for which route, and the instructions before each request."""

    routes: tuple[str, ...]
    letters: str
    """One for each route, in the order of the routes."""
    instructions: str
    single_message: bool = False
    """Instructions and request are one message. Some chat templates have no place for instructions of their own, so this
    is the same text in every one of them."""
    max_characters: int = _TEXT
    """Characters of the request that are shown."""
    control_tokens: tuple[str, ...] = ()
    """Control tokens of the model's tokenizer, in addition to the common ones: a request that holds one is shown with a space
    inside it."""

    def messages(self, request: Request) -> tuple[Message, ...]:
        """Return the messages that the model is sent."""
        asked = neutralise(question(request, self.max_characters), self.control_tokens)
        if self.single_message:
            return (Message("user", f"{self.instructions}\n\n{asked}"),)
        return (Message("system", self.instructions), Message("user", asked))


def zero_shot_prompt(fleet: Fleet) -> LetterPrompt:
    """Return the prompt for a model that was never trained on the question: with the description of each route."""
    lines = [f"{letter} = {r.name}: {r.description}" for letter, r in zip(ascii_uppercase, fleet.routes, strict=False)]
    text = [
        "You route requests to specialists. Do not answer the request. Say which specialist it is for.",
        "",
        *lines,
        "",
        "Answer with one letter and nothing else.",
    ]
    routes = tuple(r.name for r in fleet.routes[:MOST_ROUTES])
    return LetterPrompt(routes=routes, letters=ascii_uppercase[: len(routes)], instructions="\n".join(text))


def trained_prompt(routes: Sequence[str]) -> LetterPrompt:
    """Return the prompt that a model is trained on, and asked with afterwards: short, because it has learned what the routes are for."""
    pairs = " ".join(f"{letter}={name}" for letter, name in zip(ascii_uppercase, routes, strict=False))
    return as_trained(routes[:MOST_ROUTES], ascii_uppercase[: len(routes)], f"Route the request. {pairs}")


def as_trained(
    routes: Sequence[str], letters: str, instructions: str, control_tokens: tuple[str, ...] = ()
) -> LetterPrompt:
    """Return the prompt of a past training.

    Args:
        routes: Those that it had examples of.
        letters: Of each of them, as the instructions name them.
        instructions: As it was trained on them.
        control_tokens: Of the tokenizer that it was trained with.
    """
    return LetterPrompt(
        routes=tuple(routes),
        letters=letters,
        instructions=instructions,
        single_message=True,
        max_characters=_TRAINED_TEXT,
        control_tokens=control_tokens,
    )


def question(request: Request, max_characters: int = _TEXT) -> str:
    """Return a request as the model is shown it: the end of its conversation, whether an image comes with it, its text."""
    past = [m for m in request.history if m.role == "user"][-_EARLIER_REQUESTS:]
    lines = [f"Earlier request: {without_middle(' '.join(m.content.split()), _EARLIER_TEXT)}" for m in past]
    if request.shows_image:
        lines.append("An image is attached.")
    text = TextView(request).text
    return neutralise("\n".join([*lines, f"Request: {without_middle(text, max_characters)}", "Letter:"]))


def without_middle(text: str, limit: int) -> str:
    """Return a text of at most about `limit` characters: the middle of a longer one is left out.

    People write their question before or after what they paste; with the end cut off, a question behind a long paste would not be
    shown at all. The gain in accuracy is not measured yet (`python -m scripts.measure_training long`).
    """
    half = limit // 2
    return text if len(text) <= limit else f"{text[:half]} ... {text[-half:]}"


class LLMRouter:
    """A router that asks a model.

    Args:
        name: `llm` or `tuned`.
        fleet: Its routes are chosen from; a prompt made earlier may know them by former names.
        model: Which model answers; part of the version.
        chooser: How it is asked.
        prompt: What it is asked; by default the routes with their descriptions.
        temperature: Divides the log probabilities, as the training found it.
    """

    def __init__(
        self,
        name: LLMRouterName,
        fleet: Fleet,
        model: str,
        chooser: LetterChooser,
        prompt: LetterPrompt | None = None,
        temperature: float = 1.0,
    ) -> None:
        self.name, self.fleet, self.model, self.chooser = name, fleet, model, chooser
        self.prompt, self._temperature = prompt or zero_shot_prompt(fleet), temperature
        made_from = f"{name} {model} {self.prompt.instructions}"
        self.version = hashlib.blake2b(made_from.encode(), digest_size=4).hexdigest()
        self._why = "chose it by its description" if name == "llm" else "was trained on your examples"

    async def decide(self, request: Request, deadline_s: float = DEADLINE_S) -> Decision | None:
        """Decide one request; None when no usable answer came in time. Never raises for any text."""
        start = time.perf_counter()
        letters = self.prompt.letters
        chosen = await self.chooser.choose(self.prompt.messages(request), letters, deadline_s)
        if chosen is None or chosen.letter not in letters:
            return None
        p = self._by_route(_letter_probabilities(chosen, letters, self._temperature))
        no_probability = "; its server tells no probability" if chosen.probabilities is None else ""
        ranking = rank_routes([route.name for route in self.fleet.routes], p, tie_break_order(self.fleet))
        first = self.fleet.route(ranking[0][0])
        return Decision(
            ranking=ranking,
            model=first.model,
            reasons=(
                Reason(
                    f"{self.model} {self._why}{no_probability}", first.name, round(math.log(ranking[0][1] * len(p)), 1)
                ),
            ),
            router=self.name,
            version=self.version,
            elapsed_ms=(time.perf_counter() - start) * 1000,
        )

    def _by_route(self, p: Sequence[float]) -> list[float]:
        """Turn the probabilities of the prompt's routes into those of the fleet's.

        That of a removed route is shared out; a new route has next to none.
        """
        found = dict.fromkeys((r.name for r in self.fleet.routes), 0.0)
        for name, one in zip(self.prompt.routes, p, strict=True):
            now = self.fleet.names.get(name)
            if now is not None:
                found[now] += one
        floored = [max(_LEAST_PROBABILITY, found[r.name]) for r in self.fleet.routes]
        return [one / sum(floored) for one in floored]


def _letter_probabilities(chosen: LetterChoice, letters: str, temperature: float) -> list[float]:
    """Return a probability for every letter; they sum to 1."""
    if chosen.probabilities is None:
        rest = (1 - _WITHOUT_PROBABILITIES) / max(1, len(letters) - 1)
        return [_WITHOUT_PROBABILITIES if letter == chosen.letter else rest for letter in letters]
    p = [max(1e-12, chosen.probabilities.get(letter, 0.0)) ** (1 / temperature) for letter in letters]
    total = sum(p)
    return [one / total for one in p]
