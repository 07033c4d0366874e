"""The conversation on the screen and its copy on the disk: written as it goes, or later when the disk says no."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from edge.errors import FileReplaced, StorageError
from edge_tui.history.records import UNDONE, ChatEntry, Damaged, Gone, Notice, Turn, now, title_of
from edge_tui.terminal import printable

if TYPE_CHECKING:
    from edge_tui.history.store import Store

Result = TypeVar("Result")


class ConversationLog:
    """`turns` are the truth of the running app; what of them is not on the disk yet is written with the next `write`.

    Without a `path` nothing is kept. `notices` collects what a person must know.
    """

    def __init__(self, path: Path | None, index: str | None) -> None:
        self.path = path
        self.turns: tuple[Turn, ...] = ()
        self.number: int | None = None
        """The chat's id, None while nothing of it is kept."""
        self.title = ""
        self.notices: list[Notice] = []
        self.failing = False
        self._index = index
        self._unwritten: set[int] = set()
        self._gone: dict[int, str | None] = {}
        """When messages were cut, None for those that were brought back, where the disk does not know yet."""
        self._about: tuple[str, str | None, str | None] = ("", None, None)
        self._store: Store | None = None

    def take_notices(self) -> Iterator[Notice]:
        """What a person must know, each once."""
        while self.notices:
            yield self.notices.pop(0)

    def begin(self, turns: tuple[Turn, ...] = (), entry: ChatEntry | None = None, *, title: str = "") -> None:
        """Another conversation: the kept one `entry`, or a new one that begins with `turns`."""
        self.turns = turns
        self.number = entry.id if entry else None
        self.title = entry.title if entry else title
        if entry is not None:
            self._about = (entry.model, entry.adapter, entry.system)
        self._unwritten = set() if entry else set(range(len(turns)))
        if entry is None:
            self._forget()

    def describe(self, model: str, adapter: str | None, system: str | None) -> None:
        """Who answers, and the system text where it is not the default."""
        self._about = (model, adapter, system)

    def add(self, turn: Turn) -> None:
        self.turns = (*self.turns, turn)
        self._unwritten.add(len(self.turns) - 1)

    def change(self, at: int, turn: Turn) -> None:
        self.turns = (*self.turns[:at], turn, *self.turns[at + 1 :])
        self._unwritten.add(at)

    def cut(self, at: int, *, undone: bool = False) -> tuple[Turn, ...]:
        """Take the turns from `at` on away; they are returned, and can be brought back for a day, unless `undone`."""
        gone = self.turns[at:]
        self.turns = self.turns[:at]
        self._unwritten = {each for each in self._unwritten if each < at}
        self._gone |= dict.fromkeys(_ids(gone), now() + (UNDONE if undone else ""))
        return gone

    def bring_back(self, turns: tuple[Turn, ...]) -> None:
        """Put turns that were cut behind those that are there."""
        self._gone |= dict.fromkeys(_ids(turns), None)
        start = len(self.turns)
        self.turns += turns
        self._unwritten |= {start + at for at, turn in enumerate(turns) if not turn.answer.id}

    def write(self, *, settle: bool = False) -> bool:
        """Bring the disk up to date; whether that was possible. What went wrong is said once, and tried again later."""
        return self.attempted(self._write) and (not settle or self.attempted(lambda store: store.settle()))

    def append(self, number: int, text: str, whole: Callable[[], None]) -> bool:
        """Write one more piece of the last answer; `whole` brings that answer up to date in memory, for the case that
        it must be written anew."""

        def do(store: Store) -> None:
            answer = self.turns[-1].answer.id
            if answer:
                store.append(answer, number, text)
            else:
                whole()
                self._write(store)

        return self.attempted(do)

    def attempted(self, do: Callable[[Store], object]) -> bool:
        """As `attempt`, with a notice in the place of the error."""
        if self.path is None:
            return False
        try:
            self.attempt(do)
        except StorageError as error:
            if not self.failing:
                note = "The chat goes on here, and is kept as soon as that works; /save writes it to a file."
                self.notices.append(Notice(f"This chat cannot be kept now: {error} {note}", bad=True))
            self.failing = True
            return False
        if self.failing:
            self.failing = False
            self.notices.append(Notice("This chat is kept again."))
        return True

    def attempt(self, do: Callable[[Store], Result]) -> Result:
        """Do something with the store, and once more where the file was damaged or the chat was removed meanwhile:
        what is on the screen then becomes a chat of its own. Raises StorageError."""
        try:
            return do(self._open())
        except Damaged as error:
            self._renew(error)
        except FileReplaced as error:
            self.close()
            self._forget()
            self._warn(f"{error}. What is on the screen is kept as a chat of its own now.")
        except Gone:
            self._forget()
        return do(self._open())

    def visit(self) -> Store:
        """A store of one's own, for another thread. Raises StorageError."""
        from edge_tui.history.store import Store

        if self.path is None:
            raise StorageError("chats are not kept (keep_chats is off); start without --no-keep to have them kept")
        return Store(self.path)

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _write(self, store: Store) -> None:
        if not self.turns or not (self._unwritten or self._gone):
            return
        model, adapter, system = self._about
        turns, number = list(self.turns), self.number
        title = self.title or title_of(printable(turns[0].question.text))
        with store.transaction():
            if number is None:
                number = store.create(title, index=self._index)
            store.replaced(self._gone)
            for at in sorted(self._unwritten):
                turns[at] = store.put(number, turns[at])
            store.describe(number, model=model, adapter=adapter, system=system)
        self.turns, self.number, self.title = tuple(turns), number, title
        self._unwritten.clear()
        self._gone.clear()

    def _open(self) -> Store:
        from edge_tui.history.store import Store

        if self._store is None:
            if self.path is None:
                raise StorageError("chats are not kept (keep_chats is off); start without --no-keep to have them kept")
            self._store = Store(self.path)
            self._store.tidy()
        return self._store

    def _renew(self, error: Damaged) -> None:
        from edge_tui.history.database import set_aside

        self.close()
        assert self.path is not None
        aside = set_aside(self.path, error.found)
        self._forget()
        if aside is None:
            self._warn(
                "The file with your chats was damaged, and another program has begun a new one; this goes on there."
            )
        else:
            self._warn(
                f"The file with your chats is damaged ({error.__cause__ or error}). It is set aside as {aside}, "
                "nothing of it was deleted; from now on chats are kept in a new one."
            )

    def _warn(self, text: str) -> None:
        self.notices.append(Notice(text, bad=True))

    def _forget(self) -> None:
        """Nothing of what is on the screen is on the disk any more."""
        self.number = None
        self._gone.clear()
        self.turns = tuple(Turn(replace(turn.question, id=0), replace(turn.answer, id=0)) for turn in self.turns)
        self._unwritten = set(range(len(self.turns)))


def _ids(turns: tuple[Turn, ...]) -> list[int]:
    return [message.id for turn in turns for message in (turn.question, turn.answer) if message.id]
