"""The knowledge base: files in, passages out. Everything that is known stands in one SQLite file."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from edge import arguments
from edge.errors import EncoderError, KnowledgeError, UsageError
from edge.log import logger
from edge.system.paths import STARTER_ENCODER, ensure_dir, models_dir
from edge.types import Evidence, Passage
from edge_index.closable import Closable
from edge_index.encoders.reranker import Reranker
from edge_index.ingest.add import Ingest
from edge_index.ingest.chunking import CHUNKING_RULES
from edge_index.ingest.discovery import FileFilter, absolute
from edge_index.ingest.embedding import (
    AnyEncoder,
    TextEncoder,
    check_encoder,
    fingerprint,
    load_encoder,
)
from edge_index.ingest.file_state import stale
from edge_index.ingest.rebuild import Rebuild, outdated
from edge_index.ingest.rebuild_tables import count_outdated
from edge_index.records import AddProgress, AddReport, Document, Outdated
from edge_index.retrieval.answerability import answerable
from edge_index.searcher import Searcher, as_passage
from edge_index.storage.lock import WriterLock
from edge_index.storage.store import Store
from edge_index.vectors.search import VectorSearch

_log = logger("index")

WAIT = 10.0
"""Seconds that a writer waits for another one."""


class Index(Closable):
    """A folder with an index in it. Safe to use from several threads. After `close` everything is a KnowledgeError.

    Make one with `Index.open`. Searching sees what other processes have added meanwhile.

    Attributes:
        path: The folder.

    Examples:
        >>> with Index.open("tools.index") as tools:
        ...     report = tools.add(["manuals/"])
        ...     len(report.added), tools.search("six bar", k=1)[0].heading
        (2, 'The boiler > Starting')
    """

    def __init__(self, path: Path, store: Store, encoder: AnyEncoder | None, reranker: Reranker | None = None) -> None:
        self.path = path
        self._store = store
        self._given = encoder
        self._encoder: TextEncoder | None = None
        self._vectors = VectorSearch(path, store)
        self._writer = WriterLock(path)
        self._searcher = Searcher(store, self._vectors, reranker)
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
        """Open the index in a folder, or make an empty one.

        Args:
            path: The folder.
            encoder: Anything with `encode(texts) -> array [n, dim]`, or a function that loads one, called when one is
                first needed; None takes the starter encoder.
            reranker: Reads question and passage together: slower and better.
            create: Make an index where there is none.

        Returns:
            The index; use it in a `with` block, or `close` it.

        Raises:
            KnowledgeError: For a damaged index or, without `create`, for none.
            StorageError: For a folder that cannot be written.
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
        """What is in the index.

        Returns:
            Documents by path.

        Examples:
            >>> sorted(Path(document.path).name for document in index.documents())
            ['boiler.md', 'pump.md']
        """
        with self._lock:
            return self._store.documents()

    def text(self, document: str) -> str:
        """The extracted text that all positions of a document refer to; the file is not needed.

        Args:
            document: Its path, as `Passage.document` has it.

        Returns:
            The text.

        Raises:
            KnowledgeError: For an unknown document.
        """
        with self._lock:
            text = self._store.text(document)
        if text is None:
            raise KnowledgeError(f"{document} is not in the index at {self.path}; `edge index list` shows what is")
        return text

    def find_document(self, name: Path | str) -> str:
        """The path of a document by that path, however written, or by the end of it.

        Args:
            name: The path, or as much of its end as only one document has.

        Returns:
            The path as the index has it.

        Raises:
            KnowledgeError: For none and for several.

        Examples:
            >>> index.find_document("pump.md").endswith("manuals/pump.md")
            True
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
        """The passages of a document that reach into `text[start:end]`, in order; the file is not needed.

        Args:
            document: Its path.
            start: In characters of its extracted text.
            end: Exclusive; None is the end of the text.

        Returns:
            Passages, each with the score 1.
        """
        with self._lock:
            rows = self._store.passages_of(document)
        return [as_passage(row, 1.0) for row in rows if row.end > start and (end is None or row.start < end)]

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

        Files that left a given folder leave the index. A file that cannot be read is reported and keeps what was known
        of it; the others go on. What was written before an interruption stays.

        Args:
            paths: One path or several.
            progress: Called before every file and at the end.
            include: Patterns as .gitignore has them: of folders only files that fit one.
            exclude: Patterns of files to leave out.
            ignore: Whether .gitignore files count.
            again: Read every file, also those that did not change.
            metadata: Of what JSON knows; kept with each of these documents and handed back with its passages. None
                leaves what they have.
            wait: Seconds to wait for another process that writes.

        Returns:
            What was done, by path.

        Raises:
            KnowledgeError: Where there is nothing to read at all, or another process writes for longer than `wait`.
            EncoderError: For an index that was made with another encoder.

        Examples:
            >>> len(index.add("manuals/").unchanged)
            2
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

        It is kept as it is: every position counts its characters. Under a name like "notes.md" its headings are known.
        No file is looked for: it is never changed, gone or read again.

        Args:
            text: The text.
            name: What citations call it (`Passage.document`), and by which it is found, removed and, given again,
                replaced.
            metadata: As in `add`.
            wait: As in `add`.

        Returns:
            What was done.

        Raises:
            UsageError: For no name, or a text that is none.
            DocumentError: For a text without words.
            KnowledgeError: As `add` does.

        Examples:
            >>> with Index.open("tickets.index") as tickets:
            ...     tickets.add_text("The pump loses oil.", name="ticket 17", metadata={"open": True}).added
            ('ticket 17',)
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
        """Forget a file, or all files of a folder; the files themselves stay.

        Args:
            path: A document's path, a text's name, or a folder.
            wait: As in `add`.

        Returns:
            How many documents left.

        Raises:
            KnowledgeError: Where another process writes for longer than `wait`.
        """
        wanted = absolute(arguments.path("path", path))
        with self._lock, self._writer.held(wait):
            leaving = [p for p in self._store.paths() if p == str(path) or Path(p).is_relative_to(wanted)]
            self._store.forget(leaving)
        return len(leaving)

    def outdated_chunks(self) -> int:
        """Documents that `rebuild` would cut into other passages; looking needs no encoder.

        Returns:
            How many.
        """
        with self._lock:
            return count_outdated(self._store, CHUNKING_RULES)

    def outdated(self, *, force: bool = False) -> Outdated | None:
        """What was made by older rules or with another encoder than the one this was opened with.

        Args:
            force: As if all of it was.

        Returns:
            What, and how long it takes to make it afresh; None where nothing is outdated.
        """
        with self._lock:
            return outdated(self._store, self._any_encoder(), force=force)

    def rebuild(
        self, *, progress: Callable[[AddProgress], None] | None = None, force: bool = False, wait: float = WAIT
    ) -> AddReport:
        """Make the whole index afresh from the texts it keeps, by today's rules and with this encoder.

        The files are not read. Until it is done the index stays as it is, for others, too; then all of it changes at
        once. After an interruption it goes on where it was. Nothing is done where nothing is outdated.

        Args:
            progress: Called before every document and at the end.
            force: Also where nothing is outdated; what is known is encoded again.
            wait: As in `add`.

        Returns:
            What was done.

        Raises:
            KnowledgeError: As `add` does.
        """
        with self._lock, self._writer.held(wait):
            report = Rebuild(self._store, self._any_encoder(), progress, force=force).run()
            self._vectors.refresh()
            return report

    def stale(self, documents: Iterable[str] | None = None) -> dict[str, Literal["changed", "gone"]]:
        """Documents whose file is no longer what was read.

        Args:
            documents: Paths to look at; None: all.

        Returns:
            Path -> "changed" or "gone".

        Examples:
            >>> index.stale()
            {}
        """
        with self._lock:
            states = self._store.states()
        wanted = states if documents is None else arguments.text_or_texts("documents", documents)
        return stale(states, [path for path in wanted if path in states])

    def search(self, query: str, k: int = 5, *, where: Mapping[str, Any] | None = None) -> list[Passage]:
        """The best passages.

        Args:
            query: The question.
            k: How many at most.
            where: Only documents whose metadata has all of these values: {"department": "sales"}.

        Returns:
            Best first; none where nothing reaches the floor.

        Raises:
            UsageError: For arguments that make no sense.
            EncoderError: For an encoder that is missing or not the index's own.

        Examples:
            >>> index.search("When is the pump due for maintenance?", k=1)[0].heading
            'The pump > Maintenance'
        """
        arguments.text("query", query), arguments.whole("k", k, 1)
        began = perf_counter()
        with self._lock:
            found = self._searcher.passages(lambda: self.encoder, query, k, where)
        _log.debug("%s: %d passages found in %.3f s", self.path, len(found), perf_counter() - began)
        return found

    def evidence(self, query: str, passages: Sequence[Passage], limit: int = 3) -> list[Evidence]:
        """The sentences of passages that answer best.

        Args:
            query: The question.
            passages: What `search` found for it.
            limit: How many at most.

        Returns:
            Literal sentences, best first.

        Examples:
            >>> question = "What does the red lamp mean?"
            >>> index.evidence(question, index.search(question))[0].quote
            'The red lamp means that the boiler is out of water.'
        """
        with self._lock:
            return self._searcher.sentences(lambda: self.encoder, query, passages, limit)

    def answerable(self, query: str, passages: Sequence[Passage]) -> float:
        """How likely passages are about what is asked.

        It was fitted to the starter encoder; with any other one whatever was found is believed.

        Args:
            query: The question.
            passages: What `search` found for it.

        Returns:
            A probability, 0 to 1.

        Examples:
            >>> question = "Who won the cup in 1966?"
            >>> index.answerable(question, index.search(question)) < 0.5
            True
        """
        if passages and getattr(self._any_encoder(), "name", None) != STARTER_ENCODER:
            return 1.0
        return answerable(passages)

    def check(self) -> list[str]:
        """Look whether the index is whole. A bad graph file is deleted.

        Returns:
            What is wrong, in sentences for people; empty when all is well.

        Examples:
            >>> index.check()
            []
        """
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


def _starter_encoder() -> TextEncoder:
    from edge_index.encoders.encoder import Encoder

    directory = models_dir() / STARTER_ENCODER
    if not directory.is_dir():
        raise EncoderError(f"there is no text encoder at {directory}; run `edge models pull starter`")
    return Encoder.open(directory)
