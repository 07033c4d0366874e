"""The knowledge base: files in, passages out. Everything that is known stands in one SQLite file."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, TypeVar

from edge import arguments
from edge.errors import EncoderError, KnowledgeError, UsageError
from edge.log import logger
from edge.system.paths import STARTER_ENCODER, ensure_dir, models_dir
from edge.text.terms import content_terms, content_words
from edge.types import AddProgress, AddReport, Document, Evidence, Outdated, Passage
from edge_index.closable import Closable
from edge_index.encoders.reranker import Reranker
from edge_index.ingest.add import Ingest
from edge_index.ingest.chunking import CHUNKING_RULES
from edge_index.ingest.discovery import FileFilter, absolute
from edge_index.ingest.embedding import (
    AnyEncoder,
    TextEncoder,
    check_encoder,
    encoded,
    fingerprint,
    load_encoder,
)
from edge_index.ingest.file_state import stale
from edge_index.ingest.rebuild import Rebuild, outdated
from edge_index.ingest.rebuild_tables import count_outdated
from edge_index.retrieval.answerability import answerable
from edge_index.retrieval.ranking import Candidate, Question, asks, rank_passages
from edge_index.storage.attributes import passages_where
from edge_index.storage.lock import WriterLock
from edge_index.storage.store import Store, StoredPassage
from edge_index.vectors.search import VectorSearch

T = TypeVar("T")

_log = logger("index")

_CANDIDATES = 30
"""Passages that the vectors, and as many that the words bring up for ranking."""

_LONGEST_QUERY = 4000
"""Characters of a question that are looked for."""

_EVIDENCE_SPREAD = 0.5
"""A sentence below this share of the best one's score is no evidence."""


WAIT = 10.0
"""Seconds that a writer waits for another one."""


