"""What the commands share: arguments into requests and engines, answers onto the terminal."""

from __future__ import annotations

import codecs
import json
import math
import re
import sys
from argparse import Namespace
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tui_router.app.engine import Engine
    from tui_router.config.settings import Config
    from tui_router.core.types import Message, Request

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: done; it failed, or the answer is no; wrong usage; ended by Ctrl-C (128 + the number of SIGINT)."""

_ASCII_MARKS = {"✓": "+", "✗": "x", "○": "o", "◐": "~", "·": "-", "→": "->", "…": "...", "‘": "'", "’": "'", "—": "-"}
_INVISIBLE = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
"""DEL, C1, surrogates and format characters: a terminal may obey or hide them."""


class UsageError(Exception):
    """The arguments are wrong; the message is one sentence."""


def prepare_output() -> None:
    """Let the output take any text: what its encoding has no character for is replaced by ASCII."""
    codecs.register_error("tui-router-ascii", _ascii)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not so for a stream that is closed, or that a test has put there
            stream.reconfigure(errors="tui-router-ascii")


def _ascii(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(_ASCII_MARKS.get(c, "?") for c in error.object[error.start : error.end]), error.end


def complain(message: str, code: int) -> int:
    """Print a message to stderr, each line after the program's name; returns the exit code."""
    with suppress(OSError):  # nobody reads stderr; the exit code says it too
        for line in message.splitlines() or [message]:
            notice(line)
    return code


def notice(message: str) -> None:
    """Print one line to stderr, after the program's name."""
    print(f"tui-router: {cleaned(message)}", file=sys.stderr)


def cleaned(text: str) -> str:
    """Return a text that a terminal can be given, as `core.text.clean` makes it."""
    from tui_router.core.text import clean

    return clean(text)


def emit(value: Any) -> None:
    """Print a value as one line of JSON. Control, bidirectional and zero-width characters are escaped; NaN is null."""
    utf8 = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
    try:
        line = json.dumps(value, ensure_ascii=not utf8, allow_nan=False)
    except ValueError:
        line = json.dumps(_finite(value), ensure_ascii=not utf8)
    print(_INVISIBLE.sub(lambda found: json.dumps(found[0])[1:-1], line), flush=True)


def _finite(value: Any) -> Any:
    """Return a value of JSON with null for every number that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def configuration(args: Namespace) -> Config:
    """Return the configuration for a command.

    Raises:
        UsageError: the file is wrong.
    """
    from msgspec.structs import replace

    from tui_router.config.settings import ConfigError, load_config

    try:
        config = load_config(args.config)
    except ConfigError as error:
        raise UsageError(str(error)) from error
    if args.confidence_threshold is not None:
        settings = replace(config.settings, confidence_threshold=args.confidence_threshold)
        config = replace(config, settings=settings)
    return config


def folder(args: Namespace) -> Path:
    """Return the data folder, which need not exist yet."""
    from tui_router.config.folders import demo_folder
    from tui_router.config.settings import NoHomeError, data_dir

    if args.demo:
        return demo_folder(args.data_dir)
    try:
        wanted: Path = args.data_dir or data_dir()
    except NoHomeError as error:
        raise UsageError(str(error)) from error
    try:
        if wanted.exists() and not wanted.is_dir():
            raise UsageError(f"--data-dir: {wanted} is a file, expected a folder")
    except OSError as error:
        raise UsageError(f"--data-dir: {wanted} cannot be used: {error.strerror}") from error
    return wanted


def known_router(name: str) -> str:
    """Return the name of a router that needs no server.

    Raises:
        UsageError: there is none of that name.
    """
    from tui_router.cli.commands import ROUTERS

    if name and name not in ROUTERS:
        raise UsageError(f"there is no router {name!r}; known: {', '.join(ROUTERS)}")
    return name


def known_route(name: str, config: Config) -> str:
    """Return the name of a route of the fleet.

    Raises:
        UsageError: there is none of that name.
    """
    if name and name not in config.fleet.by_route:
        raise UsageError(f"--route: there is no route {name!r}; known: {', '.join(config.fleet.by_route)}")
    return name


def typed_request(text: str, images: Iterable[Path]) -> tuple[Request, tuple[str, ...]]:
    """Return the request that a typed text with `@image` references and further images make, and remarks on it.

    Raises:
        UsageError: one of the images cannot be attached.
    """
    from tui_router.backends.images import attach, find
    from tui_router.core.types import Request

    found = find(text)
    attachments = list(found.attachments)
    for name in images:
        made = attach(str(name))
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


def run_async(work: Coroutine[Any, Any, int]) -> int:
    """Run a command to its end; returns its exit code.

    Asked by a signal to end, it is cancelled, so that it can keep what it has; the exit code is then 128 + the signal's number.
    A second signal ends the process at once.
    """
    import asyncio
    import signal

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT") if hasattr(signal, name)]
    received: list[int] = []

    async def main() -> int:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def end(number: int) -> None:
            received.append(number)
            for one in numbers:
                loop.remove_signal_handler(one)
            task.cancel()

        for number in numbers:
            with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows; not the main thread
                if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a job in the background
                    loop.add_signal_handler(number, end, number)
        return await work

    code = 0
    try:
        code = asyncio.run(main())
    except asyncio.CancelledError:
        if not received:
            raise
    return complain("stopped", 128 + received[0]) if received else code


async def open_engine(args: Namespace, *, learn: bool = False) -> Engine:
    """Return an engine on the person's store; `learn` loads the routers, which deciding needs."""
    from tui_router.app.engine import Engine

    config = configuration(args)
    if args.demo:
        config = await with_demo_server(config)
    engine = Engine(config, folder(args), health_checks=not args.no_health_check)
    await engine.open(learn=learn)
    if engine.store is not None and engine.store.repaired:
        notice(engine.store.repaired)
    return engine


