"""Fit the text model: logistic regression over all features, naive Bayes over the text, in a few seconds.

The two are added with a fixed share of naive Bayes (Wang and Manning 2012, "Baselines and Bigrams": log-count ratios as
features; here their share is a constant, so that a rare word that stood in one route only counts from the start).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui_router.routing.arrays import Float32s, Ints
from tui_router.routing.linear.lbfgs import minimise
from tui_router.routing.linear.ngrams import ngram_hashes, token_hash
from tui_router.routing.linear.probabilities import softmax
from tui_router.routing.linear.sparse import SparseMatrix
from tui_router.routing.linear.text_model import RULE_CEILING, RULE_FLOOR, BlockScales, TextFeatures, TextWeights
from tui_router.routing.linear.word_vectors import WordVectors

FIT_STRENGTH = 5.0
"""Weight of the examples against that of small weights: C of the usual formulation. Chosen on folds of the seeds."""
VOCABULARY_SIZE = 5000
"""Most words that a fitted model names, so that their contributions can be worked out ahead."""
SMOOTHING = 0.05
"""Added to each count of naive Bayes, over the tokens that were seen, not over the width of a table. Chosen on folds of the
seeds."""
_BIAS_SHRINKAGE = 1e-3
"""Penalty on the bias against that on other weights: how frequent a route is must be free to move."""


class FitRow(NamedTuple):
    """One example of a fit."""

    features: TextFeatures
    route: str
    weight: float = 1.0
    form: Float32s | None = None
    """How the text is typed (`personal_model.form_features`), for rows of the person's own. Shape (form features,)."""


class FittedModel(NamedTuple):
    """The result of a fit to k routes."""

    weights: TextWeights
    form_weights: Float32s
    """Shape (form features, k); no rows when no example had form features."""


class _FitMatrices:
    """The examples as matrices, one of each block."""

    def __init__(
        self,
        rows: Sequence[FitRow],
        words: WordVectors,
        routes: Sequence[str],
        triggers: Sequence[str],
        scales: BlockScales,
    ) -> None:
        self.token_hashes, self.tokens, self.token_idf = _count_tokens(rows)
        self.ngram_hashes, self.words, self.spelling, self.ngram_idf = _count_ngrams(rows)
        self.dense = _dense_features(rows, words, routes, triggers, scales)


class _BlockWeights(NamedTuple):
    """The weights that logistic regression found. Each has the shape (features of the block, k)."""

    tokens: Float32s
    ngrams: Float32s
    dense: Float32s


def fit(
    rows: Sequence[FitRow],
    words: WordVectors,
    *,
    routes: Sequence[str],
    triggers: Sequence[str],
    scales: BlockScales = BlockScales(),  # noqa: B008  # a NamedTuple is a value
    strength: float = FIT_STRENGTH,
) -> FittedModel:
    """Fit a model to examples.

    Args:
        rows: The examples; those of a route outside of `routes` are left out.
        words: Word vectors.
        routes: The routes of the model, in the order of its columns.
        triggers: Names of all triggers of the rules.
        scales: The scale of each block of features.
        strength: Weight of the examples against that of small weights.
    """
    rows = [row for row in rows if row.route in routes]
    matrices = _FitMatrices(rows, words, routes, triggers, scales)
    column = {route: i for i, route in enumerate(routes)}
    targets = np.array([column[row.route] for row in rows], np.intp)
    weights = np.array([row.weight for row in rows], np.float32)
    fitted = _fit_logistic(matrices, targets, weights, len(routes), strength)
    one_hot = np.zeros((len(rows), len(routes)), np.float32)
    one_hot[np.arange(len(rows)), targets] = weights
    counts = [
        matrices.tokens.transposed_times(one_hot),
        matrices.spelling.transposed_times(matrices.words.transposed_times(one_hot)),
    ]
    log_ratios = _log_count_ratios(np.concatenate(counts))
    made = _assemble(matrices, fitted, log_ratios, tuple(routes), tuple(triggers), scales, words.dimensions)
    return made._replace(weights=made.weights._replace(vocabulary=_frequent_words(rows)))


