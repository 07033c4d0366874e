"""Two answers to one question, side by side; below each other where the terminal is narrow."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import Screen
from textual.widgets import Static

from edge_tui.app.widgets.answer import ShowSource
from edge_tui.app.widgets.conversation import Question
from edge_tui.app.widgets.side import SidePane
from edge_tui.app.widgets.status import WIDE
from edge_tui.session import events
from edge_tui.terminal import printable

_BREAKPOINTS: list[tuple[int, str]] | None = [(0, "-narrow"), (WIDE, "-wide")]


class CompareScreen(Screen[int]):
    """Dismisses with the side to keep, 0 or 1, or -1 for none. `stop` is to end the comparison on the worker."""

    HORIZONTAL_BREAKPOINTS = _BREAKPOINTS
    DEFAULT_CSS = """
    CompareScreen Question { margin: 1 2; height: auto; max-height: 4; }
    CompareScreen #sides { height: 1fr; layout: horizontal; }
    CompareScreen.-narrow #sides { layout: vertical; }
    CompareScreen.-wide #sides SidePane.-second { border-left: solid $surface-lighten-2; }
    CompareScreen.-narrow #sides SidePane.-second { border-top: solid $surface-lighten-2; }
    CompareScreen #compare-keys { height: 1; color: $text-muted; padding: 0 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave"),
        Binding("ctrl+c", "leave"),
        Binding("1", "keep(0)"),
        Binding("2", "keep(1)"),
    ]

    def __init__(self, question: str, names: tuple[str, str], stop: Callable[[], None]) -> None:
        super().__init__()
        self._question = question
        self._end = stop
        self._stopping = self._left = False
        self.panes = (SidePane(0, names[0]), SidePane(1, names[1]))
        self.panes[1].add_class("-second")
        self._keys = Static("", id="compare-keys", markup=False)

    def compose(self) -> ComposeResult:
        yield Question(self._question)
        yield Container(*self.panes, id="sides")
        yield self._keys

    def on_mount(self) -> None:
        self._show_keys()

    @property
    def over(self) -> bool:
        return all(pane.over for pane in self.panes)

    async def take(self, event: events.Event) -> None:
        """Show what the worker tells; trouble of the whole belongs to every side that has no end yet."""
        if isinstance(event, events.SideEvent):
            await self.panes[event.side].take(event.event, event.seconds)
        elif isinstance(event, events.Error):
            for pane in self.panes:
                if not pane.over:
                    await pane.take(event, 0.0)
        self._show_keys()

    async def flush(self) -> None:
        """Draw the words that are due."""
        for pane in self.panes:
            if not pane.over:
                await pane.flush()

    def action_leave(self) -> None:
        """Esc: end what is running; when nothing is, or for the second time, leave."""
        if self.over or self._stopping:
            self._leave(-1)
            return
        self._stopping = True
        self._end()
        self._show_keys()

    def action_keep(self, number: int) -> None:
        if self.panes[number].finished is None:
            self.notify("There is no answer on that side to keep.", timeout=3)
            return
        self._leave(number)

    def _leave(self, kept: int) -> None:
        """Between two frames of the app, never in the middle of one that draws here."""
        self._end()
        if not self._left:
            self._left = True
            self.app.call_later(self.dismiss, kept)

    def on_show_source(self, event: ShowSource) -> None:
        """A mark was chosen: the quote, for there is no room for a pane."""
        event.stop()
        source = next((each for each in event.sources if each.number == event.number), None)
        if source is not None:
            self.notify(f"{source.quote}\n{source.name} · {source.place}", title=f"[{source.number}]", markup=False)

    def _show_keys(self) -> None:
        if self.over:
            text = "1, 2 keep an answer · Tab, ↑ ↓ scroll · Esc leads back without one"
        elif self._stopping:
            text = "Stopping · Esc leads back at once"
        else:
            text = "Esc stops · 1, 2 keep an answer that is finished"
        self._keys.update(printable(text))
