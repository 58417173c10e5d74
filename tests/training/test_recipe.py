"""Recipes: what is shipped, what is wrong, all of it at once."""

import msgspec
import pytest

from tui_router.config.validation import field_docs
from tui_router.training import recipe
from tui_router.training.recipe import ATTENTION, Recipe, RecipeError


@pytest.mark.parametrize("name", ["gemma-3-1b", "gemma-3-270m", "qwen3-0.6b", "smollm2-360m"])
def test_a_shipped_recipe_is_read_and_written_whole(name):
    made = recipe.load(name)
    assert recipe.parse(recipe.to_toml(made), name) == made


def test_the_default_is_the_known_one():
    made = recipe.load("gemma-3-1b")
    assert (made.base, made.r, made.alpha, made.targets, made.max_length) == (
        "google/gemma-3-1b",
        16,
        16,
        ATTENTION,
        512,
    )
    assert made.four_bit and recipe.resolve_base(made) == "google/gemma-3-1b-it"


def test_every_fault_is_told_with_its_line():
    text = 'base = ""\nmethod = "lorra"\n[lora]\nrank = 8\n[training]\nlearning_rate = 3\nbatch = "many"\n'
    with pytest.raises(RecipeError) as caught:
        recipe.parse(text, "mine.toml")
    said = str(caught.value)
    for part in (
        "mine.toml:1: base",
        "mine.toml:2: method: expected one of",
        "mine.toml:4: lora.rank: is not a setting",
        "mine.toml:6: training.learning_rate: expected a number",
        "mine.toml:7: training.batch",
    ):
        assert part in said


def test_a_missing_recipe_names_the_shipped_ones(tmp_path):
    with pytest.raises(RecipeError, match="shipped recipes: gemma-3-1b"):
        recipe.load(tmp_path / "none.toml")


def test_every_field_has_its_manual():
    assert set(field_docs(Recipe)) == {f.name for f in msgspec.structs.fields(Recipe)}
