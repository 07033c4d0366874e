"""The chat as lines of text: for screen readers, for scripts, and where no terminal can be drawn on.

No cursor is moved, nothing is coloured or drawn again. Answers and lists go to standard output, how far things are
and what went wrong to standard error. The same session and the same deeds as in the app.
"""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, TextIO

from edge.system.suggestions import did_you_mean
from edge.types import AddProgress
from edge_tui.rendering.answer import OWN_LEGEND, thought
from edge_tui.rendering.sentence_marks import one_line
from edge_tui.rendering.sources import Source
from edge_tui.session import events
from edge_tui.session.worker import Worker
from edge_tui.slash_commands import every, parser
from edge_tui.terminal import printable

if TYPE_CHECKING:
    from edge_tui.session.session import Session

_PATIENCE = 3.0
_LOOK = 0.01
"""Seconds between two looks at what the worker did."""

_SENTENCE = re.compile(r"""[.!?…。！？۔؟]["”’')\]*_]*\s|\n""")


class PlainChat:
    """A conversation that reads lines and writes lines. With `invite` it says when it waits for one."""

    def __init__(self, session: Session, lines: TextIO, out: TextIO, err: TextIO, *, invite: bool) -> None:
        self.session = session
        self.worker = Worker()
        self.deeds = {name: deed for name, deed in every().items() if deed.plain is not None}
        self.sources: tuple[Source, ...] = ()
        self.leaving = False
        self._lines = lines
        self._out = out
        self._err = err
        self._invite = invite
        self._failed = False
        self._loaded = False
        self._tenth = -1

    def loop(self) -> int:
        """Talk until the lines end. The exit status: 1 where something failed and no person was there to see it."""
        self.worker.start()
        self.tell("Loading the model.")
        self.session.load(self.worker.events.append)
        try:
            self.run(self.session.open(self.note_progress))
            self._wait_for_model()
            if self._invite:
                self.tell("Ask a question. /help lists what else there is, Ctrl+C stops an answer, Ctrl+D leaves.")
            while not self.leaving and (line := self._next_line()) is not None:
                self._obey(line)
        finally:
            self.session.stop()
            self.worker.submit(self.session.close())
            self.worker.close()
            self.worker.join(_PATIENCE)
        return int(self._failed and not self._invite)

    # What deeds call ----------------------------------------------------------------------------------------

    def say(self, *lines: str) -> None:
        """To standard output: what was asked for."""
        self.write("".join(f"{printable(line)}\n" for line in lines))

    def write(self, text: str) -> None:
        """To standard output, at once and as it is."""
        self._out.write(text)
        self._out.flush()

    def tell(self, *lines: str) -> None:
        """To standard error: what goes on."""
        for line in lines:
            self._err.write(f"{printable(line)}\n")
        self._err.flush()

    def fail(self, message: str) -> None:
        """Something went wrong; the message says what to do."""
        self._failed = True
        self.tell(f"Error: {message}")

    def note_progress(self, progress: AddProgress) -> None:
        """Called on the worker's thread."""
        self.worker.events.append(events.Adding(progress))

    def run(self, job: Iterator[events.Event], names: Sequence[str] = ()) -> list[events.Event]:
        """Do a job of the session and tell what comes of it; Ctrl+C stops it, a second one leaves the chat.

        `names` are those of the sides, where it is a comparison.
        """
        self._tenth = -1
        printer = _Printer(self)
        sides: dict[int, _Printer] = {}
        seen: list[events.Event] = []
        with _first_interrupt(self._stop):
            self.worker.submit(job)
            over = False
            while not over:
                for event in self._drained():
                    seen.append(event)
                    over |= isinstance(event, events.Idle)  # behind it may stand what the loading thread tells
                    if isinstance(event, events.SideEvent):
                        sides.setdefault(event.side, _Printer(self, names[event.side])).show(event.event)
                        event = event.event
                    else:
                        printer.show(event)
                    self._show(event)
        return seen

    def _stop(self) -> None:
        self.session.stop()
        self._err.write("\nStopping. Ctrl+C once more leaves.\n")

    def restart(self) -> None:
        """A new conversation."""
        self.run(self.session.clear())
        self.sources = ()
        self.tell("A new conversation.")

    # ----------------------------------------------------------------------------------------------------------

    def _drained(self) -> list[events.Event]:
        """What the worker did since the last look; waits a moment where that is nothing."""
        found = self.worker.drain()
        if not found:
            time.sleep(_LOOK)
        return found

    def _wait_for_model(self) -> None:
        """Until the model is there or is known not to come; Ctrl+C ends the waiting, not the loading."""
        try:
            while not self._loaded:
                for event in self._drained():
                    self._show(event)
        except KeyboardInterrupt:
            self.tell("The model is still being loaded. Questions wait for it; their sources come at once.")

    def _next_line(self) -> str | None:
        """The next line without its end; None when there is none any more."""
        while True:
            for event in self.worker.drain():  # a model that came while nobody looked
                self._show(event)
            try:
                if self._invite:
                    self._err.write("You: ")
                    self._err.flush()
                line = self._lines.readline()
            except KeyboardInterrupt:
                self.tell("", "Ctrl+D leaves.")
                continue
            if not line:
                if self._invite:
                    self.tell("")
                return None
            return line.rstrip("\r\n")

    def _obey(self, line: str) -> None:
        if not line.strip():
            return
        command = parser.parse(line)
        if command is None:
            self.run(self.session.ask(line.strip()))
            return
        deed = self.deeds.get(command.name)
        if deed is not None and deed.plain is not None:
            deed.plain(self, command.argument)
        elif command.name in every():
            self.fail(f"/{command.name} needs the app: start edge chat without --plain. /help lists what works here.")
        else:
            meant = did_you_mean(command.name, self.deeds, mark="/")
            self.fail(
                f"There is no /{command.name}{meant}; /help lists what there is. A space before the slash asks it."
            )

    def _show(self, event: events.Event) -> None:
        """Everything but the parts of an answer."""
        if isinstance(event, events.Loaded):
            self._loaded = True
            if event.error:
                self.fail(event.error)
            else:
                self.tell(f"The model {self.session.model_name} is ready.")
        elif isinstance(event, events.Error):
            self.fail(event.message)
        elif isinstance(event, events.Adapted | events.Switched):
            self.tell(event.note)
        elif isinstance(event, events.Notice):
            (self.fail if event.bad else self.tell)(event.note)
        elif isinstance(event, events.Opened):
            self._show_opened(event)
        elif isinstance(event, events.Adding):
            self._show_progress(event.progress)
        elif isinstance(event, events.Added):
            self._show_report(event)
        elif isinstance(event, events.Removed):
            self.tell(f"{event.count:,} documents removed; the files themselves stay.")

    def _show_opened(self, opened: events.Opened) -> None:
        """Where the conversation stands, so that one knows what comes next."""
        self.tell(opened.note)
        self.sources = ()
        if opened.turns:
            last = opened.turns[-1]
            self.sources = last.answer.sources
            self.say(f"The last question: {one_line(last.question.text)}", "Answer:", last.answer.text, "")

    def _show_progress(self, now: AddProgress) -> None:
        """A line for each file of a few, for each tenth of many."""
        tenth = now.done if now.total <= 10 else 10 * now.done // now.total
        if tenth != self._tenth and now.path is not None:
            self._tenth = tenth
            self.tell(f"Reading {now.done + 1} of {now.total}: {now.path}")

    def _show_report(self, added: events.Added) -> None:
        from edge_tui.rendering.add_report import format_failures, format_files, summary

        if added.stopped:
            self.tell("Stopped; what was finished is kept.")
            return
        self.tell(f"Documents: {summary(added.report)}.", *format_files(added.report))
        for sentence in format_failures(added.report.failed):
            self.fail(sentence)


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


