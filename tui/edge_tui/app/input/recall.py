"""Earlier input lines, brought back with up and down."""

from __future__ import annotations


class Recall:
    def __init__(self) -> None:
        self._lines: list[str] = []
        self._at = 0
        self._draft = ""

    def remember(self, line: str) -> None:
        """Keep a line that was sent; the same one twice in a row counts once."""
        if not self._lines or self._lines[-1] != line:
            self._lines.append(line)
        self._at = len(self._lines)

    def step(self, step: int, current: str) -> str | None:
        """The line `step` away (-1 is older); None at either end. `current`, the unsent one, is the newest."""
        target = self._at + step
        if not 0 <= target <= len(self._lines):
            return None
        if self._at == len(self._lines):
            self._draft = current
        self._at = target
        return self._draft if target == len(self._lines) else self._lines[target]
