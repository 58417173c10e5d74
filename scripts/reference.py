"""Write docs/reference from the code: `python scripts/reference.py`. A test says when a page is not current.

- settings.md: each table of fleet.toml and of a recipe, from the structs that read them.
- command-line.md: each command, from tui_router/cli/commands.py.
- store.md: the store's tables and the routing log, from the structs that are stored.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, inspect

from tui_router.cli.commands import COMMANDS, GLOBAL, REPORTS, TURN_OPTIONS, ArgumentSpec, CommandSpec
from tui_router.cli.parser import all_commands, arguments_of
from tui_router.config import fleet_edit
from tui_router.config.fleet_file import RuleSettings
from tui_router.config.settings import DEFAULT_BACKENDS, DEFAULT_TOOLS, BackendSetting, Settings, ToolSetting
from tui_router.config.validation import expected, field_docs
from tui_router.core.example import Example
from tui_router.core.fleet import Model, Needs, Route, Trigger
from tui_router.core.label_edit import LabelEdit
from tui_router.core.pending_request import PendingRequest
from tui_router.core.tool_dialogue import ToolDialogue
from tui_router.core.types import Observation, Promotion
from tui_router.routing.rules.text_features import SHAPES
from tui_router.store import routing_log, schema
from tui_router.training import recipe
from tui_router.training.recipe import Recipe

FOLDER = Path(__file__).parent.parent / "docs" / "reference"
NOTE = "<!-- Written by `make reference` from the code; do not edit. -->\n"
TABLES: dict[str, tuple[type[Struct] | None, str]] = {
    schema.TURNS: (schema.StoredTurn, "the turn's number"),
    schema.VERDICTS: (schema.Verdicts, "the turn's number"),
    schema.SESSIONS: (schema.StoredSession, "the session's number"),
    schema.OBSERVATIONS: (Observation, "a running number"),
    schema.LEADS: (Promotion, "a running number"),
    schema.EXAMPLES: (Example, "a running number"),
    schema.RULINGS: (LabelEdit, "a running number"),
    schema.DIALOGUES: (ToolDialogue, "a running number"),
    schema.PENDING: (PendingRequest, "a running number"),
    schema.COUNTERS: (schema.Counters, "1: there is one record"),
    schema.SETTINGS: (None, "1: there is one record"),
}
"""Table of the store -> (its records, what their ids are)."""


def pages() -> dict[str, str]:
    """Return the name of each page and its text."""
    return {"settings.md": settings_page(), "command-line.md": command_page(), "store.md": store_page()}


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(FOLDER / name)


# fleet.toml and recipes
def settings_page() -> str:
    """Return the reference of fleet.toml and of recipes."""
    shapes = ", ".join(f"`{name}`" for name in SHAPES)
    return (
        "\n".join(
            [
                "# fleet.toml\n",
                NOTE,
                "`fleet.toml` in the platform's configuration folder (`~/.config/tui-router` on Linux), or the file that `--config` names,",
                "lies over the shipped `data/fleet.toml`: write only what you change. Tables merge, and `remove = true` in a model, a route,",
                "a trigger, a server or a tool takes it out. A wrong file gets every fault at once, each with its line; the dashboard then",
                "starts on the last good copy of the file. The file may be UTF-8, with or without a byte order mark, or UTF-16 with one.\n",
                *_settings("[settings]", Settings),
                *_settings("[backends.NAME]", BackendSetting, _shipped(DEFAULT_BACKENDS), without=("name",)),
                *_settings("[tools.NAME]", ToolSetting, _shipped(DEFAULT_TOOLS), without=("name",)),
                *_settings(
                    "[models.NAME]",
                    Model,
                    'Quote a name with a dot or a colon: `[models."qwen2.5-7b"]`.',
                    without=("name",),
                ),
                *_settings(
                    "[routes.NAME]",
                    Route,
                    "A name is a letter, then letters, digits, `_` or `-`, 32 characters at most.",
                    without=("name", "needs", "triggers"),
                ),
                *_settings("[routes.NAME.needs]", Needs),
                *_settings(
                    '[routes.NAME.triggers."NAME"]',
                    Trigger,
                    '`[routes.NAME.negatives."NAME"]` takes the same; its weight counts against the route. Write a pattern in single quotes,\n'
                    f"where a backslash is a backslash. Shapes: {shapes}.",
                    without=("name",),
                ),
                *_settings("[rules]", RuleSettings),
                "# Recipes\n",
                "A recipe says how a router is fine-tuned: `tui-router train --recipe FILE`. Shipped ones:",
                ", ".join(f"`{name}`" for name in recipe.shipped()) + ".\n",
                *_recipe(),
            ]
        )
        + "\n"
    )


def _settings(title: str, kind: type[Struct], note: str = "", without: Iterable[str] = ()) -> Iterator[str]:
    yield f"## {title}\n"
    yield _sentence(kind) + "\n"
    if note:
        yield note + "\n"
    fields = [field for field in msgspec.structs.fields(kind) if field.name not in set(without)]
    yield from _table(("name", "takes", "default", "meaning"), (_setting(field, kind) for field in fields))


def _setting(field: msgspec.structs.FieldInfo, kind: type[Struct]) -> tuple[str, str, str, str]:
    default = (
        "the name" if (kind, field.name) == (Route, "description") else "needed" if field.required else _toml(field)
    )
    return f"`{field.encode_name}`", expected(field.type), default, field_docs(kind).get(field.name, "")


def _recipe() -> Iterator[str]:
    types = {field.name: field for field in msgspec.structs.fields(Recipe)}
    for table, names in recipe.tables().items():
        yield f"## [{table}]\n" if table else "## At the top\n"
        yield from _table(("name", "takes", "default", "meaning"), (_setting(types[name], Recipe) for name in names))


def _shipped(servers: Iterable[BackendSetting | ToolSetting]) -> str:
    return "Shipped: " + ", ".join(f"`{server.name}` at {server.url}" for server in servers) + "."


# the command line
def command_page() -> str:
    """Return the reference of the command line."""
    lines = [
        "# Command line\n",
        NOTE,
        "`tui-router` opens the dashboard; `tui-router COMMAND` does one job without a screen. Exit codes: 0 done, 1 it failed or",
        "the answer is no, 2 wrong usage, 128 + n ended by signal n. Answers go to stdout, remarks to stderr. `--help` and `--version`",
        "go with every command.\n",
        "## Options of every command\n",
        "Before or after the command.\n",
        *_arguments(GLOBAL),
        "## tui-router\n",
        "Options of the dashboard. `--health` and `--analyze` open no screen.\n",
        *_arguments((*REPORTS, *TURN_OPTIONS)),
    ]
    for name, command in all_commands(COMMANDS):
        lines += [
            f"## {name}\n",
            f"{command.help[0].upper()}{command.help[1:]}.\n",
            f"```\n{_usage(name, command)}\n```\n",
        ]
        if command.commands:
            known = ", ".join(
                f"[{below.name}](#{f'{name} {below.name}'.replace(' ', '-')})" for below in command.commands
            )
            lines.append(f"Commands below it: {known}.\n")
        lines += _arguments(arguments_of(command)) if arguments_of(command) else ()
        lines.append(f"Example: `{command.example}`\n")
    return "\n".join(lines)


def _arguments(arguments: Iterable[ArgumentSpec]) -> Iterator[str]:
    return _table(("argument", "meaning"), ((f"`{_written(argument)}`", argument.help) for argument in arguments))


def _written(argument: ArgumentSpec) -> str:
    metavar = str(argument.settings.get("metavar", ""))
    return f"{argument.names[0]} {metavar}".strip() if argument.names[0].startswith("-") else metavar


def _usage(name: str, command: CommandSpec) -> str:
    parts = [
        name,
        *(["COMMAND"] if command.commands and not command.work else ["[COMMAND]"] if command.commands else []),
    ]
    for argument in arguments_of(command):
        many = argument.settings.get("nargs") or ("*" if argument.settings.get("action") == "append" else "")
        written = _written(argument) + ("..." if many else "")
        needed = argument.settings.get("required") or (not argument.names[0].startswith("-") and many != "*")
        parts.append(written if needed else f"[{written}]")
    return " ".join(parts)


# the store
def store_page() -> str:
    """Return the reference of the store's tables and of the routing log."""
    lines = [
        "# Store\n",
        NOTE,
        f"The store is one SQLite file. Each table holds JSON documents with a number as id. Layout version {schema.SCHEMA}.\n",
    ]
    inner: dict[type[Struct], None] = {}
    for table, (kind, identity) in TABLES.items():
        lines.append(f"## Table `{table}`\n")
        if kind is None:
            lines.append(f"The layout's version and what is kept for the next start. Id: {identity}.\n")
        else:
            lines += [f"{_sentence(kind)} Id: {identity}.\n", *_record(kind)]
            inner |= dict.fromkeys(_structs_in(kind))
    lines.append("# Records inside of records\n")
    for kind in sorted(inner, key=lambda kind: kind.__name__):
        lines += [f"## {kind.__name__}\n", f"{_sentence(kind)}\n", *_record(kind)]
    lines += ["# The routing log\n", str(routing_log.__doc__).strip() + "\n"]
    lines += [
        f"# `{fleet_edit.FILE}`\n",
        "One line for each change that was made to fleet.toml for you.\n",
        *_record(fleet_edit.Edit),
    ]
    return "\n".join(lines)


