"""The conversation: questions, answers as they grow, and what the app has to say in between."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from textwrap import shorten
from time import monotonic
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.style import Style
from textual.widgets import Static

from edge.types import AddProgress
from edge_tui.chat.events import Added, Finished, Source, printable

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from textual.widget import Widget
    from textual.widgets import Markdown
    from textual.widgets.markdown import MarkdownStream


_LONGEST_QUOTE = 360
_REST = 0.1


class ShowSource(Message):
    """A mark like [2] was chosen."""

    def __init__(self, sources: tuple[Source, ...], number: int) -> None:
        super().__init__()
        self.sources = sources
        self.number = number


class Conversation(VerticalScroll, can_focus=False):
    """Stays at the bottom unless the person scrolled up."""

    def __init__(self) -> None:
        super().__init__()
        # As tall as the view at least: an anchored view would push anything shorter down to its bottom.
        self._log = Vertical(welcome(), id="log")

    def compose(self) -> ComposeResult:
        yield self._log

    def on_mount(self) -> None:
        self.anchor()

    async def say(self, widget: Static | AnswerView) -> None:
        """Put something at the end and go there."""
        await self._log.query(".welcome").remove()
        await self._log.mount(widget)
        self.anchor()

    async def restart(self, keep: Sequence[Widget] = ()) -> None:
        """Begin anew; what is to be kept stays, each with the question before it."""
        children = list(self._log.children)
        stay = {child for child, after in zip_longest(children, children[1:]) if child in keep or after in keep}
        await self._log.remove_children([child for child in children if child not in stay])
        if not stay:
            await self._log.mount(welcome())
        self.anchor()

    async def put_first(self, *widgets: Widget) -> None:
        """Put something before all the rest."""
        await self._log.query(".welcome").remove()
        await self._log.mount(*widgets, before=0 if self._log.children else None)

    async def cut(self, count: int) -> None:
        """Take the last `count` questions away, and all that followed."""
        children = list(self._log.children)
        starts = [at for at, child in enumerate(children) if isinstance(child, Question)]
        await self._log.remove_children(children[starts[-count] :] if 0 < count <= len(starts) else [])


class Question(Static):
    def __init__(self, text: str) -> None:
        super().__init__(Content(printable(text)))


class Note(Static):
    """Words of the app itself; `kind` is "" or "error"."""

    def __init__(self, text: str, kind: str = "") -> None:
        super().__init__(Content(printable(text)), classes=f"-{kind}" if kind else "")


class HelpNote(Static):
    """Groups of (what to type, what it does), aligned."""

    def __init__(self, *groups: Sequence[tuple[str, str]]) -> None:
        width = 2 + max(len(key) for group in groups for key, _ in group)

        def row(key: str, what: str) -> Content:
            return Content.assemble((key.ljust(width), "bold"), (what, "$text-muted"))

        tables = [Content("\n").join(row(*pair) for pair in group) for group in groups]
        super().__init__(Content("\n\n").join(tables))


class AddingNote(Static):
    """Progress of adding documents, in the end what came of it."""

    def __init__(self) -> None:
        super().__init__(Content("Adding documents"))

    def progress(self, now: AddProgress) -> None:
        filled = 20 * now.done // max(1, now.total)
        name = printable(now.path) if now.path else ""
        self.update(
            Content.assemble(
                "Adding documents  ",
                ("━" * filled, "$accent"),
                ("━" * (20 - filled), "$surface-lighten-2"),
                f"  {now.done} of {now.total}, {now.passages:,} passages\n",
                (name, "dim"),
            )
        )

    def done(self, added: Added) -> None:
        self.update(_report(added))


class AnswerView(Vertical):
    """One answer: the documents' own sentences at once, below them the model's words."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: tuple[Source, ...] = ()
        self.over = False
        self._pending = ""
        self._drawn = 0.0
        self._evidence = Static("", classes="evidence")
        self._words: Markdown | None = None
        self._stream: MarkdownStream | None = None
        self._notes = Static("", classes="notes")

    def compose(self) -> ComposeResult:
        yield self._evidence
        yield self._notes

    def found(self, sources: tuple[Source, ...]) -> None:
        self.sources = sources
        self._evidence.update(_evidence(sources))
        self._evidence.set_class(bool(sources), "-found")

    def write(self, text: str) -> None:
        """Append to the words; they are drawn by the next `flush` that is due."""
        self._pending += text

    async def flush(self, *, now: bool = False) -> None:
        """Draw what was written, at most ten times a second: a layout costs as much as several tokens."""
        if not self._pending or (not now and monotonic() - self._drawn < _REST):
            return
        if self._stream is None:
            from textual.widgets import Markdown

            self._stream = Markdown.get_stream(await self._markdown())
        text, self._pending = self._pending, ""
        self._drawn = monotonic()
        await self._stream.write(text)

    async def finish(self, finished: Finished) -> None:
        self.sources = finished.sources or self.sources
        await self._end_stream()
        if finished.markdown:
            await (await self._markdown()).update(finished.markdown)
        self.note(*finished.notes)
        self.over = True

    async def fail(self, message: str) -> None:
        """The answer ends with an error; the words that came stay."""
        await self._end_stream()
        self.note(message, error=True)
        self.over = True

    async def _end_stream(self) -> None:
        await self.flush(now=True)
        if self._stream is not None:
            await self._stream.stop()
            self._stream = None

    def note(self, *lines: str, error: bool = False) -> None:
        self._notes.update(Content("\n".join(lines)))
        self._notes.set_class(bool(lines), "-found")
        self._notes.set_class(error, "-error")

    def action_source(self, number: int) -> None:
        self.post_message(ShowSource(self.sources, number))

    def on_markdown_link_clicked(self, event: Markdown.LinkClicked) -> None:
        event.stop()
        if event.href.startswith("#source-") and event.href[8:].isdigit():
            self.action_source(int(event.href[8:]))

    async def _markdown(self) -> Markdown:
        if self._words is None:
            from textual.widgets import Markdown

            self._words = Markdown(parser_factory=_parser, open_links=False)
            await self.mount(self._words, before=self._notes)
        return self._words


