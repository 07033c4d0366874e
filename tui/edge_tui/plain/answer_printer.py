"""The parts of one answer, as lines in the order in which one wants to hear them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from edge_tui.plain.lines import Lines
from edge_tui.rendering.answer import OWN_LEGEND, thought
from edge_tui.rendering.sentence_marks import one_line
from edge_tui.rendering.sources import Source
from edge_tui.rendering.units import short_path
from edge_tui.session import events

_SENTENCE = re.compile(r"""[.!?…。！？۔؟]["”’')\]*_]*\s|\n""")


class AnswerPrinter:
    """`side` is whose answer it is, in a comparison."""

    def __init__(self, lines: Lines, side: str = "") -> None:
        self._lines = lines
        self._title = f"Answer, {side}:" if side else "Answer:"
        self._known: set[int] = set()
        self._unfinished = ""
        self._speaking = False
        self._reading = False
        self._thinking = False

    def show(self, event: events.Event) -> None:
        lines = self._lines
        if isinstance(event, events.Found):
            if event.sources and not self._known:
                lines.say("Nearest in your documents:", *self._sources(event.sources), "")
        elif isinstance(event, events.Prefilling) and not self._reading:
            self._reading = True
            lines.status(f"The model reads {event.prefill.total:,} tokens.")
        elif isinstance(event, events.FurtherPassages):
            self._thinking = False
            lines.status(str(event))
        elif isinstance(event, events.Thinking):
            if not self._thinking:
                self._thinking = True
                lines.status("The model thinks.")
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
            self._lines.say(self._title)
        self._unfinished += text
        end = max((found.end() for found in _SENTENCE.finditer(self._unfinished)), default=0)
        self._lines.write(self._unfinished[:end])
        self._unfinished = self._unfinished[end:]

    def _end_words(self) -> None:
        if self._speaking:
            self._lines.write(f"{self._unfinished}\n\n")
            self._unfinished, self._speaking = "", False

    def _finish(self, finished: events.Finished) -> None:
        self._end_words()
        for each in finished.checked:
            marks = " ".join(f"[{number}]" for number in each.numbers) or "Not in the documents:"
            self._lines.say(f"{marks} {each.text}")
        cited = {number for each in finished.checked for number in each.numbers}
        if cited:
            named = [source for source in finished.sources if source.number in cited]
            self._lines.say("", "Sources:", *self._sources(named))
        if finished.checked:
            self._lines.say("")
        if finished.thinking:
            self._lines.status(f"{thought(finished.thought)}; /think show tells what.")
        self._lines.status(*(note for note in finished.notes if note != OWN_LEGEND))

    def _sources(self, sources: Sequence[Source]) -> Iterator[str]:
        """Place and words of each; the words of one that was shown already are not shown again."""
        for source in sources:
            if source.number not in self._known:
                self._known.add(source.number)
                yield f"[{source.number}] {one_line(source.quote)}"
                yield f"    {place(source)}"
            else:
                yield f"[{source.number}] {place(source)}"


def place(source: Source) -> str:
    """Document, page and characters, written out."""
    page = f", page {source.page}" if source.page is not None else ""
    return f"{short_path(source.document)}{page}, characters {source.start} to {source.end}"
