"""SQLite, the only truth: documents with their text, passages, vectors and the full-text index."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import KnowledgeError, StorageError
from edge.types import Document
from edge_index.schema import FORMAT, SCHEMA, statements

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_index.passages import Span

_SELECT_PASSAGES = (
    "SELECT p.id, p.text, d.path, p.page, p.heading, p.start, p.end, d.sha256 "
    "FROM passages p JOIN documents d ON p.document = d.id"
)


@dataclass(frozen=True, slots=True)
class FileState:
    """What is known of a file that was read: enough to see that it did not change."""

    sha256: str
    bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class StoredPassage:
    id: int
    text: str
    path: str
    page: int | None
    heading: str | None
    start: int
    end: int
    sha256: str


class Store:
    """One SQLite file. Errors of SQLite and of the disk come out as KnowledgeError or StorageError."""

    def __init__(self, path: Path, *, create: bool) -> None:
        if not create and not path.is_file():
            raise KnowledgeError(f"there is no index at {path.parent}; make one with `edge index add PATH --index DIR`")
        self.path = path
        writable = os.access(path if path.is_file() else path.parent, os.W_OK) and os.access(path.parent, os.W_OK)
        self.writable = writable
        with _translated(path):
            self._db = sqlite3.connect(
                f"{path.absolute().as_uri()}?{self._mode()}",
                uri=True,
                timeout=10,
                check_same_thread=False,
                isolation_level=None,
            )
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

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
        with _translated(self.path):
            self._db.execute("PRAGMA foreign_keys=ON")
            if self.writable:
                self._keep_a_log()
                self._db.execute("PRAGMA synchronous=FULL")
                self._create()
            version = self.meta("format")
        if version != FORMAT:
            raise KnowledgeError(
                f"{self.path} has the index format {version}, this version of edge writes {FORMAT}; "
                "delete that file and add the documents again"
            )

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
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, also when the process is killed in the middle."""
        with _translated(self.path):
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk may have ended it already
                    self._db.execute("ROLLBACK")
                raise

    def meta(self, key: str) -> str | None:
        with _translated(self.path):
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def set_meta(self, key: str, value: str) -> None:
        self._write("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def generation(self) -> int:
        """Counts the changes of the vectors: a copy of them that knows another number is stale."""
        return int(self.meta("generation") or 0)

    def bump_generation(self) -> None:
        self.set_meta("generation", str(self.generation() + 1))

    def dim(self) -> int:
        """Of the vectors; 0 while there are none."""
        return int(self.meta("dim") or 0)

    def states(self) -> dict[str, FileState]:
        rows = self._read("SELECT path, sha256, bytes, mtime_ns FROM documents")
        return {path: FileState(sha256, size, mtime) for path, sha256, size, mtime in rows}

    def touch(self, path: str, mtime_ns: int) -> None:
        """The file was written again with the same content."""
        self._write("UPDATE documents SET mtime_ns = ? WHERE path = ?", (mtime_ns, path))

    def put_document(
        self,
        path: str,
        state: FileState,
        text: str,
        pages: int | None,
        spans: Sequence[Span],
        vectors: NDArray[np.float32],
        sentences: Sequence[NDArray[np.float32]],
    ) -> list[int]:
        """Write a document with `vectors` [passages, dim] and for each passage `sentences` [n, dim].

        Replaces what stood under the path; returns the ids of the passages. Call it inside a transaction.
        """
        import numpy as np

        self.delete_document(path)
        document = self._write(
            "INSERT INTO documents(path, sha256, bytes, mtime_ns, pages, text) VALUES (?, ?, ?, ?, ?, ?)",
            (path, state.sha256, state.bytes, state.mtime_ns, pages, text),
        )
        ids = []
        for span, vector, sentence_vectors in zip(spans, vectors, sentences, strict=True):
            passage = self._write(
                "INSERT INTO passages(document, start, end, page, heading, text) VALUES (?, ?, ?, ?, ?, ?)",
                (document, span.start, span.end, span.page, span.heading, text[span.start : span.end]),
            )
            relative = np.asarray(span.sentences, dtype=np.int32).reshape(-1, 2) - span.start
            self._write(
                "INSERT INTO vectors VALUES (?, ?, ?, ?)",
                (
                    passage,
                    vector.astype(np.float32).tobytes(),
                    relative.astype(np.int32).tobytes(),
                    sentence_vectors.astype(np.float16).tobytes(),
                ),
            )
            ids.append(passage)
        return ids

    def delete_document(self, path: str) -> None:
        """Its passages and their vectors leave with it."""
        self._write("DELETE FROM documents WHERE path = ?", (path,))

    def forget(self, paths: Sequence[str]) -> None:
        """Delete documents, all in one transaction."""
        if not paths:
            return
        with self.transaction():
            for path in paths:
                self.delete_document(path)
            self.bump_generation()

    def documents(self) -> list[Document]:
        rows = self._read(
            "SELECT d.path, d.sha256, d.bytes, length(d.text), count(p.id), d.pages FROM documents d "
            "LEFT JOIN passages p ON p.document = d.id GROUP BY d.id ORDER BY d.path"
        )
        return [Document(*row) for row in rows]

    def text(self, path: str) -> str | None:
        rows = self._read("SELECT text FROM documents WHERE path = ?", (path,))
        return rows[0][0] if rows else None

    def count(self) -> int:
        return int(self._read("SELECT count(*) FROM passages")[0][0])

    def vectors(self, dim: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Ids [n] and vectors [n, dim] of all passages, by id."""
        import numpy as np

        ids, parts = [], []
        with _translated(self.path):
            for passage, blob in self._db.execute("SELECT passage, vector FROM vectors ORDER BY passage"):
                ids.append(passage)
                parts.append(blob)
        matrix = np.frombuffer(b"".join(parts), dtype=np.float32).reshape(len(ids), dim)
        return np.array(ids, dtype=np.int64), matrix

    def vectors_of(
        self, ids: Iterable[int], dim: int
    ) -> dict[int, tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float16]]]:
        """For each passage its vector [dim], its sentences' spans [n, 2] and their vectors [n, dim]."""
        import numpy as np

        rows = self._read_many("SELECT passage, vector, spans, sentences FROM vectors WHERE passage IN", ids)
        return {
            passage: (
                np.frombuffer(vector, dtype=np.float32),
                np.frombuffer(spans, dtype=np.int32).reshape(-1, 2),
                np.frombuffer(sentences, dtype=np.float16).reshape(-1, dim),
            )
            for passage, vector, spans, sentences in rows
        }

    def passages_of(self, path: str) -> list[StoredPassage]:
        """All passages of a document, in order."""
        rows = self._read(f"{_SELECT_PASSAGES} WHERE d.path = ? ORDER BY p.start", (path,))
        return [StoredPassage(*row) for row in rows]

    def passages(self, ids: Iterable[int]) -> dict[int, StoredPassage]:
        rows = self._read_many(f"{_SELECT_PASSAGES} WHERE p.id IN", ids)
        return {row[0]: StoredPassage(*row) for row in rows}

    def bm25(self, words: Sequence[str], limit: int) -> list[tuple[int, float]]:
        """Passages that hold any of the words, best first, with Okapi BM25 as FTS5 computes it (higher is better)."""
        if not words:
            return []
        query = " OR ".join(f'"{word}"' for word in words)
        rows = self._read(
            "SELECT rowid, -bm25(passages_text, 1.0, 0.5) AS score FROM passages_text "
            "WHERE passages_text MATCH ? ORDER BY score DESC LIMIT ?",
            (query, limit),
        )
        return [(row[0], float(row[1])) for row in rows]

    def frequencies(self, stems: Iterable[str]) -> dict[str, int]:
        """In how many passages each stem occurs; stems that occur in none are left out."""
        wanted = sorted(set(stems))
        marks = ",".join("?" * len(wanted))
        rows = self._read(f"SELECT term, doc FROM passages_words WHERE term IN ({marks})", wanted)
        return {str(term): int(count) for term, count in rows}

    def find_passages(self, places: Iterable[tuple[str, int, int]]) -> list[int | None]:
        """Ids of passages by (path, start, end), None where there is none."""
        found = []
        for place in places:
            rows = self._read(
                "SELECT p.id FROM passages p JOIN documents d ON p.document = d.id "
                "WHERE d.path = ? AND p.start = ? AND p.end = ?",
                place,
            )
            found.append(rows[0][0] if rows else None)
        return found

    def integrity(self) -> list[str]:
        """What SQLite's own checks find wrong, empty when nothing is.

        The full-text index can only be checked where the file can be written.
        """
        found = [row[0] for row in self._read("PRAGMA integrity_check") if row[0] != "ok"]
        if not self.writable:
            return found
        try:
            self._db.execute("INSERT INTO passages_text(passages_text, rank) VALUES ('integrity-check', 1)")
        except sqlite3.DatabaseError as error:
            found.append(f"the full-text index disagrees with the passages: {error}")
        return found

    def _create(self) -> None:
        if self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
            return
        with self.transaction():
            if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
                for statement in statements(SCHEMA):
                    self._db.execute(statement)
                self._db.execute("INSERT INTO meta VALUES ('format', ?)", (FORMAT,))

    def _read(self, sql: str, arguments: Sequence[object] = ()) -> list[Any]:
        with _translated(self.path):
            return self._db.execute(sql, arguments).fetchall()

    def _read_many(self, sql: str, ids: Iterable[int]) -> list[Any]:
        wanted = [int(i) for i in ids]
        return self._read(f"{sql} ({','.join('?' * len(wanted))})", wanted) if wanted else []

    def _write(self, sql: str, arguments: Sequence[object]) -> int:
        with _translated(self.path):
            return self._db.execute(sql, arguments).lastrowid or 0


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "locked" in text:
            raise KnowledgeError(f"{path} is being written by another process; try again when it is done") from error
        if "full" in text or "disk I/O" in text:
            raise StorageError(f"{path} cannot be written ({text}); free some space and try again") from error
        if "readonly" in text or "unable to open" in text:
            raise StorageError(f"{path} cannot be written ({text}); make its folder writable or use another") from error
        raise KnowledgeError(f"{path} cannot be used: {text}") from error
    except sqlite3.DatabaseError as error:
        raise KnowledgeError(
            f"{path} is damaged or no index ({error}); delete that file and add the documents again"
        ) from error
