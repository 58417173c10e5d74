"""Reads the settings and the fleet.

One file holds all that a person changes: `fleet.toml` in the platform's config folder, or `--config FILE`. It overlays
the shipped `data/fleet.toml`. Every fault of a wrong file is reported at once; the dashboard then starts on the last good copy
of it and says so.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Meta, Struct
from msgspec.structs import asdict, replace

from tui_router.config import fleet_file, toml_locations
from tui_router.config.server_urls import normal_url, url_fault, without_login
from tui_router.config.text_files import NotTextError, read_text
from tui_router.config.validation import SECRET, Checker, Key, Problem, read_struct
from tui_router.core import assets
from tui_router.core.fleet import Fleet

_TABLES = ("settings", "rules", "models", "routes", "backends", "tools")
"""The tables that fleet.toml may hold."""

Seconds = Annotated[float, Meta(ge=0.1, le=7200)]
BackendKind = Literal["auto", "lmstudio", "ollama", "llama-server", "vllm", "openai"]


class BackendSetting(Struct, frozen=True, kw_only=True):
    """A model server."""

    name: str
    url: Annotated[str, SECRET]
    """Base URL, with or without `/v1`. A user name and a password in it (`http://user:password@host`) are sent and never shown."""
    kind: BackendKind = "auto"
    """What the server is; `auto` finds out from its replies."""
    api_key: Annotated[str, SECRET] = ""
    """The key that is sent with each request."""
    api_key_env: str = ""
    """The environment variable that holds the key; it takes the place of `api_key`."""
    parallel: Annotated[int, Meta(ge=0, le=64)] = 0
    """Requests in flight per model; 0: what the server reports, else 1."""

    def __repr__(self) -> str:
        url = without_login(self.url)
        return f"BackendSetting(name={self.name!r}, url={url!r}, kind={self.kind!r})"  # neither key nor password


class ToolSetting(Struct, frozen=True, kw_only=True):
    """An optional tool that `--health` looks for."""

    name: str
    url: Annotated[str, SECRET]
    """Its address; a login in it is sent and never shown."""

    def __repr__(self) -> str:
        return f"ToolSetting(name={self.name!r}, url={without_login(self.url)!r})"


class Settings(Struct, frozen=True, kw_only=True):
    """What is not the fleet: when to ask, how long to wait, how it looks."""

    confidence_threshold: Annotated[float, Meta(ge=0, le=1)] = 0.70
    """Below this confidence you are asked for the route before anything is sent."""
    router: Literal["auto", "learned", "rules", "llm"] = "auto"
    """Which router is the champion: `auto` picks the best by the verdicts so far; a name pins that router."""
    llm_router: str = ""
    """A small model of the fleet that also chooses a route, from the descriptions alone; empty: none."""
    asks_a_day: Annotated[int, Meta(ge=0, le=100)] = 3
    """How many teaching questions a day: requests that are asked about because their label helps the router most."""
    theme: Literal["router-dark", "router-light", "router-high"] = "router-dark"
    """Colours of the dashboard: dark, light, or high contrast."""
    prefer_loaded: bool = False
    """Use a loaded model of the route's chain before one that would have to be loaded."""
    health_interval_s: Annotated[float, Meta(ge=1, le=3600)] = 5.0
    """Seconds between two health checks of the servers."""
    first_byte_s: Seconds = 120.0
    """Longest wait, in seconds, for the first byte of a loaded model."""
    load_s: Seconds = 300.0
    """Longest wait, in seconds, for the first byte of a model that has to be loaded first."""
    idle_s: Seconds = 60.0
    """Longest silence, in seconds, in the middle of an answer."""
    switch_when_slow: bool = False
    """Use the next model when the first byte does not come in time, without asking."""
    ascii: Literal["auto", "yes", "no"] = "auto"
    """Draw the dashboard in ASCII; `auto` does so where the terminal cannot show more."""
    system: str = ""
    """A system prompt for every model that has none of its own."""
    observer: Literal["off", "passive", "active"] = "passive"
    """How often a small model comments on the turns: `active` on each, `passive` on each fifth, `off` never."""
    observer_model: str = "gemma-3-1b"
    """The model that comments; it is asked only while it is loaded."""
    llama_cpp_dir: str = ""
    """A folder of llama.cpp: its convert_hf_to_gguf.py and its llama-server are used for exports."""


