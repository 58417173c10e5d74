"""Makes argparse's parsers out of the declarations of `commands.py`, and reads a command line with them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, NoReturn

from tui_router import __version__
from tui_router.cli.commands import COMMANDS, EXAMPLES, GLOBAL, REPORTS, TURN_OPTIONS, ArgumentSpec, CommandSpec
from tui_router.cli.shared import UsageError

DASHBOARD = "tui-router"
_WIDTH = 80


class _UnknownCommandError(Exception):
    def __init__(self, word: str, above: str) -> None:
        self.word, self.above = word, above


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence."""

    declared: tuple[ArgumentSpec, ...] = ()

    def print_help(self, file: Any = None) -> None:
        """Print the help; argparse itself would hide that it cannot be written."""
        print(self.format_help(), end="", file=file)

    def error(self, message: str) -> NoReturn:
        if found := re.search(r"invalid choice: (['\"])(.*)\1(?: \(choose from|, maybe)", message):
            raise _UnknownCommandError(found[2], self.prog)
        if found := re.match(r"the following arguments are required: (.*)", message):
            raise UsageError(f"{self.prog} needs {_named(found[1].split(', '), self.declared)}")
        raise UsageError(message.removeprefix("argument "))


class _Version(argparse.Action):
    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        print(f"tui-router {__version__}")
        raise SystemExit


def parse(argv: list[str]) -> tuple[CommandSpec | None, argparse.Namespace]:
    """Read a command line: the command (None: the dashboard or a report) and every argument that it may have.

    Prints and raises SystemExit for `--help` and `--version`.

    Raises:
        UsageError: it cannot be understood, or an option stands with a command that does not take it.
    """
    try:
        args, rest = _parser(argv).parse_known_args(argv)
    except _UnknownCommandError as error:
        raise UsageError(_unknown(error.word, error.above, argv)) from None
    words = [word for word in (getattr(args, "command", None), getattr(args, "subcommand", None)) if word]
    path = list(_path(words))
    command = path[-1] if path else None
    if rest:
        raise UsageError(_not_taken(rest, words))
    _refuse_foreign(args, command, words)
    for argument in (*GLOBAL, *REPORTS, *TURN_OPTIONS):
        if not hasattr(args, argument.field):
            setattr(args, argument.field, False if "action" in argument.settings else None)
    return command, args


def all_commands(
    commands: Iterable[CommandSpec] = COMMANDS, before: str = DASHBOARD
) -> Iterator[tuple[str, CommandSpec]]:
    """Yield every command with its whole name, such as `tui-router dataset export`."""
    for command in commands:
        name = f"{before} {command.name}"
        yield name, command
        yield from all_commands(command.commands, name)


def arguments_of(command: CommandSpec) -> tuple[ArgumentSpec, ...]:
    """Return the arguments that a command takes, without the global ones."""
    return command.arguments + (TURN_OPTIONS if command.dashboard_options else ())


def _parser(argv: list[str]) -> _Parser:
    parser = _make(_Parser, DASHBOARD, "Open the dashboard, or run one command without a screen.", EXAMPLES)
    parser.usage = "tui-router [OPTIONS] [COMMAND ...]"
    _add(parser, (*GLOBAL, *REPORTS, *TURN_OPTIONS), absent=True)
    _add_commands(parser, COMMANDS, "command", argv)
    return parser


def _add_commands(parser: _Parser, commands: tuple[CommandSpec, ...], field: str, argv: list[str]) -> None:
    """Add the parsers of commands; only those whose name was typed get arguments, which saves 4 ms of each start."""
    subparsers = parser.add_subparsers(dest=field, title="commands", metavar="COMMAND", parser_class=_Parser)
    for command in commands:
        name = f"{parser.prog} {command.name}"
        about = f"{command.help[0].upper()}{command.help[1:]}."
        made = _make(partial(subparsers.add_parser, command.name, help=command.help), name, about, (command.example,))
        if command.name not in argv:
            continue
        _add(made, command.arguments)
        _add(made, TURN_OPTIONS if command.dashboard_options else (), absent=True)
        _add(made, GLOBAL, absent=True)
        if command.commands:
            _add_commands(made, command.commands, "subcommand", argv)


