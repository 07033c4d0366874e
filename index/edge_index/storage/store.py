"""SQLite, the only truth: documents with their text, passages, vectors and the full-text index."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge.text.terms import is_gram
from edge_index.records import Document
from edge_index.storage import attributes
from edge_index.storage.database import Database
from edge_index.storage.passage_table import is_direction, text_crc, vectors_crc

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_index.loaders import Extracted
    from edge_index.storage.passage_table import Chunk, Embedding

_SELECT_PASSAGES = (
    "SELECT p.id, p.text, d.path, p.page, p.heading, p.start, p.end, d.sha256, a.metadata "
    "FROM passages p JOIN documents d ON p.document = d.id LEFT JOIN attributes a ON a.document = d.id"
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
    metadata: dict[str, Any]


class Store(Database):
    """One SQLite file. Errors of SQLite and of the disk come out as KnowledgeError or StorageError."""

    def generation(self) -> int:
        """Counts the changes of the vectors: a copy of them that knows another number is stale."""
        return int(self.meta("generation") or 0)

    def bump_generation(self) -> None:
        self.set_meta("generation", str(self.generation() + 1))

    def dim(self) -> int:
        """Of the vectors; 0 while there are none."""
        return int(self.meta("dim") or 0)

    def paths(self) -> list[str]:
        """Of all documents, with and without a file."""
        return [row[0] for row in self.read("SELECT path FROM documents ORDER BY path")]

    def states(self) -> dict[str, FileState]:
        """Of the documents that are files."""
        rows = self.read(
            "SELECT path, sha256, bytes, mtime_ns FROM documents LEFT JOIN attributes ON document = id "
            "WHERE has_file IS NOT 0"
        )
        return {path: FileState(sha256, size, mtime) for path, sha256, size, mtime in rows}

    def touch(self, path: str, mtime_ns: int) -> None:
        """The file was written again with the same content."""
        self.write("UPDATE documents SET mtime_ns = ? WHERE path = ?", (mtime_ns, path))

    def move_document(self, old: str, new: str, mtime_ns: int) -> None:
        """The file has another name now; its passages stay as they are."""
        self.write("UPDATE documents SET path = ?, mtime_ns = ? WHERE path = ?", (new, mtime_ns, old))

    def put_document(
        self,
        path: str,
        state: FileState,
        extracted: Extracted,
        chunks: Sequence[Chunk],
        embeddings: Mapping[bytes, Embedding],
        *,
        chunking_rules: str = "",
        metadata: Mapping[str, Any] | None = None,
        has_file: bool = True,
    ) -> list[int]:
        """Write a document with its passages; returns their ids. Call it inside a transaction.

        What stood under the path is brought up to date: a passage that is still there keeps its row and its id.
        The vectors of the others are found under their hash, in `embeddings` or in the store; one that is in neither
        is a LookupError. `chunking_rules` says by which rules the text was cut into `chunks`; `metadata` None keeps
        what is there.
        """
        text = extracted.text
        sections = json.dumps([(s.start, s.end, s.heading, s.page) for s in extracted.sections], ensure_ascii=False)
        with self.translated():
            document = self._db.execute(
                "INSERT INTO documents(path, sha256, bytes, mtime_ns, characters, pages, by_line, cut, crc, "
                "sections, text) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(path) DO UPDATE SET sha256 = excluded.sha256, "
                "bytes = excluded.bytes, mtime_ns = excluded.mtime_ns, characters = excluded.characters, "
                "pages = excluded.pages, by_line = excluded.by_line, cut = excluded.cut, "
                "crc = excluded.crc, "
                "sections = excluded.sections, text = excluded.text RETURNING id",
                (
                    *(path, state.sha256, state.bytes, state.mtime_ns, len(text)),
                    *(extracted.pages, extracted.by_line, chunking_rules, text_crc(text), sections, text),
                ),
            ).fetchone()[0]
            ids, changed = self.passage_table.put(document, text, chunks, embeddings)
        attributes.put(self, document, metadata, has_file=has_file)
        if changed:
            self.bump_generation()
        return ids

    def delete_document(self, path: str) -> None:
        """Its passages and their vectors leave with it."""
        self.write("DELETE FROM documents WHERE path = ?", (path,))

    def forget(self, paths: Sequence[str]) -> None:
        """Delete documents, all in one transaction."""
        if paths:
            with self.transaction():
                self.leave(paths)

    def leave(self, paths: Sequence[str]) -> None:
        """Delete documents. Call it inside a transaction."""
        for path in paths:
            self.delete_document(path)
        if paths:
            self.bump_generation()

    def documents(self) -> list[Document]:
        rows = self.read(
            "SELECT path, sha256, bytes, characters, "
            "(SELECT count(*) FROM passages WHERE document = documents.id), pages, metadata, has_file IS NOT 0 "
            "FROM documents LEFT JOIN attributes ON document = id ORDER BY path"
        )
        with self.sound():
            return [Document(*[*row[:6], attributes.from_json(row[6]), bool(row[7])]) for row in rows]

    def text(self, path: str) -> str | None:
        rows = self.read("SELECT text FROM documents WHERE path = ?", (path,))
        return rows[0][0] if rows else None

    def count(self) -> int:
        return int(self.read("SELECT count(*) FROM passages")[0][0])

    def vectors(self, dim: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Ids [n] and vectors [n, dim] of all passages, by id."""
        return self.vectors_after(0, dim)

    def vectors_after(self, passage_id: int, dim: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Ids [n] and vectors [n, dim] of the passages with a larger id than this, by id."""
        import numpy as np

        ids, parts = [], []
        sql = "SELECT passage, vector FROM vectors WHERE passage > ? ORDER BY passage"
        with self.translated(), self.sound():
            for passage, blob in self._db.execute(sql, (passage_id,)):
                ids.append(passage)
                parts.append(blob)
            matrix = np.frombuffer(b"".join(parts), dtype=np.float32).reshape(len(ids), dim)
            return np.array(ids, dtype=np.int64), matrix

    def passage_ids(self) -> NDArray[np.int64]:
        """Ids [n] of all passages, ascending."""
        import numpy as np

        with self.translated(), self.sound():
            # Out of order: SQLite then reads an index of the passages, which holds nothing else.
            rows = self._db.execute("SELECT id FROM passages")
            return np.sort(np.fromiter((row[0] for row in rows), dtype=np.int64))

    def vectors_of(
        self, ids: Iterable[int], dim: int
    ) -> dict[int, tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float16]]]:
        """For each passage its vector [dim], its sentences' spans [n, 2] and their vectors [n, dim]."""
        import numpy as np

        rows = self._read_many("SELECT passage, vector, spans, sentences FROM vectors WHERE passage IN", ids)
        with self.sound():
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
        rows = self.read(f"{_SELECT_PASSAGES} WHERE d.path = ? ORDER BY p.start", (path,))
        with self.sound():
            return [_passage(row) for row in rows]

    def passages(self, ids: Iterable[int]) -> dict[int, StoredPassage]:
        rows = self._read_many(f"{_SELECT_PASSAGES} WHERE p.id IN", ids)
        with self.sound():
            return {row[0]: _passage(row) for row in rows}

    def bm25(self, words: Sequence[str], limit: int, among: NDArray[np.int64] | None = None) -> list[tuple[int, float]]:
        """Passages that hold any of the words, best first, with Okapi BM25 as FTS5 computes it (higher is better);
        with `among` only of those ids."""
        if not words:
            return []
        scores: defaultdict[int, float] = defaultdict(float)
        for table, weights, pairs in (("passages_text", ", 1.0, 0.5", False), ("passages_grams", "", True)):
            query = " OR ".join(f'"{word}"' for word in words if is_gram(word) == pairs)
            if query:
                sql = f"SELECT rowid, -bm25({table}{weights}) AS score FROM {table} WHERE {table} MATCH ? "
                arguments: list[object] = [query]
                if among is not None:
                    sql += "AND rowid IN (SELECT value FROM json_each(?)) "
                    arguments.append(json.dumps(among.tolist()))
                for passage, score in self.read(f"{sql} ORDER BY score DESC LIMIT ?", [*arguments, limit]):
                    scores[passage] += score
        return sorted(scores.items(), key=lambda pair: -pair[1])[:limit]

    def frequencies(self, stems: Iterable[str]) -> dict[str, int]:
        """In how many passages each stem occurs; stems that occur in none are left out."""
        wanted = sorted(set(stems))
        marks = ",".join("?" * len(wanted))
        found: dict[str, int] = {}
        for table in ("passages_words", "passages_pairs"):
            rows = self.read(f"SELECT term, doc FROM {table} WHERE term IN ({marks})", wanted)
            found |= {str(term): int(count) for term, count in rows}
        return found

    def find_passages(self, places: Iterable[tuple[str, int, int]]) -> list[int | None]:
        """Ids of passages by (path, start, end), None where there is none."""
        found = []
        for place in places:
            rows = self.read(
                "SELECT p.id FROM passages p JOIN documents d ON p.document = d.id "
                "WHERE d.path = ? AND p.start = ? AND p.end = ?",
                place,
            )
            found.append(rows[0][0] if rows else None)
        return found

    def damaged(self) -> list[str]:
        """What is no longer what was written, by the sums that stand beside it, in sentences for people."""
        again = "read it again with `edge index add --again`"
        found = []
        with self.sound(), closing(self._each("SELECT path, text, crc FROM documents")) as texts:
            for path, text, crc in texts:
                if text_crc(text) != crc:
                    found.append(f"{path}: its text is damaged; {again}")
        vectors = "SELECT vector, spans, sentences, crc FROM vectors"
        with self.sound(), closing(self._each(vectors)) as rows:
            states = {_state(blobs, crc) for *blobs, crc in rows}
        if "empty" in states:
            found.append(
                f"{self.path}: some vectors are no numbers (NaN) or zero, and their passages are not found; repair the "
                "encoder, then make them afresh with `edge index rebuild --force`"
            )
        if "damaged" in states:
            found.append(f"{self.path}: some vectors are damaged; make them afresh with `edge index rebuild --force`")
        if self.read("SELECT 1 FROM passages WHERE id NOT IN (SELECT passage FROM vectors) LIMIT 1"):
            found.append(f"{self.path}: some passages have no vector; make them afresh: `edge index rebuild --force`")
        return found

    def integrity(self) -> list[str]:
        """What SQLite's own checks find wrong, empty when nothing is.

        The full-text index can only be checked where the file can be written.
        """
        found = [row[0] for row in self.read("PRAGMA integrity_check") if row[0] != "ok"]
        if not self.writable:
            return found
        try:
            with self._file.writing(self._db):
                self._db.execute("INSERT INTO passages_text(passages_text, rank) VALUES ('integrity-check', 1)")
        except sqlite3.DatabaseError as error:
            found.append(f"the full-text index disagrees with the passages: {error}")
        return found

    def _each(self, sql: str) -> Generator[Any]:
        """The rows one by one, for tables that need not fit into memory."""
        with self.translated():
            yield from self._db.execute(sql)

    def _read_many(self, sql: str, ids: Iterable[int]) -> list[Any]:
        wanted = [int(i) for i in ids]
        return self.read(f"{sql} ({','.join('?' * len(wanted))})", wanted) if wanted else []


def _passage(row: Sequence[Any]) -> StoredPassage:
    return StoredPassage(*[*row[:8], attributes.from_json(row[8])])


def _state(blobs: Sequence[bytes], crc: int) -> str:
    if vectors_crc(*blobs) != crc:
        return "damaged"
    return "whole" if is_direction(blobs[0]) else "empty"