class _Printer:
    """The parts of one answer, as lines in the order in which one wants to hear them."""

    def __init__(self, chat: PlainChat, side: str = "") -> None:
        self._chat = chat
        self._title = f"Answer, {side}:" if side else "Answer:"
        self._known: set[int] = set()
        self._held = ""
        self._speaking = False
        self._reading = False
        self._thinking = False

    def show(self, event: events.Event) -> None:
        if isinstance(event, events.Found):
            self._chat.sources = event.sources
            self._chat.worker.drawn.set()
            if event.sources and not self._known:
                self._chat.say("Nearest in your documents:", *self._lines(event.sources), "")
        elif isinstance(event, events.Reading) and not self._reading:
            self._reading = True
            self._chat.tell(f"The model reads {event.prefill.total:,} tokens.")
        elif isinstance(event, events.Further):
            self._thinking = False
            self._chat.tell(str(event))
        elif isinstance(event, events.Thinking):
            if not self._thinking:
                self._thinking = True
                self._chat.tell("The model thinks.")
        elif isinstance(event, events.Words):
            self._speak(event.text)
        elif isinstance(event, events.Finished):
            self._finish(event)
        elif isinstance(event, events.Error):
            self._end_words()

    def _speak(self, text: str) -> None:
        """Write whole sentences only: a screen reader stumbles over halves of words."""
        if not self._speaking:
            self._speaking = True
            self._chat.say(self._title)
        self._held += text
        end = max((found.end() for found in _SENTENCE.finditer(self._held)), default=0)
        self._chat.write(self._held[:end])
        self._held = self._held[end:]

    def _end_words(self) -> None:
        if self._speaking:
            self._chat.write(f"{self._held}\n\n")
            self._held, self._speaking = "", False

    def _finish(self, finished: events.Finished) -> None:
        self._end_words()
        self._chat.sources = finished.sources or self._chat.sources
        for each in finished.checked:
            marks = " ".join(f"[{number}]" for number in each.numbers) or "Not in the documents:"
            self._chat.say(f"{marks} {each.text}")
        cited = {number for each in finished.checked for number in each.numbers}
        if cited:
            named = [source for source in finished.sources if source.number in cited]
            self._chat.say("", "Sources:", *self._lines(named))
        if finished.checked:
            self._chat.say("")
        if finished.thinking:
            self._chat.tell(f"{thought(finished.thought)}; /think show tells what.")
        self._chat.tell(*(note for note in finished.notes if note != OWN_LEGEND))

    def _lines(self, sources: Sequence[Source]) -> Iterator[str]:
        """Place and words of each; the words of one that was told already are not told again."""
        for source in sources:
            if source.number not in self._known:
                self._known.add(source.number)
                yield f"[{source.number}] {one_line(source.quote)}"
                yield f"    {place(source)}"
            else:
                yield f"[{source.number}] {place(source)}"


def place(source: Source) -> str:
    """Document, page and characters, written out."""
    from edge_tui.rendering.units import short_path

    page = f", page {source.page}" if source.page is not None else ""
    return f"{short_path(source.document)}{page}, characters {source.start} to {source.end}"
