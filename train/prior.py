"""Fit the learned router to the seeds: data/seed_routing_data.jsonl -> data/prior.npz. `make prior`.

Five folds give what must not be measured on known rows: the temperature, the gate of the conversation, the judgement of
scope, and the accuracy by which `auto` chooses a leader before there are verdicts. The same seeds, rules and word
vectors give the same file on the same machine.
"""

from __future__ import annotations

import random
import sys
import time
from typing import NamedTuple

import numpy as np

from tui_router.config.settings import parse_config
from tui_router.core import assets
from tui_router.core.example import Example
from tui_router.core.types import Message, Request
from tui_router.routing.learned import conversation_gate, out_of_scope
from tui_router.routing.learned.learned_router import LearnedRouter
from tui_router.routing.learned.seeds import Seed, fingerprint, load
from tui_router.routing.learned.shipped_model import ShippedModel, save
from tui_router.routing.linear import word_vectors
from tui_router.routing.linear.fitting import FitRow, fit
from tui_router.routing.linear.lbfgs import minimise, softmax
from tui_router.routing.linear.text_model import Weights
from tui_router.routing.rules.rules_router import RulesRouter

FOLDS = 5


class Bench(NamedTuple):
    """What every step needs."""

    rules: RulesRouter
    routes: tuple[str, ...]
    made_from: str


def main() -> int:
    start = time.perf_counter()
    fleet = parse_config("", None, {}).fleet
    rules = RulesRouter(fleet)
    bench = Bench(rules, tuple(r.name for r in fleet.routes), fingerprint(rules))
    seeds = load()
    plain = [s for s in seeds if not s.request.history and not s.request.has_image]
    random.Random(0).shuffle(plain)
    folds = [plain[i::FOLDS] for i in range(FOLDS)]
    fitted = [fitted_to([s for j, f in enumerate(folds) if j != i for s in f], bench) for i in range(FOLDS)]
    temperature, right, chances = calibrate(fitted, folds, bench)
    say(f"temperature {temperature:.3f}, accuracy on folds {right / len(plain):.3f} n={len(plain)}")
    rough = ShippedModel(
        fitted[0], temperature, np.zeros(conversation_gate.FEATURES), np.eye(out_of_scope.FEATURES)[0] * 9, {}, ""
    )
    known = LearnedRouter(fleet, rules, prior=rough)
    inside = fit_scope(known, folds[0])
    gate = fit_gate(known, [s for s in seeds if s.request.history], folds[0])
    by_rules = sum(rules.decide(s.request).route == s.route for s in plain)
    prior = ShippedModel(
        fitted_to(plain, bench), temperature, gate, inside,
        {"learned": (right, len(plain)), "rules": (by_rules, len(plain))}, bench.made_from,
    )  # fmt: skip
    path = assets.data("prior.npz")
    judged = [seed for fold in folds for seed in fold]
    save(prior, path, [key_of(seed) for seed in judged], chances)
    say(f"{path}: {path.stat().st_size:,} bytes, {time.perf_counter() - start:.0f} s")
    return 0


def say(text: str) -> None:
    print(text, file=sys.stderr)


def rows(seeds: list[Seed], bench: Bench) -> list[FitRow]:
    """The examples of a fit."""
    found = []
    for seed in seeds:
        found.append(FitRow(reader(bench).text_stage.read_anew(seed.request).features, seed.route))
    return found


_readers: dict[str, LearnedRouter] = {}


def reader(bench: Bench) -> LearnedRouter:
    """A router with nothing in it, for its way of reading."""
    if "one" not in _readers:
        k, none = len(bench.routes), np.zeros
        empty = Weights(
            bench.routes, (), none(1, np.uint32), none(1, np.float32), none((1, k), np.float32),
            none((word_vectors.shipped().dimensions, k), np.float32), none((0, k), np.float32), none((k, k), np.float32),
            none(k, np.float32), fit.__kwdefaults__["scales"],  # type: ignore[index]  # it has defaults
        )  # fmt: skip
        prior = ShippedModel(empty, 1.0, none(conversation_gate.FEATURES), none(out_of_scope.FEATURES), {}, "")
        _readers["one"] = LearnedRouter(bench.rules.fleet, bench.rules, prior=prior)
    return _readers["one"]


def fitted_to(seeds: list[Seed], bench: Bench) -> Weights:
    return fit(
        rows(seeds, bench), word_vectors.shipped(), routes=bench.routes, triggers=bench.rules.trigger_names
    ).weights


def key_of(seed: Seed) -> str:
    """A seed's name among examples."""
    request = seed.request
    return Example(text=request.text, route=seed.route, source="seed", has_code=request.has_code).key


def calibrate(fitted: list[Weights], folds: list[list[Seed]], bench: Bench) -> tuple[float, int, np.ndarray]:
    """(the temperature with the least log loss on the folds, how many were right, (seeds, routes) probabilities)."""
    from tui_router.routing.linear.text_model import TextModel

    scores, labels = [], []
    for weights, fold in zip(fitted, folds, strict=True):
        model = TextModel(weights, word_vectors.shipped())
        for row in rows(fold, bench):
            scores.append(model.score(row.features).scores)
            labels.append(bench.routes.index(row.route))
    z, y = np.array(scores), np.array(labels)

    def loss(temperature: float) -> float:
        return -float(np.log(softmax(z / temperature)[np.arange(len(y)), y] + 1e-12).mean())

    best = min(np.linspace(0.6, 3.0, 241).tolist(), key=loss)
    return best, int((z.argmax(1) == y).sum()), softmax(z / best)


