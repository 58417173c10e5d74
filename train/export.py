"""An artifact in other forms: the adapter, the merged model, GGUF. Which form is served where is the app's business."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tui_router.training.router_manifest import REFERENCE, ROUTER, RouterManifest, read
from tui_router.training.training_error import TrainingError

_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "tokenizer.model",
    "special_tokens_map.json",
)


class ExportJobError(ValueError):
    """The form cannot be made; the message says why and what to do."""


def export(artifact: Path, form: str, quant: str, out: Path, script: Path | None) -> int:
    """Write the artifact into a folder; prints one sentence on standard error when that fails."""
    try:
        card = read(artifact / ROUTER, RouterManifest)
        out.mkdir(parents=True, exist_ok=True)
        match form:
            case "adapter":
                _adapter(artifact, card, out)
            case "merged":
                _merged(artifact, card, out, "bfloat16")
            case "gguf":
                _gguf(artifact, card, quant, out, script)
            case "gguf-lora":
                _gguf_lora(artifact, card, out)
            case "base-gguf":
                _base_gguf(card, quant, out)
    except (TrainingError, ValueError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    return 0


def _adapter(artifact: Path, card: RouterManifest, out: Path) -> None:
    if card.method != "lora":
        raise ExportJobError("this run trained the whole model, so there is no adapter; export it merged or as gguf")
    for name in ("adapter_config.json", "adapter_model.safetensors", ROUTER, REFERENCE, *_TOKENIZER):
        if (artifact / name).is_file():
            shutil.copyfile(artifact / name, out / name)


def _merged(artifact: Path, card: RouterManifest, out: Path, precision: str) -> None:
    """The base with the adapter worked into its weights, in Hugging Face form."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    if card.method == "lora":
        from peft import PeftModel

        base: Any = AutoModelForCausalLM.from_pretrained(card.base, dtype=torch.float32, attn_implementation="eager")
        model = PeftModel.from_pretrained(base, artifact).merge_and_unload()
        with contextlib.suppress(OSError):  # a base without one
            model.generation_config = GenerationConfig.from_pretrained(card.base)
    else:
        model = AutoModelForCausalLM.from_pretrained(artifact, dtype=torch.float32, attn_implementation="eager")
    model.to(getattr(torch, precision)).save_pretrained(out)
    AutoTokenizer.from_pretrained(artifact).save_pretrained(out)
    for name in ("tokenizer.model", ROUTER, REFERENCE):
        if (artifact / name).is_file():
            shutil.copyfile(artifact / name, out / name)


def _gguf(artifact: Path, card: RouterManifest, quant: str, out: Path, script: Path | None) -> None:
    import tempfile

    from train.gguf_model import NotOursError, convert

    with tempfile.TemporaryDirectory(dir=out, prefix=".merged.") as name:
        merged = Path(name)
        _merged(artifact, card, merged, "float32")
        target = out / f"router-{quant}.gguf"
        if script is None:
            try:
                convert(merged, target, quant)
                return
            except NotOursError as error:
                raise ExportJobError(
                    f"this model is converted by llama.cpp's own script ({error}); "
                    "name its folder in fleet.toml: [settings] llama_cpp_dir"
                ) from error
        done = subprocess.run(
            [sys.executable, str(script), str(merged), "--outfile", str(target), "--outtype", quant],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode or not target.is_file():
            last = done.stderr.strip().rpartition("\n")[2]
            raise ExportJobError(f"{script.name} failed: {last or done.returncode}")


def _base_gguf(card: RouterManifest, quant: str, out: Path) -> None:
    """The base itself, for those who serve an adapter beside it."""
    from train.gguf_model import NotOursError, convert

    try:
        convert(Path(card.base).expanduser(), out / f"base-{quant}.gguf", quant)
    except (NotOursError, OSError) as error:
        raise ExportJobError(f"the base is not converted here ({error}); name its GGUF file") from error


def _gguf_lora(artifact: Path, card: RouterManifest, out: Path) -> None:
    from train.gguf_lora import convert

    if card.method != "lora":
        raise ExportJobError("this run trained the whole model, so there is no adapter; export it as gguf")
    convert(artifact, _config(card.base), out / "router-lora.gguf")


def _config(base: str) -> dict[str, Any]:
    local = Path(base).expanduser() / "config.json"
    if local.is_file():
        found: dict[str, Any] = json.loads(local.read_text(encoding="utf-8"))
        return found
    from transformers import AutoConfig

    made: dict[str, Any] = AutoConfig.from_pretrained(base).to_dict()
    return made
