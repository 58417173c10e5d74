"""A trained router in the forms that servers take, each compared with the model that it was made from before it is there."""

from __future__ import annotations

import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from tui_router.training import launcher
from tui_router.training.export import parity
from tui_router.training.router_manifest import REFERENCE, ROUTER, ParityReport, ReferenceCase, RouterManifest, read
from tui_router.training.runs import Run
from tui_router.training.training_error import TrainingError

Form = Literal["adapter", "merged", "gguf", "gguf-lora", "ollama", "lmstudio", "vllm"]
FORMS: tuple[Form, ...] = ("adapter", "merged", "gguf", "gguf-lora", "ollama", "lmstudio", "vllm")
SAYS: dict[Form, str] = {
    "adapter": "the LoRA matrices (safetensors), for transformers and peft",
    "merged": "the whole model in 16 bits (safetensors), for transformers and vLLM",
    "gguf": "one file for llama.cpp",
    "gguf-lora": "an adapter for llama.cpp, beside the GGUF of the base",
    "ollama": "a GGUF file with its Modelfile",
    "lmstudio": "a GGUF file in the folders that LM Studio wants",
    "vllm": "the LoRA matrices as vLLM takes them",
}
QUANTS = ("f16", "q8_0", "q4_0", "bf16", "f32")
_QUANTISED = ("q8_0", "q4_0")
ParityStage = Literal["template", "tokenizer", "quantisation", "adapter"]
_MEANS: dict[ParityStage, str] = {
    "template": "its chat template makes other prompts",
    "tokenizer": "its tokenizer makes other tokens of the same prompt",
    "quantisation": "at 16 bits it decides the same, so the quantisation is too hard; take q8_0 or f16",
    "adapter": "prompts and tokens are the same, so its weights are not those of this run",
}


class RouterExportError(TrainingError):
    """The form cannot be made; the message says why and what to do."""


class RefusedError(RouterExportError):
    """The form was made, and does not decide as the trained model does."""

    def __init__(self, stage: ParityStage, found: ParityReport) -> None:
        self.stage, self.found = stage, found
        super().__init__(
            f"refused at the {stage}: {found.same} of {found.n} held-out requests get the same route, "
            f"{parity.LEAST:.0%} wanted; {_MEANS[stage]}"
        )


class ExportedRouter(Struct, frozen=True, kw_only=True):
    """What was written."""

    form: Form
    quant: str
    folder: str
    size_bytes: int
    compared: ParityReport | None
    unchecked: str = ""
    """Why it was not compared; empty when it was."""
    commands: tuple[str, ...] = ()
    """How it is served."""


