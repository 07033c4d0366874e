"""The passages of documents with their vectors and words: the index's own tables, or those of a rebuild beside them."""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.errors import EncoderError
from edge.text.terms import grams

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Embedding = tuple[NDArray[np.float32], NDArray[np.float32]]
    """The vector of a passage [dim] and those of its sentences [n, dim]."""

_AT_ONCE = 500  # values that one statement may name


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage before it has a vector: `text[start:end]` of the extracted text, without blanks around it.

    `sentences` are the (start, end) of its sentences in the same text, in order, at least one.
    """

    start: int
    end: int
    heading: str | None
    page: int | None
    sentences: tuple[tuple[int, int], ...]


def relative(chunk: Chunk) -> list[tuple[int, int]]:
    """The sentences of a passage, counted from its start."""
    return [(start - chunk.start, end - chunk.start) for start, end in chunk.sentences]


def spans_blob(chunk: Chunk) -> bytes:
    import numpy as np

    return np.asarray(relative(chunk), dtype=np.int32).reshape(-1, 2).tobytes()


def passage_hash(text: str, spans: bytes) -> bytes:
    """What a passage's vectors depend on, in 16 bytes: its text and where its sentences stand (int32 [n, 2])."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass") + b"\0" + spans).digest()[:16]


def text_crc(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def vectors_crc(vector: bytes, spans: bytes, sentences: bytes) -> int:
    return zlib.crc32(sentences, zlib.crc32(spans, zlib.crc32(vector)))


def is_direction(vector: bytes) -> bool:
    """Whether a float32 vector has a length, and one that is finite."""
    import numpy as np

    values = np.frombuffer(vector, np.float32)
    return bool(np.isfinite(values).all() and values.any())


class PassageTable:
    """Writes passages. Call it inside a transaction of the store; SQLite's errors come out as they are.

    `prefix` stands before the names of the tables; in those of `fallback_prefix`, too, vectors may be found.
    """

    def __init__(self, db: sqlite3.Connection, prefix: str, fallback_prefix: str | None) -> None:
        self._db = db
        self._p = prefix
        self._sources = [prefix] if fallback_prefix is None else [prefix, fallback_prefix]
        self._leaving: list[tuple[int]] = []

    def put(
        self,
        document: int,
        text: str,
        chunks: Sequence[Chunk],
        embeddings: Mapping[bytes, Embedding],
    ) -> tuple[list[int], bool]:
        """Make `chunks` of `text` the passages of a document; the ids, and whether any came or left.

        A passage that the document had keeps its row, wherever it stands now. The vectors of a new one are found
        under its hash: in `embeddings`, else in this table. Those that left do so when the transaction ends, because
        another document of it may want their vectors.
        """
        self._agree(embeddings)
        had: defaultdict[bytes, deque[tuple[int, int, int, int | None, str | None]]] = defaultdict(deque)
        for row in self._db.execute(
            f"SELECT hash, id, start, end, page, heading FROM {self._p}passages WHERE document = ? ORDER BY start",
            (document,),
        ):
            had[row[0]].append(row[1:])
        ids, fresh = [], False
        for chunk in chunks:
            piece, spans = text[chunk.start : chunk.end], spans_blob(chunk)
            name = passage_hash(piece, spans)
            if had[name]:
                row = had[name].popleft()
                self._move(row, chunk)
                ids.append(row[0])
            else:
                ids.append(self._insert(document, chunk, piece, spans, name, embeddings))
                fresh = True
        left = [(row[0],) for rows in had.values() for row in rows]
        self._leaving += left
        return ids, fresh or bool(left)

    def missing(self, hashes: Iterable[bytes]) -> list[bytes]:
        """Those of `hashes`, each once and in order, of which no vector is known."""
        wanted = list(dict.fromkeys(hashes))
        known: set[bytes] = set()
        for at in range(0, len(wanted), _AT_ONCE):
            some = wanted[at : at + _AT_ONCE]
            marks = ",".join("?" * len(some))
            for p in self._sources:
                sql = f"SELECT hash FROM {p}passages WHERE hash IN ({marks}) UNION SELECT hash FROM {p}spare "
                known.update(row[0] for row in self._db.execute(f"{sql} WHERE hash IN ({marks})", some + some))
        return [name for name in wanted if name not in known]

    def put_pending(self, embeddings: Mapping[bytes, Embedding]) -> None:
        """Keep vectors that have no passage yet."""
        self._agree(embeddings)
        rows = [(name, *_blobs(pair)) for name, pair in embeddings.items()]
        self._db.executemany(f"INSERT OR IGNORE INTO {self._p}spare VALUES (?, ?, ?)", rows)

    def has_pending_vectors(self) -> bool:
        return self._db.execute(f"SELECT 1 FROM {self._p}spare LIMIT 1").fetchone() is not None

    def clear_pending_vectors(self) -> None:
        self._db.execute(f"DELETE FROM {self._p}spare")

    def encoder(self) -> str | None:
        """The fingerprint of the encoder whose vectors stand here."""
        return self._meta("encoder")

    def claim(self, encoder: str) -> None:
        """From now on the vectors are those of this encoder. Only for a table without passages."""
        self._db.execute("DELETE FROM meta WHERE key = ?", (f"{self._p}dim",))
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"{self._p}encoder", encoder))
        self.clear_pending_vectors()

    def _agree(self, embeddings: Mapping[bytes, Embedding]) -> None:
        """All vectors have one length, the first one's. Raises EncoderError."""
        if not embeddings:
            return
        new, known = len(next(iter(embeddings.values()))[0]), self._meta("dim")
        if known is None:
            self._db.execute("INSERT INTO meta VALUES (?, ?)", (f"{self._p}dim", str(new)))
        elif int(known) != new:
            raise EncoderError(
                f"the encoder gives vectors of {new} numbers where the index has {known}, under the same name; "
                "name it otherwise (its attribute `fingerprint`) and make the vectors afresh: edge index rebuild"
            )

    def _meta(self, key: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (self._p + key,)).fetchone()
        return row[0] if row else None

    def sweep(self) -> None:
        """Delete what has left."""
        self._db.executemany(f"DELETE FROM {self._p}passages WHERE id = ?", self._leaving)
        self.forget()

    def forget(self) -> None:
        """The transaction came to nothing: what has left is still there."""
        self._leaving = []

    def _move(self, row: tuple[int, int, int, int | None, str | None], chunk: Chunk) -> None:
        """Only what changed is written: a row whose heading stays is none for the full-text index."""
        passage, start, end, page, heading = row
        if (start, end, page) != (chunk.start, chunk.end, chunk.page):
            sql = f"UPDATE {self._p}passages SET start = ?, end = ?, page = ? WHERE id = ?"
            self._db.execute(sql, (chunk.start, chunk.end, chunk.page, passage))
        if heading != chunk.heading:
            self._db.execute(f"UPDATE {self._p}passages SET heading = ? WHERE id = ?", (chunk.heading, passage))

    def _insert(
        self, document: int, chunk: Chunk, piece: str, spans: bytes, name: bytes, embeddings: Mapping[bytes, Embedding]
    ) -> int:
        vector, sentences = _blobs(embeddings[name]) if name in embeddings else self._find(name)
        # A rebuild counts on in the index's own numbers: none is ever used twice.
        own = next_passage_id(self._db) if self._p else None
        passage = self._db.execute(
            f"INSERT INTO {self._p}passages(id, document, start, end, page, heading, hash, text) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (own, document, chunk.start, chunk.end, chunk.page, chunk.heading, name, piece),
        ).lastrowid
        pairs = grams(piece)
        if pairs:
            self._db.execute(f"INSERT INTO {self._p}passages_grams(rowid, grams) VALUES (?, ?)", (passage, pairs))
        crc = vectors_crc(vector, spans, sentences)
        self._db.execute(
            f"INSERT INTO {self._p}vectors VALUES (?, ?, ?, ?, ?)", (passage, vector, spans, sentences, crc)
        )
        return int(passage or 0)

    def _find(self, name: bytes) -> tuple[bytes, bytes]:
        for p in self._sources:
            for sql in (
                f"SELECT vector, sentences FROM {p}spare WHERE hash = ?",
                f"SELECT vector, sentences FROM {p}passages JOIN {p}vectors ON passage = id WHERE hash = ? LIMIT 1",
            ):
                row = self._db.execute(sql, (name,)).fetchone()
                if row is not None:
                    return row[0], row[1]
        raise LookupError("a passage came without vectors, and the index has none for it")


def next_passage_id(db: sqlite3.Connection) -> int:
    db.execute("UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'passages'")
    return int(db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'passages'").fetchone()[0])


def _blobs(embedding: Embedding) -> tuple[bytes, bytes]:
    import numpy as np

    vector, sentences = embedding
    return vector.astype(np.float32).tobytes(), sentences.astype(np.float16).tobytes()