def _count_tokens(rows: Sequence[FitRow]) -> tuple[NDArray[np.uint32], SparseMatrix, Float32s]:
    """Return (hashes of all n words and pairs (n,), examples x tokens with rows of length 1, idf of each (n,))."""
    columns: dict[str, int] = {}
    per_row = [
        [columns.setdefault(token, len(columns)) for token in (*row.features.tokens.words, *row.features.tokens.pairs)]
        for row in rows
    ]
    idf = _idf(per_row, len(columns))
    hashes = np.array([token_hash(token) for token in columns], np.uint32)
    return hashes, _rows_of_length_one(per_row, idf, len(columns)), idf


def _count_ngrams(rows: Sequence[FitRow]) -> tuple[NDArray[np.uint32], SparseMatrix, SparseMatrix, Float32s]:
    """Return (hashes of all n n-grams (n,), examples x words, words x n-grams, idf of each n-gram (n,)).

    The product of the two matrices, examples x n-grams, has rows of length 1.
    """
    words: dict[str, int] = {}
    per_row = [[words.setdefault(word, len(words)) for word in row.features.tokens.words] for row in rows]
    columns: dict[int, int] = {}
    per_word = [[columns.setdefault(ngram, len(columns)) for ngram in ngram_hashes(word)] for word in words]
    idf = _idf([list({ngram for word in found for ngram in per_word[word]}) for found in per_row], len(columns))
    squares = np.array([float((idf[found] ** 2).sum()) for found in per_word], np.float32)
    spelling = _sparse(per_word, [idf[found] for found in per_word], len(columns))
    lengths = [
        np.full(len(found), 1 / max(1e-9, float(np.sqrt(squares[found].sum()))), np.float32) for found in per_row
    ]
    return np.array(list(columns), np.uint32), _sparse(per_row, lengths, len(words)), spelling, idf


def _frequent_words(rows: Sequence[FitRow]) -> tuple[str, ...]:
    """Return the words of more than one example, the most frequent first."""
    counts = Counter(word for row in rows for word in row.features.tokens.words)
    return tuple(word for word, count in counts.most_common(VOCABULARY_SIZE) if count > 1)


def _idf(per_row: Sequence[Sequence[int]], size: int) -> Float32s:
    """Return the smoothed inverse document frequency, ln((1 + n) / (1 + df)) + 1, of each column. Shape (size,)."""
    counts = np.bincount(np.fromiter((c for found in per_row for c in found), np.intp), minlength=size)
    result: Float32s = (np.log((1 + len(per_row)) / (1 + counts)) + 1).astype(np.float32)
    return result


def _rows_of_length_one(per_row: Sequence[list[int]], values: Float32s, size: int) -> SparseMatrix:
    rows = [values[found] for found in per_row]
    return _sparse(per_row, [row / max(1e-9, float(np.sqrt(row @ row))) for row in rows], size)


def _sparse(per_row: Sequence[Sequence[int]], values: Sequence[Float32s], size: int) -> SparseMatrix:
    rows = np.repeat(np.arange(len(per_row)), [len(found) for found in per_row])
    columns = np.fromiter((c for found in per_row for c in found), np.intp)
    joined = np.concatenate(values) if values else np.zeros(0, np.float32)
    return SparseMatrix(rows, columns, joined.astype(np.float32), (len(per_row), size))


def _dense_features(
    rows: Sequence[FitRow], words: WordVectors, routes: Sequence[str], triggers: Sequence[str], scales: BlockScales
) -> Float32s:
    """Return word vectors, triggers, rule scores, form features and a column of ones, side by side.

    Shape (examples, dimensions + triggers + k + form features + 1).
    """
    column = {name: i for i, name in enumerate(triggers)}
    vectors = np.stack([words.of(row.features.tokens.words) for row in rows]) * np.float32(scales.vector)
    hits = np.zeros((len(rows), len(triggers)), np.float32)
    for line, row in zip(hits, rows, strict=True):
        line[[column[name] for name in row.features.triggers if name in column]] = scales.trigger
    rule_scores = np.array([[row.features.rules.get(route, 0.0) for route in routes] for row in rows], np.float32)
    rules = np.clip(rule_scores, RULE_FLOOR, RULE_CEILING) * np.float32(scales.rule)
    form_size = next((len(row.form) for row in rows if row.form is not None), 0)
    no_form = np.zeros(form_size, np.float32)
    forms = np.stack([no_form if row.form is None else row.form for row in rows])
    return np.hstack([vectors, hits, rules, forms, np.ones((len(rows), 1), np.float32)])


