"""A program in a real pseudo-terminal: keys go in, and what it draws is read from a terminal in memory (pyte)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable

import pyte

KEYS = {
    "enter": "\r",
    "esc": "\x1b",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "ctrl+q": "\x11",
    "ctrl+p": "\x10",
    "alt+y": "\x1by",
    "f1": "\x1bOP",
    "f2": "\x1bOQ",
    "f3": "\x1bOR",
    "f4": "\x1bOS",
    "f5": "\x1b[15~",
    "f6": "\x1b[17~",
}
_QUERY = re.compile(rb"\x1b\[(?P<da>[>=]?0?c)|\x1b\[(?P<cpr>\??6n)|\x1b\[\?(?P<mode>\d+)\$p|\x1b\[>0?(?P<version>q)")
_NOT_FOR_PYTE = re.compile(rb"\x1bP.*?\x1b\\|\x1b_.*?\x1b\\|\x1b\[[<>=][0-9;]*[a-zA-Z]|\x1b\[\?\d+\$p|\x1b\[\d+ q")


class Terminal:
    """One program under a pty."""

    def __init__(self, argv: list[str], env: dict[str, str], columns: int = 120, rows: int = 40) -> None:
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.sent = bytearray()
        """Every byte that the program has written."""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execvpe(argv[0], argv, env)
        self.resize(columns, rows)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)
        os.kill(self.pid, signal.SIGWINCH)

    def press(self, *keys: str) -> None:
        """Press keys by name, or type a text."""
        for key in keys:
            os.write(self.fd, KEYS.get(key, key).encode())

    def read(self, seconds: float) -> bool:
        """Read what comes within this time; False when the program has ended."""
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self.fd, 1 << 16)
        except OSError:
            return False
        if not data:
            return False
        self.sent += data
        self._answer(data)
        with contextlib.suppress(Exception):  # pyte does not know every sequence
            self.stream.feed(_NOT_FOR_PYTE.sub(b"", data))
        return True

    def _answer(self, data: bytes) -> None:
        for query in _QUERY.finditer(data):
            kind = query.lastgroup
            if kind == "da":
                os.write(self.fd, b"\x1b[?62;22c")
            elif kind == "cpr":
                os.write(self.fd, b"\x1b[%d;%dR" % (self.screen.cursor.y + 1, self.screen.cursor.x + 1))
            elif kind == "mode":
                os.write(self.fd, b"\x1b[?%s;0$y" % query["mode"])

    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    def until(self, there: Callable[[], bool], what: str, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if there():
                return
            if not self.read(0.05):
                break
        raise AssertionError(f"waited for {what} in vain; the screen:\n{self.text()}")

    def see(self, *texts: str, seconds: float = 20) -> None:
        for text in texts:
            self.until(lambda text=text: text in self.text(), repr(text), seconds)

    def settle(self, seconds: float = 0.4) -> None:
        """Read until nothing comes for a while."""
        while True:
            before = len(self.sent)
            if not self.read(seconds) or len(self.sent) == before:
                return

    def settle_for(self, seconds: float) -> None:
        """Read for this long, whatever comes."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.read(left)

    def kill(self) -> None:
        """kill -9."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._reap()

    def ended(self, seconds: float = 10) -> int:
        """Wait for the program to end by itself; its exit code."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            alive = self.read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
            if not alive:
                time.sleep(0.02)
        raise AssertionError(f"it did not end; the screen:\n{self.text()}")

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        with contextlib.suppress(OSError):
            os.close(self.fd)
