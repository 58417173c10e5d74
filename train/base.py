"""Loading the base model, by Unsloth on a GPU or by transformers and peft anywhere."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from pathlib import Path
from typing import Any, Literal, NamedTuple

from train.labels import BaseModelError
from tui_router.training.recipe import MIRRORS, Recipe, base_of

PACKAGES = ("torch", "transformers", "trl", "peft", "datasets", "accelerate", "tokenizers", "unsloth", "bitsandbytes")


class TrainingBackend(NamedTuple):
    """What trains, and why."""

    name: Literal["unsloth", "plain"]
    why: str
    device: str
    precision: Literal["float32", "bfloat16"]
    four_bit: bool


class Loaded(NamedTuple):
    """A base that is ready to be trained."""

    model: Any
    tokenizer: Any
    lora: Any
    """The LoRA configuration that the trainer is to apply; None when it is applied already, or everything is trained."""


def choose(recipe: Recipe) -> TrainingBackend:
    """The backend for this recipe on this machine. Imports torch, and Unsloth first of all when it is chosen."""
    import torch

    gpu = torch.cuda.is_available()
    installed = importlib.util.find_spec("unsloth") is not None
    if recipe.backend == "unsloth" and not installed:
        raise BaseModelError(
            "the recipe wants unsloth, which is not installed; pip install 'tui-router[unsloth]', or backend = \"auto\""
        )
    name: Literal["unsloth", "plain"] = "plain"
    if recipe.backend == "unsloth":
        name, why = "unsloth", "the recipe names it"
    elif recipe.backend == "plain":
        why = "the recipe names trl and peft"
    elif gpu and installed:
        name, why = "unsloth", "there is a GPU, and it is installed"
    else:
        why = "unsloth is not installed" if gpu else "there is no GPU"
    if name == "unsloth":
        os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")
        if not gpu:
            os.environ.setdefault("UNSLOTH_FORCE_CPU", "1")
        import unsloth  # noqa: F401  # it patches the packages below, so it comes before them
    device = torch.cuda.get_device_name() if gpu else "cpu"
    bfloat16 = recipe.precision == "bfloat16" or (recipe.precision == "auto" and gpu and torch.cuda.is_bf16_supported())
    four_bit = (
        recipe.four_bit and gpu and recipe.method == "lora" and importlib.util.find_spec("bitsandbytes") is not None
    )
    return TrainingBackend(name, why, device, "bfloat16" if bfloat16 else "float32", four_bit)


def versions() -> dict[str, str]:
    """Package -> version, of those that have a say in the result."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def load(recipe: Recipe, backend: TrainingBackend) -> Loaded:
    """The base with its tokenizer, ready for LoRA. Raises BaseModelError."""
    name = base_of(recipe)
    try:
        loaded = _unsloth(recipe, backend, name) if backend.name == "unsloth" else _plain(recipe, backend, name)
    except BaseModelError:
        raise
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        if "out of memory" in str(error).lower():
            raise
        raise BaseModelError(_said(name, error)) from error
    if not getattr(loaded.tokenizer, "chat_template", None):
        raise BaseModelError(
            f"{name} has no chat template, so it was never taught to answer; take an instruction-tuned base"
        )
    if loaded.tokenizer.pad_token_id is None:
        loaded.tokenizer.pad_token = loaded.tokenizer.eos_token
    return loaded


def _plain(recipe: Recipe, backend: TrainingBackend, name: str) -> Loaded:
    import torch
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(name)
    more: dict[str, Any] = {}
    if backend.four_bit:
        from transformers import BitsAndBytesConfig

        more["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
    model = AutoModelForCausalLM.from_pretrained(
        name, dtype=getattr(torch, backend.precision), attn_implementation="eager", **more
    )
    if backend.device != "cpu" and not backend.four_bit:
        model = model.to("cuda")
    lora = None
    if recipe.method == "lora":
        lora = LoraConfig(
            r=recipe.r, lora_alpha=recipe.alpha, lora_dropout=recipe.dropout, bias="none",
            target_modules=list(recipe.targets), task_type="CAUSAL_LM",
        )  # fmt: skip
    return Loaded(model, tokenizer, lora)


def _unsloth(recipe: Recipe, backend: TrainingBackend, name: str) -> Loaded:
    import torch
    from unsloth import FastLanguageModel

    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=name, max_seq_length=recipe.max_length, load_in_4bit=backend.four_bit,
        full_finetuning=recipe.method == "full", dtype=getattr(torch, backend.precision),
    )  # fmt: skip
    if recipe.method == "lora":
        from transformers import set_seed

        set_seed(recipe.seed)
        model = FastLanguageModel.get_peft_model(
            model, r=recipe.r, lora_alpha=recipe.alpha, lora_dropout=recipe.dropout, bias="none",
            target_modules=list(recipe.targets), use_gradient_checkpointing=False, random_state=recipe.seed,
        )  # fmt: skip
    return Loaded(model, getattr(tokenizer, "tokenizer", tokenizer), None)  # a base that sees wraps its tokenizer


def _said(name: str, error: Exception) -> str:
    """Why a base cannot be loaded, in a sentence with what to do."""
    text = f"{type(error).__name__}: {error}".replace("\n", " ")
    low = text.lower()
    if any(mark in low for mark in ("401", "gated", "403", "restricted")):
        mirror = MIRRORS.get(name)
        other = f"; or take {mirror}, the same weights without a form" if mirror else ""
        return f"{name} wants its licence accepted: accept it on its page and log in with `hf auth login`{other}"
    if Path(name).expanduser().is_dir():
        files = {path.name for path in Path(name).expanduser().iterdir()}
        if not files & {"tokenizer.json", "tokenizer.model", "vocab.json"}:
            return f"{name} has no tokenizer (tokenizer.json); copy it from the model it was made from"
        if "config.json" not in files:
            return f"{name} is no model in Hugging Face form: it has no config.json"
        return f"{name} cannot be loaded: {text[:300]}"
    if any(
        mark in low
        for mark in ("offline", "connect", "resolve", "cached", "max retries", "couldn't find", "localentry")
    ):
        return f"{name} is not on this machine and cannot be fetched; name a folder that holds it, or go online once"
    return f"{name} cannot be loaded: {text[:300]}"
