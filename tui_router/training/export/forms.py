"""Exports a trained router in the forms that servers load. Each export is compared with the trained model before it is kept."""

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
from tui_router.training.router_manifest import (
    REFERENCE,
    ROUTER,
    ParityReport,
    ReferenceCase,
    RouterManifest,
    read_json,
)
from tui_router.training.runs import Run
from tui_router.training.training_error import TrainingError

Form = Literal["adapter", "merged", "gguf", "gguf-lora", "ollama", "lmstudio", "vllm"]
DESCRIPTIONS: dict[Form, str] = {
    "adapter": "the LoRA matrices (safetensors), for transformers and peft",
    "merged": "the whole model in 16 bits (safetensors), for transformers and vLLM",
    "gguf": "one file for llama.cpp",
    "gguf-lora": "an adapter for llama.cpp, used with the GGUF of the base",
    "ollama": "a GGUF file with its Modelfile",
    "lmstudio": "a GGUF file in the folders that LM Studio expects",
    "vllm": "the LoRA matrices, as vLLM loads them",
}
FORMS: tuple[Form, ...] = tuple(DESCRIPTIONS)
QUANTS = ("f16", "q8_0", "q4_0", "bf16", "f32")
"""Number formats of GGUF files."""
_QUANTISED = ("q8_0", "q4_0")
_JOBS: dict[Form, str] = {"ollama": "gguf", "lmstudio": "gguf", "vllm": "adapter"}
"""Forms that another form's job writes."""
ParityStage = Literal["template", "tokenizer", "quantisation", "adapter"]
_CAUSES: dict[ParityStage, str] = {
    "template": "its chat template writes other prompts",
    "tokenizer": "its tokenizer splits the same prompts into other tokens",
    "quantisation": "in 16 bits it agrees, so the quantisation is too coarse; choose q8_0 or f16",
    "adapter": "prompts and tokens are the same, so its weights are not those of this run",
}


class RouterExportError(TrainingError):
    """The export cannot be made; the message says why and what to do."""


class RefusedError(RouterExportError):
    """The export was made, and does not decide as the trained model does."""

    def __init__(self, stage: ParityStage, report: ParityReport) -> None:
        self.stage, self.report = stage, report
        super().__init__(
            f"the export is refused: only {report.same_route} of {report.n} held-out requests get the same route as from "
            f"the trained model, and {parity.LEAST_SAME_ROUTE:.0%} are needed; {_CAUSES[stage]}"
        )


class ExportedRouter(Struct, frozen=True, kw_only=True, rename={"parity": "compared"}):
    """What was written."""

    form: Form
    quant: str
    folder: str
    size_bytes: int
    parity: ParityReport | None
    """The comparison with the trained model; None when nothing could be compared."""
    unchecked: str = ""
    """Why nothing was compared; empty when it was."""
    commands: tuple[str, ...] = ()
    """Shell commands that serve it."""


def _ignore(message: str) -> None:
    del message


