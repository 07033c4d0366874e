"""A SQLite file: how it is opened and written, and its errors in sentences for people."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge.errors import KnowledgeError, StorageError
from edge.system.sqlite import SharedFile, explain
from edge_index.storage import schema
from edge_index.storage.passage_table import PassageTable
from edge_index.storage.schema import FORMAT

_BUSY = 10.0
"""Seconds to wait for another process that writes."""

_BEING_WRITTEN = "{path} is being written by another process; try again when it is done"


class Database:
    """One SQLite file, the only truth of an index. Errors of SQLite and of the disk come out as KnowledgeError or
    StorageError."""

    def __init__(self, path: Path, *, create: bool) -> None:
        if not create and not path.is_file():
            raise KnowledgeError(f"there is no index at {path.parent}; make one with `edge index add PATH --index DIR`")
        self.path = path
        writable = os.access(path if path.is_file() else path.parent, os.W_OK) and os.access(path.parent, os.W_OK)
        self.writable = writable
        self._file = SharedFile(path, wait=_BUSY)
        mode, self._stamp = self._mode(), _stamp(path)
        self._unlocked = "immutable" in mode
        with self.translated():
            self._db = sqlite3.connect(
                f"{path.absolute().as_uri()}?{mode}",
                uri=True,
                timeout=_BUSY,
                check_same_thread=False,
                isolation_level=None,
            )
        self.passage_table = self.other_passage_table("")
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise
        self._file.opened()

    def _mode(self) -> str:
        """How SQLite is to open the file. Without `immutable` it cannot read where it cannot write."""
        if self.writable:
            return "mode=rwc"
        log, shared = (self.path.with_name(self.path.name + end) for end in ("-wal", "-shm"))
        if log.is_file() and shared.is_file():  # a writer is at work, or was killed: the log counts
            return "mode=ro"
        if log.is_file() and log.stat().st_size:
            raise KnowledgeError(
                f"the newest part of {self.path} still stands in {log.name} beside it and cannot be read where "
                "nothing can be written; open the index once from a place that can, `edge index list` is enough"
            )
        return "mode=ro&immutable=1"

    def _prepare(self) -> None:
        with self.translated():
            self._db.execute("PRAGMA foreign_keys=ON")
            if self.writable:
                # Of a new file. The whole schema then stands on the first page: of any other one that is damaged,
                # the rest can still be read.
                self._db.execute("PRAGMA page_size=8192")
                self._keep_a_log()
                self._db.execute("PRAGMA synchronous=FULL")
                self._create()
            version = self._migrated(self.meta("format"))
        if version != FORMAT:
            raise KnowledgeError(
                f"{self.path} has the index format {version}, and this version of edge knows {min(schema.MIGRATIONS)} "
                f"to {FORMAT}; open it with the edge that wrote it, or give another folder"
            )

    def _migrated(self, version: str | None) -> str | None:
        """The format after what an older one lacks was added: nothing that is there is touched."""
        if version not in schema.MIGRATIONS:
            return version
        if not self.writable:
            self.run(schema.imitate(version))
            return FORMAT
        with self.transaction():
            version = self.meta("format")  # another process may have been faster
            if version in schema.MIGRATIONS:
                self.run(schema.migrate(version))
                self.set_meta("format", FORMAT)
        return self.meta("format")

    def _keep_a_log(self) -> None:
        """Readers and a writer side by side. SQLite does not wait for others when it changes to this mode."""
        for pause in (*[0.05] * 100, None):
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or pause is None:
                    raise
                time.sleep(pause)

    def close(self) -> None:
        self._file.close(self._db)

    def other_passage_table(self, prefix: str, *, fallback_prefix: str | None = None) -> PassageTable:
        return PassageTable(self._db, prefix, fallback_prefix)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, also when the process is killed in the middle."""
        with self.translated(), self._file.writing(self._db):
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self.passage_table.sweep()
                self._db.execute("COMMIT")
            except BaseException:
                self.passage_table.forget()
                if self._db.in_transaction:  # a full disk may have ended it already
                    self._db.execute("ROLLBACK")
                raise

    def meta(self, key: str) -> str | None:
        with self.translated():
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def set_meta(self, key: str, value: str) -> None:
        self.write("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def _create(self) -> None:
        if self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
            return
        with self.transaction():
            if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
                self.run(schema.create())
                self._db.execute("INSERT INTO meta VALUES ('format', ?)", (FORMAT,))

    # For the rooms that keep tables of their own in here.

    @contextmanager
    def sound(self) -> Iterator[None]:
        """What was read is of the types that were written; a damaged page may hold others."""
        try:
            yield
        except (AttributeError, TypeError) as error:
            raise self._damaged(str(error)) from error

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Errors of SQLite as KnowledgeError or StorageError, which name the file and say what to do."""
        try:
            yield
        except (sqlite3.Error, TimeoutError) as error:
            kind, sentence = explain(self.path, error)
            if kind == "damaged":
                raise self._damaged(str(error)) from error
            if kind == "busy":
                raise KnowledgeError(_BEING_WRITTEN.format(path=self.path)) from error
            if kind == "foreign":
                raise KnowledgeError(f"{self.path} cannot be used: {error}") from error
            raise StorageError(sentence) from error

    def _damaged(self, reason: str) -> KnowledgeError:
        # What others write looks like damage where SQLite reads without locks.
        if self._unlocked and _stamp(self.path) != self._stamp:
            return KnowledgeError(_BEING_WRITTEN.format(path=self.path))
        return KnowledgeError(
            f"{self.path} is damaged or no index ({reason}); save what can be read with `edge index export`, then "
            "delete that file and add the documents again"
        )

    def run(self, statements: Iterable[str]) -> None:
        """Call it inside a transaction."""
        for statement in statements:
            self._db.execute(statement)

    def read(self, sql: str, arguments: Sequence[object] = ()) -> list[Any]:
        with self.translated():
            return self._db.execute(sql, arguments).fetchall()

    def write(self, sql: str, arguments: Sequence[object] = ()) -> int:
        with self.translated(), self._file.writing(self._db):
            return self._db.execute(sql, arguments).lastrowid or 0


def _stamp(path: Path) -> tuple[object, ...]:
    """What changes when a SQLite file, or the log beside it, is written."""
    found: list[tuple[int, int, int] | None] = []
    for file in (path, path.with_name(f"{path.name}-wal")):
        try:
            state = file.stat()
            found.append((state.st_ino, state.st_size, state.st_mtime_ns))
        except OSError:
            found.append(None)
    return tuple(found)
