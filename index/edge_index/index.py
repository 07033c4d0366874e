"""The knowledge base: files in, passages out. Everything that is known stands in one SQLite file."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from edge.errors import DocumentError, EncoderError, KnowledgeError
from edge.paths import ensure_dir, models_dir
from edge.types import AddProgress, AddReport, Document, Evidence, Failure, Passage
from edge.words import content_terms, content_words
from edge_index.ann import SMALLEST, Ann, AnnRecord, ExactScan
from edge_index.files import find_files
from edge_index.loaders import Extracted, load
from edge_index.passages import Span, split
from edge_index.ranking import Candidate, Question, rank_passages
from edge_index.store import FileState, Store, StoredPassage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STARTER_ENCODER = "all-MiniLM-L6-v2"

_CANDIDATES = 30
"""Passages that the vectors, and as many that the words bring up for ranking."""

_BATCH = 256
"""Passages that are encoded and written together: what a kill can cost."""

_EVIDENCE_SPREAD = 0.5
"""A sentence below this share of the best one's score is no evidence."""


class TextEncoder(Protocol):
    """Anything that turns texts into vectors [n, dim]: an `Encoder`, a SentenceTransformer.

    Optional, used where present: `fingerprint`, `max_tokens`, `count(text)`, `encode_with_spans(texts, spans)`.
    """

    def encode(self, texts: list[str], /) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True)
class _Read:
    """A file that was read and cut, and waits for its vectors."""

    path: str
    state: FileState
    extracted: Extracted
    spans: list[Span]


class Index:
    """A folder with an index in it. Safe to use from several threads.

    Make one with `Index.open`. Searching sees what other processes have added meanwhile.
    """

    def __init__(self, path: Path, store: Store, encoder: TextEncoder | None) -> None:
        self.path = path
        self._store = store
        self._given_encoder = encoder
        self._encoder: TextEncoder | None = None
        self._searcher: tuple[int, Ann | ExactScan] | None = None
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
            return _Adding(self, progress).run(list(paths))

    def remove(self, path: Path | str) -> int:
        """Forget a file, or all files of a folder; the number of documents that left."""
        wanted = Path(path).expanduser().absolute()
        with self._lock:
            leaving = [p for p in self._store.states() if p == str(path) or Path(p).is_relative_to(wanted)]
            self._forget(leaving)
        return len(leaving)

    def search(self, query: str, k: int = 5) -> list[Passage]:
        """The best `k` passages, best first; none where nothing reaches the floor."""
        with self._lock:
            question = self._question(query)
            lexical = dict(self._store.bm25(content_terms(query), _CANDIDATES))
            nearest = self._nearest().search(question.vector, max(_CANDIDATES, k))
            candidates = self._candidates([passage for passage, _ in nearest] + list(lexical), lexical)
            ranked = rank_passages(question, candidates, k)
            rows = self._store.passages(candidate.id for candidate, _ in ranked)
        return [_passage(rows[candidate.id], score) for candidate, score in ranked]

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
            graph = self._graph_file
            if graph.is_file() and self._open_graph() is None:
                graph.unlink()
                problems.append(f"{graph} did not fit the index and was deleted; it is made again when needed")
        return problems

    @property
    def encoder(self) -> TextEncoder:
        """The encoder, loaded on first use. Raises EncoderError when it is missing or not the index's own."""
        with self._lock:
            if self._encoder is None:
                encoder = self._given_encoder or _starter_encoder()
                made_with = self._store.meta("encoder")
                name = _fingerprint(encoder)
                if made_with is not None and made_with != name:
                    raise EncoderError(
                        f"the index at {self.path} was made with the encoder {made_with}, not with {name}; "
                        "open it with that one, or delete the folder and add the documents again"
                    )
                self._encoder = encoder
            return self._encoder

    @property
    def _graph_file(self) -> Path:
        return self.path / "graph.hnsw"

    def _question(self, query: str) -> Question:
        generation = self._store.generation()
        if self._last_question is None or self._last_question[:2] != (query, generation):
            words = content_words(query)
            vector = _unit(self.encoder.encode([query]))[0]
            question = Question(vector, words, self._store.frequencies(words), self._store.count())
            self._last_question = (query, generation, question)
        return self._last_question[2]

    def _candidates(self, ids: Sequence[int], bm25: dict[int, float]) -> list[Candidate]:
        wanted = list(dict.fromkeys(ids))
        rows = self._store.passages(wanted)
        vectors = self._store.vectors_of(wanted, self._dim())
        return [
            Candidate(i, rows[i].text, *vectors[i], bm25=bm25.get(i, 0.0)) for i in wanted if i in rows and i in vectors
        ]

    def _dim(self) -> int:
        return int(self._store.meta("dim") or 0)

    def _nearest(self) -> Ann | ExactScan:
        """The way to the nearest vectors, renewed when the store has changed."""
        generation = self._store.generation()
        if self._searcher is None or self._searcher[0] != generation:
            searcher: Ann | ExactScan | None = None
            if self._store.count() >= SMALLEST:
                searcher = self._open_graph() or self._build_graph(generation)
            self._searcher = (generation, searcher or ExactScan(*self._store.vectors(self._dim())))
        return self._searcher[1]

    def _open_graph(self) -> Ann | None:
        text = self._store.meta("graph")
        return Ann.open(
            self._graph_file,
            AnnRecord.from_json(text) if text else None,
            dim=self._dim(),
            count=self._store.count(),
            generation=self._store.generation(),
        )

    def _build_graph(self, generation: int) -> Ann:
        graph = Ann.build(*self._store.vectors(self._dim()))
        if self._store.writable:
            record = graph.save(self._graph_file, generation=generation)
            self._store.set_meta("graph", record.to_json())
        return graph

    def _forget(self, paths: Sequence[str]) -> None:
        if not paths:
            return
        with self._store.transaction():
            for path in paths:
                self._store.delete_document(path)
            self._store.bump_generation()


