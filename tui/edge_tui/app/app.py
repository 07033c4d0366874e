"""The Textual app: puts the widgets together and carries events from the session's worker to them."""

from __future__ import annotations

import gc
import os
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import monotonic
from typing import ClassVar, Protocol, runtime_checkable

from textual import work
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.filter import LineFilter
from textual.markup import escape
from textual.screen import Screen
from textual.timer import Timer

from edge.system.machine import on_battery
from edge.system.suggestions import did_you_mean
from edge.types import AddProgress, Prefill
from edge_tui.app import keys as keyboard
from edge_tui.app import themes
from edge_tui.app.control_filter import ControlFilter
from edge_tui.app.input import offers
from edge_tui.app.input.completion_list import CompletionList
from edge_tui.app.input.history import Recall
from edge_tui.app.input.prompt import Prompt
from edge_tui.app.redrawing import REDRAWING, cut, redraw
from edge_tui.app.widgets.answer import AnswerView, ShowSource
from edge_tui.app.widgets.conversation import AddingNote, Conversation, Note, Question
from edge_tui.app.widgets.sources import SourcesPane
from edge_tui.app.widgets.status import WIDE, KeyLine, StatusLine
from edge_tui.app.widgets.thoughts import Thoughts
from edge_tui.rendering import markdown
from edge_tui.session import events
from edge_tui.session.choices import Choice
from edge_tui.session.session import Session
from edge_tui.session.worker import Worker
from edge_tui.slash_commands import every, parser
from edge_tui.terminal import printable, visible_name


@runtime_checkable
class Taker(Protocol):
    """A view that draws the events of its job itself; one that has left the screen gets none."""

    @property
    def is_attached(self) -> bool: ...

    async def take(self, event: events.Event) -> None: ...

    async def flush(self) -> None: ...


View = AnswerView | AddingNote | Taker | None

_BREAKPOINTS = [(0, "-narrow"), (WIDE, "-wide")]
_FRAMES = 25
_BETWEEN_KEYS = 0.25
"""Seconds without a key after which nobody is typing."""
_PATIENCE = 3.0


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
    app.worker.join(_PATIENCE)


def spare_the_collector() -> None:
    """What is there by now stays until the end; looking through all of it again and again holds up keys for 0.1 s."""
    gc.freeze()


