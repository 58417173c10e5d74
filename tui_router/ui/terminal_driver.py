"""Input from terminals that send anything and may go away.

Textual's driver decodes its input strictly: one byte that is not UTF-8 (a paste from a Latin-1 window, half a character
at a broken connection) ends the program. It also stops for ever when its terminal is closed: nobody reads what it writes.
"""

from __future__ import annotations

import os
import selectors
from codecs import getincrementaldecoder
from contextlib import suppress
from typing import IO, Any, cast

from textual._parser import ParseError
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

_READ_BYTES = 4096
_POLL_S = 0.1
"""How often the input thread looks whether it is to end."""


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
        decode = getincrementaldecoder("utf-8")(errors="replace").decode
        try:
            with selectors.SelectSelector() as selector:  # kqueue on macOS knows no terminals
                selector.register(self.fileno, selectors.EVENT_READ)
                while not self.exit_event.is_set():
                    if selector.select(_POLL_S):
                        data = os.read(self.fileno, _READ_BYTES)
                        if not data:
                            raise EOFError
                        for message in parser.feed(decode(data)):
                            self.process_message(message)
                    for message in parser.tick():
                        self.process_message(message)
        except (OSError, EOFError):  # a closed terminal: EIO on Linux, end of file elsewhere
            self._app.call_later(self._app.post_message, TerminalClosed())
        finally:
            with suppress(EOFError, ParseError):
                for _ in parser.feed(""):
                    pass
