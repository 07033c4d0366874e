"""One side of a comparison: who answers, the answer as it grows, and what it cost."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from edge_tui.app.widgets.answer import AnswerView
from edge_tui.rendering.sources import Source
from edge_tui.session import events
from edge_tui.terminal import visible


class SidePane(Vertical):
    DEFAULT_CSS = """
    SidePane { width: 1fr; height: 1fr; padding: 0 1; }
    SidePane .side-title { height: auto; text-style: bold; padding: 0 1; }
    SidePane .side-cost { height: auto; color: $text-muted; padding: 0 1; }
    SidePane .side-answer { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    /* As tall as the view at least: an anchored view would push anything shorter down to its bottom. */
    SidePane .side-answer AnswerView { min-height: 100%; margin: 0; }
    SidePane:focus-within .side-title { border-left: outer $accent; padding: 0; }
    """

    def __init__(self, number: int, name: str) -> None:
        super().__init__()
        self.number = number
        self.finished: events.Finished | None = None
        """The whole answer, once it is there."""
        self.evidence: tuple[Source, ...] = ()
        self._who = name
        self._words = 0
        self._answer = AnswerView()
        self._scroll = _Answer(self._answer, classes="side-answer")
        self._cost = Static("waiting", classes="side-cost", markup=False)

    def compose(self) -> ComposeResult:
        yield Static(Content.assemble((f"{self.number + 1} ", "$accent"), self._who), classes="side-title")
        yield self._scroll
        yield self._cost

    def on_mount(self) -> None:
        self._scroll.anchor()

    @property
    def over(self) -> bool:
        return self._answer.over

    async def take(self, event: events.Event, seconds: float) -> None:
        """Show what happened on this side."""
        if isinstance(event, events.Found):
            self.evidence = event.sources
            self._answer.found(event.sources)
            self._cost.update("reading")
        elif isinstance(event, events.Prefilling):
            self._cost.update(f"reading {event.prefill.done:,} of {event.prefill.total:,} tokens")
        elif isinstance(event, events.FurtherPassages):
            self._cost.update(str(event))
            self._answer.forget_thinking()
        elif isinstance(event, events.Thinking):
            self._answer.think(event.text)
            self._cost.update(f"thinking · {seconds:.1f} s")
        elif isinstance(event, events.Words):
            self._words += 1
            self._answer.write(event.text)
            self._cost.update(f"writing · {self._words:,} tokens in {seconds:.1f} s")
        elif isinstance(event, events.Finished):
            await self._answer.finish(event)
            if event.markdown:
                self.finished = event
            self._cost.update(cost(event, seconds))
        elif isinstance(event, events.Error):
            await self._answer.fail(visible(event.message))
            self._cost.update("no answer")

    async def flush(self) -> None:
        await self._answer.flush()


class _Answer(VerticalScroll, can_focus=True):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("space", "page_down", show=False)]


def cost(finished: events.Finished, seconds: float) -> str:
    """What an answer took, in the same words for every side, so that they can be held against each other."""
    speed = finished.speed
    parts = [f"{speed.tokens:,} tokens in {seconds:.1f} s"]
    if speed.rate is not None:
        parts.append(f"{speed.rate:.1f} tok/s")
    if speed.first_token is not None:
        parts.append(f"first word {speed.first_token:.2f} s")
    prompt = speed.used - speed.tokens
    if finished.end != "cancelled" and prompt > 0:
        parts.append(f"{speed.cached:,} of {prompt:,} prompt tokens cached")
    parts.append("1 source" if len(finished.sources) == 1 else f"{len(finished.sources) or 'no'} sources")
    return " · ".join(parts)
