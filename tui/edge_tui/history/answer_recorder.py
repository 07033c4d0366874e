"""An answer is noted down as it comes: nothing of it can be drawn before it is on the disk. No Textual here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from edge.answer import Delta
from edge_tui.history.conversation_log import Record
from edge_tui.history.records import ChatMessage, State, Turn, now
from edge_tui.session.events import Event, Finished, Found, Trouble

if TYPE_CHECKING:
    from edge.chat import Chat


class Noting:
    """Writes the questions and answers of a chat into `record`, one after another, on the worker's thread."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._chat: Chat | None = None
        self._who: Callable[[], tuple[str, str | None]] = lambda: ("", None)
        self._pieces: list[str] = []
        self._before = 0
        self._whole = True
        self._answer: Delta | None = None

    def attach(self, chat: Chat, who: Callable[[], tuple[str, str | None]]) -> None:
        """Note down what is said in `chat`; `who` tells the names of model and adapter."""
        self._chat, self._who = chat, who

    def told(self, question: str, events: Iterable[Event]) -> Iterator[Event]:
        """The events of an answer, each noted before it is passed on."""
        self._begin(question)
        yield from self._record.told()
        try:
            for event in events:
                self._note(event)
                yield from self._record.told()
                yield event
        finally:
            _close(events)
            if self._record.turns and self._record.turns[-1].answer.state == "partial":
                self._sync()

    def deltas(self, stream: Iterable[Delta]) -> Iterator[Delta]:
        """What the chat streams, each piece of text noted before it is passed on."""
        try:
            for delta in stream:
                if delta.text:
                    self._piece(delta.text)
                if delta.answer is not None:
                    self._answer = delta
                yield delta
        finally:
            _close(stream)

    def _begin(self, question: str) -> None:
        assert self._chat is not None
        self._pieces, self._answer = [], None
        self._before = len(self._chat.history)
        self._about()
        moment = now()
        asked = ChatMessage("user", question, moment)
        self._record.add(Turn(asked, ChatMessage("assistant", "", moment, state="partial")))
        self._whole = self._record.write()

    def _piece(self, text: str) -> None:
        self._pieces.append(text)
        if len(self._pieces) == 1:
            self._sync(sent=True)
            self._whole = self._record.write()
        elif self._whole:  # else the disk is asked again at the end: a stream is not held up by every piece
            self._whole = self._record.append(len(self._pieces), text, self._sync)

    def _sync(self, *, sent: bool = False) -> None:
        """Bring the answer in hand up to date in memory, with `sent` what it answers, too."""
        assert self._chat is not None
        turn = self._record.turns[-1]
        question = turn.question
        if sent:
            first, last = self._chat.prompt[0], self._chat.prompt[-1]
            question = replace(question, sent=last.content, system=first.content if first.role == "system" else None)
        model, adapter = self._who()
        answer = replace(turn.answer, text="".join(self._pieces), model=model, adapter=adapter)
        self._about()
        self._record.change(len(self._record.turns) - 1, Turn(question, answer))

    def _note(self, event: Event) -> None:
        turn = self._record.turns[-1]
        at = len(self._record.turns) - 1
        if isinstance(event, Found):
            answer = replace(turn.answer, sources=event.sources, found=len(event.sources))
            self._record.change(at, replace(turn, answer=answer))
            self._whole = self._record.write()
        elif isinstance(event, Finished):
            self._end("cancelled" if event.end == "cancelled" else "complete", event.notes, event)
        elif isinstance(event, Trouble):
            self._end("failed", (event.message,))

    def _end(self, state: State, notes: tuple[str, ...], finished: Finished | None = None) -> None:
        assert self._chat is not None
        self._sync()
        turn = self._record.turns[-1]
        question, answer = turn.question, turn.answer
        if len(self._chat.history) > self._before:
            said, reply = self._chat.history[-2:]
            question, answer = replace(question, sent=said.content), replace(answer, text=reply.content)
        else:
            question = replace(question, sent=None)
        told = self._answer.answer if self._answer is not None else None
        thinking = told.thinking if told is not None else finished.thinking if finished is not None else ""
        answer = replace(
            answer,
            state=state,
            notes=notes,
            shown=finished.markdown if finished else None,
            sources=(finished.sources if finished else ()) or answer.sources,
            usage=told.usage if told else None,
            context_usage=told.context_usage if told else None,
            thinking=thinking or None,
        )
        self._record.change(len(self._record.turns) - 1, Turn(question, answer))
        self._record.write(settle=True)

    def _about(self) -> None:
        model, adapter = self._who()
        self._record.about(model, adapter, self._chat.system if self._chat is not None else None)


def _close(iterator: object) -> None:
    close = getattr(iterator, "close", None)
    if close is not None:
        close()
