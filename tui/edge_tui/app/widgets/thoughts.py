"""What a model thought before its answer: one line, which opens."""

from __future__ import annotations

from time import monotonic

from textual.content import Content
from textual.events import Click
from textual.widgets import Static

from edge_tui.rendering.answer import thought

_REST = 0.2
"""Seconds between two drawings of what grows while it is open."""


class Thoughts(Static):
    """Folded unless a person opens it; `text` is what was thought so far."""

    def __init__(self, text: str = "") -> None:
        super().__init__("", classes="thoughts")
        self.text = text
        self.open = False
        self._title = "Thinking"
        self._due = False
        self._began = monotonic()
        self._thinking = True

    def on_mount(self) -> None:
        self._draw()

    def grow(self, text: str) -> None:
        self.text += text
        if self.open and not self._due:
            self._due = True
            self.set_timer(_REST, self._draw)

    def end(self) -> None:
        """The answer begins."""
        if self._thinking:
            self._thinking = False
            self._title = thought(monotonic() - self._began)
            self._draw()

    def settle(self, text: str, seconds: float) -> None:
        """It is over: this is the whole of it, and what it took."""
        self._thinking = False
        self.text, self._title = text or self.text, thought(seconds)
        self._draw()

    def toggle(self) -> None:
        self.open = not self.open
        self._draw()

    def on_click(self, event: Click) -> None:
        event.stop()
        self.toggle()

    def _draw(self) -> None:
        self._due = False
        title = Content.styled(f"{'▾' if self.open else '▸'} {self._title}", "$text-muted")
        self.update(Content.assemble(title, ("\n" + self.text, "$text-muted italic")) if self.open else title)
