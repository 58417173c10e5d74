"""Fitting the text model: logistic regression over all features, naive Bayes over the text, in a few seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui_router.routing.linear.lbfgs import minimise, softmax
from tui_router.routing.linear.ngrams import groups, name_of
from tui_router.routing.linear.sparse import Sparse
from tui_router.routing.linear.text_model import RULE_CEILING, RULE_FLOOR, Features, Scales, Weights
from tui_router.routing.linear.word_vectors import WordVectors

Floats = NDArray[np.float32]

STRENGTH = 5.0
"""Weight of the examples against that of small weights (C of the usual formulation)."""
VOCABULARY = 5000
"""Most words that a fitted model names, so that what they bring can be worked out ahead."""
SMOOTHING = 0.05
"""Added to each count of naive Bayes, over the pieces that were seen, not over the width of a table."""


class FitRow(NamedTuple):
    """One example of a fit."""

    features: Features
    route: str
    weight: float = 1.0
    form: Floats | None = None
    """How the text is typed (`own.form_features`), for rows of the person's own."""


class Fit(NamedTuple):
    """What a fit gives."""

    weights: Weights
    form: Floats
    """Weights of the form features. Shape (form features, k); no rows when no example had any."""


class _Table:
    """The examples as matrices."""

    def __init__(
        self,
        rows: Sequence[FitRow],
        words: WordVectors,
        routes: Sequence[str],
        triggers: Sequence[str],
        scales: Scales,
    ) -> None:
        self.piece_keys, self.pieces, self.piece_rarity = _count_pieces(rows)
        self.group_keys, self.groups, self.spelling, self.group_rarity = _count_groups(rows)
        self.dense = _dense(rows, words, routes, triggers, scales)


def fit(
    rows: Sequence[FitRow],
    words: WordVectors,
    *,
    routes: Sequence[str],
    triggers: Sequence[str],
    scales: Scales = Scales(),  # noqa: B008  # a NamedTuple is a value
    strength: float = STRENGTH,
) -> Fit:
    """Fit a model.

    Args:
        rows: The examples; routes outside of `routes` are left out.
        words: Word vectors.
        routes: The routes of the model, in the order of its columns.
        triggers: Names of all triggers that the rules know.
        scales: How loud each block is.
        strength: Weight of the examples against that of small weights.
    """
    rows = [row for row in rows if row.route in routes]
    table = _Table(rows, words, routes, triggers, scales)
    place = {route: column for column, route in enumerate(routes)}
    labels = np.array([place[row.route] for row in rows], np.intp)
    weights = np.array([row.weight for row in rows], np.float32)
    fitted = _logistic(table, labels, weights, len(routes), strength)
    target = np.zeros((len(rows), len(routes)), np.float32)
    target[np.arange(len(rows)), labels] = weights
    counts = [
        table.pieces.transposed_times(target),
        table.spelling.transposed_times(table.groups.transposed_times(target)),
    ]
    bayes = _bayes(np.concatenate(counts))
    made = _assemble(table, fitted, bayes, tuple(routes), tuple(triggers), scales, words.dimensions)
    return made._replace(weights=made.weights._replace(vocabulary=_frequent(rows)))


def _count_pieces(rows: Sequence[FitRow]) -> tuple[NDArray[np.uint32], Sparse, Floats]:
    """(hashes of all words and pairs, examples x pieces of length 1 each, rarity)."""
    columns: dict[str, int] = {}
    per_row = [
        [columns.setdefault(piece, len(columns)) for piece in (*row.features.pieces.words, *row.features.pieces.pairs)]
        for row in rows
    ]
    rarity = _rarity(per_row, len(columns))
    keys = np.array([name_of(piece) for piece in columns], np.uint32)
    return keys, _unit_rows(per_row, rarity, len(columns)), rarity


def _count_groups(rows: Sequence[FitRow]) -> tuple[NDArray[np.uint32], Sparse, Sparse, Floats]:
    """(hashes of all groups, examples x words, words x groups, rarity): their product has rows of length 1."""
    words: dict[str, int] = {}
    per_row = [[words.setdefault(word, len(words)) for word in row.features.pieces.words] for row in rows]
    columns: dict[int, int] = {}
    per_word = [[columns.setdefault(group, len(columns)) for group in groups(word)] for word in words]
    rarity = _rarity([list({g for w in found for g in per_word[w]}) for found in per_row], len(columns))
    squares = np.array([float((rarity[found] ** 2).sum()) for found in per_word], np.float32)
    spelling = _sparse(per_word, [rarity[found] for found in per_word], len(columns))
    lengths = [
        np.full(len(found), 1 / max(1e-9, float(np.sqrt(squares[found].sum()))), np.float32) for found in per_row
    ]
    return np.array(list(columns), np.uint32), _sparse(per_row, lengths, len(words)), spelling, rarity


def _frequent(rows: Sequence[FitRow]) -> tuple[str, ...]:
    """The words of more than one example, the most frequent first."""
    counts = Counter(word for row in rows for word in row.features.pieces.words)
    return tuple(word for word, count in counts.most_common(VOCABULARY) if count > 1)


