"""Changes the person's own fleet.toml: comments and order stay, and every change can be undone.

tomlkit edits the file and keeps what it does not touch. A change is written only when the file is valid with it; the text
before it is kept in `fleet-edits.jsonl` of the data folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from tui_router.config.settings import ConfigError, parse_config
from tui_router.config.text_files import NotTextError, encoding_of, read_text
from tui_router.core.clock import now

FILE = "fleet-edits.jsonl"
"""Name of the list of changes, in the data folder."""


class EditError(ValueError):
    """The file cannot be changed, or the change cannot be undone; the message says why and what to do."""


class Edit(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change of a file."""

    time: str = msgspec.field(name="at")
    """When it was made: UTC, ISO 8601."""
    path: str
    """The file."""
    summary: str = msgspec.field(name="says")
    """What was changed, in a few words."""
    before: str | None
    """The text before the change; null when there was no file."""
    after: str
    """The text after the change."""
    undone: bool = False
    """Whether it was undone."""


class FleetEdits:
    """Applies changes to fleet.toml and undoes them.

    Args:
        folder: The data folder, which holds the list of changes.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE

    def all(self) -> list[Edit]:
        """Return every change, oldest first; lines that cannot be read are left out."""
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
            found[edit.time] = edit
        return list(found.values())

    def last(self) -> Edit | None:
        """Return the newest change that is not undone."""
        return next((edit for edit in reversed(self.all()) if not edit.undone), None)

    def apply(self, path: Path, toml: str, summary: str) -> Edit:
        """Merge TOML into a file: it replaces the values of the same keys. A missing file is created.

        Raises:
            EditError: the file is or would be invalid, or it cannot be written.
        """
        try:
            before = read_text(path) if path.exists() else None
            after = _merged(before or "", toml)
            parse_config(after, path, os.environ)
            path.parent.mkdir(parents=True, exist_ok=True)
        except ConfigError as error:
            raise EditError(f"{path} is not changed: {str(error).splitlines()[0]}") from error
        except (OSError, NotTextError) as error:
            raise EditError(f"{path} cannot be changed: {error}") from error
        edit = Edit(time=now(), path=str(path), summary=summary, before=before, after=after)
        self._record(edit)
        _write(path, after)
        return edit

    def undo(self) -> Edit:
        """Undo the newest change.

        Raises:
            EditError: there is none, or the file was changed by hand since.
        """
        edit = self.last()
        if edit is None:
            raise EditError("no change was made that could be undone")
        path = Path(edit.path)
        try:
            current = read_text(path)
        except (OSError, NotTextError) as error:
            raise EditError(f"{path} cannot be read: {error}") from error
        if current != edit.after:
            raise EditError(f"{path} was changed by hand since; undo ‘{edit.summary}’ in the file")
        if edit.before is not None:
            _write(path, edit.before)
        else:
            try:
                path.unlink()
            except OSError as error:
                raise EditError(f"{path} cannot be removed: {error.strerror}") from error
        self._record(msgspec.structs.replace(edit, undone=True))
        return edit

    def _record(self, edit: Edit) -> None:
        try:
            self._file.touch(0o600)  # fleet.toml may hold an API key
            with self._file.open("ab") as lines:
                lines.write(msgspec.json.encode(edit) + b"\n")
        except OSError as error:
            raise EditError(f"{self._file} cannot be written, so nothing is changed: {error.strerror}") from error


def _write(path: Path, text: str) -> None:
    """Write a file in its own encoding, all of it or nothing."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.touch(0o600)
        if path.exists():
            part.chmod(path.stat().st_mode & 0o777)
        encoding = encoding_of(path.read_bytes()) if path.exists() else "utf-8"
        part.write_bytes(text.encode(encoding))
        part.replace(path.resolve())
    except OSError as error:
        raise EditError(f"{path} cannot be written: {error.strerror}") from error


def _merged(text: str, toml: str) -> str:
    """Return a TOML text with another one merged into it. Raises EditError."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        whole, change = tomlkit.parse(text), tomlkit.parse(toml)
        _merge_into(whole, change)
        return tomlkit.dumps(whole)
    except TOMLKitError as error:
        raise EditError(f"fleet.toml is not TOML: {error}; correct it first") from error


def _merge_into(whole: MutableMapping[str, Any], change: Mapping[str, Any]) -> None:
    for name, value in change.items():
        if isinstance(value, Mapping) and isinstance(whole.get(name), MutableMapping):
            _merge_into(whole[name], value)
        else:
            whole[name] = value
