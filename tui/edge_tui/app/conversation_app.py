"""The app below what a person types: a conversation with its sources, drawn from the events of the session's worker."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Protocol, runtime_checkable

from textual.app import App
from textual.containers import Horizontal
from textual.filter import LineFilter
from textual.timer import Timer

from edge.system.machine import on_battery
from edge.types import Prefill
from edge_index.records import AddProgress
from edge_tui.app.control_filter import ControlFilter
from edge_tui.app.redrawing import redraw
from edge_tui.app.widgets.answer import AnswerView
from edge_tui.app.widgets.conversation import AddingNote, Conversation, Note
from edge_tui.app.widgets.sources import SourcesPane
from edge_tui.app.widgets.status import StatusLine
from edge_tui.session import events
from edge_tui.session.session import Session
from edge_tui.session.worker import Worker
from edge_tui.terminal import visible_name


@runtime_checkable
class EventView(Protocol):
    """A view that draws the events of its job itself; one that has left the screen gets none."""

    @property
    def is_attached(self) -> bool: ...

    async def take(self, event: events.Event) -> None: ...

    async def flush(self) -> None: ...


JobView = AnswerView | AddingNote | EventView | None

_FRAMES = 25
_BETWEEN_KEYS = 0.25
"""Seconds without a key after which nobody is typing."""


def spare_the_collector() -> None:
    """What is there by now stays until the end; looking through all of it again and again holds up keys for 0.1 s."""
    gc.freeze()


class ConversationApp(App[None]):
    """Every job of the session has a view; the events of the worker go to the first of them, frame by frame."""

    def __init__(self, session: Session, *, colourless: bool = False) -> None:
        self._control_filter = ControlFilter()
        super().__init__(ansi_color=True if colourless else None)
        self.session = session
        self.worker = Worker(self._prewarm)
        self.conversation = Conversation()
        self.sources = SourcesPane()
        self.body = Horizontal(self.conversation, self.sources, id="body")
        self.status_line = StatusLine()
        self.job_views: deque[JobView] = deque()
        self._prefill: Prefill | None = None
        self._typed = 0.0
        self._loading = True
        self._writing = self._thinking = False
        self._progress: AddProgress | None = None
        self._timer: Timer | None = None

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [*super().get_line_filters(), self._control_filter]

    def on_mount(self) -> None:
        self._timer = self.set_interval(1 / _FRAMES, self._frame, pause=True)
        self.submit(self.session.open(self.note_progress))
        self.call_after_refresh(self._begin)

    def on_unmount(self) -> None:
        self.session.stop()
        self.worker.submit(self.session.close())
        self.worker.close()
        gc.unfreeze()

    def _begin(self) -> None:
        """Begin the work, now that the first frame stands."""
        spare_the_collector()
        self.worker.start()
        self.session.load(self.worker.events.append)

    async def greet_once(self) -> None:
        """Called where there is nothing to answer from: no model, or no documents."""

    def submit(self, job: Iterator[events.Event], view: JobView = None) -> None:
        """Queue a job; its events go to `view`, and jobs run in the order in which they came."""
        self.job_views.append(view)
        self.worker.submit(job)
        if self._timer is not None:
            self._timer.resume()
        self._show_status()

    def answers(self) -> list[AnswerView]:
        """Those that are being written or wait for their turn."""
        return [view for view in self.job_views if isinstance(view, AnswerView) and not view.over]

    def stop_answers(self) -> None:
        self.session.stop("answering")
        for view in self.answers():
            view.over = True

    def note_progress(self, progress: AddProgress) -> None:
        """Called on the worker's thread."""
        self.worker.events.append(events.Adding(progress))

    def _prewarm(self, stopped: Callable[[], bool]) -> bool:
        """On the worker's thread, when it is idle."""
        more = not on_battery() and self.session.prewarm_next(stopped)
        self.call_later(self._show_status)
        return more

    async def _frame(self) -> None:
        """Draw what came since the last frame."""
        for event in self.worker.drain():
            await self._show(event)
        if monotonic() - self._typed > _BETWEEN_KEYS:
            await self._draw_words()
        self._show_status()
        if not self.job_views and not self._loading and self._timer is not None:
            self._timer.pause()

    async def _draw_words(self) -> None:
        view = self.job_views[0] if self.job_views else None
        if isinstance(view, AnswerView | EventView) and view.is_attached:
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
                await self.greet_once()
            self._tell_screen(event)
            return
        view = self.job_views[0]
        if not isinstance(view, AnswerView):
            self._tell_screen(event)
        if isinstance(event, events.Idle):
            self.job_views.popleft()
            self._prefill = self._progress = None
            self._writing = self._thinking = False
            if not self.session.documents:
                await self.greet_once()
        elif isinstance(event, events.Adding | events.Added):
            await self._show_adding(event)
        elif isinstance(view, EventView):
            if view.is_attached:
                await view.take(event)
        elif isinstance(event, events.Adapted | events.Switched):
            await self.conversation.say(Note(event.note))
        elif isinstance(event, events.Notice):
            await self.conversation.say(Note(event.note, "error" if event.bad else ""))
        elif isinstance(event, events.Opened):
            await self._show_opened(event)
        elif isinstance(view, AnswerView):
            if view.is_attached:  # else a new conversation has begun meanwhile
                await self._show_answer(event, view)
        elif isinstance(event, events.Error):
            if isinstance(view, AddingNote):
                await view.remove()
            await self.conversation.say(Note(event.message, "error"))

    def _tell_screen(self, event: events.Event) -> None:
        if isinstance(self.screen, events.EventWatcher):
            self.screen.see(event)

    async def _show_answer(self, event: events.Event, view: AnswerView) -> None:
        if isinstance(event, events.Found):
            view.note()
            view.found(event.sources)
            self.sources.show(event.sources)
            self.call_after_refresh(self.worker.drawn.set)
        elif isinstance(event, events.Prefilling):
            self._prefill = event.prefill
        elif isinstance(event, events.FurtherPassages):
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

    async def _show_opened(self, opened: events.Opened) -> None:
        waiting = self.answers()
        if not waiting:
            self.sources.show(opened.turns[-1].answer.sources if opened.turns else ())
        await redraw(self.conversation, opened, waiting)

    async def _show_adding(self, event: events.Adding | events.Added) -> None:
        view = self.job_views[0]
        if not isinstance(view, AddingNote):  # documents given at the start belong to the job that loads
            view = self.job_views[0] = AddingNote()
            await self.conversation.say(view)
        if isinstance(event, events.Adding):
            self._progress = event.progress
            view.progress(event.progress)
        else:
            self._progress = None
            view.done(event)

    def _show_status(self) -> None:
        session = self.session
        self.status_line.show(
            "loading" if self._loading and session.state == "answering" else session.state,
            f"{session.model_name} + {visible_name(session.adapter)}" if session.adapter else session.model_name,
            session.speed,
            len(session.documents),
            prefill=self._prefill,
            writing=self._writing,
            thinking=self._thinking,
            adding=self._progress,
            prewarmed=session.prewarmer.progress,
        )