DEFAULT_BACKENDS = (
    BackendSetting(name="LM Studio", url="http://127.0.0.1:1234"),
    BackendSetting(name="Ollama", url="http://127.0.0.1:11434"),
    BackendSetting(name="llama-server", url="http://127.0.0.1:8080"),
)
DEFAULT_TOOLS = (ToolSetting(name="playwright", url="http://127.0.0.1:8931"),)


class Config(Struct, frozen=True, kw_only=True):
    """What was read, and what was wrong with it."""

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
        """Return the same configuration with this server alone."""
        return replace(self, backends=(backend,))


class ConfigError(ValueError):
    """The person's file is wrong; the message lists every fault, one a line."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class NoHomeError(OSError):
    """The person has no home folder; the message says what to do."""

    def __str__(self) -> str:
        return "there is no home folder to keep files in; set HOME, or name a folder with --data-dir"


def config_dir() -> Path:
    """Return the platform's folder for the person's own settings. Raises NoHomeError."""
    import platformdirs

    return _below_home(platformdirs.user_config_dir("tui-router", appauthor=False))


def data_dir() -> Path:
    """Return the platform's folder for the store. Raises NoHomeError."""
    import platformdirs

    return _below_home(platformdirs.user_data_dir("tui-router", appauthor=False))


def _below_home(folder: str) -> Path:
    if folder.startswith("~"):  # HOME is not set and the user is in no list of users, as in some containers
        raise NoHomeError
    return Path(folder).absolute()


def load_config(file: Path | None = None, *, environ: Mapping[str, str] = os.environ) -> Config:
    """Read the configuration from a file (default: `fleet.toml` in the config folder, if there is one).

    Raises:
        ConfigError: the file is wrong, or was named and cannot be read.
    """
    try:
        path = file or config_dir() / "fleet.toml"
        text = read_text(path)
    except (FileNotFoundError, NoHomeError):
        if file is not None:
            raise ConfigError((Problem(str(file), None, "", "there is no such file"),)) from None
        return parse_config("", None, environ)
    except NotTextError as error:
        raise ConfigError((Problem(str(path), None, "", str(error)),)) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError((Problem(str(path), None, "", f"cannot be read: {reason}"),)) from error
    return parse_config(text, path, environ)


def load_or_last_good(file: Path | None, state: Path) -> Config:
    """Read the configuration like `load_config`, but never raise: a wrong file gives the last good copy of it, which is kept
    in the folder `state`, or else the shipped fleet."""
    kept = state / "last-good-fleet.toml"
    try:
        config = load_config(file)
    except ConfigError as error:
        try:
            last = parse_config(read_text(kept), kept, os.environ)
        except (OSError, NotTextError, ConfigError):
            last = parse_config("", None, os.environ)
        return replace(last, problems=error.problems, stale=True)
    if config.file is not None and config.file.is_file():  # not a pipe, which can be read only once
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
        return  # without the copy, a later wrong file falls back to the shipped fleet; the start must not fail for it


@lru_cache
def _shipped() -> dict[str, Any]:
    return tomllib.loads(assets.data("fleet.toml").read_text(encoding="utf-8"))


