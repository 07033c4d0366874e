"""The Textual app of `edge chat`: what a person types and presses, carried to slash commands and the conversation."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import ClassVar

from textual import work
from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.markup import escape
from textual.screen import Screen

from edge.system.suggestions import did_you_mean
from edge_tui.app import keys as keyboard
from edge_tui.app import themes
from edge_tui.app.conversation_app import ConversationApp
from edge_tui.app.input import drops
from edge_tui.app.input.completion_list import CompletionList
from edge_tui.app.input.completions import complete
from edge_tui.app.input.prompt import Prompt
from edge_tui.app.input.recall import Recall
from edge_tui.app.view import AppView
from edge_tui.app.widgets.answer import ShowSource
from edge_tui.app.widgets.status import WIDE, KeyLine
from edge_tui.session.session import Session
from edge_tui.slash_commands import parser
from edge_tui.slash_commands.registry import all_commands

_BREAKPOINTS = [(0, "-narrow"), (WIDE, "-wide")]
_CLOSING_SECONDS = 3.0


def run(
    session: Session, *, theme: str | None = None, keys: Sequence[tuple[str, str]] = (), welcome: bool = False
) -> None:
    """Run the app on this terminal until the person leaves; then model and documents are closed.

    The terminal is Textual's: it reads standard input and draws on standard error. `theme` is dark, light, contrast
    or the name of one of Textual's; an unknown one is passed over. `keys`: (action, key), see keys.py; raises
    UsageError for one that cannot be. `welcome` shows the first-run screen where something is missing.
    """
    app = ChatApp(session, theme=theme, keymap=keyboard.keymap(dict(keys)), welcome=welcome)
    app.run()
    app.worker.join(_CLOSING_SECONDS)


class ChatApp(ConversationApp):
    CSS_PATH = "app.tcss"
    TITLE = "edge"
    HORIZONTAL_BREAKPOINTS = _BREAKPOINTS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key.default, key.action, key.what, id=key.name, priority=key.first, show=False)
        for key in keyboard.of("app")
    ]

    def __init__(
        self,
        session: Session,
        *,
        theme: str | None = None,
        keymap: Mapping[str, str] | None = None,
        welcome: bool = False,
    ) -> None:
        colourless = bool(os.environ.get("NO_COLOR"))
        super().__init__(session, colourless=colourless)
        for own in themes.OWN:
            self.register_theme(own)
        self.keymap = keyboard.keymap({}) if keymap is None else dict(keymap)
        self.commands = all_commands()
        self.completion = CompletionList()
        self._prompt = Prompt(self.completion, self.keymap)
        self.view = AppView(self, self._prompt, self.keymap, self.commands)
        self._keys = KeyLine(self.keymap)
        self._recall = Recall()
        self._wanted_theme = themes.COLOURLESS if colourless else themes.named(theme)
        self._welcome = welcome

    def compose(self) -> ComposeResult:
        yield self.body
        yield self.completion
        yield self._prompt
        yield self.status_line
        yield self._keys

    def on_mount(self) -> None:
        self.theme = self._wanted_theme if self._wanted_theme in self.available_themes else themes.DARK.name
        self.set_keymap({name: chosen or keyboard.NONE for name, chosen in self.keymap.items()})
        self._prompt.focus()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        for command in self.commands.values():
            title = command.description[0].upper() + command.description[1:]
            yield SystemCommand(title, escape(command.usage), partial(self._obey, parser.Command(command.name)))
        yield SystemCommand("Change the colours", "another theme", self.action_change_theme)

    async def greet_once(self) -> None:
        """At the start, and not over the head of somebody who types already."""
        if self._welcome and not self._prompt.text:
            await self.view.greet()
        self._welcome = False

    # What the person types ------------------------------------------------------------------------------------

    def on_prompt_sent(self, event: Prompt.Sent) -> None:
        text = event.text.strip("\n")
        if not text.strip():
            return
        command = parser.parse(text)
        if command is None and self.view.busy():
            return
        self._recall.remember(text)
        self._welcome = False
        self._prompt.replace_all("")
        if command is None:
            (self.view.take_edit() or self.view.ask)(text.strip())
        else:
            self._obey(command)

    def _obey(self, typed: parser.Command) -> None:
        self.view.take_edit()
        command = self.commands.get(typed.name)
        if command is not None:
            command.run(self.view, typed.argument)
            return
        meant = did_you_mean(typed.name, self.commands, mark="/")
        self.view.fail(
            f"There is no /{typed.name}{meant}; /help lists what there is. "
            "A space before the slash makes the line a question."
        )

    @work(group="completion", exclusive=True)
    async def on_prompt_begun(self, event: Prompt.Begun) -> None:
        found = await complete(event.text, self.commands, self.view)
        if self._prompt.text == event.text:
            self.completion.offer(found)

    @work(group="drop")
    async def on_prompt_dropped(self, event: Prompt.Dropped) -> None:
        await drops.offer(self.view, self._prompt, event.paths, event.text)

    def on_completion_list_taken(self) -> None:
        self._prompt.complete()

    def on_prompt_recall(self, event: Prompt.Recall) -> None:
        line = self._recall.step(event.step, self._prompt.text)
        if line is not None:
            self._prompt.replace_all(line)

    def on_descendant_focus(self) -> None:
        self._keys.show(in_sources=self.sources.passage.has_focus)

    def on_show_source(self, event: ShowSource) -> None:
        self.sources.show(event.sources, event.number)
        self.view.open_sources()

    # What the keys do -----------------------------------------------------------------------------------------

    def action_command(self, name: str) -> None:
        """Run a slash command as if its name had been typed."""
        self.commands[name].run(self.view, "")

    def action_thinking(self) -> None:
        self.view.panels["thinking"]("")

    def action_compare(self) -> None:
        """The line that is being written, else the last question, to two sides."""
        if len(self.screen_stack) == 1:
            self._obey(parser.Command("compare", self._prompt.text.strip()))

    def action_stop(self) -> None:
        """Esc: end what is running; else leave the sources."""
        answers = self.answers()
        if self.view.editing and not answers:
            self.view.take_edit()
            self._prompt.replace_all("")
        elif answers:
            self.stop_answers()
            for view in answers:
                view.note("Stopping" if view is self.job_views[0] else "Stopped")
        elif self.session.state in ("adding", "switching"):
            self.session.stop("adding", "switching")
        elif self.sources.passage.has_focus:
            self.view.close_sources(keep=self.size.width >= WIDE)

    def action_interrupt(self) -> None:
        """Ctrl+C: end what is running, else empty the input, else say how to leave."""
        if self.job_views:
            self.action_stop()
        elif self._prompt.text:
            self._prompt.replace_all("")
        else:
            self.notify(f"{keyboard.label(self.keymap['quit']) or '/quit'} leaves.", timeout=3)

    def action_page(self, direction: int) -> None:
        if direction < 0:
            self.conversation.scroll_page_up(animate=False)
        else:
            self.conversation.scroll_page_down(animate=False)
