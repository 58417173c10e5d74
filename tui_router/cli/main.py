"""Runs one command line. Nothing heavy is imported until a command needs it; only this folder prints."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from contextlib import suppress
from importlib import import_module

from tui_router.cli.commands import CommandSpec
from tui_router.cli.parser import parse
from tui_router.cli.shared import DONE, FAILED, INTERRUPTED, USAGE, UsageError, complain, prepare_output


def run(argv: list[str]) -> int:
    """Run one command line.

    Returns:
        The exit code: 0 done, 1 failed or the answer is no, 2 wrong usage, 128 + n when signal n ended it.
    """
    try:
        prepare_output()
        code = _run(argv)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except UsageError as error:
        return complain(str(error), USAGE)
    except KeyboardInterrupt:
        return complain("stopped", INTERRUPTED)
    except BrokenPipeError:
        _discard_output()  # the reader of our output has ended, as `head` does
        return FAILED
    except OSError as error:
        _discard_output()
        return complain(f"{error.filename or 'output'}: {error.strerror or error}", FAILED)


def _discard_output() -> None:
    """Drop what is still buffered: the interpreter would write it at its end, and fail again."""
    with suppress(OSError, ValueError, AttributeError):  # there may be no stdout, or one without a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(argv: list[str]) -> int:
    try:
        command, args = parse(argv)
    except SystemExit:  # --help and --version have printed what they are for
        return DONE
    if command is None and not args.health and not args.analyze:
        return _dashboard(args)
    from tui_router.store.store_errors import StoreError

    try:
        return _work(command, args)
    except StoreError as error:
        return complain(str(error), FAILED)


def _work(command: CommandSpec | None, args: Namespace) -> int:
    if command is not None:
        module, _, function = command.work.partition(".")
        code: int = getattr(import_module(f"tui_router.cli.{module}"), function)(args)
        return code
    _refuse_turn_options(args)
    if args.health:
        from tui_router.cli.health import health

        return health(args)
    from tui_router.cli.analyze import analyze

    return analyze(args)


def _refuse_turn_options(args: Namespace) -> None:
    """Refuse what `--health` and `--analyze` cannot do anything with."""
    from tui_router.cli.commands import TURN_OPTIONS

    report = "--health" if args.health else "--analyze"
    if args.health and args.analyze:
        raise UsageError("--health and --analyze are mutually exclusive")
    for argument in TURN_OPTIONS:
        if getattr(args, argument.field) not in (None, False):
            raise UsageError(f"{argument.names[0]} does not go with {report}")
    if args.health and args.days is not None:
        raise UsageError("--days goes with --analyze and replay, not with --health")


def _dashboard(args: Namespace) -> int:
    if args.json:
        raise UsageError("--json goes with --health, --analyze or a command")
    if args.days is not None:
        raise UsageError("--days goes with --analyze and replay")
    if args.observer_active and args.observer_passive:
        raise UsageError("--observer-active and --observer-passive are mutually exclusive")
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout)):
        raise UsageError("the dashboard needs a terminal; `tui-router ask` and `tui-router route` work without one")
    from tui_router.ui.app import run_dashboard
    from tui_router.ui.options import Options

    return run_dashboard(
        Options(
            demo=args.demo,
            feedback=not args.no_feedback,
            health_checks=not args.no_health_check,
            threshold=args.confidence_threshold,
            data_dir=args.data_dir,
            config=args.config,
            observer="active" if args.observer_active else "passive" if args.observer_passive else "",
        )
    )
