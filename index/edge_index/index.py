"""The knowledge base: files in, passages out. Everything that is known stands in one SQLite file."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType

from edge.errors import EncoderError, KnowledgeError
from edge.paths import STARTER_ENCODER, ensure_dir, models_dir
from edge.types import AddProgress, AddReport, Document, Evidence, Passage
from edge.words import content_terms, content_words
from edge_index.adding import Adding, TextEncoder, fingerprint, unit
from edge_index.files import absolute
from edge_index.nearest import Nearest
from edge_index.ranking import Candidate, Question, asks, rank_passages
from edge_index.store import Store, StoredPassage

_CANDIDATES = 30
"""Passages that the vectors, and as many that the words bring up for ranking."""

_EVIDENCE_SPREAD = 0.5
"""A sentence below this share of the best one's score is no evidence."""


class Index:
    """A folder with an index in it. Safe to use from several threads.

    Make one with `Index.open`. Searching sees what other processes have added meanwhile.
    """

    def __init__(self, path: Path, store: Store, encoder: TextEncoder | None) -> None:
        self.path = path
        self._store = store
        self._encoder = encoder
        self._nearest = Nearest(path, store)
        self._last_question: tuple[str, int, Question] | None = None
        self._lock = threading.RLock()

    @classmethod
    def open(cls, path: Path | str, *, encoder: TextEncoder | None = None, create: bool = True) -> Index:
        """Open the index in the folder `path`, or make an empty one.

        `encoder` None takes the starter encoder from the models directory when one is first needed.
        Raises KnowledgeError for a damaged index or, without `create`, for none; StorageError for a folder
        that cannot be written.
        """
        folder = Path(path).expanduser()
        if create and not (folder / "index.sqlite").is_file():
            ensure_dir(folder)
        return cls(folder, Store(folder / "index.sqlite", create=create), encoder)

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._nearest.close()
            self._store.close()

    def __len__(self) -> int:
        """Passages."""
        with self._lock:
            return self._store.count()

    def documents(self) -> list[Document]:
        with self._lock:
            return self._store.documents()

    def text(self, document: str) -> str:
        """The extracted text that all positions of a document refer to. Raises KnowledgeError for an unknown one."""
        with self._lock:
            text = self._store.text(document)
        if text is None:
            raise KnowledgeError(f"{document} is not in the index at {self.path}; `edge index list` shows what is")
        return text

    def add(self, paths: Iterable[Path | str], *, progress: Callable[[AddProgress], None] | None = None) -> AddReport:
        """Read files and folders into the index; what did not change is not read again.

        Files that left a given folder leave the index. A file that cannot be read is reported and keeps what
        was known of it; the others go on. What was written before an interruption stays.
        Raises KnowledgeError when there is nothing to read at all.
        """
        with self._lock:
            return Adding(self._store, lambda: self.encoder, progress).run(list(paths))

    def remove(self, path: Path | str) -> int:
        """Forget a file, or all files of a folder; the number of documents that left."""
        wanted = absolute(path)
        with self._lock:
            leaving = [p for p in self._store.states() if p == str(path) or Path(p).is_relative_to(wanted)]
            self._store.forget(leaving)
        return len(leaving)

    def search(self, query: str, k: int = 5) -> list[Passage]:
        """The best `k` passages, best first; none where nothing reaches the floor."""
        with self._lock:
            question = self._question(query)
            lexical = dict(self._store.bm25(content_terms(query), _CANDIDATES))
            nearest = self._nearest.search(question.vector, max(_CANDIDATES, k))
            candidates = self._candidates([passage for passage, _ in nearest] + list(lexical), lexical)
            ranked = rank_passages(question, candidates, k)
            rows = self._store.passages(candidate.id for candidate, _ in ranked)
        # Another process may have removed one of them meanwhile.
        return [_passage(rows[candidate.id], score) for candidate, score in ranked if candidate.id in rows]

    def evidence(self, query: str, passages: Sequence[Passage], limit: int = 3) -> list[Evidence]:
        """The sentences of `passages` that answer best, literally, best first."""
        with self._lock:
            question = self._question(query)
            ids = self._store.find_passages((p.document, p.start, p.end) for p in passages)
            candidates = {c.id: c for c in self._candidates([i for i in ids if i is not None], {})}
        found = []
        for passage, passage_id in zip(passages, ids, strict=True):
            candidate = candidates.get(passage_id or -1)
            if candidate is None:
                continue
            for (start, end), score in zip(candidate.spans, question.sentence_scores(candidate), strict=True):
                # The passage's own place counts: a sentence among good neighbours is more likely the right one.
                found.append((score + passage.score / 7, passage, int(start), int(end)))
        found.sort(key=lambda row: -row[0])
        evidence: list[Evidence] = []
        for score, p, start, end in found:
            if asks(p.text[start:end], query):
                continue
            sentence = Evidence(
                p.text[start:end], p.document, p.page, p.heading, p.start + start, p.start + end, min(1.0, score)
            )
            if evidence and score < _EVIDENCE_SPREAD * found[0][0]:
                break
            if not any(_overlap(sentence, other) for other in evidence):
                evidence.append(sentence)
            if len(evidence) == limit:
                break
        return evidence

    def check(self) -> list[str]:
        """What is wrong, in sentences for people; empty when all is well. A bad graph file is deleted."""
        with self._lock:
            problems = self._store.integrity()
            for document in self._store.documents():
                text = self._store.text(document.path) or ""
                for row in self._store.passages_of(document.path):
                    if text[row.start : row.end] != row.text:
                        problems.append(f"{document.path}: the passage {row.start}-{row.end} is not in its text")
            problems += self._nearest.check()
        return problems

    @property
    def encoder(self) -> TextEncoder:
        """The encoder, loaded on first use. Raises EncoderError when it is missing or not the index's own."""
        with self._lock:
            if self._encoder is None:
                self._encoder = _starter_encoder()
            made_with = self._store.meta("encoder")
            name = fingerprint(self._encoder)
            if made_with is not None and made_with != name:
                raise EncoderError(
                    f"the index at {self.path} was made with the encoder {made_with}, not with {name}; "
                    "open it with that one, or delete its index.sqlite and add the documents again"
                )
            return self._encoder

    def _question(self, query: str) -> Question:
        generation = self._store.generation()
        if self._last_question is None or self._last_question[:2] != (query, generation):
            words = content_words(query)
            vector = unit(self.encoder.encode([query]))[0]
            question = Question(vector, words, self._store.frequencies(words), self._store.count())
            self._last_question = (query, generation, question)
        return self._last_question[2]

    def _candidates(self, ids: Sequence[int], bm25: dict[int, float]) -> list[Candidate]:
        wanted = list(dict.fromkeys(ids))
        rows = self._store.passages(wanted)
        vectors = self._store.vectors_of(wanted, self._store.dim())
        return [
            Candidate(i, rows[i].text, *vectors[i], bm25=bm25.get(i, 0.0)) for i in wanted if i in rows and i in vectors
        ]


def _starter_encoder() -> TextEncoder:
    from edge_index.encoder import Encoder

    directory = models_dir() / STARTER_ENCODER
    if not directory.is_dir():
        raise EncoderError(f"there is no text encoder at {directory}; run `edge models pull starter`")
    return Encoder.open(directory)


def _passage(row: StoredPassage, score: float) -> Passage:
    return Passage(row.text, row.path, row.page, row.heading, row.start, row.end, score, row.sha256)


def _overlap(a: Evidence, b: Evidence) -> bool:
    return a.document == b.document and a.start < b.end and b.start < a.end