def _record(kind: type[Struct]) -> Iterator[str]:
    docs = field_docs(kind)
    rows = ((f"`{f.encode_name}`", _type(f.type), docs.get(f.name, "")) for f in msgspec.structs.fields(kind))
    return _table(("name", "type", "meaning"), rows)


def _type(kind: Any) -> str:
    return _type_name(inspect.type_info(kind))


def _type_name(info: inspect.Type) -> str:
    match info:
        case inspect.Metadata():
            return _type_name(info.type)
        case inspect.LiteralType():
            return ", ".join(f"`{json.dumps(value)}`" for value in info.values)
        case inspect.StructType():
            return info.cls.__name__
        case inspect.UnionType():
            return " or ".join(map(_type_name, info.types))
        case inspect.VarTupleType() | inspect.ListType():
            return f"list of {_type_name(info.item_type)}"
        case inspect.TupleType():
            return f"[{', '.join(map(_type_name, info.item_types))}]"
        case inspect.DictType():
            return f"{_type_name(info.key_type)} -> {_type_name(info.value_type)}"
    names = {
        "StrType": "text",
        "IntType": "whole number",
        "FloatType": "number",
        "BoolType": "true or false",
        "NoneType": "null",
    }
    return names.get(type(info).__name__, "any")


def _structs_in(kind: type[Struct]) -> Iterator[type[Struct]]:
    """Every struct that the fields of one hold, at any depth."""
    waiting: list[inspect.Type] = [inspect.type_info(field.type) for field in msgspec.structs.fields(kind)]
    seen: set[type] = set()
    while waiting:
        info = waiting.pop(0)
        if isinstance(info, inspect.StructType) and info.cls not in seen:
            seen.add(info.cls)
            yield info.cls
            waiting += [field.type for field in info.fields]
        for name in ("type", "item_type", "key_type", "value_type"):
            if isinstance(part := getattr(info, name, None), inspect.Type):
                waiting.append(part)
        for name in ("types", "item_types"):
            waiting += getattr(info, name, ())


# Markdown
def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def _sentence(kind: type[Struct]) -> str:
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split())


def _toml(field: msgspec.structs.FieldInfo) -> str:
    default = field.default
    if isinstance(default, float) and default.is_integer():
        default = int(default)
    return f"`{json.dumps(list(default) if isinstance(default, tuple) else default)}`"


if __name__ == "__main__":
    main()
