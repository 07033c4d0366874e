"""The first screen where something is missing: what was found on this machine and what to do next."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from edge_tui.app.input.prompt import Prompt
from edge_tui.rendering.units import format_size
from edge_tui.session import events, welcome
from edge_tui.session.welcome import Findings
from edge_tui.slash_commands import parser
from edge_tui.terminal import visible, visible_name

if TYPE_CHECKING:
    from edge_tui.slash_commands.base import View


class WelcomeScreen(Screen[None]):
    """Enter does what a line says, Esc leads to the conversation."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Begin"),
        Binding("r", "again", "Look again"),
    ]

    def __init__(self, view: View) -> None:
        super().__init__()
        self._view = view
        self._message = Static("", id="welcome-message")
        self._options = OptionList(markup=False, compact=True)
        self._using = ""

    def compose(self) -> ComposeResult:
        with Vertical(id="welcome"):
            yield Static(Content.styled("Welcome to edge", "bold $accent"), id="welcome-title")
            yield Static(Content(" ".join(welcome.OFFLINE)), id="welcome-offline")
            yield self._options
            yield self._message
            yield Static("↑ ↓ choose · Enter does it · r looks again · Esc begins", id="welcome-keys")

    def on_mount(self) -> None:
        self._options.focus()
        self.action_again()

    def action_again(self) -> None:
        self._look()

    def action_leave(self) -> None:
        self.dismiss()

    @work(exclusive=True)
    async def _look(self) -> None:
        found = await asyncio.to_thread(welcome.look_around)
        kept = self._options.highlighted_option
        self._options.clear_options()
        lines = options(found, answering=self._view.session.model_name, documents=len(self._view.session.documents))
        self._options.add_options(lines)
        chosen = [at for at, each in enumerate(lines) if not each.disabled]
        same = [at for at in chosen if kept is not None and lines[at].id == kept.id]
        self._options.highlighted = (same or chosen)[0]
        if self._using and visible_name(self._using) == self._view.session.model_name:
            self._say(f"{self._using} answers now. Esc begins.")
            self._using = ""

    def see(self, event: events.Event) -> None:
        """Take an event of the worker."""
        if isinstance(event, events.Adding):
            now = event.progress
            self._say(f"Reading {now.done:,} of {now.total:,}  {now.path or ''}")
        elif isinstance(event, events.Added):
            known, failed = len(self._view.session.documents), len(event.report.failed)
            failures = f" {failed:,} could not be read; /documents says why." if failed else ""
            self._say(f"{known:,} document{'' if known == 1 else 's'} can be asked now.{failures} Esc begins.")
            self.action_again()
        elif isinstance(event, events.ModelImported):
            self._use(event.name)
        elif isinstance(event, events.Error):
            self._say(event.message, error=True)
        elif isinstance(event, events.Loaded) and event.error:
            self._say(event.error, error=True)
        elif isinstance(event, events.Idle | events.Loaded):
            self.action_again()

    def _say(self, text: str, *, error: bool = False) -> None:
        self._message.update(Content(visible(text)))
        self._message.set_class(error, "-error")

    async def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        what, _, name = (event.option.id or "").partition(":")
        if what == "model":
            self._use(name)
        elif what == "import":
            self._say(f"Looking at {name} …")
            self._view.submit(welcome.import_model(name))
        elif what == "pull":
            self.app.copy_to_clipboard(welcome.PULL)
            self._say(f"Copied: {welcome.PULL}. Run it in another terminal, then press r here.")
        elif what == "add":
            self._say("Adding …")
            self._view.add_documents(parser.paths(name))
        else:
            self.dismiss()
            self.app.call_later(self._view.panels["add"], "")

    def _use(self, name_or_path: str) -> None:
        """Ask for a model as if it had been typed; whoever presses ↑ later finds the command."""
        self._using = Path(name_or_path).name.removesuffix(".gguf")
        self._say(f"Loading {self._using} …")
        self.app.post_message(Prompt.Sent(f"/model {name_or_path}"))


def options(found: Findings, *, answering: str, documents: int) -> list[Option]:
    """The lines of the screen: headings, which cannot be chosen, and what Enter does."""
    lines = [_heading("Who answers")]
    for model in found.models:
        doing = "answers" if visible_name(model.name) == answering else "Enter takes it"
        lines.append(_line(f"{model.name} · {format_size(model.bytes)}", doing, f"model:{model.path}"))
    for where in found.elsewhere:
        lines.append(_line(where, "Enter links it; edge models import copies it", f"import:{where}"))
    if not found.models:
        lines.append(_line("a small model to begin with", f"{welcome.PULL} (Enter copies this)", "pull:model"))
    lines.append(_heading("What finds passages"))
    if found.encoder is None:
        lines.append(_line("no text encoder yet", f"{welcome.PULL} (Enter copies this)", "pull:encoder"))
    else:
        lines.append(_line(found.encoder, "a text encoder, is here"))
    lines.append(_heading("Your documents"))
    if documents:
        lines.append(_line(f"{documents:,} document{'' if documents == 1 else 's'}", "/documents shows them"))
    for folder in found.folders:
        lines.append(
            _line(welcome.shown(folder), f"Enter adds it; later: /add {welcome.shown(folder)}", f"add:{folder}")
        )
    lines.append(_line("another folder or file", "Enter asks which one", "other"))
    return lines


def _heading(text: str) -> Option:
    return Option(Content.styled(text, "bold"), disabled=True)


def _line(what: str, doing: str, each: str | None = None) -> Option:
    return Option(
        Content.assemble(f"  {visible_name(what)}  ", (visible_name(doing), "$text-muted")),
        id=each,
        disabled=each is None,
    )
