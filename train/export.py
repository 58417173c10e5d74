"""Writes an artifact in another form: the adapter, the merged model, GGUF."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tui_router.training.router_manifest import REFERENCE, ROUTER, RouterManifest, read_json
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
    """Write the artifact into a folder; returns the exit code. A failure is one sentence on standard error.

    Args:
        artifact: What a training left.
        form: `adapter`, `merged`, `gguf`, `gguf-lora` or `base-gguf`.
        quant: Number format of GGUF files.
        out: The folder to write into.
        script: llama.cpp's convert_hf_to_gguf.py, for models that our own writer does not know.
    """
    try:
        manifest = read_json(artifact / ROUTER, RouterManifest)
        out.mkdir(parents=True, exist_ok=True)
        match form:
            case "adapter":
                _write_adapter(artifact, manifest, out)
            case "merged":
                _write_merged(artifact, manifest, out, "bfloat16")
            case "gguf":
                _write_gguf(artifact, manifest, quant, out, script)
            case "gguf-lora":
                _write_gguf_adapter(artifact, manifest, out)
            case "base-gguf":
                _write_base_gguf(manifest, quant, out)
    except (TrainingError, ValueError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    return 0


def _write_adapter(artifact: Path, manifest: RouterManifest, out: Path) -> None:
    if manifest.method != "lora":
        raise ExportJobError("this run trained the whole model, so it has no adapter; export it as merged or gguf")
    for name in ("adapter_config.json", "adapter_model.safetensors", ROUTER, REFERENCE, *_TOKENIZER):
        if (artifact / name).is_file():
            shutil.copyfile(artifact / name, out / name)


def _write_merged(artifact: Path, manifest: RouterManifest, out: Path, precision: str) -> None:
    """Write the model in Hugging Face form, with the adapter added to the weights of the base."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    if manifest.method == "lora":
        from peft import PeftModel

        base: Any = AutoModelForCausalLM.from_pretrained(
            manifest.base, dtype=torch.float32, attn_implementation="eager"
        )
        model = PeftModel.from_pretrained(base, artifact).merge_and_unload()
        with contextlib.suppress(OSError):  # the base has no generation config
            model.generation_config = GenerationConfig.from_pretrained(manifest.base)
    else:
        model = AutoModelForCausalLM.from_pretrained(artifact, dtype=torch.float32, attn_implementation="eager")
    model.to(getattr(torch, precision)).save_pretrained(out)
    AutoTokenizer.from_pretrained(artifact).save_pretrained(out)
    for name in ("tokenizer.model", ROUTER, REFERENCE):
        if (artifact / name).is_file():
            shutil.copyfile(artifact / name, out / name)


def _write_gguf(artifact: Path, manifest: RouterManifest, quant: str, out: Path, script: Path | None) -> None:
    from train.gguf_model import UnknownModelError, convert

    with tempfile.TemporaryDirectory(dir=out, prefix=".merged.") as name:
        merged = Path(name)
        _write_merged(artifact, manifest, merged, "float32")
        target = out / f"router-{quant}.gguf"
        if script is None:
            try:
                convert(merged, target, quant)
                return
            except UnknownModelError as error:
                raise ExportJobError(
                    f"only llama.cpp's own script can convert this model ({error}); "
                    "name the folder of llama.cpp in fleet.toml: [settings] llama_cpp_dir"
                ) from error
        done = subprocess.run(
            [sys.executable, str(script), str(merged), "--outfile", str(target), "--outtype", quant],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not target.is_file():
            last = done.stderr.strip().rpartition("\n")[2]
            raise ExportJobError(f"{script.name} failed: {last or f'exit code {done.returncode}'}")


def _write_base_gguf(manifest: RouterManifest, quant: str, out: Path) -> None:
    """Write the base model alone, to serve a GGUF adapter with it."""
    from train.gguf_model import UnknownModelError, convert

    try:
        convert(Path(manifest.base).expanduser(), out / f"base-{quant}.gguf", quant)
    except (UnknownModelError, OSError) as error:
        raise ExportJobError(f"the base model cannot be converted here ({error}); name its GGUF file") from error


def _write_gguf_adapter(artifact: Path, manifest: RouterManifest, out: Path) -> None:
    from train.gguf_lora import convert

    if manifest.method != "lora":
        raise ExportJobError("this run trained the whole model, so it has no adapter; export it as gguf")
    convert(artifact, _base_config(manifest.base), out / "router-lora.gguf")


def _base_config(base: str) -> dict[str, Any]:
    """Return the config.json of a base model: a folder, or an id of the hub."""
    local = Path(base).expanduser() / "config.json"
    if local.is_file():
        found: dict[str, Any] = json.loads(local.read_text(encoding="utf-8"))
        return found
    from transformers import AutoConfig

    config: dict[str, Any] = AutoConfig.from_pretrained(base).to_dict()
    return config
