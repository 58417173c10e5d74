"""Loads the base model, by Unsloth on a GPU or by transformers and peft anywhere."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from pathlib import Path
from typing import Any, Literal, NamedTuple

from train.errors import BaseModelError
from tui_router.core.text import one_line
from tui_router.training.recipe import MIRRORS, Recipe, resolve_base

PACKAGES = ("torch", "transformers", "trl", "peft", "datasets", "accelerate", "tokenizers", "unsloth", "bitsandbytes")
"""Packages whose versions are written into the run, because they can change its result."""
_TOKENIZER_FILES = {"tokenizer.json", "tokenizer.model", "vocab.json"}
_GATED = ("401", "gated", "403", "restricted")
_OFFLINE = ("offline", "connect", "resolve", "cached", "max retries", "couldn't find", "localentry")


class TrainingBackend(NamedTuple):
    """The library that trains, and why it was chosen."""

    name: Literal["unsloth", "plain"]
    why: str
    device: str
    """`cpu`, or the name of the GPU."""
    precision: Literal["float32", "bfloat16"]
    four_bit: bool


class LoadedBase(NamedTuple):
    """A base model that is ready to be trained."""

    model: Any
    tokenizer: Any
    lora: Any
    """LoRA configuration that the trainer is to apply; None when it is applied already or all weights are trained."""


def choose_backend(recipe: Recipe) -> TrainingBackend:
    """Choose the backend for this recipe on this machine. Imports torch. Raises BaseModelError.

    Unsloth is imported here when it is chosen: it patches trl, transformers and peft, so it must come before them.
    """
    import torch

    gpu = torch.cuda.is_available()
    installed = importlib.util.find_spec("unsloth") is not None
    if recipe.backend == "unsloth" and not installed:
        raise BaseModelError(
            "the recipe asks for unsloth, which is not installed; "
            "pip install 'tui-router[unsloth]', or set backend = \"auto\""
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
        import unsloth  # noqa: F401  # imported for its patches
    device = torch.cuda.get_device_name() if gpu else "cpu"
    bfloat16 = recipe.precision == "bfloat16" or (recipe.precision == "auto" and gpu and torch.cuda.is_bf16_supported())
    can_quantise = gpu and importlib.util.find_spec("bitsandbytes") is not None
    four_bit = recipe.four_bit and recipe.method == "lora" and can_quantise
    return TrainingBackend(name, why, device, "bfloat16" if bfloat16 else "float32", four_bit)


def installed_versions() -> dict[str, str]:
    """Return package -> version of the installed ones of PACKAGES."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def load_base(recipe: Recipe, backend: TrainingBackend) -> LoadedBase:
    """Load the base model and its tokenizer. Raises BaseModelError."""
    name = resolve_base(recipe)
    try:
        load = _load_by_unsloth if backend.name == "unsloth" else _load_by_transformers
        loaded = load(recipe, backend, name)
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        if "out of memory" in str(error).lower():
            raise
        raise BaseModelError(explain_load_error(name, error)) from error
    if not getattr(loaded.tokenizer, "chat_template", None):
        raise BaseModelError(f"{name} has no chat template; choose an instruction-tuned base")
    if loaded.tokenizer.pad_token_id is None:
        loaded.tokenizer.pad_token = loaded.tokenizer.eos_token
    return loaded


def _load_by_transformers(recipe: Recipe, backend: TrainingBackend, name: str) -> LoadedBase:
    import torch
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(name)
    quantisation: dict[str, Any] = {}
    if backend.four_bit:
        from transformers import BitsAndBytesConfig

        quantisation["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
    model = AutoModelForCausalLM.from_pretrained(
        name, dtype=getattr(torch, backend.precision), attn_implementation="eager", **quantisation
    )
    if backend.device != "cpu" and not backend.four_bit:
        model = model.to("cuda")
    lora = None
    if recipe.method == "lora":
        lora = LoraConfig(
            r=recipe.r,
            lora_alpha=recipe.alpha,
            lora_dropout=recipe.dropout,
            bias="none",
            target_modules=list(recipe.targets),
            task_type="CAUSAL_LM",
        )
    return LoadedBase(model, tokenizer, lora)


def _load_by_unsloth(recipe: Recipe, backend: TrainingBackend, name: str) -> LoadedBase:
    import torch
    from unsloth import FastLanguageModel

    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=name,
        max_seq_length=recipe.max_length,
        load_in_4bit=backend.four_bit,
        full_finetuning=recipe.method == "full",
        dtype=getattr(torch, backend.precision),
    )
    if recipe.method == "lora":
        from transformers import set_seed

        set_seed(recipe.seed)
        model = FastLanguageModel.get_peft_model(
            model,
            r=recipe.r,
            lora_alpha=recipe.alpha,
            lora_dropout=recipe.dropout,
            bias="none",
            target_modules=list(recipe.targets),
            use_gradient_checkpointing=False,
            random_state=recipe.seed,
        )
    # a base that can read images comes with a processor around its tokenizer
    return LoadedBase(model, getattr(tokenizer, "tokenizer", tokenizer), None)


def explain_load_error(name: str, error: Exception) -> str:
    """Return one sentence that says why the base model cannot be loaded and what to do."""
    text = f"{type(error).__name__}: {one_line(str(error))}"
    low = text.lower()
    if any(mark in low for mark in _GATED):
        mirror = f"; or use {MIRRORS[name]}, which has the same weights" if name in MIRRORS else ""
        return f"{name} needs its licence accepted: accept it on its page, then run `hf auth login`{mirror}"
    folder = Path(name).expanduser()
    if folder.is_dir():
        files = {path.name for path in folder.iterdir()}
        if not files & _TOKENIZER_FILES:
            return f"{name} has no tokenizer (tokenizer.json); copy it from the model it was made from"
        if "config.json" not in files:
            return f"{name} is not a model in Hugging Face form: it has no config.json"
    elif any(mark in low for mark in _OFFLINE):
        return f"{name} is not on this machine and cannot be downloaded; name a folder that holds it, or go online once"
    return f"{name} cannot be loaded: {text}"
