"""The input: Enter sends, Ctrl+J begins a new line, up and down bring earlier lines back; a pasted book is one word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

from edge_tui.chat import keys
from edge_tui.chat.pasted import Pasted


class Prompt(TextArea):
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key.default, key.action, key.what, id=key.name, show=False) for key in keys.of("input")),
    ]

    class Sent(Message):
        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Recall(Message):
        """Up (-1) or down (1) beyond the first or last row."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    def __init__(self, chosen: Mapping[str, str] | None = None) -> None:
        super().__init__(
            compact=True,
            highlight_cursor_line=False,
            placeholder="Ask your documents. /help shows what else you can do.",
        )
        self._pasted = Pasted()
        chosen = keys.keymap({}) if chosen is None else chosen
        self._send, self._newline = (chosen[name].split(",") for name in ("send", "newline"))

    def replace_all(self, text: str) -> None:
        """Show `text` with the cursor at its end; a long one as its summary."""
        self.text = self._pasted.summary(text)
        self.move_cursor(self.document.end)

    def action_cursor_up(self, select: bool = False) -> None:
        if not select and self._row == 0:
            self.post_message(self.Recall(-1))
        else:
            super().action_cursor_up(select)

    def action_cursor_down(self, select: bool = False) -> None:
        if not select and self._row == self.wrapped_document.height - 1:
            self.post_message(self.Recall(1))
        else:
            super().action_cursor_down(select)

    @property
    def whole(self) -> str:
        """The text with everything that was pasted."""
        return self._pasted.whole(self.text)

    async def _on_paste(self, event: events.Paste) -> None:
        """Laying a long text out, row by row, would hold up everything; it stands as its summary instead."""
        summary = self._pasted.summary(event.text)
        if summary != event.text:
            event.stop()
            event.prevent_default()
            self.insert(summary)

    async def _on_key(self, event: events.Key) -> None:
        """What sends and what begins a new line; Enter is no text here even where another key sends."""
        if event.key not in ("enter", *self._send, *self._newline):
            return
        event.stop()
        event.prevent_default()
        if event.key in self._send:
            self.post_message(self.Sent(self.whole))
        elif event.key in self._newline:
            self.insert("\n")

    @property
    def _row(self) -> int:
        """The row of the cursor as it is drawn, long lines wrapped."""
        return self.wrapped_document.location_to_offset(self.cursor_location).y