class Index(Closable):
    """A folder with an index in it. Safe to use from several threads. After `close` everything is a KnowledgeError.

    Make one with `Index.open`. Searching sees what other processes have added meanwhile.
    """

    def __init__(self, path: Path, store: Store, encoder: AnyEncoder | None, reranker: Reranker | None = None) -> None:
        self.path = path
        self._store = store
        self._given = encoder
        self._reranker = reranker
        self._encoder: TextEncoder | None = None
        self._vectors = VectorSearch(path, store)
        self._writer = WriterLock(path)
        self._last_question: tuple[str, int, Question] | None = None
        self._lock = threading.RLock()
        self._encoder_lock = threading.Lock()

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        encoder: AnyEncoder | None = None,
        reranker: Reranker | None = None,
        create: bool = True,
    ) -> Index:
        """Open the index in the folder `path`, or make an empty one.

        `encoder` may also be a function that loads one, called when one is first needed; None loads the starter
        encoder from the models directory. A `reranker` reads question and passage together: slower and better.
        Raises KnowledgeError for a damaged index or, without `create`, for none; StorageError for a folder
        that cannot be written.
        """
        folder = arguments.path("path", path).expanduser()
        check_encoder(encoder)
        if create and not (folder / "index.sqlite").is_file():
            ensure_dir(folder)
        return cls(folder, Store(folder / "index.sqlite", create=create), encoder, reranker)

    def __repr__(self) -> str:
        return f"Index({str(self.path)!r}{', closed' if self.closed else ''})"

    def _name(self) -> str:
        return f"the index at {self.path}"

    def _free(self) -> None:
        self._vectors.close()
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

    def find_document(self, name: Path | str) -> str:
        """The path of a document in the index by that path, however written, or by the end of it.

        Raises KnowledgeError for none and for several.
        """
        with self._lock:
            known = self._store.paths()
        for path in (str(name), str(absolute(name))):
            if path in known:
                return path
        ending = Path(name).parts
        found = [path for path in known if ending and Path(path).parts[-len(ending) :] == ending]
        if len(found) == 1:
            return found[0]
        if found:
            raise KnowledgeError(f"{name} may be {' or '.join(found[:5])}; write more of the path")
        raise KnowledgeError(f"{name} is not in the index at {self.path}; `edge index list` shows what is")

    def passages(self, document: str, start: int = 0, end: int | None = None) -> list[Passage]:
        """The passages of a document that reach into `text[start:end]`, in order; the file is not needed."""
        with self._lock:
            rows = self._store.passages_of(document)
        return [_passage(row, 1.0) for row in rows if row.end > start and (end is None or row.start < end)]

    def add(
        self,
        paths: Path | str | Iterable[Path | str],
        *,
        progress: Callable[[AddProgress], None] | None = None,
        include: str | Sequence[str] = (),
        exclude: str | Sequence[str] = (),
        ignore: bool = True,
        again: bool = False,
        metadata: Mapping[str, Any] | None = None,
        wait: float = WAIT,
    ) -> AddReport:
        """Read files and folders, or one, into the index; what did not change is not read again, nor encoded again.

        Of folders the files are taken that fit one of `include`, if there are any, and none of `exclude`
        (patterns as .gitignore has them); with `ignore` the .gitignore files count. `again` reads every file.
        Files that left a given folder leave the index. A file that cannot be read is reported and keeps what
        was known of it; the others go on. What was written before an interruption stays. `metadata`, of what JSON
        knows, is kept with each of these documents and comes back with its passages; None leaves what they have.
        Raises KnowledgeError when there is nothing to read at all, or when another process writes into the
        index for longer than `wait` seconds, and EncoderError when the index was made with another encoder.
        """
        wanted = arguments.paths("paths", paths)
        include, exclude = arguments.text_or_texts("include", include), arguments.text_or_texts("exclude", exclude)
        file_filter = FileFilter(include, exclude, ignore)
        with self._lock, self._writer.held(wait):
            ingest = Ingest(self._store, self._any_encoder, lambda: self.encoder, progress, metadata)
            report = ingest.run(wanted, file_filter, again=again)
            self._vectors.refresh()
        _log.info(
            "%s: %d documents added, %d updated, %d unchanged, %d removed, %d failed; %d passages encoded",
            *(self.path, len(report.added), len(report.updated), len(report.unchanged), len(report.removed)),
            *(len(report.failed), report.embedded),
        )
        return report

    def add_text(
        self, text: str, *, name: str, metadata: Mapping[str, Any] | None = None, wait: float = WAIT
    ) -> AddReport:
        """Put a text into the index that is in no file: a row of a database, a message, a page of a wiki.

        `name` is what citations call it (`Passage.document`), and by which it is found, removed and, given again,
        replaced. It is kept as it is: every position counts its characters. Under a name like "notes.md" its headings
        are known. No file is looked for: it is never changed, gone or read again. Raises as `add` does, UsageError for
        no name and DocumentError for a text without words.
        """
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise UsageError(f"a text needs a name of printable characters, not {name!r}")
        if not isinstance(text, str):
            raise UsageError(f"the text for {name} is a {type(text).__name__}; decode it first")
        with self._lock, self._writer.held(wait):
            ingest = Ingest(self._store, self._any_encoder, lambda: self.encoder, metadata=metadata)
            report = ingest.run_text(name, text)
            self._vectors.refresh()
            return report

    def remove(self, path: Path | str, *, wait: float = WAIT) -> int:
        """Forget a file, or all files of a folder; the number of documents that left."""
        wanted = absolute(arguments.path("path", path))
        with self._lock, self._writer.held(wait):
            leaving = [p for p in self._store.paths() if p == str(path) or Path(p).is_relative_to(wanted)]
            self._store.forget(leaving)
        return len(leaving)

    def outdated_chunks(self) -> int:
        """Documents that `rebuild` would cut into other passages; looking needs no encoder."""
        with self._lock:
            return count_outdated(self._store, CHUNKING_RULES)

    def outdated(self, *, force: bool = False) -> Outdated | None:
        """What was made by older rules or with another encoder than the one this was opened with, and how long it
        takes to make it afresh; None where nothing was. With `force` as if all of it was."""
        with self._lock:
            return outdated(self._store, self._any_encoder(), force=force)

    def rebuild(
        self, *, progress: Callable[[AddProgress], None] | None = None, force: bool = False, wait: float = WAIT
    ) -> AddReport:
        """Make the whole index afresh from the texts it keeps, by today's rules and with this encoder.

        The files are not read. Until it is done the index stays as it is, for others, too; then all of it changes
        at once. After an interruption it goes on where it was. Nothing is done where nothing is outdated, unless
        `force`, which also encodes what is known. Raises KnowledgeError as `add` does.
        """
        with self._lock, self._writer.held(wait):
            report = Rebuild(self._store, self._any_encoder(), progress, force=force).run()
            self._vectors.refresh()
            return report

    def stale(self, documents: Iterable[str] | None = None) -> dict[str, Literal["changed", "gone"]]:
        """Of `documents` (paths; None: all) those whose file is no longer what was read."""
        with self._lock:
            states = self._store.states()
        wanted = states if documents is None else arguments.text_or_texts("documents", documents)
        return stale(states, [path for path in wanted if path in states])

    def search(self, query: str, k: int = 5, *, where: Mapping[str, Any] | None = None) -> list[Passage]:
        """The best `k` passages, best first; none where nothing reaches the floor.

        `where` looks only at documents whose metadata has all of these values: {"department": "sales"}.
        """
        arguments.text("query", query), arguments.whole("k", k, 1)
        began = perf_counter()
        with self._lock:
            found = self._settled(lambda: self._search(_shortened(query), k, where))
        _log.debug("%s: %d passages found in %.3f s", self.path, len(found), perf_counter() - began)
        return found

    def evidence(self, query: str, passages: Sequence[Passage], limit: int = 3) -> list[Evidence]:
        """The sentences of `passages` that answer best, literally, best first."""
        query = _shortened(query)
        with self._lock:
            question = self._question(query)
            ids = self._store.find_passages((p.document, p.start, p.end) for p in passages)
            wanted = [i for i in ids if i is not None]
            candidates = {c.id: c for c in self._settled(lambda: self._candidates(wanted, {}))}
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

    def answerable(self, query: str, passages: Sequence[Passage]) -> float:
        """The probability, 0 to 1, that `passages`, as `search` found them, are about what `query` asks.

        It was fitted to the starter encoder; with any other one whatever was found is believed.
        """
        if passages and getattr(self._any_encoder(), "name", None) != STARTER_ENCODER:
            return 1.0
        return answerable(passages)

    def check(self) -> list[str]:
        """What is wrong, in sentences for people; empty when all is well. A bad graph file is deleted."""
        with self._lock:
            problems = self._store.integrity() + self._store.damaged()
            with self._store.sound():
                for document in self._store.documents():
                    text = self._store.text(document.path) or ""
                    for row in self._store.passages_of(document.path):
                        if text[row.start : row.end] != row.text:
                            problems.append(f"{document.path}: the passage {row.start}-{row.end} is not in its text")
            problems += self._vectors.check()
        return problems

    @property
    def encoder(self) -> TextEncoder:
        """The encoder, loaded on first use. Raises EncoderError when it is missing or not the index's own."""
        with self._lock:
            encoder = self._any_encoder()
            made_with, name = self._store.meta("encoder"), fingerprint(encoder)
            if made_with not in (None, name) and self._store.count():
                raise EncoderError(
                    f"the index at {self.path} was made with the encoder {made_with}, not with {name}; "
                    "open it with that one, or make its vectors afresh with this one: edge index rebuild"
                )
            return encoder

    def _any_encoder(self) -> TextEncoder:
        """The encoder, whether it is the index's own or not. May be called from any thread."""
        with self._encoder_lock:
            if self._encoder is None:
                self._encoder = load_encoder(self._given or _starter_encoder)
            return self._encoder

    def _search(self, query: str, k: int, where: Mapping[str, Any] | None = None) -> list[Passage]:
        question = self._question(query)
        among = passages_where(self._store, where) if where else None
        lexical = dict(self._store.bm25(content_terms(query), _CANDIDATES, among))
        nearest = self._vectors.search(question.vector, max(_CANDIDATES, k), among)
        candidates = self._candidates([passage for passage, _ in nearest] + list(lexical), lexical)
        ranked = rank_passages(question, candidates, k, reranker=self._reranker)
        rows = self._store.passages(candidate.id for candidate, _ in ranked)
        # Another process may have removed one of them meanwhile.
        return [_passage(rows[candidate.id], score) for candidate, score in ranked if candidate.id in rows]

    def _settled(self, look: Callable[[], T]) -> T:
        """What `look` finds; looked for again where another process put other vectors in place meanwhile."""
        while True:
            encoder = self._store.meta("encoder")
            try:
                found = look()
            except ValueError:  # vectors of two lengths met
                if self._store.meta("encoder") == encoder:
                    raise
                continue
            if self._store.meta("encoder") == encoder:
                return found

    def _question(self, query: str) -> Question:
        generation = self._store.generation()
        if self._last_question is None or self._last_question[:2] != (query, generation):
            words = content_words(query)
            vector = encoded(self.encoder, [query])[0]
            question = Question(vector, words, self._store.frequencies(words), self._store.count(), query)
            self._last_question = (query, generation, question)
        return self._last_question[2]

    def _candidates(self, ids: Sequence[int], bm25: dict[int, float]) -> list[Candidate]:
        wanted = list(dict.fromkeys(ids))
        rows = self._store.passages(wanted)
        vectors = self._store.vectors_of(wanted, self._store.dim())
        return [
            Candidate(i, rows[i].text, *vectors[i], bm25=bm25.get(i, 0.0)) for i in wanted if i in rows and i in vectors
        ]


def _shortened(query: str) -> str:
    """A question that is no page: of a longer one its beginning and its end, where what is asked stands. No encoder
    reads more, and full-text search takes a time that grows with the square of the words."""
    half = _LONGEST_QUERY // 2
    return query if len(query) <= _LONGEST_QUERY else f"{query[:half]}\n{query[-half:]}"


def _starter_encoder() -> TextEncoder:
    from edge_index.encoders.encoder import Encoder

    directory = models_dir() / STARTER_ENCODER
    if not directory.is_dir():
        raise EncoderError(f"there is no text encoder at {directory}; run `edge models pull starter`")
    return Encoder.open(directory)


def _passage(row: StoredPassage, score: float) -> Passage:
    place = (row.page, row.heading, row.start, row.end)
    return Passage(row.text, row.path, *place, score, row.sha256, row.metadata)


def _overlap(a: Evidence, b: Evidence) -> bool:
    return a.document == b.document and a.start < b.end and b.start < a.end
