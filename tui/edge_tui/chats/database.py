"""The SQLite file of all chats: its schema, how it is opened and written, its errors in sentences for people."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from edge.errors import StorageError
from edge.paths import ensure_dir
from edge_tui.chats.records import Damaged, Gone

VERSION = 1

_BUSY = 2.0
"""Seconds to wait for another process that writes. A word of an answer waits no longer."""

# An answer that is being written has its words in `pieces`; they are joined to its text when it ends, or when the
# file is opened the next time. `texts` is what is searched: the row of a message has its id, the row of a chat's title
# has the chat's id below zero. `words` are stems, `starts` words as they stand, for one that is half typed: the stem
# of "bicy" begins no stem. `pairs` are those of neighbouring characters, see edge.words.grams.
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


def connect(path: Path) -> sqlite3.Connection:
    """The file's connection, for one thread at a time; the file is made when there is none.

    Raises Damaged, and StorageError for everything else.
    """
    ensure_dir(path.parent)
    with translated(path):
        # A new file belongs to its owner alone: people tell a model what they would not tell everybody.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(path, timeout=_BUSY, check_same_thread=False, isolation_level=None)
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def set_aside(path: Path) -> Path:
    """Give a damaged file another name, so that a new one can be made; nothing of it is deleted."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    aside = path.with_name(f"{path.stem}.damaged-{stamp}{path.suffix}")
    count = 2
    while aside.exists():
        aside = path.with_name(f"{path.stem}.damaged-{stamp}-{count}{path.suffix}")
        count += 1
    with translated(path):
        for end in ("-wal", "-shm", ""):
            beside = path.with_name(path.name + end)
            if beside.exists():
                beside.rename(aside.with_name(aside.name + end))
    return aside


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """All or nothing, also when the process is killed in the middle."""
    with translated(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a full disk may have ended it already
                connection.execute("ROLLBACK")
            raise


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Errors of SQLite and of the disk as StorageError, which names the file and says what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if any(sign in str(error) for sign in ("no such", "vtable", "malformed")):  # a schema that is not ours
            raise Damaged(f"{path} is damaged ({error}); the app sets it aside and begins a new one") from error
        raise StorageError(_operational(path, str(error))) from error
    except sqlite3.IntegrityError as error:
        raise Gone(f"what was to be written to in {path} was removed by another program") from error
    except sqlite3.DatabaseError as error:
        raise Damaged(f"{path} is damaged ({error}); the app sets it aside and begins a new one") from error
    except OSError as error:
        raise StorageError(_operational(path, error.strerror or str(error))) from error


def _operational(path: Path, text: str) -> str:
    if "locked" in text:
        return f"{path} is locked by another program; close the other one, or wait until it is done."
    if "full" in text or "disk I/O" in text or "No space" in text:
        return f"there is no room for {path} ({text}); free some space on that disk."
    return f"{path} cannot be used ({text}); make its folder writable, or move EDGE_HOME to one that is."


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA foreign_keys=ON")
    _keep_a_log(connection)
    # A killed process loses nothing that was committed; a power cut may take the last words of an answer that is
    # being written. What has ended is synchronised, see Store.settle.
    connection.execute("PRAGMA synchronous=NORMAL")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        with transaction(connection, path):
            (version,) = connection.execute("PRAGMA user_version").fetchone()  # another process may have been faster
            if version == 0:
                for statement in _statements(_SCHEMA):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version={VERSION}")
    elif version > VERSION:
        raise StorageError(f"{path} was written by a newer version of edge; update edge to read the chats in it")
    connection.execute("SELECT max(id) FROM messages").fetchone()


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


def _statements(script: str) -> Iterator[str]:
    """One by one: `executescript` would commit the transaction that it runs in."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
