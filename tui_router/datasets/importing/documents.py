"""Markdown files (a saved chat or a prompt each) and plain text with one request a line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tui_router.datasets.importing.imported_request import Found, ImportedRequest, LeftOut, Record, RecordShape
from tui_router.datasets.importing.messages import ChatMessage, Speaker, requests_of
from tui_router.datasets.importing.text_encoding import open_text

_MAX_PROMPT_CHARS = 20_000
"""Characters of a Markdown file without roles that is taken for one request; a longer one is a document."""
_MAX_DOCUMENT_BYTES = 64 << 20
_FRONT_MATTER = re.compile(r"\A---\r?\n(.*?)\r?\n---\r?\n", re.DOTALL)
_FIELD = re.compile(r"^(route|task)\s*:\s*[\"']?([\w .-]+?)[\"']?\s*$", re.MULTILINE)
_USER = "user|human|you|me|prompt|question|q"
_ASSISTANT = "assistant|ai|model|bot|response|answer|a|chatgpt|gpt-[\\w.]+|claude|gemini|llama|qwen|mistral"
_ROLE = re.compile(
    rf"^(?:\#{{1,6}}\s+|\*\*|__|>\s*\*\*)\W{{0,3}}(?:(?P<user>{_USER})|(?P<assistant>{_ASSISTANT})|(?P<other>system|tool))"
    r"(?:\s*\([^)\n]*\))?\s*:?\s*(?:\*\*|__)?:?[ \t]*",
    re.IGNORECASE | re.MULTILINE,
)
"""A heading or bold words that name a role: `## User`, `**ChatGPT:**`."""


def is_markdown(head: str) -> bool:
    """Return whether a text is Markdown without doubt: it has front matter, or a heading that names the user."""
    return _FRONT_MATTER.match(head) is not None or any(role["user"] for role in _ROLE.finditer(head))


class MarkdownFile(RecordShape):
    """The whole text of a Markdown file: a chat if it names roles, else one request."""

    name = "Markdown"

    def recognises(self, value: Any) -> bool:
        return isinstance(value, dict) and set(value) == {"markdown"}

    def read(self, record: Record) -> Iterator[Found]:
        text = record.value["markdown"]
        front = _FRONT_MATTER.match(text)
        fields = dict(_FIELD.findall(front[1])) if front else {}
        labels = tuple(fields[key].strip() for key in ("route", "task") if key in fields)
        body = text[front.end() :] if front else text
        roles = list(_ROLE.finditer(body))
        if any(role["user"] for role in roles):
            ends = [role.start() for role in roles[1:]] + [len(body)]
            messages = [
                ChatMessage(_speaker(role), body[role.end() : end].strip().removesuffix("---").strip())
                for role, end in zip(roles, ends, strict=True)
            ]
            yield from requests_of(messages, record.where, record.where, last_only=bool(labels), labels=labels)
        elif not body.strip():
            yield LeftOut(record.where, "an empty file")
        elif len(body) > _MAX_PROMPT_CHARS:
            yield LeftOut(record.where, "a document: it names no user, and is longer than a request")
        else:
            yield ImportedRequest(text=body.strip(), where=record.where, labels=labels)


def _speaker(role: re.Match[str]) -> Speaker:
    return "user" if role["user"] else "assistant" if role["assistant"] else ""


class TextLine(RecordShape):
    """One line of a text, or a string in a list: one request."""

    name = "lines of text"

    def recognises(self, value: Any) -> bool:
        return isinstance(value, str)

    def read(self, record: Record) -> Iterator[Found]:
        yield ImportedRequest(text=record.value, where=record.where)


def markdown_records(path: Path, name: str, encoding: str) -> Iterator[Record | LeftOut]:
    """Yield the text of a Markdown file. Raises OSError."""
    if path.stat().st_size > _MAX_DOCUMENT_BYTES:
        yield LeftOut(name, "a document of more than 64 MB")
        return
    with open_text(path, encoding) as text:
        yield Record(name, {"markdown": text.read()})


def line_records(path: Path, name: str, encoding: str) -> Iterator[Record]:
    """Yield the lines of a text that are not blank. Raises OSError."""
    with open_text(path, encoding) as lines:
        for number, line in enumerate(lines, 1):
            text = line.strip()
            if text:
                yield Record(f"{name}, line {number}", text)
