"""All documents: what is known of each, what is stale, what failed; adding, removing and reading again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events as keys
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Input, Static

from edge_index.records import AddProgress, Document, Failure
from edge_tui.app.screens.add import PathSuggester
from edge_tui.app.widgets.documents import DocumentTree
from edge_tui.rendering.document_tree import Folder, counts
from edge_tui.rendering.sources import Staleness
from edge_tui.session import events
from edge_tui.slash_commands import parser
from edge_tui.slash_commands.typed_paths import dropped, look_up_drop
from edge_tui.terminal import printable, visible

if TYPE_CHECKING:
    from edge_tui.slash_commands.base import View

_KEYS = "a add · d remove · r read again · s read all that changed · ↑ ↓ Enter move · Esc back"


class DocumentsScreen(Screen[None]):
    """Everything that takes time is a job of the session, which `view` submits; its events come in by `see`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f2", "leave", "Back"),
        Binding("a", "add", "Add"),
        Binding("d,delete", "remove", "Remove"),
        Binding("r", "reread", "Read again"),
        Binding("s", "reread_stale", "Read all that changed"),
        Binding("y", "answer(True)", show=False),
        Binding("n", "answer(False)", show=False),
    ]

    def __init__(self, view: View) -> None:
        super().__init__()
        self._view = view
        self._stale: Mapping[str, Staleness] = {}
        self._wants_stale = False
        self._surveyed = False
        self._title = Static("", id="documents-title")
        self._tree = DocumentTree()
        self._detail = Static("", id="documents-detail")
        self._message = Static("", id="documents-message")
        self._input = Input(placeholder="a file or a folder", suggester=PathSuggester(), compact=True)
        self._yes: Callable[[], Awaitable[None]] | None = None

    def compose(self) -> ComposeResult:
        yield self._title
        yield self._tree
        yield self._detail
        yield self._message
        yield self._input
        yield Static(_KEYS, id="documents-keys")

    def on_mount(self) -> None:
        self._input.display = False
        self._draw()
        self._tree.focus()
        self._survey()

    def _survey(self) -> None:
        self._view.submit(self._view.session.survey())

    # What the worker tells ----------------------------------------------------------------------------------

    def see(self, event: events.Event) -> None:
        """Take an event of the worker."""
        if isinstance(event, events.Surveyed):
            self._stale = event.stale
            self._surveyed = True
            self._draw()
            if self._wants_stale:
                self.reread_stale()
        elif isinstance(event, events.Adding):
            self._say(_progress(event.progress))
        elif isinstance(event, events.Added):
            self._say(_came(event))
            self._draw()
            self._survey()
        elif isinstance(event, events.Removed):
            gone = f"{event.count:,} document{'' if event.count == 1 else 's'}"
            self._say(f"{gone} taken out; the files stay where they are.")
            self._draw()
        elif isinstance(event, events.Error):
            self._say(event.message, error=True)

    def _draw(self) -> None:
        session = self._view.session
        known = session.documents
        what = counts(known, self._stale) if known else "none yet; a adds some, or drop them here"
        self._title.update(Content.assemble(("Documents", "bold"), f"  {what}"))
        self._tree.show(known, self._stale, session.report.failed if session.report else ())
        self.call_after_refresh(self._show_detail)

    def _say(self, text: str, *, error: bool = False) -> None:
        self._yes = None
        self._message.update(Content(visible(text)))
        self._message.set_class(error, "-error")

    def on_tree_node_highlighted(self) -> None:
        self._show_detail()

    def _show_detail(self) -> None:
        data = self._tree.chosen
        text = data.path if isinstance(data, Document | Folder) else data.reason if isinstance(data, Failure) else ""
        self._detail.update(Content(printable(text)))

    # What the person does -----------------------------------------------------------------------------------

    def _ask(self, question: str, yes: Callable[[], Awaitable[None]]) -> None:
        self._say(f"{question}  y yes · n no")
        self._yes = yes

    async def action_answer(self, agreed: bool) -> None:
        yes, self._yes = self._yes, None
        if yes is not None:
            self._say("")
            if agreed:
                await yes()

    def action_remove(self) -> None:
        data = self._tree.chosen
        if isinstance(data, Document):
            self.ask_to_remove([data.path])
        elif isinstance(data, Folder):
            self.ask_to_remove([data.path] if data.path else [each.path for each in data.files])
        else:
            self._say("Choose a document or a folder first.")

    def ask_to_remove(self, paths: Sequence[str]) -> None:
        """Take what lies at these paths out of the documents, if the person agrees."""
        known = self._view.session.documents
        leaving = [each.path for each in known if any(_at_or_below(each.path, path) for path in paths)]
        if not leaving:
            self._say(f"No document is called {', '.join(paths)}, or lies below it.", error=True)
            return
        what = leaving[0] if len(leaving) == 1 else f"{len(leaving):,} documents"

        async def remove() -> None:
            self._view.submit(self._view.session.remove(paths))

        self._ask(f"Take {what} out of the index? The files stay.", remove)

    async def action_reread(self) -> None:
        data = self._tree.chosen
        if isinstance(data, Document | Failure):
            self._read_again([data.path])
        elif isinstance(data, Folder):
            self._read_again([each.path for each in data.documents()])
        else:
            self._say("Choose a document or a folder first.")

    def action_reread_stale(self) -> None:
        self.reread_stale()

    def reread_stale(self) -> None:
        """Read everything again that has changed, as soon as it is known what has."""
        self._wants_stale = not self._surveyed
        if self._wants_stale:
            self._say("Looking which documents have changed …")
            return
        changed = [path for path, state in self._stale.items() if state == "changed"]
        if changed:
            self._read_again(changed)
            return
        gone = len(self._stale)
        text = "The file of 1 document is" if gone == 1 else f"The files of {gone:,} documents are"
        self._say("Nothing has changed." + (f" {text} gone; d removes." if gone else ""))

    def _read_again(self, paths: Sequence[str]) -> None:
        there = [path for path in paths if self._stale.get(path) != "gone"]
        if there:
            self._view.add_documents(there, again=True)
        else:
            self._say("The file is gone; what was read of it stays until d removes it.")

    def action_add(self) -> None:
        self._say("→ completes · Enter adds · Esc cancels")
        self._input.display = True
        self._input.focus()

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        line = event.value.strip()
        self._close_input()
        if line:
            self._view.add_documents(parser.paths(line))

    def _close_input(self) -> None:
        self._say("")
        self._input.value = ""
        self._input.display = False
        self._tree.focus()

    def action_leave(self) -> None:
        if self._input.has_focus:
            self._close_input()
        else:
            self.dismiss()

    async def on_paste(self, event: keys.Paste) -> None:
        paths = dropped(event.text)
        if paths and not self._input.has_focus:
            self._take_drop(paths, event.text)

    @work
    async def _take_drop(self, paths: Sequence[str], text: str) -> None:
        drop = await asyncio.to_thread(look_up_drop, paths, text)
        if drop.there:
            what = str(drop.there[0]) if len(drop.there) == 1 else f"{len(drop.there):,} files and folders"
            missing = f" ({len(drop.missing):,} more do not exist)" if drop.missing else ""

            async def add() -> None:
                self._view.add_documents(drop.there)

            self._ask(f"Add {what}?{missing}", add)
        else:
            self._say(f"{drop.missing[0]} does not exist; was it moved?", error=True)


def _at_or_below(path: str, above: str) -> bool:
    return path == above or Path(path).is_relative_to(above)


def _progress(now: AddProgress) -> str:
    name = f"  {now.path}" if now.path else ""
    return f"{now.done:,} of {now.total:,} read, {now.passages:,} passages; Ctrl+C stops{name}"


def _came(added: events.Added) -> str:
    if added.stopped:
        return "Stopped; what was finished is kept."
    report = added.report
    parts = [
        f"{len(paths):,} {word}"
        for word, paths in (
            ("added", report.added),
            ("updated", report.updated),
            ("unchanged", report.unchanged),
            ("removed", report.removed),
            ("not readable, see below", report.failed),
        )
        if paths
    ]
    return f"Done: {', '.join(parts) or 'nothing to do'}."
