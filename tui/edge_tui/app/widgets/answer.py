"""One answer: the documents' own sentences, the model's words, what a person must know about them."""

from __future__ import annotations

import asyncio
from textwrap import shorten
from time import monotonic
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.style import Style
from textual.widgets import Static

from edge.types import ContextUsage
from edge_tui.app.widgets.context_bar import ContextBar
from edge_tui.app.widgets.thoughts import Thoughts
from edge_tui.rendering.sources import STALE, Source
from edge_tui.session.events import Finished

if TYPE_CHECKING:
    from textual.widgets import Markdown

    from edge_tui.app.widgets.words import Words

_LONGEST_QUOTE = 360
_REST = 0.1
_SHARE = 4


class ShowSource(Message):
    """A mark like [2] was chosen."""

    def __init__(self, sources: tuple[Source, ...], number: int) -> None:
        super().__init__()
        self.sources = sources
        self.number = number


class AnswerView(Vertical):
    """One answer: the documents' own sentences at once, below them the model's words."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: tuple[Source, ...] = ()
        self.over = False
        self.context_usage: ContextUsage | None = None
        self._found = 0
        self._pending = ""
        self._drawn = 0.0
        self._evidence = Static("", classes="evidence")
        self._words: Words | None = None
        self._thoughts: Thoughts | None = None
        self._growing: asyncio.Task[None] | None = None
        self._notes = Static("", classes="notes")

    def compose(self) -> ComposeResult:
        yield self._evidence
        yield self._notes

    def found(self, sources: tuple[Source, ...]) -> None:
        """Show the evidence; sources that only the words name come later and are not listed."""
        self.sources = sources
        self._found = len(sources)
        self._list(sources)

    def _list(self, sources: tuple[Source, ...]) -> None:
        self._evidence.update(_evidence(sources))
        self._evidence.set_class(bool(sources), "-found")

    def think(self, text: str) -> None:
        """Append to what is thought before the words."""
        if self._thoughts is None:
            self._thoughts = Thoughts()
            self.mount(self._thoughts, after=self._evidence)
        self._thoughts.grow(text)

    def forget_thinking(self) -> None:
        """It led to no answer."""
        if self._thoughts is not None:
            self._thoughts.remove()
            self._thoughts = None

    def write(self, text: str) -> None:
        """Append to the words; they are drawn by the next `flush` that is due."""
        if self._thoughts is not None:
            self._thoughts.end()
        self._pending += text

    async def flush(self) -> None:
        """Draw what was written, ten times a second at most and never for more than a fifth of the time.

        A layout costs as much as several tokens. What comes while one is made waits for the next.
        """
        if not self._pending:
            return
        words = await self._place()
        drawing = self._growing is not None and not self._growing.done()
        if not drawing and monotonic() - self._drawn >= max(_REST, _SHARE * words.cost):
            text, self._pending = self._pending, ""
            self._growing = asyncio.create_task(words.grow(text))
            self._growing.add_done_callback(self._note_drawn)

    def on_unmount(self) -> None:
        if self._growing is not None:
            self._growing.cancel()

    def _note_drawn(self, _done: asyncio.Task[None]) -> None:
        self._drawn = monotonic()

    async def finish(self, finished: Finished) -> None:
        self.context_usage = finished.context_usage
        if finished.sources:
            self._list(finished.sources[: self._found])  # whether a file is stale may be known only now
            self.sources = finished.sources
        if finished.thinking:
            self.think("")
        if self._thoughts is not None:
            self._thoughts.settle(finished.thinking, finished.thought)
        await self._end_stream()
        if finished.markdown:
            await (await self._place()).settle(finished.markdown)
        self.note(*finished.notes, *_code_note(finished.markdown))
        self.over = True

    async def fail(self, message: str) -> None:
        """The answer ends with an error; the words that came stay."""
        await self._end_stream()
        self.note(message, error=True)
        self.over = True

    async def _end_stream(self) -> None:
        if self._growing is not None:
            await self._growing
            self._growing = None
        if self._pending:
            text, self._pending = self._pending, ""
            await (await self._place()).grow(text)

    def note(self, *lines: str, error: bool = False) -> None:
        self._notes.update(Content("\n".join(lines)))
        self._notes.set_class(bool(lines), "-found")
        self._notes.set_class(error, "-error")

    async def toggle_context(self) -> bool:
        """Show or hide where the context went; False where no model was asked."""
        if self.context_usage is None:
            return False
        bars = self.query(ContextBar)
        if bars:
            await bars.remove()
        else:
            await self.mount(ContextBar(self.context_usage))
        return True

    def action_source(self, number: int) -> None:
        self.post_message(ShowSource(self.sources, number))

    def on_markdown_link_clicked(self, event: Markdown.LinkClicked) -> None:
        event.stop()
        if event.href.startswith("#source-") and event.href[8:].isdigit():
            self.action_source(int(event.href[8:]))

    async def _place(self) -> Words:
        if self._words is None:
            from edge_tui.app.widgets.words import Words

            self._words = Words()
            await self.mount(self._words, before=self._notes)
        return self._words


def _evidence(sources: tuple[Source, ...]) -> Content:
    lines = [Content.styled("Nearest in your documents", "bold")]
    for source in sources:
        mark = Content.styled(f"[{source.number}]", "bold $text-accent on $accent 20%")
        mark = mark.stylize(Style.from_meta({"@click": f"source({source.number})"}))
        # A sentence that runs on (a list, a table) must not push the others off the screen; the pane shows it whole.
        lines.append(Content.assemble(mark, f" {shorten(source.quote, _LONGEST_QUOTE, placeholder=' …')}"))
        stale = (f" · {STALE[source.stale]}", "$text-warning") if source.stale else ""
        lines.append(Content.assemble((f"    {source.name} · {source.place}", "$text-muted"), stale))
    return Content("\n").join(lines)


def _code_note(markdown: str) -> tuple[str, ...]:
    from edge_tui.rendering.markdown import code_blocks

    count = len(code_blocks(markdown)) if "`" in markdown or "~" in markdown or "    " in markdown else 0
    if count < 2:
        return ("/code copies the block of code",) * count
    return (f"/code 1 to /code {count} copy the blocks of code",)
