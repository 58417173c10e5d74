"""Server-sent events, decoded from bytes (WHATWG HTML, section 9.2.6).

httpx-sse decodes them too. This decoder is kept for three reasons: it takes bytes as they come from the connection, it bounds
the length of an event, and it gives the last event even if the blank line after it is missing, as some servers end.
Time is linear in the bytes, however they are cut.
"""

from __future__ import annotations

import re
from typing import NamedTuple

LONGEST_EVENT = 4 * 1024 * 1024
"""Bytes. A piece of an answer has some hundred; the longest event in use repeats a whole answer at its end."""
_LINE_END = re.compile(rb"\r\n|\n|\r")


class ServerSentEvent(NamedTuple):
    """One event; `event` is `message` unless the server named it."""

    event: str
    data: str


class SSEDecoder:
    """Feed it bytes as they come; it returns the events that are complete. Raises ValueError past `LONGEST_EVENT`."""

    def __init__(self) -> None:
        self._rest = bytearray()
        """The beginning of a line that has not ended."""
        self._after_cr = False
        self._first = True
        self._event = ""
        self._data: list[bytes] = []
        self._data_size = 0

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Return the events that these bytes complete."""
        found: list[ServerSentEvent] = []
        if not chunk:
            return found
        start = int(self._after_cr and chunk[:1] == b"\n")
        for end in _LINE_END.finditer(chunk, start):
            line = bytes(self._rest) + chunk[start : end.start()]
            self._rest.clear()
            start = end.end()
            if event := self._line(line):
                found.append(event)
        self._after_cr = chunk[-1:] == b"\r"
        self._rest += chunk[start:]
        if len(self._rest) + self._data_size > LONGEST_EVENT:
            raise ValueError(f"the server sent an event of more than {LONGEST_EVENT // 2**20} MiB")
        return found

    def close(self) -> ServerSentEvent | None:
        """Return the last event if the stream ended without a blank line after it."""
        if self._rest:
            self._line(bytes(self._rest))
            self._rest.clear()
        return self._dispatch()

    def _line(self, line: bytes) -> ServerSentEvent | None:
        if self._first:
            self._first = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            return self._dispatch()
        if line[:1] == b":":
            return None
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._data_size += len(value) + 1
        elif name == b"event":
            self._event = value[:100].decode("utf-8", "replace")
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        data, event = self._data, self._event
        self._data, self._event, self._data_size = [], "", 0
        if not data:
            return None
        return ServerSentEvent(event or "message", b"\n".join(data).decode("utf-8", "replace"))
