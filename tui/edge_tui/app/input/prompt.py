"""The input: Enter sends, Ctrl+J begins a new line, up and down bring earlier lines back; a pasted book is one word.

While a slash command is typed, a list completes it: Tab takes what is highlighted, up and down choose, Esc closes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

from edge_tui.app import keys
from edge_tui.app.input.completion_list import CompletionList
from edge_tui.app.input.completions import wanted
from edge_tui.app.input.pasted import Pasted
from edge_tui.slash_commands.typed_paths import dropped


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

    class Begun(Message):
        """A slash command in the making; whoever hears it fills the list."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Dropped(Message):
        """Text that looks like files that were dropped on the terminal was pasted; it is not in the input yet."""

        def __init__(self, paths: tuple[str, ...], text: str) -> None:
            super().__init__()
            self.paths = paths
            self.text = text

    def __init__(self, completion: CompletionList | None = None, chosen: Mapping[str, str] | None = None) -> None:
        super().__init__(
            compact=True,
            highlight_cursor_line=False,
            placeholder="Ask your documents. /help shows what else you can do.",
        )
        self._completion = completion or CompletionList()
        self._settled = ""
        """The text for which no list is to open: it was recalled, completed to its end, or the list was closed."""
        self._pasted = Pasted()
        chosen = keys.keymap({}) if chosen is None else chosen
        self._send, self._newline = (chosen[name].split(",") for name in ("send", "newline"))

    def replace_all(self, text: str) -> None:
        """Show `text` with the cursor at its end; a long one as its summary."""
        shown = self._pasted.summary(text)
        self._settled = shown
        self._completion.offer(())
        self.text = shown
        self.move_cursor(self.document.end)

    def on_text_area_changed(self) -> None:
        if self.text == self._settled or not wanted(self.text):
            self._completion.offer(())
        else:
            self._settled = ""
            self.post_message(self.Begun(self.text))

    def complete(self) -> None:
        """Take the highlighted line; what can follow it is offered next."""
        chosen = self._completion.chosen
        if chosen is None:
            return
        self.replace_all(chosen.line)
        if not chosen.whole:
            self._settled = ""

    def _on_list_key(self, key: str) -> bool:
        """What a key does while the list is open; whether it did anything."""
        if key in ("up", "down"):
            self._completion.move(-1 if key == "up" else 1)
        elif key == "tab":
            self.complete()
        elif key == "escape":
            self._settled = self.text
            self._completion.offer(())
        elif key == "enter" and self._completion.moved and (chosen := self._completion.chosen) is not None:
            self.complete()
            if chosen.whole:
                self.post_message(self.Sent(self.text))
        else:
            return False
        return True

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
        """What looks like dropped files is offered; a long text stands as its summary, for laying it out, row by row,
        would hold up everything."""
        paths = () if wanted(self.text) else dropped(event.text)
        if paths:
            event.stop()
            event.prevent_default()
            self.post_message(self.Dropped(paths, event.text))
            return
        summary = self._pasted.summary(event.text)
        if summary != event.text:
            event.stop()
            event.prevent_default()
            self.insert(summary)

    async def _on_key(self, event: events.Key) -> None:
        """What sends and what begins a new line; Enter is no text here even where another key sends."""
        if self._completion.is_open and self._on_list_key(event.key):
            event.stop()
            event.prevent_default()
            return
        if event.key == "tab" and wanted(self.text):  # nothing to complete is no reason to leave
            event.stop()
            event.prevent_default()
            return
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
