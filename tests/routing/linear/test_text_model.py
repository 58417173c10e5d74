"""The parts of the learned router, each against what it must equal."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worlds import RULES, SHIPPED
from tui_router.core.types import Request
from tui_router.routing.learned import personal_model
from tui_router.routing.learned.knn_memory import (
    MAX_LABELS,
    MAX_NEIGHBOURS,
    KnnMemory,
    Neighbour,
    StoredLabel,
    score_moves,
)
from tui_router.routing.learned.learned_router import LearnedRouter
from tui_router.routing.learned.shipped_model import load, save, shipped
from tui_router.routing.linear.fitting import FitRow, fit
from tui_router.routing.linear.lbfgs import minimise
from tui_router.routing.linear.ngrams import ngram_hashes, tokenize
from tui_router.routing.linear.probabilities import softmax
from tui_router.routing.linear.sparse import SparseMatrix
from tui_router.routing.linear.text_model import TextModel
from tui_router.routing.rules.paste_filter import user_text

ROUTER = LearnedRouter(SHIPPED.fleet, RULES)


def test_minimise_finds_the_lowest_point_of_a_bowl():
    rng = np.random.default_rng(0)
    half = rng.normal(size=(6, 6))
    bowl, goal = half @ half.T + np.eye(6), rng.normal(size=6)
    found = minimise(
        lambda x: (float((x - goal) @ bowl @ (x - goal)) / 2, bowl @ (x - goal)),
        np.zeros(6),
        max_steps=200,
        tolerance=1e-12,
    )
    assert found == pytest.approx(goal, abs=1e-3)


def test_softmax_sums_to_one_and_survives_large_scores():
    assert softmax(np.array([1000.0, 1000.0, -1000.0])) == pytest.approx([0.5, 0.5, 0.0])
    assert softmax(np.ones((3, 4))).sum(axis=1) == pytest.approx([1, 1, 1])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_sparse_products_equal_dense_ones(seed):
    rng = np.random.default_rng(seed)
    dense = (rng.random((7, 5)) < 0.3) * rng.normal(size=(7, 5)).astype(np.float32)
    rows, columns = np.nonzero(dense)
    sparse = SparseMatrix(rows, columns, dense[rows, columns].astype(np.float32), dense.shape)
    right, left = rng.normal(size=(5, 3)).astype(np.float32), rng.normal(size=(7, 3)).astype(np.float32)
    assert sparse.times(right) == pytest.approx(dense @ right, abs=1e-5)
    assert sparse.transposed_times(left) == pytest.approx(dense.T @ left, abs=1e-5)


def test_tokens_drop_case_repeats_and_digits():
    assert tokenize("The THE 17 cats?").words == ("the", "00", "cats", "?")
    assert tokenize("go home").pairs == ("go home", "^ go", "^ go home")
    assert tokenize("").words == ()


def test_letter_ngrams_are_shared_by_a_typo():
    right, typo, other = set(ngram_hashes("function")), set(ngram_hashes("funtion")), set(ngram_hashes("weather"))
    assert len(right & typo) > 5 * len(right & other)
    assert ngram_hashes("ß") and ngram_hashes("語")


@pytest.mark.parametrize(
    ("text", "kept", "gone"),
    [
        ("<tool_result>rm -rf</tool_result>\nsay hello", "say hello", "rm -rf"),
        ("> old mail\n> more of it\nwhat shall I answer?", "what shall I answer?", "old mail"),
        ("a < b and b > c, is a < c?", "a < b and b > c, is a < c?", "\0"),
        ("<system-reminder>only this</system-reminder>", "only this", "\0"),
    ],
)
def test_what_the_person_typed_is_kept(text, kept, gone):
    assert kept in user_text(text) and gone not in user_text(text)


def read(text: str):
    return ROUTER.text_stage.read(Request(text=text)).features


WORDS = {
    "code": (
        "fix the python loop",
        "refactor this class",
        "a regex for dates",
        "compile error in rust",
        "unit test it",
    ),
    "simple_chat": ("hello there", "good morning", "thanks a lot", "how are you", "see you later"),
}


def test_a_fit_learns_its_examples_and_its_file_gives_the_same_scores(tmp_path):
    examples = [FitRow(read(text), route) for route, texts in WORDS.items() for text in texts]
    made = fit(examples, ROUTER.text_stage.words, routes=tuple(WORDS), triggers=RULES.trigger_names)
    model = TextModel(made.weights, ROUTER.text_stage.words)
    for row in examples:
        assert model.routes[int(model.score(row.features).scores.argmax())] == row.route
    save(shipped()._replace(weights=made.weights), tmp_path / "p.npz", (), np.zeros((0, 6)))
    again = TextModel(load(tmp_path / "p.npz").weights, ROUTER.text_stage.words)
    assert again.score(read("fix it in rust")).scores == pytest.approx(
        model.score(read("fix it in rust")).scores, abs=0.02
    )


def test_a_damaged_model_file_says_what_it_is(tmp_path):
    (tmp_path / "p.npz").write_bytes(b"not a zip")
    with pytest.raises(ValueError, match=r"p\.npz is not a model of the learned router .* `make prior`"):
        load(tmp_path / "p.npz")


def test_memory_replaces_by_key_and_keeps_the_newest():
    memory = KnnMemory(ROUTER.projection)
    embedding = ROUTER.projection.embedding(tokenize("water the plants"))
    for key in range(MAX_LABELS + 3):
        memory.add(StoredLabel(key, "t", "code", strength=1.0), embedding)
    memory.add(StoredLabel(5, "t", "reasoning", strength=1.0), embedding)
    assert len(memory) == MAX_LABELS
    kept = {label.key: label.route for label, _ in memory.user_items()}
    assert set(kept) == set(range(3, MAX_LABELS + 3)) and kept[5] == "reasoning"
    near = memory.neighbours(memory.similarity(embedding[None])[0])
    assert len(near) == MAX_NEIGHBOURS and near[0].similarity == pytest.approx(1, abs=1e-3)


def test_the_strongest_label_for_a_route_counts_and_all_against_it():
    def near(route, strength, share):
        return Neighbour(StoredLabel(1, "", route, strength < 0, strength), 1.0, share)

    moves = score_moves([near("a", 4, 0.5), near("a", 8, 0.5), near("b", -2, 1.0), near("b", -2, 0.5)])
    assert moves == {"a": 4.0, "b": -3.0}


def test_form_features_tell_how_a_text_is_typed():
    assert personal_model.form_features("").shape == (personal_model.FORM_FEATURES,)
    assert (personal_model.form_features("Hello, World.") != personal_model.form_features("hello world")).any()
