"""Fit the personal model: to the seeds and the person's own labels, in a few seconds. Blocks; for a thread or a process."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence

import numpy as np

from tui_router.core.fleet import Fleet
from tui_router.core.types import Request
from tui_router.routing.arrays import Float32s
from tui_router.routing.labels import Label
from tui_router.routing.learned import personal_model, seeds
from tui_router.routing.learned.learned_router import LearnedRouter
from tui_router.routing.learned.personal_model import PersonalModel, RowIndex, form_features
from tui_router.routing.linear.fitting import FitRow, fit
from tui_router.routing.linear.probabilities import softmax
from tui_router.routing.linear.text_model import TextModel
from tui_router.routing.rules.rules_router import RulesRouter

MIN_ROWS = 25
"""Rows of the person's own below which nothing is fitted."""
_MIN_ROWS_TO_HOLD_OUT = 100
"""Rows from which on some are held out to fit the temperature; with fewer, that of the shipped model is taken."""
_HELD_OUT = 0.2
_TEMPERATURES = np.linspace(0.6, 3.0, 121)
_PRIOR_STRENGTH = 5.0
"""How strongly the temperature is drawn towards the shipped model's. Chosen by hand, not measured."""


def fit_personal_model(router: LearnedRouter, labels: Sequence[Label]) -> PersonalModel | None:
    """Fit a model to the seeds and these labels; None when there are too few of them.

    Args:
        router: Analyses the requests; it is not changed.
        labels: Negative ones, requests with images and follow-ups are left to the memory: their text does not tell
            their route.
    """
    fitted = [(label, row) for label in labels if (row := _row(router, label)) is not None]
    if len(fitted) < MIN_ROWS:
        return None
    rows = _balanced([row for _, row in fitted])
    stage = router.text_stage
    seed_rows = [
        FitRow(stage.read(s.request).features, route)
        for s in seeds.load()
        if (route := _original_route(router, s)) is not None
    ]
    random.Random(len(rows)).shuffle(rows)
    held_out = rows[: int(len(rows) * _HELD_OUT)] if len(rows) >= _MIN_ROWS_TO_HOLD_OUT else []
    temperature = router.shipped.temperature
    if held_out:
        first = fit(
            [*seed_rows, *rows[len(held_out) :]],
            stage.words,
            routes=stage.original_names,
            triggers=stage.trigger_names,
        )
        model = TextModel(first.weights, stage.words)
        temperature = _temperature(model, first.form_weights, held_out, temperature)
    made = fit([*seed_rows, *rows], stage.words, routes=stage.original_names, triggers=stage.trigger_names)
    name = hashlib.blake2b(repr([(x.key, x.route) for x in labels]).encode(), digest_size=4)
    newest = [label for label, _ in fitted][-personal_model.MAX_ROWS :]
    personal_rows, seed_index = _row_indexes(router, [label.request for label in newest])
    return PersonalModel(
        name=name.hexdigest(),
        weights=made.weights,
        form_weights=made.form_weights,
        temperature=temperature,
        personal_rows=personal_rows,
        row_routes=np.array([router.fleet.digit(label.route) - 1 for label in newest]),
        seed_rows=seed_index,
        labels=sum(not label.negative for label in labels),
    )


def with_labels(fleet: Fleet, rules: RulesRouter, labels: Sequence[Label]) -> LearnedRouter:
    """Return a router with a personal model fitted to these labels, and with each of them in memory."""
    router = LearnedRouter(fleet, rules, personal=fit_personal_model(LearnedRouter(fleet, rules), labels))
    for label in labels:
        router.learn(label)
    return router


def _row_indexes(router: LearnedRouter, requests: Sequence[Request]) -> tuple[RowIndex, RowIndex]:
    """Return the indexes of the person's requests, and of the seeds."""
    own = [router.text_stage.read(request) for request in requests]
    others = [router.text_stage.read(s.request) for s in seeds.load() if _original_route(router, s) is not None]
    forms = np.array([form_features(analysis.evidence.view.text) for analysis in (*own, *others)])
    mean, spread = forms.mean(axis=0), forms.std(axis=0) + np.float32(0.1)
    embeddings = np.array([analysis.embedding for analysis in (*own, *others)])
    n = len(own)
    return (
        RowIndex.of(embeddings[:n], forms[:n], mean, spread),
        RowIndex.of(embeddings[n:], forms[n:], mean, spread),
    )


def _row(router: LearnedRouter, label: Label) -> FitRow | None:
    """Return a label as an example of the fit; None when its text does not tell its route."""
    request = label.request
    if label.negative or request.shows_image:
        return None
    if request.history and router.trace(request).context:
        return None
    analysis = router.text_stage.read(request)
    form = form_features(analysis.evidence.view.text)
    route = router.text_stage.original_names[router.fleet.digit(label.route) - 1]
    return FitRow(analysis.features, route, personal_model.PERSONAL_ROW_WEIGHT * label.weight, form)


def _balanced(rows: Sequence[FitRow]) -> list[FitRow]:
    """Return the rows with those of rare routes weighing more: by the square root of how much rarer they are than the mean."""
    counts = Counter(row.route for row in rows)
    mean = len(rows) / len(counts)
    return [row._replace(weight=row.weight * (mean / counts[row.route]) ** 0.5) for row in rows]


def _original_route(router: LearnedRouter, seed: seeds.Seed) -> str | None:
    """Return the route of a seed in its first name; None for seeds that the text model is not fitted to."""
    if seed.request.history or seed.request.has_image:
        return None
    now = router.fleet.names.get(seed.route)
    return None if now is None else router.text_stage.original_names[router.fleet.digit(now) - 1]


def _temperature(model: TextModel, form_weights: Float32s, held_out: Sequence[FitRow], usual: float) -> float:
    """Return the temperature with the least log loss on rows that the model has not seen, drawn towards the usual one.

    Temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks").
    """
    column = {route: i for i, route in enumerate(model.routes)}
    scores = np.array(
        [model.score(row.features).scores + (0.0 if row.form is None else row.form @ form_weights) for row in held_out]
    )
    targets = np.array([column[row.route] for row in held_out])

    def loss(temperature: float) -> float:
        p = softmax(scores / temperature)[np.arange(len(targets)), targets]
        return -float(np.log(p + 1e-12).sum()) + _PRIOR_STRENGTH * float(np.log(temperature / usual)) ** 2

    return float(min(_TEMPERATURES.tolist(), key=loss))