def _fit_logistic(matrices: _FitMatrices, targets: Ints, weights: Float32s, k: int, strength: float) -> _BlockWeights:
    """Fit multinomial logistic regression with an L2 penalty.

    Args:
        matrices: The n examples.
        targets: Column of each example's route. Shape (n,).
        weights: Of the examples. Shape (n,).
        k: Number of routes.
        strength: As in `fit`.
    """
    sizes = (matrices.tokens.shape[1], matrices.spelling.shape[1], matrices.dense.shape[1])
    ends = np.cumsum([size * k for size in sizes])
    one_hot = np.zeros((len(targets), k), np.float32)
    one_hot[np.arange(len(targets)), targets] = 1
    share = (strength * weights)[:, None].astype(np.float32)
    shrinkage = np.ones(ends[-1], np.float32)
    shrinkage[-k:] = _BIAS_SHRINKAGE

    def split(flat: Float32s) -> _BlockWeights:
        parts = np.split(flat, ends[:-1])
        return _BlockWeights(*(part.reshape(size, k) for part, size in zip(parts, sizes, strict=True)))

    def objective(flat: Float32s) -> tuple[float, Float32s]:
        blocks = split(flat)
        scores = (
            matrices.tokens.times(blocks.tokens)
            + matrices.words.times(matrices.spelling.times(blocks.ngrams))
            + matrices.dense @ blocks.dense
        )
        p = softmax(scores).astype(np.float32)
        loss = -float((share[:, 0] * np.log(p[np.arange(len(targets)), targets] + 1e-12)).sum())
        error = (p - one_hot) * share
        gradient = np.concatenate(
            [
                matrices.tokens.transposed_times(error).ravel(),
                matrices.spelling.transposed_times(matrices.words.transposed_times(error)).ravel(),
                (matrices.dense.T @ error).ravel(),
            ]
        )
        return loss + 0.5 * float((shrinkage * flat) @ flat), gradient + shrinkage * flat

    return split(minimise(objective, np.zeros(ends[-1], np.float32)))


def _log_count_ratios(counts: Float32s) -> Float32s:
    """Return the log probability of each token per route, less its mean over the routes. Shape as the counts."""
    smoothed = counts + SMOOTHING
    log_p = np.log(smoothed / smoothed.sum(axis=0, keepdims=True))
    result: Float32s = (log_p - log_p.mean(axis=1, keepdims=True)).astype(np.float32)
    return result


def _assemble(
    matrices: _FitMatrices,
    fitted: _BlockWeights,
    log_ratios: Float32s,
    routes: tuple[str, ...],
    triggers: tuple[str, ...],
    scales: BlockScales,
    dimensions: int,
) -> FittedModel:
    """Put the blocks together, tokens and n-grams sorted by hash; of two with the same hash the first stays."""
    hashes = np.concatenate([matrices.token_hashes, matrices.ngram_hashes])
    idf = np.concatenate([matrices.token_idf, matrices.ngram_idf])
    text = np.concatenate([fitted.tokens, fitted.ngrams]) + scales.bayes * log_ratios
    order = np.argsort(hashes, kind="stable")
    kept = order[np.concatenate([[True], np.diff(hashes[order].astype(np.int64)) != 0])] if len(order) else order
    ends = np.cumsum([dimensions, len(triggers), len(routes)])
    vector, trigger, rule, form_and_bias = np.split(fitted.dense, ends)
    weights = TextWeights(
        routes=routes,
        triggers=triggers,
        keys=hashes[kept],
        rarity=idf[kept],
        text=text[kept].astype(np.float32),
        vector=vector * scales.vector,
        trigger=trigger * scales.trigger,
        rule=rule * scales.rule,
        bias=form_and_bias[-1],
        scales=scales,
    )
    return FittedModel(weights, form_and_bias[:-1])
