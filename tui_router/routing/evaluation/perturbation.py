"""Perturb requests as another person might have typed them: typos, case, punctuation. A route should not depend on them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from tui_router.core.types import Request
from tui_router.routing.router import Router

_BEFORE = ("hey can you ", "could you please ", "hi, ", "ok so ", "please ", "I need you to ", "quick one: ", "um, ")
_AFTER = (" please", " thanks", " pls", " thx!", " asap", " :)", " 🙏", " 😊")
_LONGEST_TYPED = 300
"""Characters of a request that are mistyped; what is longer was pasted."""


def typos(text: str, dice: random.Random) -> str:
    """Swap, drop or double about one letter in 25. The first word is left whole."""
    letters = list(text)
    first = len(text) - len(text.lstrip()) + len(text.split(maxsplit=1)[0]) if text.split() else 0
    places = [
        i
        for i in range(first, min(len(letters), _LONGEST_TYPED) - 1)
        if letters[i].isalpha() and letters[i + 1].isalpha()
    ]
    for place in sorted(dice.sample(places, min(len(places), max(1, len(places) // 25))), reverse=True):
        match dice.randrange(3):
            case 0:
                letters[place], letters[place + 1] = letters[place + 1], letters[place]
            case 1:
                del letters[place]
            case _:
                letters.insert(place, letters[place])
    return "".join(letters)


def case(text: str, dice: random.Random) -> str:
    """Change the case: all small, all capitals, or that of the first letter."""
    return dice.choice((text.lower(), text.upper(), text[:1].swapcase() + text[1:]))


def punctuation(text: str, dice: random.Random) -> str:
    """Remove the punctuation at the end, or put another one there."""
    bare = text.rstrip(" .!?")
    return bare + dice.choice(("", "", ".", "!", "...", " ?" if text.rstrip().endswith("?") else "")) if bare else text


def before(text: str, dice: random.Random) -> str:
    """Put a polite or idle phrase before the text."""
    rest = text if text[:2].isupper() else text[:1].lower() + text[1:]
    return dice.choice(_BEFORE) + rest


def after(text: str, dice: random.Random) -> str:
    """Put a word of thanks or an emoji after the text."""
    return text.rstrip() + dice.choice(_AFTER)


KINDS: dict[str, Callable[[str, random.Random], str]] = {
    "typos": typos,
    "case": case,
    "punctuation": punctuation,
    "before": before,
    "after": after,
}
"""Kind of perturbation -> a function that applies it."""


def noisy(requests: Iterable[Request], kind: str, seed: int = 0) -> list[Request]:
    """Return every request with one kind of perturbation. The same seed gives the same texts."""
    dice = random.Random(f"{kind} {seed}")
    return [replace(request, text=KINDS[kind](request.text, dice)) for request in requests]


def flips(router: Router, requests: Sequence[Request]) -> dict[str, float]:
    """Return kind -> the share of requests that are routed differently with that perturbation, and `all` kinds together."""
    clean = [decision.route for decision in router.decide_many(requests)]
    rates = {}
    for kind in KINDS:
        perturbed = router.decide_many(noisy(requests, kind))
        rates[kind] = sum(d.route != route for d, route in zip(perturbed, clean, strict=True)) / max(1, len(clean))
    return {**rates, "all": sum(rates.values()) / len(rates)}