def parse_config(text: str, path: Path | None, environ: Mapping[str, str]) -> Config:
    """Read the configuration from the text of a file, over the shipped fleet.

    Raises:
        ConfigError: the text is wrong; it lists every fault.
    """
    name = str(path) if path else "fleet.toml"
    try:
        own = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError((_syntax(name, error, text),)) from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, a thousand brackets
        raise ConfigError((Problem(name, None, "", f"cannot be read: {error}"),)) from error
    check = Checker(name, toml_locations.locate(text))
    check.known(own, (), _TABLES)
    fleet = fleet_file.build(fleet_file.overlay(_shipped(), own, check), check)
    settings = read_struct(check.table(own, ("settings",)), ("settings",), Settings, check)
    if settings.llm_router and settings.llm_router not in fleet.models:
        known = ", ".join(fleet.models)
        check.fault(("settings", "llm_router"), f"the fleet has no model {settings.llm_router!r}; known: {known}")
    if settings.router == "llm" and not settings.llm_router:
        check.fault(("settings", "router"), "is 'llm', but settings.llm_router names no model")
    backends = _servers(own, ("backends",), DEFAULT_BACKENDS, check)
    config = Config(
        settings=settings,
        fleet=fleet,
        backends=tuple(_with_key(backend, check, environ) for backend in backends),
        tools=tuple(_servers(own, ("tools",), DEFAULT_TOOLS, check)),
        file=path,
    )
    if check.problems:
        raise ConfigError(tuple(check.problems))
    return config


def _syntax(name: str, error: tomllib.TOMLDecodeError, text: str) -> Problem:
    import re

    found = re.search(r"\(at line (\d+), column \d+\)", str(error))
    line = int(found[1]) if found else None
    reason = re.sub(r" \(at [^)]*\)$", "", str(error))
    source = text.split("\n")[line - 1] if line else ""
    header = re.match(r"\s*\[+\s*(?:(models|routes|backends|tools)\.)?([^\"'\]]{1,80})\s*]", source)
    if header and re.search(r"[^\w.\s-]", header[2]):
        whole = f'{header[1]}."{header[2]}"' if header[1] else f'"{header[2]}"'
        reason = f"{reason}; a name with other characters than letters, digits, _ and - needs quotes: [{whole}]"
    return Problem(name, line, "", f"is not TOML: {reason}")


Server = TypeVar("Server", BackendSetting, ToolSetting)


def _servers(own: Mapping[str, Any], at: Key, shipped: tuple[Server, ...], check: Checker) -> list[Server]:
    """Read `[backends.NAME]` or `[tools.NAME]` over the shipped ones; `remove = true` takes one out."""
    found = {server.name: server for server in shipped}
    for name, table in check.named_tables(own, at).items():
        here: Key = (*at, name)
        if not isinstance(table, dict):
            check.wrong(here, "a table with a url", table)
        elif fleet_file.is_removed(table, here, check):
            found.pop(name, None)
        else:
            defaults = {"url": "", **(asdict(found[name]) if name in found else {}), "name": name}
            server = read_struct(table, here, type(shipped[0]), check, also=("remove",), defaults=defaults, name=name)
            url = server.url.strip()
            if not isinstance(table.get("url", ""), str):
                continue  # reported already
            if not url:
                check.fault((*here, "url"), f'is missing: the server\'s address, such as "{shipped[0].url}"')
            elif fault := url_fault(url, shipped[0].url):
                check.fault((*here, "url"), fault)
            else:
                found[name] = replace(server, url=normal_url(url))
    return list(found.values())


def _with_key(backend: BackendSetting, check: Checker, environ: Mapping[str, str]) -> BackendSetting:
    """Return the server with the key that its environment variable holds."""
    variable = backend.api_key_env
    if not variable:
        return replace(backend, api_key=backend.api_key.strip())
    if variable not in environ:
        at = ("backends", backend.name, "api_key_env")
        name = (
            repr(variable) if re.fullmatch(r"[A-Z][A-Z0-9_]*", variable) else "that it holds"
        )  # it may be the key itself
        check.fault(at, f"names the environment variable {name}, which is not set")
    return replace(backend, api_key=environ.get(variable, "").strip())  # a file's line break is no part of the key
