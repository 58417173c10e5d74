"""Checks what a person wrote into a TOML file: every fault is reported at once, with its line, what is expected, what was found.

A table is declared once, as a msgspec Struct: its fields' names, types, bounds (`msgspec.Meta`), defaults, and the docstring
under each field, which is its manual. `read_struct` reads a parsed table into it:

    class Limits(Struct, frozen=True, kw_only=True):
        retries: Annotated[int, Meta(ge=0, le=9)] = 2
        \"\"\"How often a request is sent again.\"\"\"

    check = Checker("my.toml", toml_locations.locate(text))
    limits = read_struct(data["limits"], ("limits",), Limits, check)
    if check.problems: ...

A struct whose fields lie in several tables is read with `read_fields`, once for each table. `field_docs` gives the manual.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from tui_router.config import toml_locations

Key = tuple[str, ...]
"""The path of a value in a TOML file: its tables, then its name."""

_JOINERS = "\u200c\u200d"
"""Zero-width non-joiner and joiner: parts of words and of emoji."""

SECRET = Meta(extra={"secret": True})
"""Marks a field whose value must never stand in a message."""

S = TypeVar("S", bound=Struct)


class Problem(Struct, frozen=True):
    """One fault of a file."""

    file: str
    line: int | None
    """From 1; None where no line can be named."""
    key: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.key}: {self.message}" if self.key else f"{where}: {self.message}"


class Checker:
    """Collects the faults of one file instead of stopping at the first.

    Args:
        file: The file's name, for the messages.
        lines: The line of each key, from `toml_locations.locate`.
    """

    def __init__(self, file: str, lines: dict[Key, int]) -> None:
        self.file, self.lines, self.problems = file, lines, list[Problem]()

    def fault(self, key: Key, message: str) -> None:
        """Report a fault at a key."""
        self.problems.append(Problem(self.file, toml_locations.find(self.lines, key), dotted(key), message))

    def wrong(self, key: Key, expected: str, found: object) -> None:
        """Report a value that is not what was expected."""
        shown = "a value that is not shown" if _names_a_secret(key) else _shown(found)
        self.fault(key, f"expected {expected}, found {shown}")

    def named_tables(self, data: Mapping[str, Any], key: Key) -> dict[str, Any]:
        """Return the tables below a table, such as each `[models.NAME]`; report names that cannot be shown."""
        found = self.table(data, key)
        for name in found:
            if not name.strip():
                self.fault((*key, name), "is an empty name")
            elif any(not c.isprintable() and c not in _JOINERS for c in name):
                self.fault((*key, name), f"is a name with a character that is not shown, {hidden_in(name)}")
        return found

    def table(self, data: Mapping[str, Any], key: Key) -> dict[str, Any]:
        """Return the table named by the last part of `key`; report anything else, and return an empty one."""
        value = data.get(key[-1], {})
        if isinstance(value, dict):
            return value
        self.wrong(key, "a table", value)
        return {}

    def known(self, data: Mapping[str, Any], at: Key, names: Iterable[str]) -> None:
        """Report keys that nothing reads, each with the nearest known name."""
        from difflib import get_close_matches

        names = tuple(names)
        for name in data:
            if name not in names:
                if near := get_close_matches(name, names, 1):
                    hint = f"did you mean {near[0]!r}?"
                elif len(at) > 1 and isinstance(
                    data[name], dict
                ):  # [models.qwen2.5-7b] is a table 5-7b in a table qwen2
                    whole = ".".join((*at[1:], *_path_to_values(name, data[name])))
                    hint = f'a name with a dot needs quotes: [{at[0]}."{whole}"]'
                else:
                    hint = f"known here: {', '.join(names)}"
                self.fault((*at, name), f"is not a setting; {hint}")


def read_struct(
    table: Mapping[str, Any],
    at: Key,
    kind: type[S],
    check: Checker,
    *,
    also: Iterable[str] = (),
    defaults: Mapping[str, Any] | None = None,
    **given: Any,
) -> S:
    """Read a table into a struct and report every fault of it; a faulty field keeps its default.

    Args:
        table: The parsed table.
        at: Where the table lies in the file.
        kind: The struct. Each field needs a default, there, in `defaults` or in `given`.
        check: Takes the faults.
        also: Keys of the table that are read elsewhere; they are known here and left alone.
        defaults: Defaults in place of the struct's own.
        given: Fields that do not stand in the table, such as the name of the table itself.
    """
    also = tuple(also)
    names = tuple(name for name in _types(kind) if name not in given and name not in also)
    check.known(table, at, (*names, *also))
    return kind(**{**(defaults or {}), **read_fields(table, at, kind, check, names), **given})


def read_fields(
    table: Mapping[str, Any], at: Key, kind: type[Struct], check: Checker, names: Iterable[str] | None = None
) -> dict[str, Any]:
    """Return the values that a table gives for these fields of a struct (default: all); faulty ones are reported and left out."""
    types, found = _types(kind), {}
    for name in types if names is None else names:
        if name in table:
            try:
                found[name] = msgspec.convert(table[name], types[name])
            except msgspec.ValidationError:
                check.fault((*at, name), fault_of(types[name], table[name]))
    return found


def fault_of(kind: Any, value: object) -> str:
    """Say what a type expects and what was found instead; a secret value is not shown."""
    return f"expected {expected(kind)}, found {_kind_of(value) if _is_secret(kind) else _shown(value)}"


def expected(kind: Any) -> str:
    """Say in words what a value of this type is: `a number from 0 to 1`, `one of 'keep', 'restart'`."""
    from msgspec import inspect

    match info := _bare(kind):
        case inspect.LiteralType():
            return f"one of {', '.join(map(repr, literal_values(kind)))}"
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType() | inspect.FloatType():
            noun = "a whole number" if isinstance(info, inspect.IntType) else "a number"
            low, high = info.ge, info.le
            if low is None or high is None:
                return noun if low is None else f"{noun} of at least {low:g}"
            return f"{noun} from {_figure(low)} to {_figure(high)}"
        case inspect.VarTupleType() | inspect.ListType():
            return 'a list of texts such as ["a", "b"]'
        case inspect.StrType():
            return "a text in quotes" if info.pattern is None else "a text in quotes that is not empty"
    return "a table"


def literal_values(kind: Any) -> tuple[Any, ...]:
    """Return the values of a Literal in the order in which they are declared, which msgspec does not keep."""
    inner = get_args(kind)
    return literal_values(inner[0]) if get_origin(kind) is Annotated else inner


@cache
def field_docs(kind: type[Struct]) -> dict[str, str]:
    """Return the docstring under each field of a struct and of its bases, on one line; fields without one are left out."""
    import ast
    import inspect

    found = {name: doc for base in kind.__bases__ if base is not Struct for name, doc in field_docs(base).items()}
    body = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(body, ast.ClassDef)
    for field, doc in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant):
            assert isinstance(field.target, ast.Name)
            found[field.target.id] = " ".join(str(doc.value.value).split())
    return found


def hidden_in(text: str) -> str:
    """Name the first character of a text that is not shown, as `U+0008`; empty: there is none."""
    return next((f"U+{ord(c):04X}" for c in text if not c.isprintable()), "")


def dotted(key: Key) -> str:
    """Write a key as TOML writes it: parts that are not bare words stand in quotes."""
    return ".".join(
        part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else json.dumps(part, ensure_ascii=not part.isprintable())
        for part in key
    )


def _path_to_values(name: str, table: Mapping[str, Any]) -> Key:
    """Return the names of the tables down to the first that holds more than one table."""
    path: Key = (name,)
    while len(table) == 1 and isinstance(inner := next(iter(table.values())), dict):
        path, table = (*path, *table), inner
    return path


@cache
def _types(kind: type[Struct]) -> dict[str, Any]:
    """Return the name of each field, as it stands in a file -> its type with its bounds."""
    return {field.encode_name: field.type for field in msgspec.structs.fields(kind)}


def _bare(kind: Any) -> Any:
    from msgspec import inspect

    info = inspect.type_info(kind)
    return info.type if isinstance(info, inspect.Metadata) else info


def _is_secret(kind: Any) -> bool:
    from msgspec import inspect

    info = inspect.type_info(kind)
    return isinstance(info, inspect.Metadata) and bool((info.extra or {}).get("secret"))


def _kind_of(value: object) -> str:
    names: dict[type, str] = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "a table",
    }
    return names.get(type(value), "something else")


def _figure(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


def _names_a_secret(key: Key) -> bool:
    """Return whether a key names a password or an API key, wherever in the file a person put it."""
    return any(word in str(part).lower() for part in key[-1:] for word in ("key", "token", "password", "secret"))


def _shown(value: object) -> str:
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, dict) for one in value)):
        return "a table" if isinstance(value, dict) else "a list of tables"  # it may hold a key
    shown = repr(value) if not isinstance(value, bool) else str(value).lower()
    shown = re.sub(r"//[^/@\s]*@", "//", shown)  # the login of a URL
    shown = re.sub(r"([?&][^=&\s]*=)[^&\s'\"]+", r"\1...", shown)  # values of its query
    return shown if len(shown) <= 60 else shown[:57] + "..."
