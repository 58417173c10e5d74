"""Input from terminals that send anything and may go away.

Textual's driver decodes its input strictly: one byte that is not UTF-8 (a paste from a Latin-1 window, half a character
at a broken connection) ends the program. It also stops for ever when its terminal is closed: nobody reads what it writes.
"""

from __future__ import annotations

import os
import selectors
from codecs import getincrementaldecoder
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any, cast

from textual import events
from textual._parser import ParseError
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

_READ_BYTES = 4096
_POLL_S = 0.1
"""How often the input thread looks whether it is to end."""


_PASTE_BEGINS, _PASTE_ENDS = "\x1b[200~", "\x1b[201~"
"""Bracketed paste mode (xterm control sequences): what a terminal writes around pasted text."""


class PasteSplitter:
    """Takes pasted texts out of the input, before anything in them is read as a key.

    Textual's parser reads control sequences inside a paste as keys: coloured output of a terminal, pasted, would press them.
    """

    def __init__(self) -> None:
        self._held = ""
        self._pasting = False

    def feed(self, text: str) -> Iterator[tuple[bool, str]]:
        """Yield (whether it was pasted, text), in order. What may be the start of a mark waits for its end."""
        self._held += text
        while self._held:
            mark = _PASTE_ENDS if self._pasting else _PASTE_BEGINS
            before, found, after = self._held.partition(mark)
            if not found:
                break
            if self._pasting or before:
                yield self._pasting, before
            self._held, self._pasting = after, not self._pasting
        if not self._pasting and (keys := self._held[: len(self._held) - _begun_mark(self._held)]):
            self._held = self._held[len(keys) :]
            yield False, keys


def _begun_mark(text: str) -> int:
    """Return how many characters at the end of a text begin a paste's mark; a lone ESC is the Escape key and is not held."""
    return next((n for n in range(len(_PASTE_BEGINS) - 1, 1, -1) if text.endswith(_PASTE_BEGINS[:n])), 0)


class TerminalClosed(Message):
    """The terminal is gone: its window was closed, or the connection to it."""


class _ClosableOutput:
    """A terminal's output that swallows what is written after the terminal was closed."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, text: str) -> int:
        with suppress(OSError):
            return self._file.write(text)
        return 0

    def flush(self) -> None:
        with suppress(OSError):
            self._file.flush()

    def fileno(self) -> int:
        return self._file.fileno()


class TerminalDriver(LinuxDriver):
    """Textual's driver for Linux and macOS; bytes that are not UTF-8 become U+FFFD, and a closed terminal is reported."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        if self._file is not None:
            self._file = cast("Any", _ClosableOutput(self._file))

    def run_input_thread(self) -> None:
        """Read keys until the program ends or the terminal is closed."""
        parser = XTermParser(self._debug)
        pastes = PasteSplitter()
        decode = getincrementaldecoder("utf-8")(errors="replace").decode
        try:
            with selectors.SelectSelector() as selector:  # kqueue on macOS knows no terminals
                selector.register(self.fileno, selectors.EVENT_READ)
                while not self.exit_event.is_set():
                    if selector.select(_POLL_S):
                        data = os.read(self.fileno, _READ_BYTES)
                        if not data:
                            raise EOFError
                        for pasted, text in pastes.feed(decode(data)):
                            if pasted:  # NUL characters end strings of C: Textual drops them too
                                self.process_message(events.Paste(text.replace("\x00", "")))
                                continue
                            for message in parser.feed(text):
                                self.process_message(message)
                    for message in parser.tick():
                        self.process_message(message)
        except (OSError, EOFError):  # a closed terminal: EIO on Linux, end of file elsewhere
            self._app.call_later(self._app.post_message, TerminalClosed())
        finally:
            with suppress(EOFError, ParseError):
                for _ in parser.feed(""):
                    pass
