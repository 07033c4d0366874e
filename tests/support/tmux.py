"""A real terminal to drive: tmux, whose screen can be read as text at any moment."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from time import monotonic, sleep

TMUX = shutil.which("tmux")


class Tmux:
    """One program in one window of a tmux server of its own. `shots` gets a numbered text file for each `shot`."""

    def __init__(
        self, command: list[str], *, environment: Mapping[str, str], shots: Path, columns: int = 120, rows: int = 40
    ) -> None:
        assert TMUX is not None
        self._socket = f"edge-{uuid.uuid4().hex[:12]}"
        self._shots, self._taken = shots, 0
        shots.mkdir(parents=True, exist_ok=True)
        settings = [f"{name}={value}" for name, value in environment.items()]
        line = shlex.join(["env", *settings, *command])
        # The window outlives its program, so that its last words can be read.
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows), f"{line}; sleep 600")

    def _tmux(self, *arguments: str) -> str:
        assert TMUX is not None
        done = subprocess.run([TMUX, "-L", self._socket, *arguments], capture_output=True, text=True, check=True)
        return done.stdout

    def press(self, *keys: str) -> None:
        """Keys by tmux's names: Enter, Escape, C-o, Up, Tab."""
        for key in keys:
            self._tmux("send-keys", key)
            # What follows an Escape at once is taken for a key that is held together with Alt.
            sleep(0.6 if key == "Escape" else 0.05)

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)
        sleep(0.1)

    def enter(self, line: str) -> None:
        """Type a line and send it."""
        self.type(line)
        self.press("Enter")

    def resize(self, columns: int, rows: int) -> None:
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p")

    def wait_for(self, pattern: str, patience: float = 90.0) -> str:
        """The screen as soon as the regular expression is found on it."""
        until = monotonic() + patience
        while not re.search(pattern, screen := self.screen()):
            if monotonic() > until:
                raise AssertionError(f"{pattern!r} did not appear in {patience:.0f} s; the screen shows:\n{screen}")
            sleep(0.05)
        return screen

    def shot(self, name: str) -> str:
        """Keep the screen as it is."""
        screen = self.screen()
        self._taken += 1
        (self._shots / f"{self._taken:02}-{name}.txt").write_text(screen, encoding="utf-8")
        return screen

    def close(self) -> None:
        subprocess.run([TMUX or "tmux", "-L", self._socket, "kill-server"], capture_output=True, check=False)
