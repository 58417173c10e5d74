"""Images of a request: finding them in what was typed, and sending them as data URLs."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

from tui_router.backends.backend_errors import BackendError
from tui_router.core.types import Attachment, Message

TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
}
LARGEST = 20 * 1024 * 1024
"""Bytes."""
READS_WEBP = ("vllm",)
"""Kinds of servers that decode WebP. llama.cpp and what is built on it do not, and some drop such an image without a word."""
_JPEG_QUALITY = 95
"""Of Pillow's 1 to 95. An opaque image as PNG would be several times as large. Chosen by hand, not measured."""
_MARK = re.compile(r"(?:^|(?<=[\s(\[{]))@image(?=\s|\Z)[ \t]*")
_QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb"}
_WORD = re.compile(r"(?:\\.|\S)+")
_AFTER_A_NAME = re.compile(r"[\s,.;:!?)\]}'\"\u201d\u2019\u00bb\u2026]+\Z")
_MOST_WORDS = 8
"""Words of a file name with spaces that was typed without quotes."""
_LONGEST_NAME = 4096
"""Characters of a path."""
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)
"""Sizes of the header that follows the first 14 bytes of a BMP file."""


class TypedImages(NamedTuple):
    """What `find` makes of a typed text."""

    text: str
    """The text without the references that became attachments."""
    attachments: tuple[Attachment, ...]
    notes: tuple[str, ...]
    """What could not be attached, and why; one sentence each."""


def find(typed: str, folder: Path | None = None) -> TypedImages:
    """Attach every `@image PATH` of a text whose file exists. Relative paths are taken from `folder`.

    An `@image` without an existing file stays in the text: it still asks about an image. Punctuation after the name of an
    existing file is not a part of the name.
    """
    attachments: list[Attachment] = []
    notes: list[str] = []
    kept: list[str] = []
    start = 0
    for mark in _MARK.finditer(typed):
        if mark.start() < start:
            continue
        names = list(_names_at(typed, mark.end()))
        found = next(((name, end) for name, end in names if _existing(name, folder) is not None), None)
        if not names:
            notes.append("@image: no file named after it, nothing attached")
            continue
        name, end = found or names[0]
        made = attach(name, folder)
        if isinstance(made, str):
            notes.append(made)
            continue
        attachments.append(made)
        kept.append(typed[start : mark.start()])
        start = end
    text = "".join((*kept, typed[start:]))
    if attachments:
        text = re.sub(r"[ \t]+(?=[,.;:!?])", "", re.sub(r"[ \t]{2,}", " ", text)).strip()
    return TypedImages(text, tuple(attachments), tuple(notes))


def _names_at(text: str, start: int) -> Iterator[tuple[str, int]]:
    """Yield the file names that may stand at a place of a text, each with the place where it ends; the likeliest first."""
    if text[start : start + 1] in _QUOTES:
        end = text.find(_QUOTES[text[start]], start + 1)
        if end > start + 1:
            yield text[start : end + 1], end + 1
            return
    line_end = text.find("\n", start)
    line = text[start : line_end if line_end >= 0 else len(text)]
    for count, word in enumerate(_WORD.finditer(line)):
        if count == _MOST_WORDS:
            return
        name = line[: word.end()].lstrip()
        if len(name) > _LONGEST_NAME:
            return
        ends = Path(_AFTER_A_NAME.sub("", name)).suffix.lower() in TYPES
        if count and not ends:
            continue
        yield name, start + word.end()
        while trailing := _AFTER_A_NAME.search(name):
            name = name[:-1] if trailing[0] else name
            yield name, start + word.end() - (len(line[: word.end()].lstrip()) - len(name))


def attach(name: str, folder: Path | None = None) -> Attachment | str:
    """Return a file as an attachment, or the sentence why it cannot be one."""
    shown = name.strip().strip("\"'")
    path = _existing(name, folder)
    if path is None:
        return f"@image: there is no file {shown}, nothing attached"
    try:
        size = path.stat().st_size
        if not path.is_file():
            return f"@image: {path} is not a file, nothing attached"
        if size > LARGEST:
            return f"@image: {path.name} has {size / 1e6:.0f} MB, the most is {LARGEST / 1e6:.0f} MB; nothing attached"
        data = path.read_bytes()
    except (OSError, ValueError):
        return f"@image: {shown} cannot be read, nothing attached"
    media = _media_type(data)
    if media is None:
        return f"@image: {path.name} is not an image ({', '.join(sorted({t[6:] for t in TYPES.values()}))}), nothing attached"
    return Attachment(path=str(path), media_type=media, size_bytes=size, sha256=hashlib.sha256(data).hexdigest())


