"""The store of chats: what is kept, changed, thrown away and found again. One Store for one thread at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import shorten
from types import TracebackType
from typing import Any

from edge.errors import StorageError, UsageError
from edge.text.terms import grams
from edge_tui.history import rows
from edge_tui.history.database import Database
from edge_tui.history.query import Term, excerpt, terms
from edge_tui.history.records import UNDONE, ChatEntry, ChatMessage, Gone, Hit, Turn, now

UNDO = timedelta(days=1)
"""How long a deleted chat, or an answer that was asked for again, can be brought back."""

_CONTAINING = """
SELECT chat FROM {table} JOIN messages ON messages.id = {table}.rowid WHERE {table} MATCH ? AND replaced IS NULL
UNION SELECT -rowid FROM {table} WHERE {table} MATCH ? AND rowid < 0
"""
_LITERALLY = """
SELECT chat FROM messages WHERE replaced IS NULL AND instr(text, ?) UNION SELECT id FROM chats WHERE instr(title, ?)
"""


class Store:
    """`path` is made when it is not there. Every method raises StorageError for what the disk or another process does,
    Damaged for a broken file, and UsageError for a chat that is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = Database(path)

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Looking ------------------------------------------------------------------------------------------------

    def chats(self) -> list[ChatEntry]:
        """All, the latest first."""
        found = self._read(f"SELECT {rows.ENTRY} FROM chats WHERE deleted IS NULL ORDER BY updated DESC, id DESC")
        return [rows.entry(row) for row in found]

    def chat(self, number: int) -> ChatEntry:
        found = self._read(f"SELECT {rows.ENTRY} FROM chats WHERE id = ? AND deleted IS NULL", number)
        if not found:
            raise UsageError(f"there is no chat {number}; `edge chats list` shows those that are kept")
        return rows.entry(found[0])

    def turns(self, chat: int) -> list[Turn]:
        """A chat from its first question on; an answer that was not finished with the words that it has."""
        return self._turns("chat = ? AND replaced IS NULL", chat)

    def last_replaced(self, chat: int) -> list[Turn]:
        """What of a chat was replaced last."""
        last = "(SELECT max(replaced) FROM messages WHERE chat = ? AND replaced NOT LIKE ?)"
        return self._turns(f"chat = ? AND replaced = {last}", chat, chat, f"%{UNDONE}")

    def _turns(self, where: str, *values: object) -> list[Turn]:
        found = self._read(f"SELECT id, {rows.MESSAGE} FROM messages WHERE {where} ORDER BY id", *values)
        out: list[Turn] = []
        question: ChatMessage | None = None
        for number, *columns in found:
            try:
                message = rows.message(number, tuple(columns))
            except (TypeError, ValueError, AttributeError) as error:  # of a damaged page
                raise self._db.damaged(f"message {number} cannot be read: {error}") from error
            if message.role == "user":
                question = message
            elif question is not None:
                out.append(Turn(question, replace(message, text=message.text + self._pieces(number))))
                question = None
        return out

    def search(self, typed: str) -> list[Hit]:
        """Chats whose title and messages hold all the words, the latest first; the last word may be half typed."""
        wanted = terms(typed)
        if not wanted:
            return []
        chats = set.intersection(*(self._containing(term) for term in wanted))
        best = self._best(wanted, chats)
        return [
            Hit(entry, *best.get(entry.id, ("title", excerpt(entry.title, wanted))))
            for entry in self.chats()
            if entry.id in chats
        ]

    # A conversation as it goes ------------------------------------------------------------------------------

    def create(
        self,
        title: str,
        *,
        model: str = "",
        adapter: str | None = None,
        index: str | None = None,
        system: str | None = None,
    ) -> int:
        """The id of a new chat."""
        moment = now()
        with self.transaction():
            cursor = self._db.execute(
                "INSERT INTO chats (title, created, updated, model, adapter, documents, system)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                tuple(map(rows.clean, (title, moment, moment, model, adapter, index, system))),
            )
            number = cursor.lastrowid or 0
            self._index(-number, title)
        return number

    def put(self, chat: int, turn: Turn) -> Turn:
        """Write a turn as it is now; the result carries the ids of its messages. Raises Gone where the chat, or what
        was written of the turn before, is not there any more."""
        with self.transaction():
            new = not turn.question.id
            put = Turn(self._put(chat, turn.question), self._put(chat, turn.answer))
            changed = self._db.execute(
                f"UPDATE chats SET updated = ?{', deleted = NULL' if new else ''} WHERE id = ?", (now(), chat)
            )
            if not changed.rowcount:
                raise Gone(f"chat {chat} was removed by another program")
        return put

    def describe(self, chat: int, *, model: str, adapter: str | None, system: str | None) -> None:
        """Who answers by now, and what it is told."""
        self._write(
            "UPDATE chats SET model = ?, adapter = ?, system = ? WHERE id = ?",
            *map(rows.clean, (model, adapter, system)),
            chat,
        )

    def append(self, answer: int, number: int, text: str) -> None:
        """One more piece of an answer; it survives a kill from here on. `number` counts from 0."""
        self._write("INSERT INTO pieces VALUES (?, ?, ?)", answer, number, rows.clean(text))

    def settle(self) -> None:
        """Have everything that was written so far on the disk itself, so that it survives a power cut, too."""
        with self._db.writing():
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")

    # Changing -----------------------------------------------------------------------------------------------

    def rename(self, chat: int, title: str) -> None:
        if not title.strip():
            raise UsageError("a chat needs a name")
        title = shorten(title, 200, placeholder=" …")
        with self.transaction():
            self.chat(chat)
            self._db.execute("UPDATE chats SET title = ? WHERE id = ?", (rows.clean(title), chat))
            self._index(-chat, title)

    def delete(self, chat: int) -> None:
        """Take a chat out of sight; for a day `undo` brings it back."""
        self.chat(chat)
        self._write("UPDATE chats SET deleted = ? WHERE id = ?", now(), chat)

    def undo(self, chat: int | None = None) -> ChatEntry | None:
        """Bring back `chat`, or the one that was deleted last; None where nothing is to be brought back."""
        found = self._read(
            "SELECT id FROM chats WHERE deleted IS NOT NULL AND id = ifnull(?, id) ORDER BY deleted DESC LIMIT 1", chat
        )
        if not found:
            return None
        self._write("UPDATE chats SET deleted = NULL WHERE id = ?", found[0][0])
        return self.chat(found[0][0])

    def remove(self, chats: Iterable[int]) -> None:
        """Delete chats for good: their words do not stay in free pages either, unless another process is in the way."""
        with self.transaction():
            for number in chats:
                self._db.execute("DELETE FROM chats WHERE id = ?", (number,))
        with suppress(StorageError), self._db.writing():
            for table in ("words", "starts", "pairs"):
                self._db.execute(f"INSERT INTO {table}({table}) VALUES ('optimize')")
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def replaced(self, messages: Mapping[int, str | None]) -> None:
        """Take messages out of their chat because others come in their place, by id the time (`now`) at which that
        was, with UNDONE behind it where they do not come back; None puts a message back."""
        with self.transaction():
            for number, moment in messages.items():
                self._db.execute("UPDATE messages SET replaced = ? WHERE id = ?", (moment, number))

    def tidy(self) -> None:
        """Give answers that a kill cut off their text, and forget what cannot be undone any more.

        An answer that another process is writing loses nothing by it: later pieces are added to the text.
        """
        past = (datetime.now(UTC) - UNDO).isoformat(timespec="microseconds").replace("+00:00", "Z")
        old = self._read(
            "SELECT 1 FROM chats WHERE deleted < ? UNION SELECT 1 FROM messages WHERE replaced < ?", past, past
        )
        cut = self._read("SELECT DISTINCT message FROM pieces")
        if not old and not cut:
            return
        with self.transaction():
            self._db.execute("DELETE FROM chats WHERE deleted < ?", (past,))
            self._db.execute("DELETE FROM messages WHERE replaced < ?", (past,))
            for (number,) in cut:
                for (text,) in self._db.execute("SELECT text FROM messages WHERE id = ?", (number,)).fetchall():
                    text += self._pieces(number)
                    self._db.execute("UPDATE messages SET text = ? WHERE id = ?", (text, number))
                    self._db.execute("DELETE FROM pieces WHERE message = ?", (number,))
                    self._index(number, text)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Several changes as one; those inside one that is open already belong to it."""
        if self._db.in_transaction:
            yield
        else:
            with self._db.transaction():
                yield

    # Inside -------------------------------------------------------------------------------------------------

    def _pieces(self, message: int) -> str:
        found = self._read("SELECT text FROM pieces WHERE message = ? ORDER BY number", message)
        return "".join(text for (text,) in found)

    def _put(self, chat: int, message: ChatMessage) -> ChatMessage:
        values = rows.columns(message)
        if message.id:
            pairs = ", ".join(f"{name} = ?" for name in rows.MESSAGE.split(", "))
            changed = self._db.execute(
                f"UPDATE messages SET {pairs} WHERE id = ? AND chat = ?", (*values, message.id, chat)
            )
            if not changed.rowcount:
                raise Gone(f"a message of chat {chat} was removed by another program")
            self._db.execute("DELETE FROM pieces WHERE message = ?", (message.id,))
        else:
            marks = ", ".join("?" * len(values))
            cursor = self._db.execute(
                f"INSERT INTO messages (chat, {rows.MESSAGE}) VALUES (?, {marks})", (chat, *values)
            )
            message = replace(message, id=cursor.lastrowid or 0)
        self._index(message.id, "\n".join(filter(None, (message.text, message.correction))))
        return message

    def _index(self, row: int, text: str) -> None:
        text = rows.clean(text) or ""
        pairs = grams(text)
        self._db.execute("DELETE FROM texts WHERE id = ?", (row,))
        self._db.execute("INSERT INTO texts VALUES (?, ?)", (row, text))
        if pairs:
            self._db.execute("INSERT INTO pairs (rowid, grams) VALUES (?, ?)", (row, pairs))

    def _containing(self, term: Term) -> set[int]:
        """Chats in which a word stands somewhere."""
        queries = [(_CONTAINING.format(table=table), match) for table, match in term.matches]
        found = [row for sql, value in queries or [(_LITERALLY, term.literal)] for row in self._read(sql, value, value)]
        return {number for (number,) in found}

    def _best(self, wanted: Sequence[Term], chats: set[int]) -> dict[int, tuple[str, str]]:
        """Of each chat the role and an excerpt of the message that has most of the words."""
        best: dict[int, tuple[str, str]] = {}
        for table in ("words", "starts", "pairs"):
            match = " OR ".join(query for term in wanted for name, query in term.matches if name == table)
            if not match:
                continue
            found = self._read(
                f"SELECT messages.id, chat FROM {table} JOIN messages ON messages.id = {table}.rowid"
                f" WHERE {table} MATCH ? AND replaced IS NULL ORDER BY {table}.rank LIMIT 5000",
                match,
            )
            for number, chat in found:
                if chat in chats and chat not in best:
                    [(role, text, correction)] = self._read(
                        "SELECT role, text, correction FROM messages WHERE id = ?", number
                    )
                    best[chat] = (role, excerpt(f"{text}\n{correction or ''}", tuple(wanted)))
        return best

    def _read(self, sql: str, *values: object) -> list[Any]:
        with self._db.translated():
            return self._db.execute(sql, values).fetchall()

    def _write(self, sql: str, *values: object) -> None:
        with self._db.writing():
            self._db.execute(sql, values)
