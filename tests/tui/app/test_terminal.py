"""The app in a terminal of its own: what is really sent to it, byte by byte."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import termios
from pathlib import Path

import pytest

_PROGRAM = """
from edge_tui.app.app import run
from support.chat.fakes import MANUAL, FakeIndex, session

evil = "\\x1b]0;owned\\x07\\x1b[31m\\x00\\x9b2J"
run(session(f"**Forty** {evil} two [is it](x)?\\n\\n```\\n{evil}\\n```", knowledge=FakeIndex(MANUAL + evil)))
"""
_COLOUR = re.compile(rb"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]")


def play(keys: list[tuple[bytes, bytes]], **environment: str) -> bytes:
    """Run the app on a terminal of 80x24, send each key once its words have come, and give all that it wrote."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    here = [str(Path(__file__).parents[2]), *sys.path]
    inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TEXTUAL")}
    app = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        close_fds=True,
        env={**inherited, "TERM": "xterm-256color", "PYTHONPATH": os.pathsep.join(here), **environment},
    )
    os.close(slave)
    seen = b""
    waiting = list(keys)
    try:
        while True:
            ready, _, _ = select.select([master], [], [], 30)
            assert ready, f"nothing more came after {seen[-500:]!r}"
            try:
                seen += os.read(master, 65536)
            except OSError:  # the other end is closed: it has ended
                break
            if waiting and waiting[0][0] in seen:
                os.write(master, waiting.pop(0)[1])
        assert app.wait(30) == 0
    finally:
        app.kill()
        app.wait()
        os.close(master)
    assert not waiting
    return seen


WALK = [(b"Ask your documents", b"how often?\r"), (b"Forty", b"\x0f"), (b"previous", b"\x11")]


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal of Unix")
@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}], ids=["colours", "NO_COLOR"])
def test_what_reaches_the_terminal(environment: dict[str, str]) -> None:
    seen = play(WALK, **environment)
    assert b"owned" in seen  # as text
    for control in (b"\x1b]0;owned", b"\x1b[31m", b"\xc2\x9b", b"\x00"):
        assert control not in seen
    assert bool(_COLOUR.search(seen)) is ("NO_COLOR" not in environment)
