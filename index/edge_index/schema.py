"""What stands in the SQLite file of an index."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

FORMAT = "1"

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    sha256 TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    pages INTEGER,
    text TEXT NOT NULL
);
CREATE TABLE passages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    document INTEGER NOT NULL REFERENCES documents(id) ON DELETE CASCADE,
    start INTEGER NOT NULL,
    end INTEGER NOT NULL,
    page INTEGER,
    heading TEXT,
    text TEXT NOT NULL
);
CREATE INDEX passages_by_document ON passages(document);
-- vector: float32 [dim]; spans: int32 [n, 2], sentences from the passage's start; sentences: float16 [n, dim]
CREATE TABLE vectors (
    passage INTEGER PRIMARY KEY REFERENCES passages(id) ON DELETE CASCADE,
    vector BLOB NOT NULL,
    spans BLOB NOT NULL,
    sentences BLOB NOT NULL
);
CREATE VIRTUAL TABLE passages_text USING fts5(
    text, heading, content='passages', content_rowid='id', tokenize='porter unicode61 remove_diacritics 2'
);
CREATE VIRTUAL TABLE passages_words USING fts5vocab(passages_text, row);
CREATE TRIGGER passages_insert AFTER INSERT ON passages BEGIN
    INSERT INTO passages_text(rowid, text, heading) VALUES (new.id, new.text, new.heading);
END;
CREATE TRIGGER passages_delete AFTER DELETE ON passages BEGIN
    INSERT INTO passages_text(passages_text, rowid, text, heading)
    VALUES ('delete', old.id, old.text, old.heading);
END;
"""


def statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: `executescript` would commit the transaction it runs in."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