class _Adding:
    """One run of `Index.add`: reads ahead until a batch is full, then encodes and writes it in one transaction."""

    def __init__(self, index: Index, progress: Callable[[AddProgress], None] | None) -> None:
        self._index = index
        self._store = index._store
        self._progress = progress
        self._known = self._store.states()
        self._waiting: list[_Read] = []
        self._added: list[str] = []
        self._updated: list[str] = []
        self._unchanged: list[str] = []
        self._failed: list[Failure] = []
        self._passages = 0

    def run(self, paths: Sequence[Path | str]) -> AddReport:
        found = find_files(paths)
        self._failed += found.failed
        files = {str(path) for path in found.files}
        gone = [
            path
            for path in self._known
            if path not in files
            and any(Path(path).is_relative_to(root) for root in found.roots)
            and not Path(path).exists()
        ]
        if not (found.files or found.failed or gone):
            raise KnowledgeError(
                f"{', '.join(map(str, found.roots)) or 'the list of paths'} holds no file that edge can read; "
                "it reads text, Markdown, reStructuredText, HTML, PDF, DOCX, CSV, JSON lines and source code"
            )
        self._index._forget(gone)
        for done, path in enumerate(found.files):
            self._report(done, len(found.files), str(path))
            self._take(path)
            if sum(len(read.spans) for read in self._waiting) >= _BATCH:
                self._write()
        self._write()
        self._report(len(found.files), len(found.files), None)
        return AddReport(
            tuple(self._added),
            tuple(self._updated),
            tuple(self._unchanged),
            tuple(gone),
            tuple(self._failed),
            tuple(map(str, found.skipped)),
            self._passages,
        )

    def _report(self, done: int, total: int, path: str | None) -> None:
        if self._progress is not None:
            self._progress(AddProgress(done, total, path, self._passages))

    def _take(self, path: Path) -> None:
        """Read one file, or find that it did not change."""
        name = str(path)
        known = self._known.get(name)
        try:
            stat = path.stat()
            if known is not None and (known.bytes, known.mtime_ns) == (stat.st_size, stat.st_mtime_ns):
                self._unchanged.append(name)
                return
            data = path.read_bytes()
            state = FileState(hashlib.sha256(data).hexdigest(), len(data), stat.st_mtime_ns)
            if known is not None and known.sha256 == state.sha256:
                self._store.touch(name, state.mtime_ns)
                self._unchanged.append(name)
                return
            extracted = load(path, data)
        except DocumentError as error:
            self._failed.append(Failure(name, str(error)))
            return
        except OSError as error:
            self._failed.append(Failure(name, f"{name} cannot be read: {error.strerror}"))
            return
        spans = split(extracted, count=self._count, max_tokens=_max_tokens(self._index.encoder))
        self._waiting.append(_Read(name, state, extracted, spans))

    def _count(self, text: str) -> int:
        count: Callable[[str], int] | None = getattr(self._index.encoder, "count", None)
        # Without a tokenizer at hand: English runs at less than two word pieces a word.
        return count(text) if count is not None else 2 * len(text.split()) + 2

    def _write(self) -> None:
        if not self._waiting:
            return
        vectors, sentences = _encode(self._index.encoder, self._waiting)
        with self._store.transaction():
            self._store.set_meta("encoder", _fingerprint(self._index.encoder))
            self._store.set_meta("dim", str(vectors.shape[1]))
            at = 0
            for read in self._waiting:
                end = at + len(read.spans)
                self._store.put_document(
                    read.path,
                    read.state,
                    read.extracted.text,
                    read.extracted.pages,
                    read.spans,
                    vectors[at:end],
                    sentences[at:end],
                )
                at = end
            self._store.bump_generation()
        for read in self._waiting:
            (self._updated if read.path in self._known else self._added).append(read.path)
        self._passages += at
        self._waiting.clear()


def _encode(encoder: TextEncoder, documents: Sequence[_Read]) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    """Vectors [n, dim] of all passages in order, and for each its sentences' vectors [m, dim].

    An encoder with `encode_with_spans` gives both in one pass (late pooling); another reads every sentence.
    """
    pairs = [(read.extracted.text, span) for read in documents for span in read.spans]
    texts = [text[span.start : span.end] for text, span in pairs]
    with_spans = getattr(encoder, "encode_with_spans", None)
    if with_spans is not None:
        inside = [[(a - span.start, b - span.start) for a, b in span.sentences] for _, span in pairs]
        vectors, sentences = with_spans(texts, inside)
        return vectors, list(sentences)
    flat = _unit(encoder.encode([text[a:b] for text, span in pairs for a, b in span.sentences]))
    sentences, at = [], 0
    for _, span in pairs:
        sentences.append(flat[at : at + len(span.sentences)])
        at += len(span.sentences)
    return _unit(encoder.encode(texts)), sentences


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    vectors = np.asarray(vectors, dtype=np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit


def _max_tokens(encoder: TextEncoder) -> int:
    own = getattr(encoder, "max_tokens", None) or getattr(encoder, "max_seq_length", None)
    return min(256, int(own)) if own else 256


def _fingerprint(encoder: TextEncoder) -> str:
    return str(getattr(encoder, "fingerprint", None) or type(encoder).__name__)


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
