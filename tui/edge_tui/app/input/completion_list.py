"""The small list above the input that completes slash commands and their arguments."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from edge_tui.app.input.completions import Completion


class CompletionList(OptionList, can_focus=False):
    """Shown while it holds something. The input keeps the focus and moves the highlight by `move`."""

    class Taken(Message):
        """A line was clicked; it is the chosen one."""

    def __init__(self) -> None:
        super().__init__(compact=True, markup=False)
        self._completions: tuple[Completion, ...] = ()
        self.moved = False
        """Whether the person chose a line, rather than find the first one highlighted."""

    def on_mount(self) -> None:
        self.offer(())

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(self.Taken())

    @property
    def is_open(self) -> bool:
        return bool(self._completions)

    @property
    def chosen(self) -> Completion | None:
        at = self.highlighted
        return self._completions[at] if at is not None and at < len(self._completions) else None

    def offer(self, completions: Sequence[Completion]) -> None:
        """Show these instead of what was shown; none closes the list."""
        self.moved = False
        if self._completions == tuple(completions) and self.display == self.is_open:
            return
        self._completions = tuple(completions)
        self.clear_options()
        if completions:
            width = 2 + max(cell_len(each.label) for each in completions)
            self.add_options([Option(_row(each, width)) for each in completions])
            self.highlighted = 0
        self.display = bool(completions)

    def move(self, step: int) -> None:
        """To the next (1) or previous (-1) line, round the ends."""
        if self._completions:
            self.moved = True
            self.highlighted = ((self.highlighted or 0) + step) % len(self._completions)


def _row(each: Completion, width: int) -> Content:
    gap = " " * (width - cell_len(each.label)) if each.what else ""
    return Content.assemble((each.label, "bold"), gap, (each.what, "dim"))
