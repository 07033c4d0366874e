"""The conversation: questions, answers as they grow, and what the app has to say in between."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from edge_index.records import AddProgress
from edge_tui.session.events import Added
from edge_tui.terminal import printable, visible, visible_name

_LONGEST_QUESTION = 600


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

    async def say(self, widget: Widget) -> None:
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
    """What was asked; of a pasted book only the beginning is shown, and that it goes on."""

    def __init__(self, text: str) -> None:
        shown = Content(printable(text[:_LONGEST_QUESTION]))
        if len(text) > _LONGEST_QUESTION:
            shown = Content.assemble(shown, (f" … {len(text):,} characters in all", "not bold $text-muted"))
        super().__init__(shown)


class Note(Static):
    """Words of the app itself; `kind` is "" or "error"."""

    def __init__(self, text: str, kind: str = "") -> None:
        super().__init__(Content(visible(text)), classes=f"-{kind}" if kind else "")


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
        name = visible_name(now.path) if now.path else ""
        self.update(
            Content.assemble(
                "Adding documents  ",
                ("━" * filled, "$accent"),
                ("━" * (20 - filled), "$surface-lighten-2"),
                f"  {now.done} of {now.total}, {now.passages:,} passages\n",
                (name, "$text-muted"),
            )
        )

    def done(self, added: Added) -> None:
        self.update(_report(added))


def welcome() -> Static:
    return Static(
        Content.assemble(
            ("edge", "bold $accent"),
            "\nAsk a question. The sentences of your documents that answer best come first, ",
            "then the model's words below them, each held against the documents.\n\nCtrl+L adds documents.",
        ),
        classes="welcome",
    )


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
        lines.append(Content(visible_name(failure.reason if named else f"{failure.path}: {failure.reason}")))
    if len(report.failed) > 20:
        lines.append(Content(f"and {len(report.failed) - 20} more"))
    return Content("\n").join(lines)
