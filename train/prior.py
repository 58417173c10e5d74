"""Fit the learned router to the seeds: data/seed_routing_data.jsonl -> data/prior.npz. `make prior`.

Five folds give what must not be measured on rows that a model was fitted to: the temperature, the conversation gate, the
out-of-scope judgement, and the accuracy by which `auto` chooses a champion before there are verdicts. The same seeds, rules
and word vectors give the same file on the same machine.
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
from tui_router.routing.linear.lbfgs import minimise
from tui_router.routing.linear.probabilities import softmax
from tui_router.routing.linear.text_model import BlockScales, TextModel, TextWeights
from tui_router.routing.rules.rules_router import RulesRouter

FOLDS = 5


class Setup(NamedTuple):
    """What every step needs."""

    rules: RulesRouter
    routes: tuple[str, ...]
    made_from: str


def main() -> int:
    start = time.perf_counter()
    fleet = parse_config("", None, {}).fleet
    rules = RulesRouter(fleet)
    setup = Setup(rules, tuple(r.name for r in fleet.routes), fingerprint(rules))
    seeds = load()
    plain = [s for s in seeds if not s.request.history and not s.request.has_image]
    random.Random(0).shuffle(plain)
    folds = [plain[i::FOLDS] for i in range(FOLDS)]
    fitted = [fitted_to([s for j, f in enumerate(folds) if j != i for s in f], setup) for i in range(FOLDS)]
    temperature, right, probabilities = calibrate(fitted, folds, setup)
    log(f"temperature {temperature:.3f}, accuracy on folds {right / len(plain):.3f} n={len(plain)}")
    rough = ShippedModel(
        fitted[0],
        temperature,
        np.zeros(conversation_gate.GATE_FEATURES),
        np.eye(out_of_scope.SCOPE_FEATURES)[0] * 9,
        {},
        "",
    )
    router = LearnedRouter(fleet, rules, shipped=rough)
    scope_weights = fit_scope(router, folds[0])
    gate_weights = fit_gate(router, [s for s in seeds if s.request.history], folds[0])
    by_rules = sum(rules.decide(s.request).route == s.route for s in plain)
    model = ShippedModel(
        fitted_to(plain, setup),
        temperature,
        gate_weights,
        scope_weights,
        {"learned": (right, len(plain)), "rules": (by_rules, len(plain))},
        setup.made_from,
    )
    path = assets.data("prior.npz")
    seeds_of_folds = [seed for fold in folds for seed in fold]
    save(model, path, [key_of(seed) for seed in seeds_of_folds], probabilities)
    log(f"{path}: {path.stat().st_size:,} bytes, {time.perf_counter() - start:.0f} s")
    return 0


def log(text: str) -> None:
    print(text, file=sys.stderr)


def rows(seeds: list[Seed], setup: Setup) -> list[FitRow]:
    """Return the seeds as examples of a fit."""
    analyse = analyser(setup).text_stage.analyse
    return [FitRow(analyse(seed.request).features, seed.route) for seed in seeds]


_analysers: dict[str, LearnedRouter] = {}


def analyser(setup: Setup) -> LearnedRouter:
    """Return a router whose weights are all zero, for the features that it makes of a request."""
    if "one" not in _analysers:
        k, zeros = len(setup.routes), np.zeros
        weights = TextWeights(
            routes=setup.routes,
            triggers=(),
            keys=zeros(1, np.uint32),
            rarity=zeros(1, np.float32),
            text=zeros((1, k), np.float32),
            vector=zeros((word_vectors.shipped().dimensions, k), np.float32),
            trigger=zeros((0, k), np.float32),
            rule=zeros((k, k), np.float32),
            bias=zeros(k, np.float32),
            scales=BlockScales(),
        )
        gate, scope = zeros(conversation_gate.GATE_FEATURES), zeros(out_of_scope.SCOPE_FEATURES)
        shipped = ShippedModel(weights, 1.0, gate, scope, {}, "")
        _analysers["one"] = LearnedRouter(setup.rules.fleet, setup.rules, shipped=shipped)
    return _analysers["one"]


def fitted_to(seeds: list[Seed], setup: Setup) -> TextWeights:
    return fit(
        rows(seeds, setup), word_vectors.shipped(), routes=setup.routes, triggers=setup.rules.trigger_names
    ).weights


def key_of(seed: Seed) -> str:
    """Return the key of a seed among examples."""
    request = seed.request
    return Example(text=request.text, route=seed.route, source="seed", has_code=request.has_code).key


def calibrate(fitted: list[TextWeights], folds: list[list[Seed]], setup: Setup) -> tuple[float, int, np.ndarray]:
    """Return (the temperature with the least log loss on the folds, how many were right, probabilities (seeds, routes))."""
    scores, labels = [], []
    for weights, fold in zip(fitted, folds, strict=True):
        model = TextModel(weights, word_vectors.shipped())
        for row in rows(fold, setup):
            scores.append(model.score(row.features).scores)
            labels.append(setup.routes.index(row.route))
    z, y = np.array(scores), np.array(labels)

    def loss(temperature: float) -> float:
        return -float(np.log(softmax(z / temperature)[np.arange(len(y)), y] + 1e-12).mean())

    best = min(np.linspace(0.6, 3.0, 241).tolist(), key=loss)
    return best, int((z.argmax(1) == y).sum()), softmax(z / best)


def logistic_weights(features: np.ndarray, target: np.ndarray, weight: np.ndarray, ridge: float) -> np.ndarray:
    """Fit two-class logistic regression; returns its weights, shape (features,).

    Args:
        features: Shape (n, features).
        target: 1.0 or 0.0 of each row. Shape (n,).
        weight: Of each row. Shape (n,).
        ridge: Penalty on large weights.
    """

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        p = 1 / (1 + np.exp(-np.clip(features @ w, -30, 30)))
        value = -float((weight * (target * np.log(p + 1e-12) + (1 - target) * np.log(1 - p + 1e-12))).sum())
        return value + ridge * float(w @ w) / 2, features.T @ (weight * (p - target)) + ridge * w

    start = np.zeros(features.shape[1])
    return minimise(objective, start, max_steps=500, tolerance=1e-7)  # type: ignore[arg-type]  # in double precision


# -- scope -----------------------------------------------------------------------------------------------------------
def fit_scope(router: LearnedRouter, seeds: list[Seed]) -> np.ndarray:
    """Return weights that tell seeds, which the router was not fitted to, from text that nobody would send on purpose."""
    dice = random.Random(5)
    entries = [w for w in router.text_stage.words.vocabulary if w.isascii() and w.isalpha() and len(w) > 3]
    out = [junk(dice, entries) for _ in range(len(seeds) // 6)]
    found = []
    for text in [s.request.text for s in seeds] + out:
        analysis = router.text_stage.analyse(Request(text=text))
        top = float(analysis.probabilities.max())
        found.append(router.text_stage.scope_features(analysis.scored.known, top, analysis.evidence))
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
    """Return one text that means nothing to anybody: mashed keys, made-up words, lone words, scripts without seeds, signs."""
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
_UNRELATED_PAIRS, _UNRELATED_WEIGHT = 1200, 0.2
"""How many requests are put behind one that they have nothing to do with, and what all of them weigh against the
conversations: most of a conversation stays with its subject. Chosen by hand, not measured."""


def fit_gate(router: LearnedRouter, follow: list[Seed], seeds: list[Seed]) -> np.ndarray:
    """Return the weights of the conversation gate, shape (GATE_FEATURES,).

    Args:
        router: Not fitted to the seeds of `seeds`.
        follow: Conversations: a request that keeps the route of its conversation shall take it over.
        seeds: Each is put behind another of a different route: such a request shall not.
    """
    dice = random.Random(6)
    cases = [(s.request, s.route) for s in follow]
    unrelated = seeds[:_UNRELATED_PAIRS]
    for seed in unrelated:
        other = dice.choice([s for s in seeds if s.route != seed.route])
        cases.append((Request(text=seed.request.text, history=(Message("user", other.request.text),)), seed.route))
    weight = [1.0] * len(follow) + [_UNRELATED_WEIGHT * len(follow) / len(unrelated)] * len(unrelated)
    weights = np.zeros(conversation_gate.GATE_FEATURES)
    for _ in range(3):  # the earlier turns' own gates depend on the weights: they settle in a few rounds
        router.mixture.gate_weights = weights
        features, kept = [], []
        for request, route in cases:
            inputs = router.gate_inputs(request)
            assert inputs is not None
            carried, source = conversation_gate.carried_over(inputs.past)
            features.append(conversation_gate.gate_features(inputs, carried, source)[0])
            kept.append(router.fleet.routes[int(carried[0].argmax())].name == route)
        weights = logistic_weights(np.array(features), np.array(kept, float), np.array(weight), 1.0)
    return weights


if __name__ == "__main__":
    sys.exit(main())
