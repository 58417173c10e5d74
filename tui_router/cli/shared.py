"""What the sub-commands share: arguments into requests and engines, answers onto the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tui_router.app.engine import Engine
    from tui_router.config.settings import Config
    from tui_router.core.types import Message, Request

DONE, FAILED, USAGE = 0, 1, 2
ROUTERS = ("learned", "rules")
"""The routers that need no server."""


class UsageError(Exception):
    """Wrong arguments, in one sentence."""


def complain(message: str, code: int) -> int:
    for line in message.splitlines() or [message]:
        print(f"tui-router: {cleaned(line)}", file=sys.stderr)
    return code


def cleaned(text: str) -> str:
    from tui_router.core.text import clean

    return clean(text)


def emit(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=not _utf8()), flush=True)


def _utf8() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def configuration(given: dict[str, Any]) -> Config:
    """The configuration for a sub-command: a bad file is wrong usage."""
    from msgspec.structs import replace

    from tui_router.config.settings import ConfigError, load_config

    try:
        config = load_config(given.get("config"))
    except ConfigError as error:
        raise UsageError(str(error)) from error
    if "confidence_threshold" in given:
        settings = replace(config.settings, confidence_threshold=given["confidence_threshold"])
        config = replace(config, settings=settings)
    return config


def folder(given: dict[str, Any]) -> Path:
    from tui_router.config.folders import demo_folder
    from tui_router.config.settings import data_dir

    if given.get("demo"):
        return demo_folder(given.get("data_dir"))
    folder: Path = given.get("data_dir") or data_dir()
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--data-dir: {folder} is a file, expected a folder")
    return folder


def typed_request(text: str, images: list[str]) -> tuple[Request, tuple[str, ...]]:
    """A typed text with its `@image` references, and images named beside it."""
    from tui_router.backends.images import attach, find
    from tui_router.core.types import Request

    found = find(text)
    attachments = list(found.attachments)
    for name in images:
        made = attach(name)
        if isinstance(made, str):
            raise UsageError(made.replace("@image", "--image").replace(", nothing attached", ""))
        attachments.append(made)
    request = Request(
        text=found.text,
        typed=text if found.text != text else "",
        attachments=tuple(attachments),
        has_image=bool(attachments),
    )
    return request, found.notes


async def open_engine(given: dict[str, Any], *, learn: bool = False) -> Engine:
    """An engine on the person's store; `learn` loads the routers, which deciding needs."""
    from tui_router.app.engine import Engine

    config = configuration(given)
    if given.get("demo"):
        config = await with_demo_server(config)
    engine = Engine(config, folder(given), health_checks=not given.get("no_health_check"))
    await engine.open(learn=learn)
    if engine.store is not None and engine.store.repaired:
        print(f"tui-router: {engine.store.repaired}", file=sys.stderr)
    return engine


async def with_demo_server(config: Config) -> Config:
    from tui_router.demo.server import DemoServer, demo_backend

    return config.with_only_backend(demo_backend(await DemoServer().start()))


def request_rows(name: str, argument: str) -> Iterator[tuple[str, dict[str, Any], Request]]:
    """The lines of a JSONL file: (where it stands, the whole row, its request). `-` is standard input.

    Raises:
        UsageError: the file cannot be read, or a line is wrong; it names the line.
    """
    from tui_router.core.types import Request

    try:
        lines = sys.stdin.buffer if name == "-" else Path(name).open("rb")  # noqa: SIM115
    except OSError as error:
        raise UsageError(f"{argument}: {name} cannot be read: {error.strerror}") from error
    with lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{name}, line {number}"
            if line.lstrip().startswith(b"["):
                hint = f"jq -c '.[]' {name} writes it so"
                raise UsageError(f"{where}: is a JSON list; one object a line is expected ({hint})")
            try:
                row = json.loads(line)
            except ValueError as error:
                raise UsageError(f"{where}: is not JSON: {error}") from error
            if not isinstance(row, dict) or not isinstance(row.get("text"), str):
                raise UsageError(f'{where}: expected an object with a "text", found {str(row)[:60]}')
            history = row.get("history") or []
            if not isinstance(history, list) or not all(map(_is_message, history)):
                raise UsageError(f'{where}: "history" is a list of {{"role": "user"|"assistant", "content": text}}')
            yield (
                where,
                row,
                Request(
                    text=row["text"],
                    has_image=bool(row.get("has_image")),
                    has_code=bool(row.get("has_code")),
                    history=_messages(history, bool(row.get("history_has_image"))),
                ),
            )


def _messages(history: list[dict[str, Any]], image: bool) -> tuple[Message, ...]:
    """The conversation of a row. With `image`, one came with the newest request that is not said to have one."""
    from tui_router.core.types import Message

    last = max((i for i, m in enumerate(history) if m["role"] == "user"), default=-1) if image else -1
    return tuple(
        Message(m["role"], m["content"], has_image=bool(m.get("has_image")) or i == last) for i, m in enumerate(history)
    )


def _is_message(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("content"), str)
        and value.get("role") in ("user", "assistant", "system")
    )
