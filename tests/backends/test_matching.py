"""Ids of servers against names of the fleet."""

import pytest

from tests.worlds import SHIPPED
from tui_router.backends.matching import match

MODELS = SHIPPED.fleet.models


@pytest.mark.parametrize(
    ("name", "served"),
    [
        ("gemma-3-1b", "google/gemma-3-1b"),
        ("gemma-3-1b", "gemma-3-1b-it-qat"),
        ("gemma-3-1b", "gemma3:1b"),
        ("gemma-3-1b", "gemma-3-1b-it-Q4_K_M.gguf"),
        ("gemma-3-1b", "gemma3:1b-it-q4_K_M"),
        ("gpt-oss-20b", "openai/gpt-oss-20b@mxfp4"),
        ("gpt-oss-20b", "gpt-oss:20b"),
        ("qwen3-coder-30b", "qwen/qwen3-coder-30b"),
        ("qwen3-coder-30b", "Qwen3-Coder-30B-A3B-Instruct-2507-Q4_K_M.gguf"),
        ("qwen3-coder-30b", "qwen3-coder:30b"),
        ("ministral-14b-reasoning", "mistralai/ministral-3-14b-reasoning"),
        ("ministral-14b-reasoning", "Ministral-3-14B-Reasoning-2512"),
        ("qwen3-vl-8b", "qwen/qwen3-vl-8b"),
        ("qwen3-vl-8b", "qwen3-vl-8b-instruct-mlx-4bit"),
        ("gemma-3n-e4b", "google/gemma-3n-e4b"),
        ("gemma-3n-e4b", "gemma3n:e4b"),
        ("gemma-3n-e4b", "gemma-3n-e4b-it"),
    ],
)
def test_one_model_under_many_names(name, served):
    assert match(MODELS[name], ["something-else-7b", served]).served == served


@pytest.mark.parametrize(
    ("name", "served"),
    [
        ("gemma-3-1b", "google/gemma-3-12b"),
        ("gemma-3-1b", "gemma-3-1b-abliterated"),
        ("gemma-3-1b", "gemma-2-1b"),
        ("gemma-3-1b", "gemma-31-b"),
        ("gemma-3n-e4b", "gemma-3-4b"),
        ("gemma-3n-e4b", "gemma-3n-e2b"),
        ("qwen3-vl-8b", "qwen3-vl-8b-thinking"),
        ("qwen3-vl-8b", "qwen3-8b"),
        ("qwen3-coder-30b", "qwen3-30b-a3b"),
        ("gpt-oss-20b", "gpt-oss-120b"),
        ("ministral-14b-reasoning", "ministral-3-14b-instruct"),
    ],
)
def test_near_names_are_other_models(name, served):
    assert match(MODELS[name], [served]) is None


def test_the_way_it_was_found_is_told():
    assert match(MODELS["gemma-3-1b"], ["gemma-3-1b", "google/gemma-3-1b"]).how == "exact"
    assert match(MODELS["gemma-3-1b"], ["google/gemma-3-1b"]).how == "alias"
    assert match(MODELS["gemma-3-1b"], ["lmstudio-community/gemma-3-1b-it-GGUF"]).how == "name"
