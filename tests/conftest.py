"""A world of its own for every test: no settings of the developer's, real engines where one is needed."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["tests.training.fixtures"]


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """No test reads or writes the developer's own files."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    return home


class Process:
    """A program that prints READY and its URL."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("READY"):
                self.url = line.split()[1].rstrip("/")
                return
        raise AssertionError(f"{command} ended with {self.process.wait()}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    close = kill


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory):
    from tests.llama_cpp import tiny_model  # imports gguf, which only these tests need

    return tiny_model.write(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture(scope="session")
def start_engine(tiny_gguf):
    """Start llama.cpp's server on the tiny model, under any name."""
    started = []

    def start(alias: str = "gemma-3-1b-it-qat", api_key: str = "") -> Process:
        script = Path(__file__).parent / "llama_cpp" / "llama_server.py"
        made = Process(str(script), str(tiny_gguf), alias, api_key)
        started.append(made)
        return made

    yield start
    for process in started:
        process.close()


@pytest.fixture(scope="session")
def engine_url(start_engine):
    """One llama-server for the tests that do not kill it. It serves the tiny model as gemma-3-1b."""
    return start_engine().url


@pytest.fixture
def config_file(tmp_path):
    """Write a fleet.toml whose only server is this one, and whose every route leads to gemma-3-1b."""

    def write(url: str, *, all_routes: bool = True, extra: str = "") -> Path:
        lines = ['[backends."LM Studio"]', "remove = true", "[backends.Ollama]", "remove = true"]
        lines += ["[backends.llama-server]", f'url = "{url}"']
        if all_routes:
            for route in ("tool_use", "code", "reasoning", "general_chat", "simple_chat"):
                lines += [
                    f"[routes.{route}]",
                    'model = "gemma-3-1b"',
                    "fallbacks = []",
                    "needs = { tools = false }",
                ]
        path = tmp_path / "fleet.toml"
        path.write_text("\n".join(lines) + "\n" + extra)
        return path

    return write
