"""Fitting a model to what the person has said so far: the seeds and their own rows, in a few seconds. Blocks; for a thread."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence

import numpy as np

from tui_router.core.fleet import Fleet
from tui_router.core.types import Request
from tui_router.routing.labels import Label
from tui_router.routing.learned import personal_model, seeds
from tui_router.routing.learned.learned_router import LearnedRouter
from tui_router.routing.learned.personal_model import PersonalModel, RowIndex, form_features
from tui_router.routing.linear.fitting import FitRow, fit
from tui_router.routing.linear.lbfgs import softmax
from tui_router.routing.linear.text_model import TextModel
from tui_router.routing.rules.rules_router import RulesRouter

FEWEST = 25
"""Rows of the person's own below which there is nothing to fit."""
_HELD_OUT = 0.2
_TEMPERATURES = np.linspace(0.6, 3.0, 121)


def fit_personal_model(router: LearnedRouter, labels: Sequence[Label]) -> PersonalModel | None:
    """A model of the seeds and these lessons; None when there are too few of them.

    Args:
        router: What reads the requests; it is not changed.
        lessons: What verdicts taught. Negative evidence, requests with images and follow-ups are left to the memory:
            their text does not tell their route.
    """
    mine = [row for lesson in labels if (row := _row(router, lesson)) is not None]
    if len(mine) < FEWEST:
        return None
    mine = _balanced(mine)
    known = [
        FitRow(router.text_stage.read(s.request).features, route)
        for s in seeds.load()
        if (route := _route_of(router, s)) is not None
    ]
    triggers = router.text_stage.trigger_names
    random.Random(len(mine)).shuffle(mine)
    held = mine[: int(len(mine) * _HELD_OUT)] if len(mine) >= 100 else []
    temperature = router.prior.temperature
    if held:
        first = fit(
            [*known, *mine[len(held) :]],
            router.text_stage.words,
            routes=router.text_stage.names_then,
            triggers=triggers,
        )
        temperature = _temperature(TextModel(first.weights, router.text_stage.words), first.form, held, temperature)
    made = fit([*known, *mine], router.text_stage.words, routes=router.text_stage.names_then, triggers=triggers)
    told = hashlib.blake2b(repr([(x.key, x.route) for x in labels]).encode(), digest_size=4)
    used = [lesson for lesson in labels if _row(router, lesson) is not None][-personal_model.MOST_ROWS :]
    libraries = _libraries(router, [lesson.request for lesson in used])
    return PersonalModel(
        name=told.hexdigest(), weights=made.weights, form_weights=made.form, temperature=temperature, mine=libraries[0],
        mine_routes=np.array([router.fleet.digit(lesson.route) - 1 for lesson in used]), seeds=libraries[1],
        labels=sum(not lesson.against for lesson in labels),
    )  # fmt: skip


def with_labels(fleet: Fleet, rules: RulesRouter, labels: Sequence[Label]) -> LearnedRouter:
    """A router that was shipped and then taught all this: fitted to it, and with each lesson in memory."""
    router = LearnedRouter(fleet, rules, personal=fit_personal_model(LearnedRouter(fleet, rules), labels))
    for lesson in labels:
        router.learn(lesson)
    return router


def _libraries(router: LearnedRouter, mine: Sequence[Request]) -> tuple[RowIndex, RowIndex]:
    """The newest of the person's requests, and the seeds."""
    own = [router.text_stage.read(request) for request in mine]
    others = [router.text_stage.read(s.request) for s in seeds.load() if _route_of(router, s) is not None]
    forms = np.array([form_features(reading.evidence.look.text) for reading in (*own, *others)])
    middle, spread = forms.mean(axis=0), forms.std(axis=0) + np.float32(0.1)
    sketches = np.array([reading.embedding for reading in (*own, *others)])
    n = len(own)
    return (
        RowIndex.of(sketches[:n], forms[:n], middle, spread),
        RowIndex.of(sketches[n:], forms[n:], middle, spread),
    )


def _row(router: LearnedRouter, lesson: Label) -> FitRow | None:
    request = lesson.request
    if lesson.against or request.shows_image:
        return None
    if request.history and router.consider(request).held >= 0.5:
        return None
    reading = router.text_stage.read(request)
    form = form_features(reading.evidence.look.text)
    route = router.text_stage.names_then[router.fleet.digit(lesson.route) - 1]
    return FitRow(reading.features, route, personal_model.ROW_WEIGHT * lesson.weight, form)


def _balanced(rows: Sequence[FitRow]) -> list[FitRow]:
    """Rows of rare routes weigh more: by the square root of how much rarer they are than the mean."""
    counts = Counter(row.route for row in rows)
    mean = len(rows) / len(counts)
    return [row._replace(weight=row.weight * (mean / counts[row.route]) ** 0.5) for row in rows]


def _route_of(router: LearnedRouter, seed: seeds.Seed) -> str | None:
    """The route of a seed in its first name; None for seeds that the text model is not fitted to."""
    if seed.request.history or seed.request.has_image:
        return None
    now = router.fleet.names.get(seed.route)
    return None if now is None else router.text_stage.names_then[router.fleet.digit(now) - 1]


def _temperature(model: TextModel, form: personal_model.Floats, held: Sequence[FitRow], usual: float) -> float:
    """The temperature with the least log loss on rows that the model has not seen, drawn towards the usual one."""
    places = {route: i for i, route in enumerate(model.routes)}
    scores = np.array(
        [model.score(row.features).scores + (0.0 if row.form is None else row.form @ form) for row in held]
    )
    labels = np.array([places[row.route] for row in held])

    def loss(temperature: float) -> float:
        p = softmax(scores / temperature)[np.arange(len(labels)), labels]
        return -float(np.log(p + 1e-12).sum()) + 5 * float(np.log(temperature / usual)) ** 2

    return float(min(_TEMPERATURES.tolist(), key=loss))