def pasted_path(text: str) -> str | None:
    """Return the path of an image file when a pasted text is just that (as terminals paste a dropped file)."""
    text = text.strip()
    if not text or "\n" in text or len(text) > _LONGEST_NAME:
        return None
    path = _existing(text, None)
    return str(path) if path is not None and path.suffix.lower() in TYPES and path.is_file() else None


def quoted(path: str) -> str:
    """Return a path as it stands after `@image`."""
    if not re.search(r"[\s\\\"'\u201c\u2018\u00ab]", path) and not _AFTER_A_NAME.search(path):
        return path
    return f'"{path}"' if '"' not in path else f"'{path}'"


async def parts(message: Message, convert_webp: bool = False, *, refused: bool = False) -> list[dict[str, Any]]:
    """Return a message with images as OpenAI-style content parts.

    Args:
        message: With the files that are attached to it.
        convert_webp: Send WebP images as JPEG, or as PNG if they are transparent, where Pillow is installed.
        refused: The server has refused WebP: without Pillow the image cannot be sent.

    Raises:
        BackendError: `image` when a file is gone, `capability` when it cannot be sent in a form that the server reads.
    """
    found: list[dict[str, Any]] = [{"type": "text", "text": message.content}]
    for attachment in message.attachments:
        media = attachment.media_type
        try:
            data = await asyncio.to_thread(Path(attachment.path).read_bytes)
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise BackendError("image", f"the image {attachment.path} cannot be read any more: {why}") from error
        if media == "image/webp" and convert_webp:
            converted = await asyncio.to_thread(_converted, data)
            if converted is not None:
                media, data = converted
            elif refused:
                name = Path(attachment.path).name
                said = f"this server reads no WebP; save {name} as PNG or JPEG, or install Pillow"
                raise BackendError("capability", said)
        url = f"data:{media};base64,{base64.b64encode(data).decode()}"
        found.append({"type": "image_url", "image_url": {"url": url}})
    return found


def _converted(data: bytes) -> tuple[str, bytes] | None:
    """Convert an image to JPEG, or to PNG if it is transparent; None when Pillow is not installed or cannot read it."""
    try:
        from PIL import Image
    except ImportError:
        return None
    made = io.BytesIO()
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode == "RGBA":
                image.convert("RGBA").save(made, "PNG")
                return "image/png", made.getvalue()
            image.convert("RGB").save(made, "JPEG", quality=_JPEG_QUALITY)
            return "image/jpeg", made.getvalue()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _existing(name: str, folder: Path | None) -> Path | None:
    """Return the path that a name as it was typed, pasted or dropped stands for; None when there is no such file."""
    for path in _paths(name.strip(), folder):
        try:
            if path.exists():
                return path
        except (OSError, ValueError):
            continue
    return None


def _paths(name: str, folder: Path | None) -> Iterator[Path]:
    """Yield the readings of a name: as it stands, without quotes, with backslash escapes undone, as a file URL."""
    bare = name[1:-1] if len(name) > 1 and _QUOTES.get(name[0]) == name[-1] else name
    readings = [bare, name]
    if bare == name:
        readings.append(re.sub(r"\\(.)", r"\1", name))
    if bare.lower().startswith("file:"):
        with suppress(ValueError):
            readings.insert(0, url2pathname(urlsplit(bare).path))
    for reading in dict.fromkeys(readings):
        try:
            path = Path(reading).expanduser()
            yield path if path.is_absolute() else (folder or Path.cwd()) / path
        except (RuntimeError, OSError, ValueError):  # `~nosuchuser`, or a working folder that is gone
            continue


def _media_type(data: bytes) -> str | None:
    """Return the type of an image by its first bytes; the name of a file proves nothing."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    header, pixels = int.from_bytes(data[14:18], "little"), int.from_bytes(data[10:14], "little")
    if data.startswith(b"BM") and header in _BMP_HEADERS and 14 + header <= pixels <= len(data):
        return "image/bmp"
    return None
