"""Whether a GGUF file decides as the model that it was made from: it is served by llama.cpp and asked."""

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

LEAST = 0.99
"""Share of the held-out requests that must get the same route."""
_START_S = 120.0
_BINARIES = ("build/bin/llama-server", "llama-server", "bin/llama-server")


class NoServerError(RuntimeError):
    """llama.cpp's server is not here; the message says how to get it."""


class ServerFailedError(RuntimeError):
    """llama.cpp's server does not serve this file; the message is its last line."""


def compared(
    model: Path, lora: Path | None, card: RouterManifest, known: Sequence[ReferenceCase], llama_cpp: str
) -> ParityReport:
    """What a GGUF file makes of the held-out requests. Blocks for seconds. Raises NoServerError, ServerFailedError."""
    import httpx

    with served(model, lora, llama_cpp) as url, httpx.Client(base_url=url, timeout=60.0) as client:
        prompts, ids, probabilities = [], [], []
        for one in known:
            messages = list(one.messages)
            prompts.append(_as_known(_reply(client, "/apply-template", {"messages": messages})["prompt"], one.prompt))
            asked = {"content": one.prompt, "add_special": False, "parse_special": True}
            ids.append(_reply(client, "/tokenize", asked)["tokens"])
            probabilities.append(_probabilities(client, messages, card))
        return ParityReport.of(known, prompts, ids, probabilities)


def _reply(client: Any, path: str, body: dict[str, Any]) -> Any:
    import httpx

    try:
        reply = client.post(path, json=body)
        reply.raise_for_status()
        return reply.json()
    except (httpx.HTTPError, ValueError) as error:
        raise ServerFailedError(f"{path}: {error}") from error


def _as_known(text: str, known: str) -> str:
    """A prompt in which only the mark of the beginning is left out is the same prompt: the server adds it as a token."""
    mark, gap, _ = known.partition(text) if text else ("", "", "")
    return known if gap and mark.startswith("<") and mark.endswith(">") and mark.count("<") == 1 else text


def _probabilities(client: Any, messages: list[dict[str, str]], card: RouterManifest) -> list[float]:
    """Of the routes, in their order."""
    body: dict[str, Any] = {"messages": messages, "temperature": 0, "stream": False}
    if card.label == "text":
        text = _reply(client, "/v1/chat/completions", {**body, "max_tokens": 32})["choices"][0]["message"]["content"]
        said = max((a for a in card.answers if text.strip().startswith(a)), key=len, default="")
        return [float(answer == said) for answer in card.answers]
    letters = "".join(card.answers)
    chosen = read(_reply(client, "/v1/chat/completions", {**body, **by_grammar(letters)}), letters)
    found = (chosen.probabilities or {chosen.letter: 1.0}) if chosen is not None else {}
    total = sum(found.values()) or 1.0
    return [found.get(answer, 0.0) / total for answer in card.answers]


@contextlib.contextmanager
def served(model: Path, lora: Path | None, llama_cpp: str, alias: str = "tui-router") -> Iterator[str]:
    """The URL of a llama.cpp server with this model, while it is needed. Raises NoServerError, ServerFailedError."""
    command, url = _command(model, lora, llama_cpp, alias)
    started = subprocess.Popen(
        command, cwd=model.parent, env=launcher.environment(model.parent), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if not url else subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        yield url if url and _answers(url, started) else _told(started)
    finally:
        started.kill()
        started.wait()


def _command(model: Path, lora: Path | None, llama_cpp: str, alias: str) -> tuple[list[str], str]:
    """(how the server is started, where it will be; empty when it tells)."""
    folder = Path(llama_cpp).expanduser() if llama_cpp else None
    binary = next((folder / name for name in _BINARIES if folder and (folder / name).is_file()), None)
    found = str(binary) if binary else shutil.which("llama-server")
    if found:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        more = ["--lora", str(lora)] if lora else []
        return [
            found, "-m", str(model), "--host", "127.0.0.1", "--port", str(port), "--alias", alias, "-c", "4096", "--jinja", *more,
        ], f"http://127.0.0.1:{port}"  # fmt: skip
    if importlib.util.find_spec("xllamacpp") is None:
        raise NoServerError("there is no llama-server: install llama.cpp, or pip install xllamacpp")
    more = ["--lora", str(lora)] if lora else []
    return launcher.command("llama", "--model", str(model), "--alias", alias, *more), ""


def _told(started: subprocess.Popen[str]) -> str:
    assert started.stdout is not None
    for line in started.stdout:
        if line.startswith("READY"):
            return line.split()[1].rstrip("/")
    raise ServerFailedError(f"llama.cpp cannot load the file (its server ended with {started.wait()})")


def _answers(url: str, started: subprocess.Popen[str]) -> bool:
    import httpx

    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        if started.poll() is not None:
            raise ServerFailedError(f"llama.cpp cannot load the file (its server ended with {started.returncode})")
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", timeout=2.0).status_code == 200:
                return True
        time.sleep(0.2)
    raise ServerFailedError(f"llama.cpp did not load the file within {_START_S:.0f} s")
