"""Lets the person choose one of several names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Label, OptionList
from textual.widgets.option_list import Option


class ChooseScreen(ModalScreen[str]):
    """Dismisses with the id of the chosen line, empty when it was left with Esc. `lines` are (id, text)."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Cancel")]

    def __init__(self, title: str, lines: Sequence[tuple[str, str]], chosen: str = "") -> None:
        super().__init__()
        self._title = title
        self._lines = lines
        self._chosen = chosen

    def compose(self) -> ComposeResult:
        options = OptionList(*(Option(text, id=each) for each, text in self._lines), markup=False, compact=True)
        options.highlighted = next((i for i, (each, _) in enumerate(self._lines) if each == self._chosen), 0)
        with Vertical(id="choose"):
            yield Label(self._title, id="choose-title", markup=False)
            yield options
            yield Label("↑ ↓ choose · Enter takes it · Esc cancels", id="choose-keys")

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id or "")

    def action_leave(self) -> None:
        self.dismiss("")