def export(
    run: Run,
    form: Form,
    quant: str,
    out: Path,
    *,
    llama_cpp: str = "",
    base_gguf: Path | None = None,
    on_progress: Callable[[str], None] = _ignore,
) -> ExportedRouter:
    """Export a finished run and compare it with the trained model. Blocks for seconds to minutes.

    Args:
        run: The run.
        form: What to write.
        quant: Number format of GGUF files.
        out: A folder that does not exist yet, or is empty.
        llama_cpp: The folder of a llama.cpp checkout; empty when there is none.
        base_gguf: The GGUF file of the base, to compare a GGUF adapter with.
        on_progress: Called with a sentence when a step begins.

    Raises:
        RouterExportError: it cannot be made.
        RefusedError: it does not decide as the trained model does; nothing is kept.
    """
    launcher.require_packages()
    if not run.finished:
        raise RouterExportError(f"run {run.id} has no artifact yet; its training must end first")
    out = out.absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RouterExportError(f"{out} exists already; name a new folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        on_progress(f"writing {form}")
        inner = unfinished
        if form == "lmstudio":
            inner = unfinished / "tui-router" / served_name(run)
            inner.mkdir(parents=True)
        _write(run, form, quant, inner, llama_cpp)
        on_progress("comparing with the trained model")
        report, unchecked = _compare(run, form, quant, inner, unfinished, llama_cpp, base_gguf)
        if form == "ollama":
            own_writer = _convert_script(llama_cpp) is None
            (inner / "Modelfile").write_text(_modelfile(run, inner, with_bos=own_writer), encoding="utf-8")
        unfinished.chmod(0o755)
        if out.exists():
            out.rmdir()
        size = sum(path.stat().st_size for path in unfinished.rglob("*") if path.is_file())
        files = [out / path.relative_to(unfinished) for path in inner.glob("*.gguf")]
        made = ExportedRouter(
            form=form,
            quant=quant,
            folder=str(out),
            size_bytes=size,
            parity=report,
            unchecked=unchecked,
            commands=_commands(run, form, out, files),
        )
        (unfinished / "export.json").write_bytes(msgspec.json.format(msgspec.json.encode(made)))
        unfinished.rename(out)
    except OSError as error:
        raise RouterExportError(f"{out} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return made


def served_name(run: Run) -> str:
    """Return the model name under which servers serve a run."""
    return f"tui-router-{run.id}"


def _write(run: Run, form: Form, quant: str, folder: Path, llama_cpp: str) -> None:
    script = _convert_script(llama_cpp)
    arguments = ["export", "--artifact", str(run.artifact), "--format", _JOBS.get(form, form), "--quant", quant]
    arguments += ["--out", str(folder), *(["--convert", str(script)] if script else [])]
    code, _, error = launcher.run_job(arguments, run.folder)
    if code:
        raise RouterExportError(error or f"the export ended with exit code {code}")


def _convert_script(llama_cpp: str) -> Path | None:
    """Return llama.cpp's converter, when the folder of llama.cpp is known and has it."""
    script = Path(llama_cpp).expanduser().absolute() / "convert_hf_to_gguf.py"
    return script if llama_cpp and script.is_file() else None


def _compare(
    run: Run, form: Form, quant: str, folder: Path, parent: Path, llama_cpp: str, base_gguf: Path | None
) -> tuple[ParityReport | None, str]:
    """Return (the comparison, why there is none). Raises RefusedError, RouterExportError."""
    job = _JOBS.get(form, form)
    if job in ("adapter", "merged"):
        return _accept(_compare_by_transformers(run, folder), None), ""
    try:
        if job == "gguf-lora":
            return _accept(_compare_adapter(run, folder, parent, llama_cpp, base_gguf), None), ""
        (model,) = folder.glob("*.gguf")
        report = _compare_by_llama(run, model, None, llama_cpp)
        unquantised = (lambda: _compare_unquantised(run, parent, llama_cpp)) if quant in _QUANTISED else None
        return _accept(report, unquantised), ""
    except parity.NoServerError as error:
        return None, str(error)
    except parity.ServerFailedError as error:
        raise RouterExportError(f"the export is refused: {error}") from error


def _accept(report: ParityReport, unquantised: Callable[[], ParityReport] | None) -> ParityReport:
    """Return the comparison when enough agrees. Raises RefusedError, with the first stage that differs."""
    enough = parity.LEAST_SAME_ROUTE * report.n
    if report.same_route >= enough:
        return report
    if report.same_prompt < enough:
        raise RefusedError("template", report)
    if report.same_tokens < enough:
        raise RefusedError("tokenizer", report)
    if unquantised is not None and unquantised().same_route >= enough:
        raise RefusedError("quantisation", report)
    raise RefusedError("adapter", report)


def _compare_unquantised(run: Run, parent: Path, llama_cpp: str) -> ParityReport:
    with tempfile.TemporaryDirectory(dir=parent) as name:
        _write(run, "gguf", "f16", Path(name), llama_cpp)
        return _compare_by_llama(run, next(Path(name).glob("*.gguf")), None, llama_cpp)


def _compare_adapter(run: Run, folder: Path, parent: Path, llama_cpp: str, base_gguf: Path | None) -> ParityReport:
    """Compare a GGUF adapter on the GGUF of its base, which is written for it when none is named."""
    lora = folder / "router-lora.gguf"
    if base_gguf is not None:
        return _compare_by_llama(run, base_gguf.resolve(), lora, llama_cpp)
    with tempfile.TemporaryDirectory(dir=parent) as name:
        arguments = [
            "export",
            "--artifact",
            str(run.artifact),
            "--format",
            "base-gguf",
            "--quant",
            "f16",
            "--out",
            name,
        ]
        code, _, error = launcher.run_job(arguments, run.folder)
        if code:
            raise parity.NoServerError(error)
        return _compare_by_llama(run, next(Path(name).glob("*.gguf")), lora, llama_cpp)


def _compare_by_llama(run: Run, model: Path, lora: Path | None, llama_cpp: str) -> ParityReport:
    manifest = read_json(run.artifact / ROUTER, RouterManifest)
    return parity.compare_gguf(
        model, lora, manifest, read_json(run.artifact / REFERENCE, list[ReferenceCase]), llama_cpp
    )


def _compare_by_transformers(run: Run, folder: Path) -> ParityReport:
    _, output, last_error = launcher.run_job(
        ["check", "--folder", str(folder), "--artifact", str(run.artifact)], run.folder
    )
    line = output.strip().rpartition("\n")[2]
    try:
        return msgspec.json.decode(line, type=ParityReport)
    except msgspec.DecodeError:
        pass
    try:
        why = msgspec.json.decode(line, type=dict[str, str])["error"]
    except (msgspec.DecodeError, KeyError):
        why = last_error or "its process ended without a message"
    raise RouterExportError(f"the export is refused: transformers cannot load what was written: {why}")


def _modelfile(run: Run, folder: Path, *, with_bos: bool) -> str:
    """Return Ollama's Modelfile. Its template is a training prompt with a place for the one message.

    Args:
        run: The run.
        folder: Holds the GGUF file.
        with_bos: Whether the template begins with the beginning-of-text token. A file by llama.cpp's converter makes the
            server add that token, and a second one would change the answers.
    """
    (model,) = folder.glob("*.gguf")
    (case, *_) = read_json(run.artifact / REFERENCE, list[ReferenceCase])
    before, _, after = case.prompt.partition(case.messages[-1]["content"].strip())
    if not with_bos:
        before = re.sub(r"^<(?:bos|s|\|begin_of_text\|)>", "", before)
    return (
        f"FROM ./{model.name}\n"
        f'TEMPLATE """{before}{{{{ .Prompt }}}}{after}"""\n'
        "PARAMETER temperature 0\n"
        "PARAMETER num_predict 8\n"
    )


def _commands(run: Run, form: Form, out: Path, files: Sequence[Path]) -> tuple[str, ...]:
    """Return shell commands that serve an export."""
    name, base = served_name(run), read_json(run.artifact / ROUTER, RouterManifest).base
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