def _rarity(per_row: Sequence[Sequence[int]], size: int) -> Floats:
    """Smoothed inverse document frequency: ln((1 + n) / (1 + df)) + 1."""
    counts = np.bincount(np.fromiter((c for found in per_row for c in found), np.intp), minlength=size)
    result: Floats = (np.log((1 + len(per_row)) / (1 + counts)) + 1).astype(np.float32)
    return result


def _unit_rows(per_row: Sequence[list[int]], rarity: Floats, size: int) -> Sparse:
    values = [rarity[found] for found in per_row]
    return _sparse(per_row, [v / max(1e-9, float(np.sqrt(v @ v))) for v in values], size)


def _sparse(per_row: Sequence[Sequence[int]], values: Sequence[Floats], size: int) -> Sparse:
    rows = np.repeat(np.arange(len(per_row)), [len(found) for found in per_row])
    columns = np.fromiter((c for found in per_row for c in found), np.intp)
    joined = np.concatenate(values) if values else np.zeros(0, np.float32)
    return Sparse(rows, columns, joined.astype(np.float32), (len(per_row), size))


def _dense(
    rows: Sequence[FitRow], words: WordVectors, routes: Sequence[str], triggers: Sequence[str], scales: Scales
) -> Floats:
    """Shape (examples, d + t + k + f + 1): word vectors, triggers, rules, forms, and a column of ones."""
    place = {name: column for column, name in enumerate(triggers)}
    vectors = np.stack([words.of(row.features.pieces.words) for row in rows]) * np.float32(scales.vector)
    hits = np.zeros((len(rows), len(triggers)), np.float32)
    for line, row in zip(hits, rows, strict=True):
        line[[place[name] for name in row.features.triggers if name in place]] = scales.trigger
    by_rules = np.array([[row.features.rules.get(route, 0.0) for route in routes] for row in rows], np.float32)
    rules = np.clip(by_rules, RULE_FLOOR, RULE_CEILING) * np.float32(scales.rule)
    size = next((len(row.form) for row in rows if row.form is not None), 0)
    none = np.zeros(size, np.float32)
    forms = np.stack([none if row.form is None else row.form for row in rows])
    return np.hstack([vectors, hits, rules, forms, np.ones((len(rows), 1), np.float32)])


class _Fitted(NamedTuple):
    pieces: Floats
    groups: Floats
    dense: Floats


def _logistic(table: _Table, labels: NDArray[np.intp], weights: Floats, k: int, strength: float) -> _Fitted:
    sizes = (table.pieces.shape[1], table.spelling.shape[1], table.dense.shape[1])
    ends = np.cumsum([size * k for size in sizes])
    target = np.zeros((len(labels), k), np.float32)
    target[np.arange(len(labels)), labels] = 1
    share = (strength * weights)[:, None].astype(np.float32)
    shrunk = np.ones(ends[-1], np.float32)
    shrunk[-k:] = 1e-3  # the ones: how frequent a route is must be free to move

    def split(flat: Floats) -> _Fitted:
        return _Fitted(*(part.reshape(size, k) for part, size in zip(np.split(flat, ends[:-1]), sizes, strict=True)))

    def objective(flat: Floats) -> tuple[float, Floats]:
        now = split(flat)
        scores = (
            table.pieces.times(now.pieces)
            + table.groups.times(table.spelling.times(now.groups))
            + table.dense @ now.dense
        )
        p = softmax(scores).astype(np.float32)
        loss = -float((share[:, 0] * np.log(p[np.arange(len(labels)), labels] + 1e-12)).sum())
        error = (p - target) * share
        gradient = np.concatenate(
            [
                table.pieces.transposed_times(error).ravel(),
                table.spelling.transposed_times(table.groups.transposed_times(error)).ravel(),
                (table.dense.T @ error).ravel(),
            ]
        )
        return loss + 0.5 * float((shrunk * flat) @ flat), gradient + shrunk * flat

    return split(minimise(objective, np.zeros(ends[-1], np.float32)))


def _bayes(counts: Floats) -> Floats:
    """Log probabilities of each piece per route, against the mean over routes. Shape as the counts."""
    smoothed = counts + SMOOTHING
    logs = np.log(smoothed / smoothed.sum(axis=0, keepdims=True))
    result: Floats = (logs - logs.mean(axis=1, keepdims=True)).astype(np.float32)
    return result


def _assemble(
    table: _Table,
    fitted: _Fitted,
    bayes: Floats,
    routes: tuple[str, ...],
    triggers: tuple[str, ...],
    scales: Scales,
    dimensions: int,
) -> Fit:
    keys = np.concatenate([table.piece_keys, table.group_keys])
    rarity = np.concatenate([table.piece_rarity, table.group_rarity])
    text = np.concatenate([fitted.pieces, fitted.groups]) + scales.bayes * bayes
    order = np.argsort(keys, kind="stable")
    kept = order[np.concatenate([[True], np.diff(keys[order].astype(np.int64)) != 0])] if len(order) else order
    ends = np.cumsum([dimensions, len(triggers), len(routes)])
    vector, trigger, rule, rest = np.split(fitted.dense, ends)
    weights = Weights(
        routes=routes, triggers=triggers, keys=keys[kept], rarity=rarity[kept], text=text[kept].astype(np.float32),
        vector=vector * scales.vector, trigger=trigger * scales.trigger, rule=rule * scales.rule, bias=rest[-1],
        scales=scales,
    )  # fmt: skip
    return Fit(weights, rest[:-1])
