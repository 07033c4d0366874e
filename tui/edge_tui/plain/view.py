"""What slash commands ask of a view, as lines of text; and the events of the session's jobs."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from edge_index.records import AddProgress
from edge_tui.plain.answer_printer import AnswerPrinter
from edge_tui.plain.lines import Lines
from edge_tui.rendering.add_report import format_failures, format_files, summary
from edge_tui.rendering.sentence_marks import one_line
from edge_tui.rendering.sources import Source
from edge_tui.session import events
from edge_tui.session.picker_items import OFF
from edge_tui.session.worker import Worker

if TYPE_CHECKING:
    from edge_tui.session.comparison_job import ComparisonJob
    from edge_tui.session.picker_items import PickerItem
    from edge_tui.session.session import Session
    from edge_tui.slash_commands.base import Panel

_POLL_SECONDS = 0.01
"""Between two looks at what the worker did."""


class LineView:
    """A conversation that is written as lines; each job is waited for."""

    theme_names: Sequence[str] = ()

    def __init__(self, session: Session, lines: Lines) -> None:
        self.session = session
        self.lines = lines
        self.worker = Worker()
        self.panels: dict[Panel, Callable[[str], None]] = {}
        self.sources: tuple[Source, ...] = ()
        self.leaving = False
        self.loaded = False
        self._tenth = -1

    # What slash commands call ---------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        self.lines.say(*text.splitlines())

    def table(self, rows: Sequence[tuple[str, str]]) -> None:
        self.lines.say(*(f"{what}: {description}" for what, description in rows))

    def fail(self, message: str) -> None:
        self.lines.fail(message)

    def notify(self, message: str) -> None:
        self.lines.fail(message)

    def busy(self) -> bool:
        return False

    def submit(self, job: Iterator[events.Event]) -> None:
        self.run(job)

    def ask(self, question: str, *, instead_of: int | None = None) -> None:
        self.run(self.session.ask(question, instead_of=instead_of))

    def add_documents(self, paths: Sequence[str | Path], *, again: bool = False) -> None:
        self.run(self.session.add(paths, self.note_progress, again=again))

    def compare(self, job: ComparisonJob) -> None:
        """One side after the other; none of the answers counts as the conversation's."""
        self.run(self.session.run("comparing", job.run), [side.name for side in job.sides])

    def choose(
        self,
        title: str,
        items: Callable[[], Sequence[PickerItem]],
        now: str,
        then: Callable[[str], None],
        *,
        usage: str = "",
    ) -> None:
        """A list: what is chosen is typed."""
        listed = items()
        for item in listed:
            typed = usage.replace("KEY", item.key, 1) if usage else OFF if item.key == OFF else item.name
            name = "" if typed == item.name else item.name
            detail = ", ".join(filter(None, (name, item.detail, item.problem)))
            self.lines.say(f"{typed}{', in use' if item.key == now else ''}{': ' if detail else ''}{detail}")
        if not listed:
            self.lines.say("There is none on this machine yet.")

    def choose_turn(self, title: str, then: Callable[[int], None]) -> None:
        then(len(self.session.history.turns))

    def edit(self, text: str, hint: str, then: Callable[[str], None], *, usage: str) -> None:
        if text:
            self.lines.say(text)
        self.lines.fail(usage)

    def copy(self, text: str, what: str) -> None:
        """There is nothing to paste it from: the text itself."""
        self.lines.say(text.rstrip("\n"))

    def restart(self) -> None:
        self.run(self.session.clear())
        self.sources = ()
        self.lines.status("A new conversation.")

    def leave(self) -> None:
        self.leaving = True

    # Jobs of the session ------------------------------------------------------------------------------------

    def run(self, job: Iterator[events.Event], names: Sequence[str] = ()) -> list[events.Event]:
        """Do a job and show what comes of it; Ctrl+C stops it, a second one leaves the chat.

        `names` are those of the sides, where it is a comparison.
        """
        self._tenth = -1
        printer = AnswerPrinter(self.lines)
        sides: dict[int, AnswerPrinter] = {}
        seen: list[events.Event] = []
        with _first_interrupt(self._stop):
            self.worker.submit(job)
            over = False
            while not over:
                for event in self.wait_for_events():
                    seen.append(event)
                    over |= isinstance(event, events.Idle)  # behind it may stand what the loading thread reports
                    if isinstance(event, events.SideEvent):
                        sides.setdefault(event.side, AnswerPrinter(self.lines, names[event.side])).show(event.event)
                        event = event.event
                    else:
                        printer.show(event)
                    self.show(event)
        return seen

    def note_progress(self, progress: AddProgress) -> None:
        """Called on the worker's thread."""
        self.worker.events.append(events.Adding(progress))

    def wait_for_events(self) -> list[events.Event]:
        """What the worker did since the last look; waits a moment where that is nothing."""
        found = self.worker.drain()
        if not found:
            time.sleep(_POLL_SECONDS)
        return found

    def _stop(self) -> None:
        self.session.stop()
        self.lines.invite("\nStopping. Ctrl+C once more leaves.\n")

    def show(self, event: events.Event) -> None:
        """Everything but the parts of an answer."""
        lines = self.lines
        if isinstance(event, events.Loaded):
            self.loaded = True
            if event.error:
                lines.fail(event.error)
            else:
                lines.status(f"The model {self.session.model_name} is ready.")
        elif isinstance(event, events.Found):
            self.sources = event.sources
            self.worker.drawn.set()
        elif isinstance(event, events.Finished):
            self.sources = event.sources or self.sources
        elif isinstance(event, events.Error):
            lines.fail(event.message)
        elif isinstance(event, events.Adapted | events.Switched):
            lines.status(event.note)
        elif isinstance(event, events.Notice):
            (lines.fail if event.bad else lines.status)(event.note)
        elif isinstance(event, events.Opened):
            self._show_opened(event)
        elif isinstance(event, events.Adding):
            self._show_progress(event.progress)
        elif isinstance(event, events.Added):
            self._show_report(event)
        elif isinstance(event, events.Removed):
            lines.status(f"{event.count:,} documents removed; the files themselves stay.")

    def _show_opened(self, opened: events.Opened) -> None:
        """Where the conversation stands, so that one knows what comes next."""
        self.lines.status(opened.note)
        self.sources = ()
        if opened.turns:
            last = opened.turns[-1]
            self.sources = last.answer.sources
            self.lines.say(f"The last question: {one_line(last.question.text)}", "Answer:", last.answer.text, "")

    def _show_progress(self, now: AddProgress) -> None:
        """A line for each file of a few, for each tenth of many."""
        tenth = now.done if now.total <= 10 else 10 * now.done // now.total
        if tenth != self._tenth and now.path is not None:
            self._tenth = tenth
            self.lines.status(f"Reading {now.done + 1} of {now.total}: {now.path}")

    def _show_report(self, added: events.Added) -> None:
        if added.stopped:
            self.lines.status("Stopped; what was finished is kept.")
            return
        self.lines.status(f"Documents: {summary(added.report)}.", *format_files(added.report))
        for sentence in format_failures(added.report.failed):
            self.lines.fail(sentence)


@contextmanager
def _first_interrupt(call: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl+C calls a function instead of raising wherever the program is; a second one raises."""
    if threading.current_thread() is not threading.main_thread():  # only that one hears of signals
        yield
        return
    before = signal.getsignal(signal.SIGINT) or signal.SIG_DFL

    def interrupted(_signal: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        call()

    signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
