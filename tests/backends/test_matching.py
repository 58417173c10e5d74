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
        # file names
        ("gemma-3-1b", "gemma-3-1b-it.Q8_0.gguf"),
        ("gemma-3-1b", "gemma-3-1b-it-UD-Q4_K_XL.gguf"),
        ("gemma-3-1b", "gemma-3-1b-it.IQ3_XXS"),
        ("gemma-3-1b", "gemma-3-1b-it-Q4_0_4_4-00001-of-00002.gguf"),
        ("qwen3-coder-30b", "Qwen3-Coder-30B-A3B-Instruct.i1-IQ4_XS.gguf"),
        ("gpt-oss-20b", "gpt-oss-20b-MXFP4.gguf"),
        # publishers
        ("gemma-3-1b", "bartowski_gemma-3-1b-it-Q6_K_L"),
        ("gemma-3-1b", "hf.co/unsloth/gemma-3-1b-it-GGUF:Q4_K_M"),
        ("gemma-3-1b", "hf.co/bartowski/google_gemma-3-1b-it-GGUF:latest"),
        ("gemma-3-1b", "registry.ollama.ai/library/gemma3:1b"),
        ("gpt-oss-20b", "lmstudio-community_gpt-oss-20b-GGUF"),
        ("ministral-14b-reasoning", "mistralai_Ministral-3-14B-Reasoning-2512-bf16.gguf"),
        ("qwen3-vl-8b", "Qwen_Qwen3-VL-8B-Instruct-Q5_K_S.gguf"),
        # paths
        ("gemma-3-1b", r"C:\Users\Me\models\gemma-3-1b-it-Q4_K_M.gguf"),
        ("gemma-3-1b", r"D:\lm\lmstudio-community\gemma-3-1b-it-GGUF\model.gguf"),
        ("gemma-3-1b", "/models/gemma-3-1b-it/"),
        ("gemma-3-1b", "/root/.cache/huggingface/hub/models--google--gemma-3-1b-it/snapshots/dcc83ea841ab6100d6b47a"),
        ("gpt-oss-20b", "/root/.cache/llama.cpp/unsloth_gpt-oss-20b-GGUF_gpt-oss-20b-F16.gguf"),
        # other quantisations
        ("gemma-3-1b", "unsloth/gemma-3-1b-it-unsloth-bnb-4bit"),
        ("gemma-3-1b", "RedHatAI/gemma-3-1b-it-quantized.w4a16"),
        ("gemma-3-1b", "RedHatAI/gemma-3-1b-it-FP8-dynamic"),
        ("gemma-3-1b", "gemma-3-1b-it-q4f16_1-MLC"),
        ("gemma-3-1b", "gemma-3-1b-it-exl2-4.0bpw"),
        ("gemma-3-1b", "mlx-community/gemma-3-1b-it-4bit-DWQ"),
        ("qwen3-coder-30b", "unsloth/Qwen3-Coder-30B-A3B-Instruct-1M-GGUF"),
        ("qwen3-coder-30b", "cpatonn/Qwen3-Coder-30B-A3B-Instruct-GPTQ-Int4"),
        ("qwen3-coder-30b", "Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8"),
        ("gemma-3-1b", "google/gemma-3-1b:2"),
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
        ("gemma-3-1b", "google_gemma-3-12b-it-Q4_K_M.gguf"),
        ("gemma-3-1b", r"C:\models\gemma-3-12b-it.Q4_K_M.gguf"),
        ("gemma-3-1b", "gemma-3-1b-pt-Q4_K_M.gguf"),
        ("gemma-3-1b", "gemma-3-270m-it-Q8_0.gguf"),
        ("gemma-3-1b", "medgemma-3-1b-it"),
        ("gemma-3-1b", "gemma-3-1b-it-uncensored-Q4_K_M"),
        ("gemma-3-1b", "/models/gemma-3-1b-it/adapter-x.gguf"),
        ("gpt-oss-20b", "openai_gpt-oss-120b-MXFP4"),
        ("gpt-oss-20b", "openai_gpt-oss-safeguard-20b-MXFP4"),
        ("qwen3-coder-30b", "Qwen3-Coder-480B-A35B-Instruct-1M"),
        ("qwen3-coder-30b", "Qwen3-30B-A3B-Instruct-2507-1M.gguf"),
        ("qwen3-vl-8b", "Qwen_Qwen3-VL-8B-Thinking-Q4_K_M"),
        ("qwen3-vl-8b", "Qwen3-VL-30B-A3B-Instruct"),
    ],
)
def test_near_names_are_other_models(name, served):
    assert match(MODELS[name], [served]) is None


def test_the_way_it_was_found_is_told():
    assert match(MODELS["gemma-3-1b"], ["gemma-3-1b", "google/gemma-3-1b"]).how == "exact"
    assert match(MODELS["gemma-3-1b"], ["google/gemma-3-1b"]).how == "alias"
    assert match(MODELS["gemma-3-1b"], ["lmstudio-community/gemma-3-1b-it-GGUF"]).how == "name"


def test_odd_ids_are_no_fault():
    for odd in ("", "/", "\\", "@", ":", "a" * 10_000, "-" * 10_000, "_1b" * 3_000, "models--", "\u2028", "1b"):
        assert match(MODELS["gemma-3-1b"], [odd]) is None