async def with_demo_server(config: Config) -> Config:
    """Start the server of the pretend models; returns the configuration with it alone."""
    from tui_router.demo.server import DemoServer, demo_backend

    return config.with_only_backend(demo_backend(await DemoServer().start()))


def request_rows(name: str, argument: str) -> Iterator[tuple[str, dict[str, Any], Request]]:
    """Read a JSONL file: (where the line stands, the whole row, its request). `-` is standard input.

    Raises:
        UsageError: the file cannot be read, or a line is wrong; it names the line.
    """
    from tui_router.core.types import Request

    try:
        lines = sys.stdin.buffer if name == "-" else Path(name).open("rb")  # noqa: SIM115
    except OSError as error:
        raise UsageError(f"{argument}: {name} cannot be read: {error.strerror}") from error
    file = "stdin" if name == "-" else name
    with lines:
        for where, row in _rows(file, lines):
            if not isinstance(row, dict) or not isinstance(row.get("text"), str):
                raise UsageError(f'{where}: expected an object with a "text", found {str(row)[:60]}')
            history = row.get("history") or []
            if not isinstance(history, list) or not all(map(_is_message, history)):
                raise UsageError(f'{where}: "history" is a list of {{"role": "user"|"assistant", "content": text}}')
            request = Request(
                text=row["text"],
                has_image=bool(row.get("has_image")),
                has_code=bool(row.get("has_code")),
                history=_messages(history, bool(row.get("history_has_image"))),
            )
            yield where, row, request


def _rows(file: str, lines: IO[bytes]) -> Iterator[tuple[str, Any]]:
    """Parse each line that is not blank: (where it stands, its value)."""
    from tui_router.config.text_files import NotTextError, decode

    for number, raw in enumerate(lines, 1):
        where = f"{file}, line {number}"
        try:
            line = decode(raw).strip()
            value = json.loads(line) if line else None
        except NotTextError:
            raise UsageError(f"{where}: is not UTF-8; save the file as UTF-8") from None
        except (ValueError, RecursionError) as error:
            if line.startswith("["):  # a list in several lines
                raise UsageError(f"{where}: is a JSON list, expected one object a line") from None
            raise UsageError(f"{where}: is not JSON: {error}") from error
        if isinstance(value, list):
            raise UsageError(f"{where}: is a JSON list, expected one object a line")
        if line:
            yield where, value


def _messages(history: list[dict[str, Any]], image: bool) -> tuple[Message, ...]:
    """Return the conversation of a row; `image`: its newest request came with an image."""
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