class ChatApp(App[None]):
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
        self._control_filter = ControlFilter()
        super().__init__(ansi_color=True if colourless else None)
        for own in themes.OWN:
            self.register_theme(own)
        self.keymap = keyboard.keymap({}) if keymap is None else dict(keymap)
        self.session = session
        self.worker = Worker(self._read_ahead)
        self._wanted_theme = themes.COLOURLESS if colourless else themes.named(theme)
        self._welcome = welcome
        self.conversation = Conversation()
        self.sources = SourcesPane()
        self._body = Horizontal(self.conversation, self.sources, id="body")
        self._status = StatusLine()
        self.completion = CompletionList()
        self._prompt = Prompt(self.completion, self.keymap)
        self._keys = KeyLine(self.keymap)
        self._recall = Recall()
        self.deeds = every()
        self._instead: Callable[[str], Awaitable[None]] | None = None
        self._views: deque[View] = deque()
        self._prefill: Prefill | None = None
        self._typed = 0.0
        self._loading = True
        self._writing = self._thinking = False
        self._progress: AddProgress | None = None
        self._timer: Timer | None = None

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [*super().get_line_filters(), self._control_filter]

    def compose(self) -> ComposeResult:
        yield self._body
        yield self.completion
        yield self._prompt
        yield self._status
        yield self._keys

    def on_mount(self) -> None:
        self.theme = self._wanted_theme if self._wanted_theme in self.available_themes else themes.DARK.name
        self.set_keymap(self.keymap)
        self._timer = self.set_interval(1 / _FRAMES, self._frame, pause=True)
        self._prompt.focus()
        self.submit(self.session.open(self.note_progress), None)
        self.call_after_refresh(self._open)

    def on_unmount(self) -> None:
        self.session.stop()
        self.worker.submit(self.session.close())
        self.worker.close()
        gc.unfreeze()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        for deed in self.deeds.values():
            title = deed.what[0].upper() + deed.what[1:]
            yield SystemCommand(title, escape(deed.usage), partial(self._obey, parser.Command(deed.name)))
        yield SystemCommand("Change the colours", "another theme", self.action_change_theme)

    # The worker's events ------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Begin the work, now that the first frame stands."""
        spare_the_collector()
        self.worker.start()
        self.session.load(self.worker.events.append)

    def submit(self, job: Iterator[events.Event], view: View) -> None:
        """Queue a job; its events go to `view`, and jobs run in the order in which they came."""
        self._views.append(view)
        self.worker.submit(job)
        if self._timer is not None:
            self._timer.resume()
        self._show_status()

    def _read_ahead(self, stopped: Callable[[], bool]) -> bool:
        """On the worker's thread, when it is idle."""
        more = not on_battery() and self.session.read_ahead(stopped)
        self.call_later(self._show_status)
        return more

    def note_progress(self, progress: AddProgress) -> None:
        """Called on the worker's thread."""
        self.worker.events.append(events.Adding(progress))

    async def _frame(self) -> None:
        """Draw what came since the last frame."""
        for event in self.worker.drain():
            await self._show(event)
        if monotonic() - self._typed > _BETWEEN_KEYS:
            await self._draw_words()
        self._show_status()
        if not self._views and not self._loading and self._timer is not None:
            self._timer.pause()

    async def _draw_words(self) -> None:
        view = self._views[0] if self._views else None
        if isinstance(view, AnswerView | Taker) and view.is_attached:
            await view.flush()

    def on_text_area_changed(self) -> None:
        """While somebody types, words are drawn right behind a key: a layout that begins just before one delays it."""
        self._typed = monotonic()
        self.call_after_refresh(self._draw_words)

    async def _show(self, event: events.Event) -> None:
        if isinstance(event, events.Loaded):
            spare_the_collector()
            self._loading = False
            if event.error:
                await self.conversation.say(Note(event.error, "error"))
                await self._greet_once()
            if isinstance(self.screen, events.EventWatcher):
                self.screen.see(event)
            return
        view = self._views[0]
        if not isinstance(view, AnswerView) and isinstance(self.screen, events.EventWatcher):
            self.screen.see(event)
        if isinstance(event, events.Idle):
            self._views.popleft()
            self._prefill = self._progress = None
            self._writing = self._thinking = False
            if not self.session.documents:
                await self._greet_once()
        elif isinstance(event, events.Adding | events.Added):
            await self._show_adding(event)
        elif isinstance(view, Taker):
            if view.is_attached:
                await view.take(event)
        elif isinstance(event, events.Adapted | events.Switched):
            await self.conversation.say(Note(event.note))
        elif isinstance(event, events.Notice):
            await self.conversation.say(Note(event.note, "error" if event.bad else ""))
        elif isinstance(event, events.Opened):
            await redraw(self, event, self._answers())
        elif isinstance(view, AnswerView):
            if view.is_attached:  # else a new conversation has begun meanwhile
                await self._show_answer(event, view)
        elif isinstance(event, events.Error):
            if isinstance(view, AddingNote):
                await view.remove()
            await self.conversation.say(Note(event.message, "error"))

    async def _show_answer(self, event: events.Event, view: AnswerView) -> None:
        if isinstance(event, events.Found):
            view.note()
            view.found(event.sources)
            self.sources.show(event.sources)
            self.call_after_refresh(self.worker.drawn.set)
        elif isinstance(event, events.Reading):
            self._prefill = event.prefill
        elif isinstance(event, events.Further):
            view.note(str(event))
            view.forget_thinking()
            self._thinking = False
        elif isinstance(event, events.Thinking):
            view.note()
            self._thinking = True
            view.think(event.text)
        elif isinstance(event, events.Words):
            view.note()
            self._writing = True
            view.write(event.text)
        elif isinstance(event, events.Finished):
            await view.finish(event)
            if event.sources:
                self.sources.show(event.sources, self.sources.number or 1)
        elif isinstance(event, events.Error):
            await view.fail(event.message)

    async def _show_adding(self, event: events.Adding | events.Added) -> None:
        view = self._views[0]
        if not isinstance(view, AddingNote):  # documents given at the start belong to the job that loads
            view = self._views[0] = AddingNote()
            await self.conversation.say(view)
        if isinstance(event, events.Adding):
            self._progress = event.progress
            view.progress(event.progress)
        else:
            self._progress = None
            view.done(event)

    def _show_status(self) -> None:
        session = self.session
        self._status.show(
            "loading" if self._loading and session.state == "answering" else session.state,
            f"{session.model_name} + {visible_name(session.adapter)}" if session.adapter else session.model_name,
            session.speed,
            len(session.documents),
            prefill=self._prefill,
            writing=self._writing,
            thinking=self._thinking,
            adding=self._progress,
            ahead=self.session.ahead.progress,
        )

    # What the person does -----------------------------------------------------------------------------------

    async def on_prompt_sent(self, event: Prompt.Sent) -> None:
        text = event.text.strip("\n")
        if not text.strip():
            return
        command = parser.parse(text)
        if command is None and self.busy():
            return
        self._recall.remember(text)
        self._welcome = False
        self._prompt.replace_all("")
        if command is None:
            instead, self._instead = self._instead, None
            await (instead or self.ask)(text.strip())
        else:
            await self._obey(command)

    @work(group="completion", exclusive=True)
    async def on_prompt_begun(self, event: Prompt.Begun) -> None:
        await offers.complete(self, self._prompt, event.text)

    @work(group="drop")
    async def on_prompt_dropped(self, event: Prompt.Dropped) -> None:
        await offers.take_drop(self, self._prompt, event.paths, event.text)

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
        self.open_sources()

    def _answers(self) -> list[AnswerView]:
        """Those that are being written or wait for their turn."""
        return [view for view in self._views if isinstance(view, AnswerView) and not view.over]

    def busy(self) -> bool:
        """Whether an answer is on its way; the person is then told how to stop it."""
        if self._answers():
            self.notify("Still answering; Esc stops it.", timeout=3)
        return bool(self._answers())

    def _stop_answers(self) -> None:
        self.session.stop("answering")
        for view in self._answers():
            view.over = True

    def write_instead(self, text: str, hint: str, then: Callable[[str], Awaitable[None]]) -> None:
        """Put a text into the input; the next line that is sent goes to `then`, unless Esc takes that back."""
        self._instead = then
        self._prompt.replace_all(text)
        self._prompt.focus()
        self.notify(hint, timeout=6)

    async def ask(self, question: str, *, instead_of: int | None = None) -> None:
        """Ask; with `instead_of` in the place of that question, counted from 1, and of all that follow it."""
        view = AnswerView()
        if instead_of is not None:
            await cut(self, instead_of)
        await self.conversation.say(Question(question))
        await self.conversation.say(view)
        if self.session.state in ("loading", "adding"):
            view.note("Waiting until everything is loaded; Esc takes the question back.")
        self.submit(self.session.ask(question, instead_of=instead_of), view)

    def choose(
        self, title: str, lines: Callable[[], Sequence[Choice]], now: str, chosen: Callable[[str], None]
    ) -> None:
        """Let the person choose one of `lines`, which are gathered on another thread; nothing when that is declined."""
        from edge_tui.app.screens.choose import ChooseScreen

        if len(self.screen_stack) == 1:
            screen = ChooseScreen(title, lines, now, "answers now")
            self.push_screen(screen, lambda key: chosen(key) if key else None)

    async def _obey(self, command: parser.Command) -> None:
        self._instead = None
        deed = self.deeds.get(command.name)
        if deed is not None:
            done = deed.do(self, command.argument)
            if done is not None:
                await done
            return
        meant = did_you_mean(command.name, self.deeds, mark="/")
        await self.conversation.say(
            Note(
                f"There is no /{command.name}{meant}; /help lists what there is. "
                "A space before the slash makes the line a question.",
                "error",
            )
        )

    async def add_documents(self, paths: Sequence[str | Path], *, again: bool = False) -> None:
        """Add files and folders; `again` reads also what did not change. How it goes stands in the conversation."""
        view = AddingNote()
        await self.conversation.say(view)
        self.submit(self.session.add(paths, self.note_progress, again=again), view)

    async def _greet_once(self) -> None:
        """At the start, and not over the head of somebody who types already."""
        if self._welcome and not self._prompt.text:
            await offers.greet(self)
        self._welcome = False

    async def action_documents(self) -> None:
        await offers.show_documents(self)

    def action_add(self) -> None:
        from edge_tui.app.screens.add import AddScreen

        async def chosen(line: str | None) -> None:
            if line:
                await self._obey(parser.Command("add", line))

        if len(self.screen_stack) == 1:
            self.push_screen(AddScreen(), chosen)

    async def action_compare(self) -> None:
        """The line that is being written, else the last question, to two sides."""
        if len(self.screen_stack) == 1:
            await self._obey(parser.Command("compare", self._prompt.text.strip()))

    def action_stop(self) -> None:
        """Esc: end what is running; else leave the sources."""
        answers = self._answers()
        if self._instead is not None and not answers:
            self._instead = None
            self._prompt.replace_all("")
        elif answers:
            self._stop_answers()
            for view in answers:
                view.note("Stopping" if view is self._views[0] else "Stopped")
        elif self.session.state in ("adding", "switching"):
            self.session.stop("adding", "switching")
        elif self.sources.passage.has_focus:
            self._close_sources(keep=self.size.width >= WIDE)

    def action_interrupt(self) -> None:
        """Ctrl+C: end what is running, else empty the input, else say how to leave."""
        if self._views:
            self.action_stop()
        elif self._prompt.text:
            self._prompt.replace_all("")
        else:
            self.notify(f"{keyboard.label(self.keymap['quit'])} leaves.", timeout=3)

    def action_sources(self) -> None:
        if len(self.screen_stack) > 1:
            return
        if self.sources.passage.has_focus:
            self._close_sources()
        else:
            self.open_sources()

    def action_copy(self) -> None:
        if self.session.answer:
            self.copy_to_clipboard(self.session.answer)
            self.notify("Copied the last answer.", timeout=3)
        else:
            self.notify("There is no answer yet.", timeout=3)

    def action_code(self, number: int = 0) -> None:
        """Copy block of code `number` of the last answer, counted from 1; 0 is the last."""
        blocks = markdown.code_blocks(self.session.answer)
        if not blocks:
            self.notify("The last answer has no block of code.", timeout=3)
        elif number > len(blocks):
            self.notify(f"The last answer has the blocks of code 1 to {len(blocks)}.", timeout=3)
        else:
            self.copy_to_clipboard(printable(blocks[number - 1]))
            which = "the block of code" if len(blocks) == 1 else f"block {number or len(blocks)} of {len(blocks)}"
            self.notify(f"Copied {which}.", timeout=3)

    async def action_context(self) -> None:
        views = [view for view in self.query(AnswerView) if view.over]
        if views and await views[-1].toggle_context():
            self.conversation.anchor()
        else:
            self.notify("No model was asked: there is no context to show.", timeout=3)

    def action_thinking(self) -> None:
        """Show what was thought before the last answer, or hide it."""
        thoughts = self.conversation.query(Thoughts)
        if thoughts:
            thoughts.last().toggle()
        else:
            self.notify("Nothing was thought here.", timeout=3)

    async def action_new(self) -> None:
        self._stop_answers()
        self._instead = None
        self.workers.cancel_group(self, REDRAWING)
        await self.conversation.restart()
        self.sources.show(())
        self.submit(self.session.clear(), None)

    def action_page(self, direction: int) -> None:
        if direction < 0:
            self.conversation.scroll_page_up(animate=False)
        else:
            self.conversation.scroll_page_down(animate=False)

    def open_sources(self) -> None:
        self._body.remove_class("-closed")
        self._body.add_class("-open")
        self.call_after_refresh(self.sources.passage.focus)

    def _close_sources(self, *, keep: bool = False) -> None:
        """Back to the input; `keep` leaves the pane standing beside the conversation."""
        self._body.remove_class("-open")
        self._body.set_class(not keep, "-closed")
        self._prompt.focus()
