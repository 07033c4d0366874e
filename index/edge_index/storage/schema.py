"""What stands in the SQLite file of an index."""

from __future__ import annotations

from collections.abc import Iterator

from edge.system.sqlite import statements

FORMAT = "3"

_TO_DOCUMENTS = " REFERENCES documents(id) ON DELETE CASCADE"

REBUILD_PREFIX = "redo_"
"""Before the names of the tables that wait to take the place of the index's own."""

# `sections` is JSON, rows of [start, end, heading, page]: with `text` and `by_line` all that a new cut needs.
# `text` stands last, so that a look at the other columns reads none of it.
DOCUMENTS = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    sha256 TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    characters INTEGER NOT NULL,
    pages INTEGER,
    by_line INTEGER NOT NULL,
    cut TEXT NOT NULL,
    crc INTEGER NOT NULL,
    sections TEXT NOT NULL,
    text TEXT NOT NULL
);
"""

# A table of its own, so that it is read without the texts. `metadata` is a JSON object; `has_file` is 0 for a text that
# was given without one.
_ATTRIBUTES = """
CREATE TABLE attributes (
    document INTEGER PRIMARY KEY REFERENCES documents(id) ON DELETE CASCADE,
    metadata TEXT NOT NULL,
    has_file INTEGER NOT NULL
);
"""

MIGRATIONS = {"2": _ATTRIBUTES}
"""What an index of each older format lacks, the oldest first: every step leads to the next format."""

# passages_grams: pairs of neighbouring characters of scripts that put no spaces between words; few passages have any.
# hash: of the text and of its sentences' places, by which a vector is found again.
# vector: float32 [dim]; spans: int32 [n, 2], sentences from the passage's start; sentences: float16 [n, dim];
# crc: of the three. spare: vectors that wait for their passage, or for the rest of a long document.
_PASSAGES = """
CREATE TABLE {p}passages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    document INTEGER NOT NULL REFERENCES documents(id) ON DELETE CASCADE,
    start INTEGER NOT NULL,
    end INTEGER NOT NULL,
    page INTEGER,
    heading TEXT,
    hash BLOB NOT NULL,
    text TEXT NOT NULL
);
CREATE TABLE {p}vectors (
    passage INTEGER PRIMARY KEY REFERENCES {p}passages(id) ON DELETE CASCADE,
    vector BLOB NOT NULL,
    spans BLOB NOT NULL,
    sentences BLOB NOT NULL,
    crc INTEGER NOT NULL
);
CREATE TABLE {p}spare (hash BLOB PRIMARY KEY, vector BLOB NOT NULL, sentences BLOB NOT NULL);
CREATE VIRTUAL TABLE {p}passages_text USING fts5(
    text, heading, content='passages', content_rowid='id', tokenize='porter unicode61 remove_diacritics 2'
);
CREATE VIRTUAL TABLE {p}passages_grams USING fts5(
    grams, detail=none, tokenize="unicode61 remove_diacritics 0 categories 'L* N* Co M*'"
);
"""

_PASSAGE_INDEXES = """
CREATE INDEX {p}passages_by_document ON {p}passages(document, start);
CREATE INDEX {p}passages_by_hash ON {p}passages(hash);
CREATE TRIGGER {p}passages_insert AFTER INSERT ON {p}passages BEGIN
    INSERT INTO {p}passages_text(rowid, text, heading) VALUES (new.id, new.text, new.heading);
END;
CREATE TRIGGER {p}passages_delete AFTER DELETE ON {p}passages BEGIN
    INSERT INTO {p}passages_text({p}passages_text, rowid, text, heading)
    VALUES ('delete', old.id, old.text, old.heading);
    DELETE FROM {p}passages_grams WHERE rowid = old.id;
END;
CREATE TRIGGER {p}passages_update AFTER UPDATE OF text, heading ON {p}passages BEGIN
    INSERT INTO {p}passages_text({p}passages_text, rowid, text, heading)
    VALUES ('delete', old.id, old.text, old.heading);
    INSERT INTO {p}passages_text(rowid, text, heading) VALUES (new.id, new.text, new.heading);
END;
"""

_WORDS = """
CREATE VIRTUAL TABLE passages_words USING fts5vocab(passages_text, row);
CREATE VIRTUAL TABLE passages_pairs USING fts5vocab(passages_grams, row);
"""

# What is done of a rebuild; a document that changes meanwhile is to be done again.
_REBUILD = """
CREATE TABLE redo_documents (
    document INTEGER PRIMARY KEY REFERENCES documents(id) ON DELETE CASCADE
);
CREATE TRIGGER redo_again AFTER UPDATE OF text ON documents BEGIN
    DELETE FROM redo_documents WHERE document = new.id;
    DELETE FROM redo_passages WHERE document = new.id;
END;
"""

_DROP_REBUILD = """
DROP TRIGGER redo_again;
DROP TABLE redo_documents;
DROP TABLE redo_spare;
DROP TABLE redo_vectors;
DROP TABLE redo_passages;
DROP TABLE redo_passages_text;
DROP TABLE redo_passages_grams;
"""

# Ours by ours they take the place of the old ones; what is only named after them is made again.
_SWITCH = """
DROP TRIGGER redo_again;
DROP TABLE redo_documents;
DROP TABLE redo_spare;
DROP TABLE spare;
DROP TABLE vectors;
DROP TABLE passages;
DROP TABLE passages_text;
DROP TABLE passages_grams;
DROP TRIGGER redo_passages_insert;
DROP TRIGGER redo_passages_delete;
DROP TRIGGER redo_passages_update;
DROP INDEX redo_passages_by_document;
DROP INDEX redo_passages_by_hash;
ALTER TABLE redo_passages_text RENAME TO passages_text;
ALTER TABLE redo_passages_grams RENAME TO passages_grams;
ALTER TABLE redo_passages RENAME TO passages;
ALTER TABLE redo_vectors RENAME TO vectors;
CREATE TABLE spare (hash BLOB PRIMARY KEY, vector BLOB NOT NULL, sentences BLOB NOT NULL);
"""


def create() -> Iterator[str]:
    """A new index, empty."""
    return statements(DOCUMENTS + _ATTRIBUTES + (_PASSAGES + _PASSAGE_INDEXES).format(p="") + _WORDS)


def migrate(version: str) -> Iterator[str]:
    """From `version`, a key of `MIGRATIONS`, to `FORMAT`."""
    return statements("".join(script for older, script in MIGRATIONS.items() if int(older) >= int(version)))


def imitate(version: str) -> Iterator[str]:
    """The same for a file that cannot be written: empty tables that stand in memory, as long as it is open."""
    for statement in migrate(version):
        yield statement.replace("CREATE TABLE", "CREATE TEMP TABLE").replace(_TO_DOCUMENTS, "")


def begin_rebuild() -> Iterator[str]:
    """Tables beside those of the index, for its passages cut or encoded in another way."""
    return statements((_PASSAGES + _PASSAGE_INDEXES).format(p=REBUILD_PREFIX) + _REBUILD)


def drop_rebuild() -> Iterator[str]:
    return statements(_DROP_REBUILD)


def switch() -> Iterator[str]:
    """The tables of the rebuild become those of the index."""
    return statements(_SWITCH + _PASSAGE_INDEXES.format(p=""))
