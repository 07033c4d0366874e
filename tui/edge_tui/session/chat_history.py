"""A conversation is kept as it goes, and what can be done with kept ones: open, fork, ask again, mark, write out.

No Textual here. What returns an iterator of events runs on the worker's thread; the properties may be read by all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import EdgeError, StorageError, UsageError
from edge_tui.history.conversation_log import ConversationLog
from edge_tui.history.records import ChatEntry, ChatMessage, Mark, Turn, title_of
from edge_tui.session.answer_recorder import Answerer, AnswerRecorder
from edge_tui.session.events import End, Event, Finished, Notice, Opened, Speed
from edge_tui.terminal import printable, visible_name

if TYPE_CHECKING:
    from edge.chat import Chat
    from edge_tui.history.store import Store

CUT_OFF = "This answer was cut off when its app ended; /retry asks once more"
LATEST = 0
"""In the place of a chat's id: the one that was talked in last."""


class ChatHistory:
    """Keeps what is said in the file `path`; None keeps nothing. `index` is the folder of the documents.

    `reopen` is the id of the chat that is gone on with from the start, LATEST for the last one.
    """

    def __init__(self, path: Path | None = None, *, index: str | None = None, reopen: int | None = None) -> None:
        self._log = ConversationLog(path, index)
        self.reopens = reopen
        self._chat: Chat | None = None
        self._answerer: Answerer = lambda: ("", None)
        self._undo: list[tuple[int, int, tuple[Turn, ...]] | int] = []

    @property
    def on(self) -> bool:
        """Whether chats are kept at all."""
        return self._log.path is not None

    @property
    def turns(self) -> tuple[Turn, ...]:
        """What is on the screen, the first question first."""
        return self._log.turns

    @property
    def title(self) -> str:
        """What the chat on the screen is called, empty before its first question."""
        return self._title()

    @property
    def number(self) -> int | None:
        """The id of the chat on the screen, None while nothing of it is kept."""
        return self._log.number

    def visit(self) -> Store:
        """A store of one's own for another thread. Raises StorageError."""
        return self._log.visit()

    # As it goes ---------------------------------------------------------------------------------------------

    def attach(self, chat: Chat, answerer: Answerer) -> Iterator[Event]:
        """Begin to keep what is said in `chat`."""
        self._chat, self._answerer = chat, answerer
        if self._log.attempted(lambda _store: None) and self.reopens is not None:
            system = chat.system
            try:
                yield from self.reopen(self.reopens)
            except EdgeError as error:  # documents and model are opened all the same
                yield Notice(str(error), bad=True)
            if system is not None:  # a system text that was asked for at the start counts more than the chat's own
                chat.system = system
        yield from self._log.take_notices()

    def record(self, question: str, events: Iterable[Event], instead_of: int | None = None) -> Iterator[Event]:
        """The events of an answer, each kept before it is passed on; nothing of it can be drawn before that.

        With `instead_of` the turns from that one on, counted from 1, give way to this one.
        """
        if self._chat is None:  # it is closed
            yield from events
            return
        if instead_of is not None:
            self._replace_from(instead_of)
        yield from AnswerRecorder(self._log, self._chat, self._answerer).record(question, events)

    def clear(self) -> Iterator[Event]:
        """A new conversation."""
        self._leave()
        self._log.begin()
        yield from self._log.take_notices()

    def close(self) -> None:
        self._leave()
        self._log.close()
        self._chat = None

    # With what is kept --------------------------------------------------------------------------------------

    def reopen(self, number: int = LATEST) -> Iterator[Event]:
        """Put a kept chat in the place of the one on the screen, so that it can be gone on with."""
        self._leave()
        entry = self._log.attempt(lambda store: self._found(store, number))
        if entry is None:
            yield Notice("There is no earlier chat to go on with; what you ask now begins one.")
            return
        chat = entry
        turns = tuple(self._log.attempt(lambda store: store.turns(chat.id)))
        self._log.begin(turns, entry)
        yield from self._log.take_notices()
        yield self._opened(f"Back in “{visible_name(entry.title)}” of {entry.updated[:10]}.{self._other(entry)}")

    def fork(self, at: int | None = None) -> Iterator[Event]:
        """A new chat that begins as this one does, up to turn `at`, counted from 1; this one stays as it is."""
        self._check(at)
        title = self._title()
        turns = self.turns[: at or len(self.turns)]
        self._leave()
        self._log.begin(turns, title=f"{title} (fork)")
        self._log.write(settle=True)
        yield from self._log.take_notices()
        yield self._opened(f"This is a new chat from here on; “{visible_name(title)}” stays as it is.")

    def rename(self, title: str) -> Iterator[Event]:
        number = self.number
        if number is not None:
            self._log.attempt(lambda store: store.rename(number, title))
        self._log.title = title
        yield Notice(f"This chat is called “{visible_name(title)}”.")

    def delete(self) -> Iterator[Event]:
        """Throw the chat on the screen away; the screen itself is for `clear`."""
        number, title = self.number, self._title()
        if number is None:
            yield Notice("Nothing of this chat is kept.")
            return
        self._log.attempt(lambda store: store.delete(number))
        self.deleted(number)
        yield Notice(f"“{visible_name(title)}” is deleted; /undo brings it back.")

    def deleted(self, number: int) -> None:
        """Remember that a chat was deleted, so that `undo` begins with it."""
        self._undo.append(number)

    def undo(self) -> Iterator[Event]:
        """Bring back what was deleted, or what an edit or a retry replaced last."""
        last = self._undo.pop() if self._undo else self._last_replaced()
        if isinstance(last, tuple):
            number, at, turns = last
            if number != self.number:
                raise UsageError("what was replaced belongs to another chat; open that one first, with /chats")
            self._log.cut(at, undone=True)
            self._log.bring_back(turns)
            self._log.write()
            yield self._opened("What was replaced is back.")
            return
        entry = self._log.attempt(lambda store: store.undo(last))
        if entry is None:
            yield Notice("There is nothing to bring back.")
        else:
            yield from self.reopen(entry.id)

    def mark(self, mark: Mark, at: int | None = None) -> Iterator[Event]:
        """Say of an answer, the last one unless told, that it is good or bad."""
        number, turn = self._at(at)
        self._change(number, replace(turn, answer=replace(turn.answer, mark=mark)))
        yield from self._log.take_notices()
        training = "; `edge chats export --training` takes it" if mark == "good" and self.on else ""
        yield Notice(f"Answer {number} is marked {mark}{training}.")

    def correct(self, text: str, at: int | None = None) -> Iterator[Event]:
        """Say what an answer, the last one unless told, should have been."""
        number, turn = self._at(at)
        self._change(number, replace(turn, answer=replace(turn.answer, correction=text)))
        yield from self._log.take_notices()
        yield Notice(f"Answer {number} should have been: {printable(text)}")

    def export(self, path: Path | None = None) -> Iterator[Event]:
        """Write the chat on the screen as Markdown, or as JSON where the name of the file ends so."""
        from edge_tui.history.export import as_json, as_markdown, free_name, write

        if not self.turns:
            yield Notice("There is nothing to write yet.")
            return
        entry = self._entry()
        path = path or free_name(Path.cwd(), entry.title)
        if path.exists():
            raise StorageError(f"{path} exists already; give another name")
        write(path, as_json([(entry, self.turns)]) if path.suffix == ".json" else as_markdown(entry, self.turns))
        yield Notice(f"Written to {path}")

    # Inside -------------------------------------------------------------------------------------------------

    def _replace_from(self, at: int) -> None:
        assert self._chat is not None
        self._check(at)
        number = self.number
        gone = self._log.cut(at - 1)
        if number is not None and number == self.number:
            self._undo.append((number, at - 1, gone))
        self._restore()

    def _last_replaced(self) -> tuple[int, int, tuple[Turn, ...]] | None:
        """What of this chat was replaced last, by this run of the app or one before it."""
        number = self.number
        turns = tuple(self._log.attempt(lambda store: store.last_replaced(number))) if number is not None else ()
        if number is None or not turns:
            return None
        return number, sum(turn.question.id < turns[0].question.id for turn in self.turns), turns

    def _change(self, number: int, turn: Turn) -> None:
        self._log.change(number - 1, turn)
        self._log.write(settle=True)

    def _leave(self) -> None:
        """Try once more to write what could not be written; it is told where that fails."""
        if self.on and self.turns and not self._log.write():
            what = f"What was said last in “{visible_name(self._title())}” could not be kept."
            self._log.notices.append(Notice(what, bad=True))

    def _found(self, store: Store, number: int) -> ChatEntry | None:
        if number != LATEST:
            return store.chat(number)
        return next((entry for entry in store.chats() if entry.id != self.number), None)

    def _opened(self, note: str) -> Opened:
        self._restore()
        return Opened(self.turns, note)

    def _restore(self) -> None:
        assert self._chat is not None
        self._chat.restore([message for turn in self.turns for message in turn.history])

    def _other(self, entry: ChatEntry) -> str:
        """That somebody else answers by now; and from here on the chat's own system text counts."""
        assert self._chat is not None
        self._chat.system = entry.system
        _, adapter = self._answerer()
        if entry.adapter and entry.adapter != adapter:
            name = visible_name(entry.adapter)
            return f" It was answered by {name}; /adapter {name} brings that back."
        return ""

    def _entry(self) -> ChatEntry:
        """The chat on the screen as lists show it, kept or not."""
        model, adapter = self._answerer()
        first, last = self.turns[0].question, self.turns[-1].answer
        system = self._chat.system if self._chat is not None else None
        return ChatEntry(
            self.number or 0, self._title(), first.created, last.created, model, adapter, None, system, len(self.turns)
        )

    def _title(self) -> str:
        if self._log.title:
            return self._log.title
        return title_of(self.turns[0].question.text) if self.turns else ""

    def _check(self, at: int | None) -> None:
        if not self.turns:
            raise UsageError("there is no question in this chat yet")
        if at is not None and not 1 <= at <= len(self.turns):
            raise UsageError(f"this chat has the questions 1 to {len(self.turns)}; {at} is none of them")

    def _at(self, at: int | None) -> tuple[int, Turn]:
        self._check(at)
        number = at or len(self.turns)
        return number, self.turns[number - 1]


def finished(answer: ChatMessage) -> Finished:
    """A kept answer as the event that ends one, to be drawn again."""
    notes = answer.notes or ((CUT_OFF,) if answer.state == "partial" else ())
    shown = answer.shown if answer.shown is not None else printable(answer.text)
    end: End = "stop" if answer.state == "complete" else "cancelled"
    return Finished(
        end=end,
        markdown=shown,
        sources=answer.sources,
        notes=notes,
        speed=Speed(),
        context_usage=answer.context_usage,
        thinking=printable(answer.thinking or ""),
    )
