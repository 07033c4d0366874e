"""Asks for the path of a file or folder to add."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.suggester import Suggester
from textual.widgets import Input, Label

from edge_tui.slash_commands.typed_paths import fitting


class PathSuggester(Suggester):
    """Completes the last part of a path; looking at the disk happens off the screen's thread."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        import asyncio

        return await asyncio.to_thread(complete, value)


def complete(value: str) -> str | None:
    """`value` completed to the first entry of its folder that fits; a folder ends in a slash."""
    return next(iter(fitting(value, 1)), None)


class AddScreen(ModalScreen[str]):
    """Dismisses with the line that was typed, empty when it was left with Esc."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Cancel")]

    def compose(self) -> ComposeResult:
        with Vertical(id="add"):
            yield Label("Add documents", id="add-title")
            yield Input(placeholder="a file or a folder", suggester=PathSuggester(), compact=True)
            yield Label("→ completes · Enter adds · Esc cancels", id="add-keys")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip())

    def action_leave(self) -> None:
        self.dismiss("")
