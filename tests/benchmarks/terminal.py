"""A program on a pseudo-terminal, as a person has it in front of them: what it drew, and when."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
from pathlib import Path
from time import perf_counter

EDGE = str(Path(sys.executable).parent / "edge")


class Terminal:
    def __init__(self, *command: str, home: str | None = None, rows: int = 32, columns: int = 110) -> None:
        self.started = perf_counter()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm-256color"
            if home is not None:
                os.environ["EDGE_HOME"] = home
            os.execv(command[0], command)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def wait_for(self, text: str, timeout: float = 60.0) -> float:
        """The moment (perf_counter) at which `text` was drawn, seen from now on."""
        seen = b""
        until = perf_counter() + timeout
        while text.encode() not in seen:
            if not select.select([self._fd], [], [], max(0.0, until - perf_counter()))[0]:
                raise SystemExit(f"{text!r} was not drawn in {timeout:.0f} s; the terminal got: {seen[-2000:]!r}")
            seen += os.read(self._fd, 1 << 16)
        return perf_counter()

    def settle(self, seconds: float) -> None:
        """Let that much time go by, reading what is drawn; a blinking cursor never lets it be quiet."""
        until = perf_counter() + seconds
        while (left := until - perf_counter()) > 0:
            if select.select([self._fd], [], [], left)[0]:
                os.read(self._fd, 1 << 16)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._fd)
