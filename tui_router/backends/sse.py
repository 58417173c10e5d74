"""Server-sent events, decoded from bytes (WHATWG HTML, section 9.2.6).

CR, LF and CRLF end a line and nothing else does: `httpx`'s own line iterator also splits at U+2028, U+0085, VT and FF,
which may stand inside the JSON that servers send.
"""

from __future__ import annotations

from typing import NamedTuple

LONGEST_EVENT = 32 * 1024 * 1024


class ServerSentEvent(NamedTuple):
    """One event; `event` is `message` unless the server named it."""

    event: str
    data: str


class SSEDecoder:
    """Feed it bytes as they come; it returns the events that are complete. Raises ValueError past `LONGEST_EVENT`."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skip_lf = False
        self._first = True
        self._event = ""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that these bytes complete."""
        found: list[ServerSentEvent] = []
        if self._skip_lf and chunk:
            self._skip_lf = False
            chunk = chunk.removeprefix(b"\n")
        self._buffer += chunk
        buffer, start = self._buffer, 0
        while True:
            ends = [i for i in (buffer.find(b"\n", start), buffer.find(b"\r", start)) if i >= 0]
            if not ends:
                break
            end = min(ends)
            line = bytes(buffer[start:end])
            start = end + 1
            if buffer[end] == 13:
                if start < len(buffer):
                    start += buffer[start] == 10
                else:
                    self._skip_lf = True
            if event := self._line(line):
                found.append(event)
        del buffer[:start]
        if len(buffer) + self._size > LONGEST_EVENT:
            raise ValueError("the server sent an event of more than 32 MiB")
        return found

    def close(self) -> ServerSentEvent | None:
        """End of stream: a last event without its blank line counts (not by the standard, but servers do it)."""
        if self._buffer:
            self._line(bytes(self._buffer))
            self._buffer.clear()
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
            self._size += len(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        data, event = self._data, self._event
        self._data, self._event, self._size = [], "", 0
        if not data:
            return None
        return ServerSentEvent(event or "message", b"\n".join(data).decode("utf-8", "replace"))
