"""Where the lines of a chat go: what was asked for to standard output, what goes on to standard error."""

from __future__ import annotations

from typing import TextIO

from edge_tui.terminal import printable


class Lines:
    """No cursor is moved, nothing is coloured or drawn again."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err
        self.failed = False
        """Whether anything went wrong so far."""

    def say(self, *lines: str) -> None:
        """To standard output: what was asked for."""
        self.write("".join(f"{printable(line)}\n" for line in lines))

    def write(self, text: str) -> None:
        """To standard output, at once and as it is."""
        self._out.write(text)
        self._out.flush()

    def status(self, *lines: str) -> None:
        """To standard error: what goes on."""
        self.invite("".join(f"{printable(line)}\n" for line in lines))

    def invite(self, text: str) -> None:
        """To standard error, at once and as it is."""
        self._err.write(text)
        self._err.flush()

    def fail(self, message: str) -> None:
        """Something went wrong; the message says what to do."""
        self.failed = True
        self.status(f"Error: {message}")