def _make(make: type[_Parser] | partial[_Parser], name: str, about: str, examples: tuple[str, ...]) -> _Parser:
    parser = make(
        prog=name,
        description=about,
        epilog="\n  ".join(("examples:" if len(examples) > 1 else "example:", *examples)),
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, width=_WIDTH, max_help_position=30),
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, default=argparse.SUPPRESS, help="print the version")
    return parser


def _add(parser: _Parser, arguments: tuple[ArgumentSpec, ...], *, absent: bool = False) -> None:
    """Add arguments; `absent`: one that is not given leaves no attribute, so that it may stand before or after the command."""
    parser.declared += arguments
    for argument in arguments:
        settings = dict(argument.settings)
        if absent:
            settings["default"] = argparse.SUPPRESS
        parser.add_argument(*argument.names, help=argument.help, **settings)


def _path(words: list[str]) -> Iterator[CommandSpec]:
    commands: tuple[CommandSpec, ...] = COMMANDS
    for word in words:
        command = next(command for command in commands if command.name == word)
        yield command
        commands = command.commands


def _refuse_foreign(args: argparse.Namespace, command: CommandSpec | None, words: list[str]) -> None:
    """Refuse options of the dashboard that were given before a command that does not take them."""
    if command is not None:
        allowed = {argument.field for argument in arguments_of(command)}
        for argument in (*REPORTS, *TURN_OPTIONS):
            if hasattr(args, argument.field) and argument.field not in allowed:
                raise UsageError(_not_taken([argument.names[0]], words))
        if not command.work:
            known = ", ".join(below.name for below in command.commands)
            raise UsageError(f"{' '.join((DASHBOARD, *words))} needs a command: {known}")


def _not_taken(rest: list[str], words: list[str]) -> str:
    """Say that an argument does not belong to this command, and where it does or what was meant."""
    from difflib import get_close_matches

    name = " ".join((DASHBOARD, *words))
    first = rest[0].partition("=")[0]
    if any(first in argument.names for argument in _options(words)):
        return f"{first} stands after --, where every word is a text"
    if not first.startswith("-"):
        return f"{name}: unexpected {first!r}; put a text of several words in quotes"
    near = get_close_matches(first, [option for argument in _options(words) for option in argument.names], 1)
    if near:
        return f"there is no option {first!r}; did you mean {near[0]!r}?"
    others = [other for other, command in all_commands() if any(first in a.names for a in arguments_of(command))]
    if any(first in argument.names for argument in (*REPORTS, *TURN_OPTIONS)):
        others.insert(0, "the dashboard")
    if others:
        return f"{first} does not go with {name}, but with {', '.join(others)}"
    return f"there is no option {first!r}; {name} --help lists them"


def _unknown(word: str, above: str, argv: list[str]) -> str:
    """Say that there is no such command, and which one was meant; a foreign option before it is what is wrong."""
    from difflib import get_close_matches

    words = above.split()[1:]
    before = argv[argv.index(word) - 1].partition("=")[0] if word in argv[1:] else ""
    if before.startswith("-") and not any(before in argument.names for argument in _options(words)):
        return _not_taken([before], words)
    path = list(_path(words))
    known = [command.name for command in (path[-1].commands if path else COMMANDS)]
    near = get_close_matches(word, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
    return f"there is no command {word!r}{hint}"


def _options(words: list[str]) -> tuple[ArgumentSpec, ...]:
    """Return the arguments of the command that these words name, or of the dashboard."""
    path = list(_path(words))
    return GLOBAL + (arguments_of(path[-1]) if path else REPORTS + TURN_OPTIONS)


def _named(names: list[str], arguments: tuple[ArgumentSpec, ...]) -> str:
    """Write required arguments as the help does: `--out DIR`, `RUN`."""
    shown = []
    for name in names:
        found = next((a for a in arguments if name in (*a.names, a.settings.get("metavar"))), None)
        option = found is not None and name.startswith("-")
        shown.append(f"{name} {found.settings.get('metavar', '')}".strip() if found and option else name)
    return " and ".join(shown)
