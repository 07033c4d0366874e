"""The passage that a source stands on, with the quoted span marked where it stands in the document."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from edge_tui.app import keys
from edge_tui.rendering.sources import STALE, Source
from edge_tui.terminal import visible_name


class SourcesPane(Vertical):
    def __init__(self) -> None:
        super().__init__()
        self.sources: tuple[Source, ...] = ()
        self.number = 0
        self._title = Static("", id="source-title")
        self._passage = Passage()

    def compose(self) -> ComposeResult:
        yield self._title
        yield self._passage

    def on_mount(self) -> None:
        self.show(())

    @property
    def passage(self) -> Passage:
        """The part that takes the focus."""
        return self._passage

    def show(self, sources: tuple[Source, ...], number: int = 1) -> None:
        """Show source `number` of an answer; an unknown number shows none and says so."""
        self.sources = sources
        source = next((each for each in sources if each.number == number), None)
        self.number = source.number if source else 0
        if source is None:
            self._title.update(Content.styled("Sources", "bold"))
            hint = "The passages that an answer stands on appear here."
            self._passage.blank(f"This answer has the sources 1 to {len(sources)}." if sources else hint)
            return
        self._title.update(_title(source, len(sources)))
        self._passage.show(source)

    def move(self, step: int) -> None:
        """To the next (1) or previous (-1) source, round the ends."""
        if self.sources:
            self.show(self.sources, (self.number - 1 + step) % len(self.sources) + 1)


class Passage(VerticalScroll, can_focus=True):
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key.default, key.action, key.what, id=key.name) for key in keys.of("sources")),
        *(Binding(str(number), f"jump({number})", show=False) for number in range(1, 10)),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._text = Static("", id="source-text")
        self._source: Source | None = None

    def compose(self) -> ComposeResult:
        yield self._text

    def blank(self, hint: str) -> None:
        self._source = None
        self._text.update(Content.styled(hint, "$text-muted"))

    def show(self, source: Source) -> None:
        self._source = source
        # Where colours are not wanted the quote stands in reverse.
        mark = "bold reverse" if self.app.no_color else "bold $text on $accent 30%"
        self._text.update(Content.assemble(source.before.lstrip("\n"), (source.quote, mark), source.after.rstrip()))
        self.call_after_refresh(self._to_quote)

    def on_resize(self) -> None:
        self._to_quote()

    def action_move(self, step: int) -> None:
        self._pane.move(step)

    def action_jump(self, number: int) -> None:
        if number <= len(self._pane.sources):
            self._pane.show(self._pane.sources, number)

    @property
    def _pane(self) -> SourcesPane:
        assert isinstance(self.parent, SourcesPane)
        return self.parent

    def _to_quote(self) -> None:
        """Scroll so that the quote begins a few rows below the top."""
        width = self._text.content_size.width
        if self._source is not None and width > 0:
            above = Content(self._source.before.lstrip("\n")).wrap(width)
            self.scroll_to(y=max(0, len(above) - 4), animate=False)


def _title(source: Source, count: int) -> Content:
    lines = [
        Content.assemble((f"[{source.number}]", "bold $text-accent"), f" of {count}  ", (source.name, "bold")),
        Content.styled(source.place, "$text-muted"),
    ]
    if source.heading:
        lines.append(Content.styled(visible_name(source.heading), "italic $text-muted"))
    if source.stale:
        lines.append(Content.styled(f"{STALE[source.stale]}; this is what was read".capitalize(), "$text-warning"))
    return Content("\n").join(lines)
