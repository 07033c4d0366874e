"""An answer is written down as it comes: nothing of it can be drawn before it is on the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from edge_tui.history.conversation_log import ConversationLog
from edge_tui.history.records import ChatMessage, State, Turn, now
from edge_tui.session.events import Error, Event, Finished, Found, Words

if TYPE_CHECKING:
    from edge.chat import Chat

Answerer = Callable[[], tuple[str, str | None]]
"""Names the model and the adapter that answer now."""


class AnswerRecorder:
    """Writes one question and its answer into `log`, on the worker's thread."""

    def __init__(self, log: ConversationLog, chat: Chat, answerer: Answerer) -> None:
        self._log = log
        self._chat = chat
        self._answerer = answerer
        self._pieces: list[str] = []
        self._before = len(chat.history)
        self._whole = True
        """Whether the disk has everything so far."""

    def record(self, question: str, events: Iterable[Event]) -> Iterator[Event]:
        """The events of the answer, each written down before it is passed on."""
        self._begin(question)
        yield from self._log.take_notices()
        try:
            for event in events:
                self._take(event)
                yield from self._log.take_notices()
                yield event
        finally:
            close = getattr(events, "close", None)
            if close is not None:
                close()
            if self._log.turns and self._log.turns[-1].answer.state == "partial":
                self._sync()

    def _begin(self, question: str) -> None:
        self._describe()
        moment = now()
        asked = ChatMessage("user", question, moment)
        self._log.add(Turn(asked, ChatMessage("assistant", "", moment, state="partial")))
        self._whole = self._log.write()

    def _take(self, event: Event) -> None:
        if isinstance(event, Words):
            self._append(event.written or event.text)
        elif isinstance(event, Found):
            turn = self._log.turns[-1]
            self._change(replace(turn, answer=replace(turn.answer, sources=event.sources, found=len(event.sources))))
            self._whole = self._log.write()
        elif isinstance(event, Finished):
            self._end("cancelled" if event.end == "cancelled" else "complete", event.notes, event)
        elif isinstance(event, Error):
            self._end("failed", (event.message,))

    def _append(self, text: str) -> None:
        self._pieces.append(text)
        if len(self._pieces) == 1:
            self._sync(sent=True)
            self._whole = self._log.write()
        elif self._whole:  # else the disk is asked again at the end: a stream is not held up by every piece
            self._whole = self._log.append(len(self._pieces), text, self._sync)

    def _sync(self, *, sent: bool = False) -> None:
        """Bring the answer in hand up to date in memory, with `sent` what it answers, too."""
        turn = self._log.turns[-1]
        question = turn.question
        if sent:
            first, last = self._chat.prompt[0], self._chat.prompt[-1]
            question = replace(question, sent=last.content, system=first.content if first.role == "system" else None)
        model, adapter = self._answerer()
        answer = replace(turn.answer, text="".join(self._pieces), model=model, adapter=adapter)
        self._describe()
        self._change(Turn(question, answer))

    def _end(self, state: State, notes: tuple[str, ...], finished: Finished | None = None) -> None:
        self._sync()
        turn = self._log.turns[-1]
        question, answer = turn.question, turn.answer
        if len(self._chat.history) > self._before:
            said, reply = self._chat.history[-2:]
            question, answer = replace(question, sent=said.content), replace(answer, text=reply.content)
        else:
            question = replace(question, sent=None)
        whole = finished.answer if finished else None
        thinking = whole.thinking if whole else finished.thinking if finished else ""
        answer = replace(
            answer,
            state=state,
            notes=notes,
            shown=finished.markdown if finished else None,
            sources=(finished.sources if finished else ()) or answer.sources,
            usage=whole.usage if whole else None,
            context_usage=whole.context_usage if whole else None,
            thinking=thinking or None,
        )
        self._change(Turn(question, answer))
        self._log.write(settle=True)

    def _change(self, turn: Turn) -> None:
        self._log.change(len(self._log.turns) - 1, turn)

    def _describe(self) -> None:
        self._log.describe(*self._answerer(), self._chat.system)
