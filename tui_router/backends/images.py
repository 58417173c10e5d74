"""Images of a request: finding them in what was typed, and sending them as data URLs."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from tui_router.backends.backend_errors import BackendError
from tui_router.core.types import Attachment, Message

TYPES = {
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif",
    ".webp": "image/webp", ".bmp": "image/bmp",
}  # fmt: skip
LARGEST = 20 * 1024 * 1024
_MARK = re.compile(r"(?:^|(?<=\s))@image(?:\s+|\Z)(\"[^\"]+\"|'[^']+'|(?:\\\s|\S)+)?")


class TypedImages(NamedTuple):
    """What `find` makes of a typed text."""

    text: str
    """The text without the references that became attachments."""
    attachments: tuple[Attachment, ...]
    notes: tuple[str, ...]
    """What could not be attached, and why; one sentence each."""


def find(typed: str, folder: Path | None = None) -> TypedImages:
    """Attach every `@image PATH` of a text whose file exists. Relative paths are taken from `folder`.

    An `@image` without an existing file stays in the text: it still asks about an image.
    """
    attachments: list[Attachment] = []
    notes: list[str] = []

    def replace(mark: re.Match[str]) -> str:
        name = mark[1]
        if not name:
            notes.append("@image: no file named after it, nothing attached")
            return mark[0]
        made = attach(name, folder)
        if isinstance(made, str):
            notes.append(made)
            return mark[0]
        attachments.append(made)
        return ""

    text = _MARK.sub(replace, typed)
    if attachments:
        text = re.sub(r"[ \t]{2,}", " ", text).strip()
    return TypedImages(text, tuple(attachments), tuple(notes))


def attach(name: str, folder: Path | None = None) -> Attachment | str:
    """A file as an attachment, or why it cannot be one."""
    path = _path(name, folder)
    try:
        size = path.stat().st_size
        if not path.is_file():
            return f"@image: {path} is not a file, nothing attached"
        if size > LARGEST:
            return f"@image: {path.name} has {size / 1e6:.0f} MB, the most is {LARGEST / 1e6:.0f} MB; nothing attached"
        data = path.read_bytes()
    except (OSError, ValueError):
        return f"@image: there is no file {name.strip(chr(34))}, nothing attached"
    media = _media_type(data, path)
    if media is None:
        return f"@image: {path.name} is not an image ({', '.join(sorted({t[6:] for t in TYPES.values()}))}), nothing attached"
    return Attachment(path=str(path), media_type=media, size_bytes=size, sha256=hashlib.sha256(data).hexdigest())


def pasted_path(text: str) -> str | None:
    """The path of an image file when a pasted text is just that (as terminals paste a dropped file)."""
    text = text.strip()
    if not text or "\n" in text or len(text) > 4096:
        return None
    path = _path(text, None)
    try:
        return str(path) if path.suffix.lower() in TYPES and path.is_file() else None
    except (OSError, ValueError):
        return None


def quoted(path: str) -> str:
    """A path as it stands after `@image`."""
    return f'"{path}"' if re.search(r"\s", path) else path


async def parts(message: Message) -> list[dict[str, Any]]:
    """A message with images as OpenAI-style content parts. Raises BackendError (`image`) when a file is gone."""
    found: list[dict[str, Any]] = [{"type": "text", "text": message.content}]
    for attachment in message.attachments:
        try:
            data = await asyncio.to_thread(Path(attachment.path).read_bytes)
        except OSError as error:
            raise BackendError(
                "image", f"the image {attachment.path} cannot be read any more: {error.strerror}"
            ) from error
        url = f"data:{attachment.media_type};base64,{base64.b64encode(data).decode()}"
        found.append({"type": "image_url", "image_url": {"url": url}})
    return found


def _path(name: str, folder: Path | None) -> Path:
    name = name.strip()
    if name[:1] in "\"'":
        name = name.strip("\"'")
    elif "\\ " in name:
        name = " ".join(shlex.split(name)) if name.count("'") % 2 == 0 else name.replace("\\ ", " ")
    if name.startswith("file://"):
        name = unquote(urlsplit(name).path)
    path = Path(name).expanduser()
    return path if path.is_absolute() else (folder or Path.cwd()) / path


def _media_type(data: bytes, path: Path) -> str | None:
    for magic, media in (
        (b"\x89PNG", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF8", "image/gif"),
        (b"BM", "image/bmp"),
    ):
        if data.startswith(magic):
            return media
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return None