def welcome() -> Static:
    return Static(
        Content.assemble(
            ("edge", "bold $accent"),
            "\nAsk a question. The sentences of your documents that answer best come first, ",
            "then the model's words below them, each held against the documents.\n\nCtrl+L adds documents.",
        ),
        classes="welcome",
    )


def _parser() -> MarkdownIt:
    """As Textual's own, but `<tags>` are text: the default drops them, and models write List<int>."""
    from markdown_it import MarkdownIt

    return MarkdownIt("gfm-like", {"html": False})


def _evidence(sources: tuple[Source, ...]) -> Content:
    lines = [Content.styled("Nearest in your documents", "bold")]
    for source in sources:
        mark = Content.styled(f"[{source.number}]", "bold $accent")
        mark = mark.stylize(Style.from_meta({"@click": f"source({source.number})"}))
        # A sentence that runs on (a list, a table) must not push the others off the screen; the pane shows it whole.
        lines.append(Content.assemble(mark, f" {shorten(source.quote, _LONGEST_QUOTE, placeholder=' …')}"))
        lines.append(Content.styled(f"    {source.name} · {source.place}", "dim"))
    return Content("\n").join(lines)


def _report(added: Added) -> Content:
    report = added.report
    counts = [
        f"{len(paths)} {word}"
        for word, paths in (
            ("added", report.added),
            ("updated", report.updated),
            ("unchanged", report.unchanged),
            ("removed", report.removed),
        )
        if paths
    ]
    size = f"; {report.passages:,} new passages" if report.passages else ""
    if added.stopped:
        first = "Stopped; what was finished is kept."
    elif counts:
        first = f"Documents: {', '.join(counts)}{size}."
    else:
        first = "No documents were added."
    lines = [Content(first)]
    if report.failed:
        lines.append(Content.styled(f"{len(report.failed)} could not be read:", "$text-warning"))
    for failure in report.failed[:20]:
        named = failure.path in failure.reason
        lines.append(Content(printable(failure.reason if named else f"{failure.path}: {failure.reason}")))
    if len(report.failed) > 20:
        lines.append(Content(f"and {len(report.failed) - 20} more"))
    return Content("\n").join(lines)