def logistic_weights(found: np.ndarray, target: np.ndarray, weight: np.ndarray, ridge: float) -> np.ndarray:
    """Two-class logistic regression."""

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        p = 1 / (1 + np.exp(-np.clip(found @ w, -30, 30)))
        value = -float((weight * (target * np.log(p + 1e-12) + (1 - target) * np.log(1 - p + 1e-12))).sum())
        return value + ridge * float(w @ w) / 2, found.T @ (weight * (p - target)) + ridge * w

    start = np.zeros(found.shape[1])
    return minimise(objective, start, most=500, tolerance=1e-7)  # type: ignore[arg-type]  # in double precision


# -- scope -----------------------------------------------------------------------------------------------------------
def fit_scope(router: LearnedRouter, seeds: list[Seed]) -> np.ndarray:
    """Weights that tell seeds, unknown to the router, from text that nobody would send on purpose."""
    dice = random.Random(5)
    entries = [w for w in router.text_stage.words._entries if w.isascii() and w.isalpha() and len(w) > 3]
    out = [junk(dice, entries) for _ in range(len(seeds) // 6)]
    found = []
    for text in [s.request.text for s in seeds] + out:
        evidence = router.rules.evidence(Request(text=text))
        reading = router.text_stage.read_anew(Request(text=text))
        found.append(router.text_stage.scope_features(reading.scored.known, float(reading.chances.max()), evidence))
    target = np.array([1.0] * len(seeds) + [0.0] * len(out))
    return logistic_weights(np.array(found), target, np.ones(len(target)), 1.0)


_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "1234567890", "qazwsxedc")
_SCRIPTS = (
    (0x10D0, 33),
    (0x561, 38),
    (0x1200, 80),
    (0x0B85, 40),
    (0x0E81, 46),
    (0x1780, 34),
    (0xA984, 44),
    (0x13A0, 80),
    (0x1401, 90),
)
_SIGNS = "!?.,;:-_=+*/\\|<>()[]{}~^%&$#@'\""


def junk(dice: random.Random, entries: list[str]) -> str:
    """One text that means nothing to anybody: mashed keys, made-up words, lone words, scripts without seeds, signs."""
    kind = dice.choice(("keys", "keys", "made", "made", "lone", "lone", "salad", "script", "signs", "number", "repeat"))
    match kind:
        case "keys":
            row = dice.choice(_ROWS)
            return " ".join("".join(dice.choices(row, k=dice.randint(2, 8))) for _ in range(dice.randint(1, 4)))
        case "made":

            def word() -> str:
                return "".join(
                    dice.choice("bcdfghklmnprstvwz") + dice.choice("aeiou") for _ in range(dice.randint(1, 4))
                )

            return " ".join(word() + dice.choice(("", "n", "k", "s")) for _ in range(dice.randint(1, 6)))
        case "lone":
            return dice.choice(entries)
        case "salad":
            return " ".join(dice.choices(entries, k=dice.randint(2, 4)))
        case "script":
            first, size = dice.choice(_SCRIPTS)
            return " ".join(
                "".join(chr(first + dice.randrange(size)) for _ in range(dice.randint(2, 7)))
                for _ in range(dice.randint(1, 5))
            )
        case "signs":
            return "".join(dice.choices(_SIGNS, k=dice.randint(1, 6)))
        case "number":
            return " ".join(str(dice.randrange(10 ** dice.randint(1, 6))) for _ in range(dice.randint(1, 4)))
    return " ".join([dice.choice(("the", "a", "of", "la", "is", "ab", "x", "foo"))] * dice.randint(1, 5))


# -- the gate of the conversation --------------------------------------------------------------------------------------
_STRANGERS, _STRANGE = 1200, 0.2
"""How many requests behind one that they have nothing to do with, and what all of them weigh against the conversations:
most of a conversation stays with its subject."""


def fit_gate(router: LearnedRouter, follow: list[Seed], seeds: list[Seed]) -> np.ndarray:
    """Weights of the gate: a request that keeps the route of its conversation is held, one that leaves it is not.

    `follow` are conversations; seeds behind a random other seed are what does not follow.
    """
    dice = random.Random(6)
    cases = [(s.request, s.route) for s in follow]
    strangers = seeds[:_STRANGERS]
    for seed in strangers:
        other = dice.choice([s for s in seeds if s.route != seed.route])
        cases.append((Request(text=seed.request.text, history=(Message("user", other.request.text),)), seed.route))
    weight = [1.0] * len(follow) + [_STRANGE * len(follow) / len(strangers)] * len(strangers)
    weights = np.zeros(conversation_gate.FEATURES)
    for _ in range(3):  # the earlier turns' own gates depend on the weights: settle in a few rounds
        router.prior = router.prior._replace(context=weights)
        found, held = [], []
        for request, route in cases:
            signs = router.signs(request)
            assert signs is not None
            shared, place = conversation_gate.lent(signs.past)
            found.append(conversation_gate.features(signs, shared, place)[0])
            held.append(router.fleet.routes[int(shared[0].argmax())].name == route)
        weights = logistic_weights(np.array(found), np.array(held, float), np.array(weight), 1.0)
    return weights


if __name__ == "__main__":
    sys.exit(main())
