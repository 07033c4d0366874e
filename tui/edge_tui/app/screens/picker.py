"""Lets the person choose one of several lines, with what decides the choice below each; typing filters them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from edge.errors import EdgeError
from edge_tui.session.picker_items import PickerItem

_KEYS = "↑ ↓ choose · Enter takes it · Esc cancels"

Lines = Sequence[PickerItem | tuple[str, str]]


class PickerScreen(ModalScreen[str]):
    """Dismisses with the key of the chosen line, empty when it was left with Esc.

    `lines` are choices or (key, text); a function that gathers them is called on another thread, and the screen stands
    meanwhile. `chosen` is the key of the line where the choice begins, `mark` what is said of it.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Cancel"),
        Binding("up", "move(-1)", show=False, priority=True),
        Binding("down", "move(1)", show=False, priority=True),
    ]

    def __init__(self, title: str, lines: Lines | Callable[[], Lines], chosen: str = "", mark: str = "") -> None:
        super().__init__()
        self._title = title
        self._lines = lines
        self._chosen = chosen
        self._mark = mark
        self._items: list[PickerItem] = []
        self._gathered = False
        self._filter = Input(placeholder="type to filter", compact=True)
        self._options = OptionList(markup=False, compact=True)
        self._options.can_focus = False
        self._hint = Label("Looking at the files …", id="choose-keys", markup=False)

    def compose(self) -> ComposeResult:
        with Vertical(id="choose"):
            yield Label(self._title, id="choose-title", markup=False)
            yield self._filter
            yield self._options
            yield self._hint

    def on_mount(self) -> None:
        self._filter.focus()
        if callable(self._lines):
            self.run_worker(self._gather(self._lines), exit_on_error=False)
        else:
            self._take(self._lines)

    async def _gather(self, gather: Callable[[], Lines]) -> None:
        try:
            self._take(await asyncio.to_thread(gather))
        except (EdgeError, OSError) as error:
            self._hint.update(f"{error} · Esc leads back")

    def _take(self, lines: Lines) -> None:
        self._items = [line if isinstance(line, PickerItem) else PickerItem(*line) for line in lines]
        self._gathered = True
        self._show()

    def on_input_changed(self, _event: Input.Changed) -> None:
        self._show()

    def _show(self) -> None:
        """The lines that hold every word of the filter, wherever."""
        words = self._filter.value.casefold().split()
        found = [c for c in self._items if all(word in f"{c.name} {c.detail}".casefold() for word in words)]
        self._options.clear_options()
        self._options.add_options(
            Option(_line(item, self._mark if item.key == self._chosen else ""), id=item.key) for item in found
        )
        at = next((i for i, item in enumerate(found) if item.key == self._chosen), 0)
        self._options.highlighted = at if found else None
        if self._gathered:
            self._hint.update(_KEYS if found else "Nothing is called that · Esc cancels")

    def action_move(self, step: int) -> None:
        if step < 0:
            self._options.action_cursor_up()
        else:
            self._options.action_cursor_down()

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        self._options.action_select()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id or "")

    def action_leave(self) -> None:
        self.dismiss("")


def _line(item: PickerItem, mark: str) -> Content:
    rows = [Content.assemble((item.name, "bold"), (f"  ● {mark}" if mark else "", "$accent"))]
    if item.detail:
        rows.append(Content.styled(f"  {item.detail}", "dim"))
    if item.problem:
        rows.append(Content.styled(f"  {item.problem}", "$text-warning"))
    return Content("\n").join(rows)