def export(
    run: Run, form: Form, quant: str, out: Path, *, llama_cpp: str = "", base_gguf: Path | None = None,
    tell: Callable[[str], None] = lambda says: None,
) -> ExportedRouter:  # fmt: skip
    """Write a run in a form, and compare it. Blocks for seconds to minutes. Raises ExportError, RefusedError.

    Args:
        run: Finished.
        form: Which.
        quant: Of GGUF files.
        out: A folder that is not there yet, or empty.
        llama_cpp: The folder of a llama.cpp checkout; empty: none.
        base_gguf: The GGUF file of the base, to compare an adapter in GGUF.
        tell: Hears what is being done.
    """
    launcher.require()
    if not run.finished:
        raise RouterExportError(f"run {run.id} has no artifact yet; its training must end first")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RouterExportError(f"{out} is there already; name a new folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        tell(f"writing {form}")
        inner = unfinished
        if form == "lmstudio":
            inner = unfinished / "tui-router" / served_name(run)
            inner.mkdir(parents=True)
        _write(run, form, quant, inner, llama_cpp)
        tell("comparing with the trained model")
        found, unchecked = _compare(run, form, quant, inner, unfinished, llama_cpp, base_gguf)
        if form == "ollama":
            own = not _script(llama_cpp)
            (inner / "Modelfile").write_text(_modelfile(run, inner, keep_mark=own), encoding="utf-8")
        unfinished.chmod(0o755)
        if out.exists():
            out.rmdir()
        size = sum(path.stat().st_size for path in unfinished.rglob("*") if path.is_file())
        made = ExportedRouter(
            form=form, quant=quant, folder=str(out), size_bytes=size, compared=found, unchecked=unchecked,
            commands=_commands(run, form, out, [out / path.relative_to(unfinished) for path in inner.glob("*.gguf")]),
        )  # fmt: skip
        (unfinished / "export.json").write_bytes(msgspec.json.format(msgspec.json.encode(made)))
        unfinished.rename(out)
    except OSError as error:
        raise RouterExportError(f"{out} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return made


def served_name(run: Run) -> str:
    """What servers call a run."""
    return f"tui-router-{run.id}"


def _job(form: Form) -> str:
    return {"ollama": "gguf", "lmstudio": "gguf", "vllm": "adapter"}.get(form, form)


def _write(run: Run, form: Form, quant: str, folder: Path, llama_cpp: str) -> None:
    script = _script(llama_cpp)
    more = ["--convert", str(script)] if script else []
    code, _, said = launcher.do(
        ["export", "--artifact", str(run.artifact), "--format", _job(form), "--quant", quant, "--out", str(folder), *more],
        run.folder,
    )  # fmt: skip
    if code:
        raise RouterExportError(said or f"the export ended with {code}")


def _script(llama_cpp: str) -> Path | None:
    """llama.cpp's converter, when its folder is known and has it."""
    script = Path(llama_cpp).expanduser() / "convert_hf_to_gguf.py"
    return script if llama_cpp and script.is_file() else None


def _compare(
    run: Run, form: Form, quant: str, folder: Path, beside: Path, llama_cpp: str, base_gguf: Path | None
) -> tuple[ParityReport | None, str]:
    """(what agrees, why nothing was compared). Raises RefusedError."""
    job = _job(form)
    if job in ("adapter", "merged"):
        found = _by_transformers(run, folder)
        return _agreed(found, None), ""
    try:
        if job == "gguf-lora":
            return _agreed(_with_base(run, folder, beside, llama_cpp, base_gguf), None), ""
        (model,) = folder.glob("*.gguf")
        found = _by_llama(run, model, None, llama_cpp)
        return _agreed(found, lambda: _exact(run, beside, llama_cpp) if quant in _QUANTISED else None), ""
    except parity.NoServerError as error:
        return None, str(error)
    except parity.ServerFailedError as error:
        raise RouterExportError(f"refused: {error}") from error


def _agreed(found: ParityReport, exact: Callable[[], ParityReport | None] | None) -> ParityReport:
    """The comparison, when enough agrees. Raises RefusedError with the stage that fails."""
    enough = parity.LEAST * found.n
    if found.same >= enough:
        return found
    if found.prompts < enough:
        raise RefusedError("template", found)
    if found.tokens < enough:
        raise RefusedError("tokenizer", found)
    plain = exact() if exact is not None else None
    raise RefusedError("quantisation" if plain is not None and plain.same >= enough else "adapter", found)


def _exact(run: Run, beside: Path, llama_cpp: str) -> ParityReport:
    """The same at 16 bits."""
    with tempfile.TemporaryDirectory(dir=beside) as name:
        _write(run, "gguf", "f16", Path(name), llama_cpp)
        return _by_llama(run, next(Path(name).glob("*.gguf")), None, llama_cpp)


def _with_base(run: Run, folder: Path, beside: Path, llama_cpp: str, base_gguf: Path | None) -> ParityReport:
    lora = folder / "router-lora.gguf"
    if base_gguf is not None:
        return _by_llama(run, base_gguf.resolve(), lora, llama_cpp)
    with tempfile.TemporaryDirectory(dir=beside) as name:
        code, _, said = launcher.do(
            ["export", "--artifact", str(run.artifact), "--format", "base-gguf", "--quant", "f16", "--out", name],
            run.folder,
        )
        if code:
            raise parity.NoServerError(said)
        return _by_llama(run, next(Path(name).glob("*.gguf")), lora, llama_cpp)


def _by_llama(run: Run, model: Path, lora: Path | None, llama_cpp: str) -> ParityReport:
    card = read(run.artifact / ROUTER, RouterManifest)
    return parity.compared(model, lora, card, read(run.artifact / REFERENCE, list[ReferenceCase]), llama_cpp)


def _by_transformers(run: Run, folder: Path) -> ParityReport:
    _, said, last = launcher.do(["check", "--folder", str(folder), "--artifact", str(run.artifact)], run.folder)
    line = said.strip().rpartition("\n")[2]
    try:
        return msgspec.json.decode(line, type=ParityReport)
    except msgspec.DecodeError:
        pass
    try:
        why = msgspec.json.decode(line, type=dict[str, str])["error"]
    except (msgspec.DecodeError, KeyError):
        why = last or "it said nothing"
    raise RouterExportError(f"refused: transformers cannot load what was written: {why}")


def _modelfile(run: Run, folder: Path, *, keep_mark: bool) -> str:
    """Ollama's own template, made from the prompt that the model was trained on: one message, so it has one place.

    llama.cpp's converter has the server add the mark of the beginning; then it must not stand in the template too.
    """
    (model,) = folder.glob("*.gguf")
    (one, *_) = read(run.artifact / REFERENCE, list[ReferenceCase])
    content = one.messages[-1]["content"].strip()
    before, _, after = one.prompt.partition(content)
    if not keep_mark:
        before = re.sub(r"^<(?:bos|s|\|begin_of_text\|)>", "", before)
    return "\n".join(
        [
            f"FROM ./{model.name}",
            f'TEMPLATE """{before}{{{{ .Prompt }}}}{after}"""',
            "PARAMETER temperature 0",
            "PARAMETER num_predict 8",
            "",
        ]
    )


def _commands(run: Run, form: Form, out: Path, files: Sequence[Path]) -> tuple[str, ...]:
    """How it is served, as lines that a shell takes."""
    name, base = served_name(run), read(run.artifact / ROUTER, RouterManifest).base
    lines: dict[str, list[str]] = {
        "merged": ["vllm", "serve", str(out), "--served-model-name", name],
        "vllm": ["vllm", "serve", base, "--enable-lora", "--lora-modules", f"{name}={out}"],
        "ollama": ["ollama", "create", name, "-f", str(out / "Modelfile")],
    }
    for file in files:
        lines |= {
            "gguf": ["llama-server", "-m", str(file), "--alias", name, "--jinja"],
            "gguf-lora": ["llama-server", "-m", "BASE.gguf", "--lora", str(file), "--alias", name, "--jinja"],
            "lmstudio": ["lms", "import", str(file), "--user-repo", f"tui-router/{name}", "-c", "-y"],
        }
    return (shlex.join(lines[form]),) if form in lines else ()
