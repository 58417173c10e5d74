"""Settings and the fleet: where they are read from, and what happens when they are wrong.

One file holds all that a person changes: `fleet.toml` in the platform's config folder, or `--config FILE`. It overlays
the shipped `data/fleet.toml`. A wrong file gets every fault at once; the dashboard then starts on the last good copy
of it and says so.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from tui_router.config import fleet_file, toml_locations
from tui_router.config.validation import Checker, Key, Problem
from tui_router.core import assets
from tui_router.core.fleet import Fleet

BackendKind = Literal["auto", "lmstudio", "ollama", "llama-server", "vllm", "openai"]
KINDS: tuple[BackendKind, ...] = ("auto", "lmstudio", "ollama", "llama-server", "vllm", "openai")
ROUTERS = ("auto", "learned", "rules", "llm")
OBSERVERS = ("off", "passive", "active")
THEMES = ("router-dark", "router-light", "router-high")

_TOP = ("settings", "rules", "models", "routes", "backends", "tools")
_SETTINGS = (
    "confidence_threshold",
    "router",
    "llm_router",
    "asks_a_day",
    "theme",
    "prefer_loaded",
    "health_interval_s",
    "first_byte_s",
    "load_s",
    "idle_s",
    "switch_when_slow",
    "ascii",
    "system",
    "llama_cpp_dir",
    "observer",
    "observer_model",
)
_BACKEND = ("url", "kind", "api_key", "api_key_env", "parallel", "remove")


class BackendSetting(Struct, frozen=True, kw_only=True):
    """A server to talk to."""

    name: str
    url: str
    """Base URL without `/v1`."""
    kind: BackendKind = "auto"
    """Pinned, or `auto`: told by the shape of its replies."""
    api_key: str = ""
    parallel: int = 0
    """Requests in flight per model; 0: what the server says, else 1."""

    def __repr__(self) -> str:
        return f"BackendSetting(name={self.name!r}, url={self.url!r}, kind={self.kind!r})"  # never the key


class ToolSetting(Struct, frozen=True, kw_only=True):
    """An optional tool that `--health` looks for."""

    name: str
    url: str


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that is not the fleet."""

    confidence_threshold: float = 0.70
    """Below this confidence the decision asks before anything is sent."""
    router: str = "auto"
    """Who leads: `auto` (the best by the verdicts so far), or the name of a router."""
    llm_router: str = ""
    """A small model of the fleet that chooses a route too, by the descriptions alone; empty: none."""
    asks_a_day: int = 3
    """How often a day a request is asked about, beside the unsure ones, because its label would teach most."""
    theme: str = "router-dark"
    prefer_loaded: bool = False
    """Take a loaded model of the route's chain before one that would have to be loaded."""
    health_interval_s: float = 5.0
    first_byte_s: float = 120.0
    """Longest wait for the first byte of a loaded model."""
    load_s: float = 300.0
    """Longest wait for the first byte of a model that has to be loaded first."""
    idle_s: float = 60.0
    """Longest silence in the middle of an answer."""
    switch_when_slow: bool = False
    """Take the next model when the first byte does not come, without asking."""
    ascii: str = "auto"
    system: str = ""
    """A system prompt for every model that has none of its own."""
    observer: Literal["off", "passive", "active"] = "passive"
    """Whether a small model looks at the turns: at every fifth, at every one, or not at all."""
    observer_model: str = "gemma-3-1b"
    """The model that does; it is asked only while it is loaded."""
    llama_cpp_dir: str = ""
    """A folder of llama.cpp: its convert_hf_to_gguf.py and its llama-server are used for exports."""


DEFAULT_BACKENDS = (
    BackendSetting(name="LM Studio", url="http://127.0.0.1:1234"),
    BackendSetting(name="Ollama", url="http://127.0.0.1:11434"),
    BackendSetting(name="llama-server", url="http://127.0.0.1:8080"),
)
DEFAULT_TOOLS = (ToolSetting(name="playwright", url="http://127.0.0.1:8931"),)


