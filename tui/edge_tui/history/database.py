"""The SQLite file of all chats: its schema, how it is opened and written, its errors in sentences for people."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from edge.errors import StorageError
from edge.system.paths import ensure_dir
from edge.system.sqlite import Identity, SharedFile, explain, identity_of, statements
from edge_tui.history.records import Damaged, Gone

_BUSY = 2.0
"""Seconds to wait for another process that writes. A word of an answer waits no longer."""

# An answer that is being written has its words in `pieces`; they are joined to its text when it ends, or when the
# file is opened the next time. `texts` is what is searched: the row of a message has its id, the row of a chat's title
# has the chat's id below zero. `words` are stems, `starts` words as they stand, for one that is half typed: the stem
# of "bicy" begins no stem. `pairs` are those of neighbouring characters, see edge.text.terms.grams.
# deleted, replaced: when, while that can still be undone.
_SCHEMA = """
CREATE TABLE chats (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    title TEXT NOT NULL,
    created TEXT NOT NULL,
    updated TEXT NOT NULL,
    model TEXT NOT NULL,
    adapter TEXT,
    documents TEXT,
    system TEXT,
    deleted TEXT
);
CREATE INDEX chats_by_time ON chats(updated);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    chat INTEGER NOT NULL REFERENCES chats(id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    text TEXT NOT NULL,
    created TEXT NOT NULL,
    state TEXT NOT NULL,
    sent TEXT,
    system TEXT,
    model TEXT NOT NULL,
    adapter TEXT,
    shown TEXT,
    sources TEXT NOT NULL,
    found INTEGER NOT NULL,
    notes TEXT NOT NULL,
    usage TEXT,
    ledger TEXT,
    mark TEXT,
    correction TEXT,
    replaced TEXT
);
CREATE INDEX messages_by_chat ON messages(chat);
CREATE TABLE pieces (
    message INTEGER NOT NULL REFERENCES messages(id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (message, number)
) WITHOUT ROWID;
CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE VIRTUAL TABLE words USING fts5(
    text, content='texts', content_rowid='id', tokenize='porter unicode61 remove_diacritics 2'
);
CREATE VIRTUAL TABLE starts USING fts5(
    text, content='texts', content_rowid='id', tokenize='unicode61 remove_diacritics 2'
);
CREATE VIRTUAL TABLE pairs USING fts5(
    grams, tokenize="unicode61 remove_diacritics 0 categories 'L* N* Co M*'"
);
CREATE TRIGGER texts_insert AFTER INSERT ON texts BEGIN
    INSERT INTO words(rowid, text) VALUES (new.id, new.text);
    INSERT INTO starts(rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER texts_delete AFTER DELETE ON texts BEGIN
    INSERT INTO words(words, rowid, text) VALUES ('delete', old.id, old.text);
    INSERT INTO starts(starts, rowid, text) VALUES ('delete', old.id, old.text);
    DELETE FROM pairs WHERE rowid = old.id;
END;
CREATE TRIGGER messages_delete AFTER DELETE ON messages BEGIN
    DELETE FROM texts WHERE id = old.id;
END;
CREATE TRIGGER chats_delete AFTER DELETE ON chats BEGIN
    DELETE FROM texts WHERE id = -old.id;
END;
"""

_MIGRATIONS = ("ALTER TABLE messages ADD COLUMN thinking TEXT",)
"""From each version to the next. The schema above is version 1 and stays so: a new file comes the way of an old one."""

VERSION = 1 + len(_MIGRATIONS)


class Database:
    """The file's connection, for one thread at a time; the file is made when there is none.

    Raises Damaged, FileReplaced, and StorageError for everything else.
    """

    def __init__(self, path: Path) -> None:
        ensure_dir(path.parent)
        # A new file belongs to its owner alone: people tell a model what they would not tell everybody.
        self._file = SharedFile(path, wait=_BUSY, mode=0o600)
        # Whoever opens it while another process sets it aside could come by the log of one file and the pages of
        # another.
        with self.translated(), self._file.locked():
            self._file.create()
            self._connection = sqlite3.connect(path, timeout=_BUSY, check_same_thread=False, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise
            self._file.opened()
        self.execute = self._connection.execute

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def close(self) -> None:
        self._file.close(self._connection)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, also when the process is killed in the middle."""
        with self.writing():
            self.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.execute("COMMIT")
            except BaseException:
                if self.in_transaction:  # a full disk may have ended it already
                    self.execute("ROLLBACK")
                raise

    @contextmanager
    def writing(self) -> Iterator[None]:
        """For what commits, or writes the log into the file."""
        with self.translated(), self._file.writing(self._connection):
            yield

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Errors of SQLite and of the disk as StorageError, which names the file and says what to do."""
        try:
            yield
        except sqlite3.IntegrityError as error:
            raise Gone(f"what was to be written to in {self._file.path} was removed by another program") from error
        except (sqlite3.Error, TimeoutError) as error:
            kind, sentence = explain(self._file.path, error)
            if kind in ("damaged", "foreign"):
                advice = "the app sets it aside and begins a new one"
                raise Damaged(f"{sentence}; {advice}", self._file.identity) from error
            raise StorageError(sentence) from error

    def damaged(self, what: str) -> Damaged:
        return Damaged(f"{self._file.path} is damaged ({what})", self._file.identity)

    def _prepare(self) -> None:
        connection = self._connection
        connection.execute("PRAGMA foreign_keys=ON")
        _keep_a_log(connection)
        # A killed process loses nothing that was committed; a power cut may take the last words of an answer that is
        # being written. What has ended is synchronised, see Store.settle.
        connection.execute("PRAGMA synchronous=NORMAL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version < VERSION:
            connection.execute("BEGIN IMMEDIATE")
            for statement in _upgrade(version):
                connection.execute(statement)
            connection.execute("COMMIT")  # or, where it does not come to that, all is as before once it is closed
        elif version > VERSION:
            path = self._file.path
            raise StorageError(f"{path} was written by a newer version of edge; update edge to read the chats in it")
        connection.execute("SELECT max(id) FROM messages").fetchone()


def set_aside(path: Path, found: Identity | None = None) -> Path | None:
    """Give a damaged file another name, so that a new one can be made; nothing of it is deleted.

    None where `found`, what was damaged, is not at that path any more: another process was faster.
    """
    file = SharedFile(path, wait=_BUSY, mode=0o600)
    try:
        with file.locked():
            if found not in (None, identity_of(path)):
                return None
            aside = _free_name(path)
            for end in ("-wal", "-shm", ""):
                with suppress(FileNotFoundError):
                    path.with_name(path.name + end).rename(aside.with_name(aside.name + end))
    except OSError as error:
        raise StorageError(explain(path, error)[1]) from error
    return aside


def _free_name(path: Path) -> Path:
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    aside = path.with_name(f"{path.stem}.damaged-{stamp}{path.suffix}")
    count = 2
    while aside.exists():
        aside = path.with_name(f"{path.stem}.damaged-{stamp}-{count}{path.suffix}")
        count += 1
    return aside


def _keep_a_log(connection: sqlite3.Connection) -> None:
    """Readers beside a writer. SQLite does not wait for others when it changes to this mode."""
    for pause in (*[0.05] * 40, None):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or pause is None:
                raise
            time.sleep(pause)


def _upgrade(version: int) -> Iterator[str]:
    """What brings a file of that version, 0 for an empty one, up to date."""
    if version == 0:
        yield from statements(_SCHEMA)
    yield from _MIGRATIONS[max(0, version - 1) :]
    yield f"PRAGMA user_version={VERSION}"
