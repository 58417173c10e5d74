"""Compares a GGUF file with the trained model: llama.cpp serves it, and its answers are read."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tui_router.backends.served_chooser import by_grammar, read
from tui_router.training import launcher
from tui_router.training.router_manifest import ParityReport, ReferenceCase, RouterManifest

LEAST_SAME_ROUTE = 0.99
"""Share of the held-out requests that must get the same route. Chosen by hand."""
_START_S = 120.0
"""Longest wait for a server to load a model."""
_BINARIES = ("build/bin/llama-server", "llama-server", "bin/llama-server")


class NoServerError(RuntimeError):
    """There is no llama.cpp server on this machine; the message says how to get one."""


class ServerFailedError(RuntimeError):
    """The llama.cpp server cannot serve this file; the message says why."""


def compare_gguf(
    model: Path, lora: Path | None, manifest: RouterManifest, cases: Sequence[ReferenceCase], llama_cpp: str
) -> ParityReport:
    """Serve a GGUF file and compare its answers with the reference cases. Blocks for seconds.

    Args:
        model: The GGUF file.
        lora: A GGUF adapter for it.
        manifest: How the router is asked.
        cases: What the trained model answered.
        llama_cpp: The folder of a llama.cpp checkout; empty when there is none.

    Raises:
        NoServerError, ServerFailedError: it cannot be served.
    """
    import httpx

    with llama_server(model, lora, llama_cpp) as url, httpx.Client(base_url=url, timeout=60.0) as client:
        prompts, ids, probabilities = [], [], []
        for case in cases:
            messages = list(case.messages)
            rendered = _post(client, "/apply-template", {"messages": messages})["prompt"]
            prompts.append(_with_bos_of(case.prompt, rendered))
            body = {"content": case.prompt, "add_special": False, "parse_special": True}
            ids.append(_post(client, "/tokenize", body)["tokens"])
            probabilities.append(_probabilities(client, messages, manifest))
        return ParityReport.compare(cases, prompts, ids, probabilities)


def _post(client: Any, path: str, body: dict[str, Any]) -> Any:
    import httpx

    try:
        reply = client.post(path, json=body)
        reply.raise_for_status()
        return reply.json()
    except (httpx.HTTPError, ValueError) as error:
        raise ServerFailedError(f"{path}: {error}") from error


def _with_bos_of(known: str, text: str) -> str:
    """Return `known` when `text` lacks nothing but its beginning-of-text token, else `text`: the server adds that token."""
    bos, found, _ = known.partition(text) if text else ("", "", "")
    return known if found and bos.startswith("<") and bos.endswith(">") and bos.count("<") == 1 else text


def _probabilities(client: Any, messages: list[dict[str, str]], manifest: RouterManifest) -> list[float]:
    """Return the probabilities of the routes, in the manifest's order."""
    body: dict[str, Any] = {"messages": messages, "temperature": 0, "stream": False}
    if manifest.label == "text":
        reply = _post(client, "/v1/chat/completions", {**body, "max_tokens": 32})
        text = reply["choices"][0]["message"]["content"].strip()
        chosen = max((a for a in manifest.answers if text.startswith(a)), key=len, default="")
        return [float(answer == chosen) for answer in manifest.answers]
    letters = "".join(manifest.answers)
    choice = read(_post(client, "/v1/chat/completions", {**body, **by_grammar(letters)}), letters)
    found = (choice.probabilities or {choice.letter: 1.0}) if choice is not None else {}
    total = sum(found.values()) or 1.0
    return [found.get(answer, 0.0) / total for answer in manifest.answers]


@contextlib.contextmanager
def llama_server(model: Path, lora: Path | None, llama_cpp: str, alias: str = "tui-router") -> Iterator[str]:
    """Serve a GGUF file with llama.cpp inside a `with` block; gives the server's URL.

    Raises:
        NoServerError, ServerFailedError: it cannot be served.
    """
    model, lora = model.absolute(), lora and lora.absolute()
    command, url = _server_command(model, lora, llama_cpp, alias)
    process = subprocess.Popen(
        command,
        cwd=model.parent,
        env=launcher.environment(model.parent),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if url else subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        if url:
            _wait_until_healthy(url, process)
        yield url or _url_on_stdout(process)
    finally:
        process.kill()
        process.wait()


def _server_command(model: Path, lora: Path | None, llama_cpp: str, alias: str) -> tuple[list[str], str]:
    """Return (command line, URL); the URL is empty when the server prints it. Raises NoServerError."""
    folder = Path(llama_cpp).expanduser().absolute() if llama_cpp else None
    binary = next((folder / name for name in _BINARIES if folder and (folder / name).is_file()), None)
    program = str(binary) if binary else shutil.which("llama-server")
    adapter = ["--lora", str(lora)] if lora else []
    if program:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [program, "-m", str(model), "--host", "127.0.0.1", "--port", str(port), "--alias", alias]
        return [*command, "-c", "4096", "--jinja", *adapter], f"http://127.0.0.1:{port}"
    if importlib.util.find_spec("xllamacpp") is None:
        raise NoServerError("there is no llama-server: install llama.cpp, or pip install xllamacpp")
    return launcher.command("llama", "--model", str(model), "--alias", alias, *adapter), ""


def _url_on_stdout(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("READY"):
            return line.split()[1].rstrip("/")
    raise ServerFailedError(f"llama.cpp cannot load the file (its server ended with exit code {process.wait()})")


def _wait_until_healthy(url: str, process: subprocess.Popen[str]) -> None:
    import httpx

    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            code = process.returncode
            raise ServerFailedError(f"llama.cpp cannot load the file (its server ended with exit code {code})")
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", timeout=2.0).status_code == 200:
                return
        time.sleep(0.2)
    raise ServerFailedError(f"llama.cpp did not load the file within {_START_S:.0f} s")