class Config(Struct, frozen=True, kw_only=True):
    """All that was read, and what was wrong with it."""

    settings: Settings
    fleet: Fleet
    backends: tuple[BackendSetting, ...] = DEFAULT_BACKENDS
    tools: tuple[ToolSetting, ...] = DEFAULT_TOOLS
    file: Path | None = None
    """The person's own file, when there is one."""
    problems: tuple[Problem, ...] = ()
    stale: bool = False
    """The file is wrong; this is the last good copy of it, or the shipped fleet."""

    def with_only_backend(self, backend: BackendSetting) -> Config:
        """The same configuration with this one server."""
        return replace(self, backends=(backend,))


class ConfigError(ValueError):
    """The person's file is wrong; the message lists every fault, one a line."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def config_dir() -> Path:
    """The platform's folder for the person's own settings."""
    import platformdirs

    return Path(platformdirs.user_config_dir("tui-router", appauthor=False))


def data_dir() -> Path:
    """The platform's folder for the store."""
    import platformdirs

    return Path(platformdirs.user_data_dir("tui-router", appauthor=False))


def load_config(file: Path | None = None, *, environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration of a file (default: `fleet.toml` in the config folder, if it is there).

    Raises:
        ConfigError: the file is wrong, or was named and cannot be read.
    """
    named = file is not None
    path = file or config_dir() / "fleet.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if named:
            raise ConfigError((Problem(str(path), None, "", "there is no such file"),)) from None
        return parse_config("", None, environ)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError((Problem(str(path), None, "", f"cannot be read: {error}"),)) from error
    return parse_config(text, path, environ)


def load_or_last_good(file: Path | None, state: Path) -> Config:
    """Like `load_config`, but never raises: a wrong file gives the last good copy (kept in `state`), else the shipped fleet."""
    kept = state / "last-good-fleet.toml"
    try:
        config = load_config(file)
    except ConfigError as error:
        try:
            last = parse_config(kept.read_text(encoding="utf-8"), kept, os.environ)
        except (OSError, ConfigError):
            last = parse_config("", None, os.environ)
        return Config(
            settings=last.settings, fleet=last.fleet, backends=last.backends, tools=last.tools,
            file=last.file, problems=error.problems, stale=True,
        )  # fmt: skip
    if config.file is not None:
        _keep(config.file, kept)
    return config


def _keep(source: Path, kept: Path) -> None:
    """Copy a good file aside; private, because it may hold an API key."""
    try:
        text = source.read_bytes()
        if not kept.exists() or kept.read_bytes() != text:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.touch(0o600)
            kept.write_bytes(text)
    except OSError:
        return  # a copy for a rainy day; the start must not fail for it


@lru_cache
def _shipped() -> dict[str, Any]:
    return tomllib.loads(assets.data("fleet.toml").read_text(encoding="utf-8"))


def parse_config(text: str, path: Path | None, environ: Mapping[str, str]) -> Config:
    """The configuration that a text describes over the shipped fleet; ConfigError lists every fault."""
    name = str(path) if path else "fleet.toml"
    try:
        own = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError((_syntax(name, error),)) from error
    check = Checker(name, toml_locations.locate(text))
    check.known(own, (), _TOP)
    merged = fleet_file.overlay(_shipped(), own, check)
    fleet = fleet_file.build(merged, check)
    settings = _settings(own, check)
    if settings.llm_router and settings.llm_router not in fleet.models:
        known = ", ".join(fleet.models)
        check.fault(("settings", "llm_router"), f"the fleet has no model {settings.llm_router!r}; known: {known}")
    if settings.router == "llm" and not settings.llm_router:
        check.fault(("settings", "router"), "leads by a model, but settings.llm_router names none")
    config = Config(
        settings=settings,
        fleet=fleet,
        backends=_backends(own, check, environ),
        tools=_tools(own, check),
        file=path,
    )
    if check.problems:
        raise ConfigError(tuple(check.problems))
    return config


def _syntax(name: str, error: tomllib.TOMLDecodeError) -> Problem:
    import re

    found = re.search(r"\(at line (\d+), column \d+\)", str(error))
    said = re.sub(r" \(at [^)]*\)$", "", str(error))
    return Problem(name, int(found[1]) if found else None, "", f"is not TOML: {said}")


def _settings(own: Mapping[str, Any], check: Checker) -> Settings:
    table, at = check.table(own, ("settings",)), ("settings",)
    check.known(table, at, _SETTINGS)
    plain = Settings()
    return Settings(
        confidence_threshold=check.number(table, at, "confidence_threshold", plain.confidence_threshold, 0, 1),
        router=check.choice(table, at, "router", ROUTERS, plain.router),
        llm_router=check.text(table, at, "llm_router"),
        asks_a_day=int(check.number(table, at, "asks_a_day", plain.asks_a_day, 0, 100)),
        theme=check.choice(table, at, "theme", THEMES, plain.theme),
        prefer_loaded=check.flag(table, at, "prefer_loaded"),
        health_interval_s=check.number(table, at, "health_interval_s", plain.health_interval_s, 1, 3600),
        first_byte_s=check.number(table, at, "first_byte_s", plain.first_byte_s, 0.1, 7200),
        load_s=check.number(table, at, "load_s", plain.load_s, 0.1, 7200),
        idle_s=check.number(table, at, "idle_s", plain.idle_s, 0.1, 7200),
        switch_when_slow=check.flag(table, at, "switch_when_slow"),
        ascii=check.choice(table, at, "ascii", ("auto", "yes", "no"), "auto"),
        system=check.text(table, at, "system"),
        llama_cpp_dir=check.text(table, at, "llama_cpp_dir"),
        observer=check.choice(table, at, "observer", OBSERVERS, plain.observer),  # type: ignore[arg-type]
        observer_model=check.text(table, at, "observer_model", plain.observer_model),
    )


def _backends(own: Mapping[str, Any], check: Checker, environ: Mapping[str, str]) -> tuple[BackendSetting, ...]:
    found = {b.name: b for b in DEFAULT_BACKENDS}
    for name, table in check.table(own, ("backends",)).items():
        at: Key = ("backends", name)
        if not isinstance(table, dict):
            check.wrong(at, "a table with a url", table)
            continue
        check.known(table, at, _BACKEND)
        base = found.get(name)
        if check.flag(table, at, "remove"):
            found.pop(name, None)
            continue
        url = check.text(table, at, "url", base.url if base else "")
        if not url.startswith(("http://", "https://")):
            check.fault((*at, "url"), f'expected a URL such as "http://127.0.0.1:1234", found {url!r}')
            continue
        variable = check.text(table, at, "api_key_env")
        if variable and variable not in environ:
            check.fault((*at, "api_key_env"), f"names the environment variable {variable!r}, which is not set")
        kind = check.choice(table, at, "kind", KINDS, base.kind if base else "auto")
        found[name] = BackendSetting(
            name=name,
            url=normal_url(url),
            kind=kind,  # type: ignore[arg-type]  # `choice` allows only KINDS
            api_key=environ.get(variable, "") if variable else check.text(table, at, "api_key"),
            parallel=check.whole(table, at, "parallel", 0, 0, 64),
        )
    return tuple(found.values())


def _tools(own: Mapping[str, Any], check: Checker) -> tuple[ToolSetting, ...]:
    found = {t.name: t for t in DEFAULT_TOOLS}
    for name, table in check.table(own, ("tools",)).items():
        at: Key = ("tools", name)
        if not isinstance(table, dict):
            check.wrong(at, "a table with a url", table)
            continue
        check.known(table, at, ("url", "remove"))
        if check.flag(table, at, "remove"):
            found.pop(name, None)
            continue
        url = check.text(table, at, "url")
        if not url.startswith(("http://", "https://")):
            check.fault((*at, "url"), f'expected a URL such as "http://127.0.0.1:8931", found {url!r}')
            continue
        found[name] = ToolSetting(name=name, url=normal_url(url))
    return tuple(found.values())


def normal_url(url: str) -> str:
    """A base URL: without `/v1` or `/api`, and with 127.0.0.1 for localhost, which may resolve to ::1 first."""
    url = url.rstrip("/").removesuffix("/v1").removesuffix("/api")
    return url.replace("://localhost", "://127.0.0.1", 1)
