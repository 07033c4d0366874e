"""What slash commands ask of a view, on the screen of the app."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

from edge_tui.app import keys, themes
from edge_tui.app.conversation_app import ConversationApp
from edge_tui.app.input.prompt import Prompt
from edge_tui.app.redrawing import cut, stop_redrawing
from edge_tui.app.widgets.answer import AnswerView
from edge_tui.app.widgets.conversation import AddingNote, HelpNote, Note, Question
from edge_tui.app.widgets.thoughts import Thoughts
from edge_tui.session.picker_items import PickerItem
from edge_tui.slash_commands import parser
from edge_tui.terminal import visible_name

if TYPE_CHECKING:
    from textual.widget import Widget

    from edge_tui.app.screens.documents import DocumentsScreen
    from edge_tui.session.comparison_job import ComparisonJob
    from edge_tui.session.events import Event
    from edge_tui.session.session import Session
    from edge_tui.slash_commands.base import Panel, SlashCommand


class AppView:
    """What has to wait for the screen runs right behind the message at hand, in the order in which it was asked for."""

    def __init__(
        self, app: ConversationApp, prompt: Prompt, keymap: Mapping[str, str], commands: Mapping[str, SlashCommand]
    ) -> None:
        self._app = app
        self._prompt = prompt
        self._keymap = keymap
        self._commands = commands
        self._edited: Callable[[str], None] | None = None
        self.panels: Mapping[Panel, Callable[[str], None]] = {
            "add": self._ask_for_path,
            "chats": self._show_chats,
            "context": lambda _: app.call_next(self._toggle_context),
            "documents": lambda _: app.call_next(self._show_documents),
            "help": self._show_help,
            "keys": self._show_keys,
            "remove": lambda argument: app.call_next(self._remove, argument),
            "search": self._show_chats,
            "sources": self._show_sources,
            "stale": lambda _: app.call_next(self._reread_stale),
            "theme": self._choose_theme,
            "thinking": self._toggle_thinking,
            "welcome": lambda _: app.call_next(self.greet),
        }

    @property
    def session(self) -> Session:
        return self._app.session

    @property
    def theme_names(self) -> Sequence[str]:
        """Ours first, without what marks them as ours."""
        names = sorted(self._app.available_themes, key=lambda name: (not name.startswith("edge-"), name))
        return [each.removeprefix("edge-") for each in names]

    def say(self, text: str) -> None:
        self._put(Note(text))

    def table(self, rows: Sequence[tuple[str, str]]) -> None:
        self._put(HelpNote(rows))

    def fail(self, message: str) -> None:
        self._put(Note(message, "error"))

    def notify(self, message: str) -> None:
        self._app.notify(message)

    def busy(self) -> bool:
        answering = bool(self._app.answers())
        if answering:
            self._app.notify("Still answering; Esc stops it.", timeout=3)
        return answering

    def submit(self, job: Iterator[Event]) -> None:
        self._app.submit(job)

    def ask(self, question: str, *, instead_of: int | None = None) -> None:
        self._app.call_next(self._ask, question, instead_of)

    def add_documents(self, paths: Sequence[str | Path], *, again: bool = False) -> None:
        """How it goes stands in the conversation."""
        self._app.call_next(self._add_documents, paths, again)

    def compare(self, job: ComparisonJob) -> None:
        self._app.call_next(self._compare, job)

    def choose(
        self,
        title: str,
        items: Callable[[], Sequence[PickerItem]],
        now: str,
        then: Callable[[str], None],
        *,
        usage: str = "",
    ) -> None:
        """The items are gathered on another thread."""
        self.pick(title, items, now, then, mark="answers now")

    def choose_turn(self, title: str, then: Callable[[int], None]) -> None:
        turns = self.session.history.turns
        names = [shorten(visible_name(turn.question.text[:500]), 60, placeholder=" …") for turn in turns]
        lines = [PickerItem(str(at), f"{at}  {name}") for at, name in enumerate(names, 1)]
        self.pick(title, lines, str(len(turns)), lambda key: then(int(key)))

    def edit(self, text: str, hint: str, then: Callable[[str], None], *, usage: str) -> None:
        """The text stands in the input; the next line that is sent goes to `then`, unless Esc takes that back."""
        self._edited = then
        self._prompt.replace_all(text)
        self._prompt.focus()
        self._app.notify(hint, timeout=6)

    def copy(self, text: str, what: str) -> None:
        self._app.copy_to_clipboard(text)
        self._app.notify(f"Copied {what}.", timeout=3)

    def restart(self) -> None:
        self._app.call_next(self._restart)

    def leave(self) -> None:
        self._app.exit()

    # What the app itself asks for -----------------------------------------------------------------------------

    def take_edit(self) -> Callable[[str], None] | None:
        """What the next line goes to where it is no question, once."""
        edited, self._edited = self._edited, None
        return edited

    @property
    def editing(self) -> bool:
        return self._edited is not None

    def pick(
        self,
        title: str,
        lines: Sequence[PickerItem] | Callable[[], Sequence[PickerItem]],
        now: str,
        then: Callable[[str], None],
        *,
        mark: str = "",
    ) -> None:
        """Let the person choose a line by its key; nothing when that is declined."""
        from edge_tui.app.screens.picker import PickerScreen

        if self._is_free():
            self._app.push_screen(PickerScreen(title, lines, now, mark), lambda key: then(key) if key else None)

    async def greet(self) -> None:
        """Show what is on this machine and how to begin."""
        from edge_tui.app.screens.welcome import WelcomeScreen

        if self._is_free():
            await self._app.push_screen(WelcomeScreen(self))

    def close_sources(self, *, keep: bool = False) -> None:
        """Back to the input; `keep` leaves the pane standing beside the conversation."""
        self._app.body.remove_class("-open")
        self._app.body.set_class(not keep, "-closed")
        self._prompt.focus()

    def open_sources(self) -> None:
        self._app.body.remove_class("-closed")
        self._app.body.add_class("-open")
        self._app.call_after_refresh(self._app.sources.passage.focus)

    # Panels -----------------------------------------------------------------------------------------------

    def _is_free(self) -> bool:
        """Whether no other screen stands above the conversation."""
        return len(self._app.screen_stack) == 1

    def _put(self, widget: Widget) -> None:
        self._app.call_next(self._app.conversation.say, widget)

    async def _ask(self, question: str, instead_of: int | None) -> None:
        view = AnswerView()
        if instead_of is not None:
            await cut(self._app.conversation, self.session.history.turns, instead_of)
        await self._app.conversation.say(Question(question))
        await self._app.conversation.say(view)
        if self.session.state in ("loading", "adding"):
            view.note("Waiting until everything is loaded; Esc takes the question back.")
        self._app.submit(self.session.ask(question, instead_of=instead_of), view)

    async def _add_documents(self, paths: Sequence[str | Path], again: bool) -> None:
        view = AddingNote()
        await self._app.conversation.say(view)
        self._app.submit(self.session.add(paths, self._app.note_progress, again=again), view)

    async def _restart(self) -> None:
        self._app.stop_answers()
        self._edited = None
        stop_redrawing(self._app.conversation)
        await self._app.conversation.restart()
        self._app.sources.show(())
        self._app.submit(self.session.clear())

    async def _compare(self, job: ComparisonJob) -> None:
        from edge_tui.app.screens.compare import CompareScreen

        first, second = job.sides
        screen = CompareScreen(job.question, (first.name, second.name), partial(self.session.stop, "comparing"))

        async def left(number: int | None) -> None:
            pane = screen.panes[number] if number is not None and number >= 0 else None
            if number is None or pane is None or pane.finished is None:
                return
            if self._prompt.text.strip() == job.question:
                self._prompt.replace_all("")
            self._app.submit(self.session.run("answering", lambda _stopped: job.keep(number)))
            view = AnswerView()
            await self._app.conversation.say(Question(job.question))
            await self._app.conversation.say(view)
            view.found(pane.evidence)
            await view.finish(pane.finished)
            if job.repeated:
                await self._app.conversation.say(Note("It counts instead of the answer before."))
            self._app.sources.show(pane.finished.sources)

        await self._app.push_screen(screen, left)
        self._app.submit(self.session.run("comparing", job.run), screen)

    async def _show_documents(self) -> DocumentsScreen | None:
        """The screen, unless another one stands in the way."""
        from edge_tui.app.screens.documents import DocumentsScreen

        if not self._is_free():
            return None
        screen = DocumentsScreen(self)
        await self._app.push_screen(screen)
        return screen

    async def _remove(self, argument: str) -> None:
        screen = await self._show_documents()
        if screen is not None and argument:
            screen.ask_to_remove([str(path) for path in parser.paths(argument)])

    async def _reread_stale(self) -> None:
        screen = await self._show_documents()
        if screen is not None:
            screen.reread_stale()

    def _ask_for_path(self, _argument: str) -> None:
        from edge_tui.app.screens.add import AddScreen

        def chosen(line: str | None) -> None:
            if line:
                self.add_documents(parser.paths(line))

        if self._is_free():
            self._app.push_screen(AddScreen(), chosen)

    def _show_chats(self, words: str) -> None:
        from edge_tui.app.screens.chats import ChatsScreen

        history = self.session.history

        async def deleted(number: int) -> None:
            history.deleted(number)
            if number == history.number:
                await self._restart()

        def chosen(number: int | None) -> None:
            if number is not None and number != history.number and not self.busy():
                self.submit(self.session.from_history(history.reopen(number)))

        if self._is_free():
            self._app.push_screen(ChatsScreen(history.visit, words, deleted), chosen)

    def _show_sources(self, argument: str) -> None:
        sources = self._app.sources
        if argument:
            sources.show(sources.sources, int(argument) if argument.isdecimal() else 0)
            self.open_sources()
        elif self._is_free() and sources.passage.has_focus:
            self.close_sources()
        elif self._is_free():
            self.open_sources()

    def _show_help(self, _argument: str) -> None:
        rows = [(command.usage, command.description) for command in self._commands.values()]
        self._put(HelpNote(rows, keys.lines(self._keymap)))

    def _show_keys(self, _argument: str) -> None:
        self.say("These are the lines of [keys] in config.toml; `edge paths` says where it is.")
        self.table(keys.names(self._keymap))

    def _choose_theme(self, argument: str) -> None:
        name = themes.named(argument)
        if not argument:
            self._app.action_change_theme()
        elif name in self._app.available_themes:
            self._app.theme = name
        else:
            self.fail(f"There is no theme {argument!r}; there are: {', '.join(self.theme_names)}.")

    def _toggle_thinking(self, _argument: str) -> None:
        """What was thought before the last answer."""
        thoughts = self._app.conversation.query(Thoughts)
        if thoughts:
            thoughts.last().toggle()
        else:
            self._app.notify("Nothing was thought here.", timeout=3)

    async def _toggle_context(self) -> None:
        views = [view for view in self._app.query(AnswerView) if view.over]
        if views and await views[-1].toggle_context():
            self._app.conversation.anchor()
        else:
            self._app.notify("No model was asked: there is no context to show.", timeout=3)
