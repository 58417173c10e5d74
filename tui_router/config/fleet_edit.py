"""Changing the person's own fleet.toml: their comments and their order stay, and every change can be taken back.

The file is edited with tomlkit, which keeps what it does not touch. A change is written only when the file is right with it;
what the file said before lies in `fleet-edits.jsonl` of the data folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from tui_router.config.settings import ConfigError, parse_config
from tui_router.core.clock import now

FILE = "fleet-edits.jsonl"


class EditError(ValueError):
    """The file cannot be changed, or not be changed back; the message says why and what to do."""


class Edit(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change of a file."""

    at: str
    path: str
    says: str
    before: str | None
    """What the file said; None when there was none."""
    after: str
    undone: bool = False


class FleetEdits:
    """The changes that were made for a person.

    Args:
        folder: The data folder.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE

    def all(self) -> list[Edit]:
        """Every change, oldest first; lines that cannot be read are left out."""
        try:
            lines = self._file.read_bytes().splitlines()
        except OSError:
            return []
        found: dict[str, Edit] = {}
        for line in lines:
            try:
                edit = msgspec.json.decode(line, type=Edit)
            except msgspec.DecodeError:
                continue
            found[edit.at] = edit
        return list(found.values())

    def last(self) -> Edit | None:
        """The newest change that is not undone."""
        return next((edit for edit in reversed(self.all()) if not edit.undone), None)

    def apply(self, path: Path, toml: str, says: str) -> Edit:
        """Add lines of TOML to a file, over what it says of the same keys; a file that is not there is made.

        Raises:
            EditError: the file is wrong already or would be, or it cannot be written.
        """
        try:
            before = path.read_text(encoding="utf-8") if path.exists() else None
            after = _merged(before or "", toml)
            parse_config(after, path, os.environ)
            path.parent.mkdir(parents=True, exist_ok=True)
        except ConfigError as error:
            raise EditError(f"{path} is not changed: {str(error).splitlines()[0]}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise EditError(f"{path} cannot be changed: {error}") from error
        edit = Edit(at=now(), path=str(path), says=says, before=before, after=after)
        self._keep(edit)
        _write(path, after)
        return edit

    def undo(self) -> Edit:
        """Take the newest change back.

        Raises:
            EditError: there is none, or the file was changed by hand since.
        """
        edit = self.last()
        if edit is None:
            raise EditError("no change was made that could be undone")
        path = Path(edit.path)
        try:
            there = path.read_text(encoding="utf-8")
        except OSError as error:
            raise EditError(f"{path} cannot be read: {error.strerror}") from error
        if there != edit.after:
            raise EditError(f"{path} was changed by hand since; take ‘{edit.says}’ back there")
        if edit.before is not None:
            _write(path, edit.before)
        else:
            try:
                path.unlink()
            except OSError as error:
                raise EditError(f"{path} cannot be removed: {error.strerror}") from error
        self._keep(msgspec.structs.replace(edit, undone=True))
        return edit

    def _keep(self, edit: Edit) -> None:
        try:
            self._file.touch(0o600)  # what it holds may hold an API key
            with self._file.open("ab") as lines:
                lines.write(msgspec.json.encode(edit) + b"\n")
        except OSError as error:
            raise EditError(f"{self._file} cannot be written, so nothing is changed: {error.strerror}") from error


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        part.touch(0o600)
        if path.exists():
            part.chmod(path.stat().st_mode & 0o777)
        part.write_text(text, encoding="utf-8")
        part.replace(path.resolve())
    except OSError as error:
        raise EditError(f"{path} cannot be written: {error.strerror}") from error


def _merged(text: str, toml: str) -> str:
    """A text of TOML with another one laid over it. Raises EditError."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        whole, change = tomlkit.parse(text), tomlkit.parse(toml)
        _lay(whole, change)
        return tomlkit.dumps(whole)
    except TOMLKitError as error:
        raise EditError(f"fleet.toml is not TOML: {error}; mend it first") from error


def _lay(whole: MutableMapping[str, Any], change: Mapping[str, Any]) -> None:
    for name, value in change.items():
        if isinstance(value, Mapping) and isinstance(whole.get(name), MutableMapping):
            _lay(whole[name], value)
        else:
            whole[name] = value
