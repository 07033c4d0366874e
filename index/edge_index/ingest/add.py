"""Documents in: what changed is read and cut ahead, then encoded and written to the store, a batch at a time."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from edge.errors import DocumentError, KnowledgeError
from edge_index import loaders
from edge_index.ingest import chunking, embedding, file_state
from edge_index.ingest.discovery import FileFilter, Found, find_files
from edge_index.ingest.embedding import Embedder, TextEncoder, chunk
from edge_index.ingest.prefetch import prefetch
from edge_index.loaders import FORMATS_FOR_PEOPLE, Extracted, load
from edge_index.records import AddProgress, AddReport, Failure
from edge_index.storage import attributes
from edge_index.storage.store import FileState, Store

if TYPE_CHECKING:
    from edge_index.storage.passage_table import Chunk

_PREFETCHED = 16
"""Files that may wait, read and cut."""


@dataclass(frozen=True, slots=True)
class _Unchanged:
    path: str
    mtime_ns: int | None = None
    """Where the file was written again with the same content: since when."""


@dataclass(frozen=True, slots=True)
class _Moved:
    path: str
    old: str
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class _Chunked:
    """A file that was read and cut, and waits for its vectors."""

    path: str
    state: FileState
    extracted: Extracted
    chunks: list[Chunk]
    hashes: list[bytes]
    has_file: bool = True


_Item: TypeAlias = _Unchanged | _Moved | _Chunked | Failure


@dataclass(slots=True)
class _Done:
    """What was done so far, for the report."""

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    notes: list[Failure] = field(default_factory=list)
    passages: int = 0
    embedded: int = 0


class Ingest:
    """One run of `Index.add`: reads ahead until a batch is full, then encodes and writes it in one transaction.

    `encoder` is called, in whichever thread, when the first file really has to be read. `check` is called before
    anything is encoded or written, and raises EncoderError if that encoder is not the one of the store. All documents
    of the run get `metadata`; None leaves them theirs.
    """

    def __init__(
        self,
        store: Store,
        encoder: Callable[[], TextEncoder],
        check: Callable[[], object],
        progress: Callable[[AddProgress], None] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        if metadata is not None:
            attributes.to_json(metadata)  # now, and not after an hour of reading
        self._metadata = metadata
        self._store = store
        self._encoder = encoder
        self._check = check
        self._progress = progress
        self._known = store.states()
        self._paths = set(store.paths())
        self._again = False
        self._left: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self._waiting: list[_Chunked] = []
        self._small: list[_Unchanged | _Moved] = []
        self._done = _Done()

    def run(
        self, paths: Sequence[Path | str], file_filter: FileFilter | None = None, *, again: bool = False
    ) -> AddReport:
        """`again` reads every file, also those that did not change. Raises KnowledgeError for nothing to read."""
        texts = attributes.texts(self._store)
        # What was given without a file cannot be read again.
        self._done.unchanged += [str(path) for path in paths if str(path) in texts and not Path(path).exists()]
        found = find_files([path for path in paths if str(path) not in self._done.unchanged], file_filter)
        gone = self._gone(found)
        if not (found.files or gone or self._done.unchanged):
            raise KnowledgeError(_nothing_to_read(found))
        self._again = again
        self._done.failed += found.failed
        for left in gone:
            self._left[self._known[left].sha256, Path(left).suffix.lower()].append(left)
        total = len(found.files)
        with closing(prefetch(self._read_all(found.files), _PREFETCHED)) as items:
            for done, path in enumerate(found.files):
                self._report(done, total, str(path))
                self._take(next(items))
        removed = self._finish(gone)
        self._report(total, total, None)
        return self._to_report(found, removed)

    def run_text(self, name: str, text: str) -> AddReport:
        """Write a text that has no file, in the place of what has this name."""
        extracted = loaders.given(name, text)
        data = extracted.text.encode()
        state = FileState(hashlib.sha256(data).hexdigest(), len(data), 0)
        if attributes.texts(self._store).get(name) == state.sha256:
            self._take(_Unchanged(name))
        else:
            self._take(_Chunked(name, state, extracted, *chunk(extracted, self._encoder()), has_file=False))
        self._finish(())
        return self._to_report(Found(), [])

    def _to_report(self, found: Found, removed: list[str]) -> AddReport:
        done = self._done
        return AddReport(
            added=tuple(done.added),
            updated=tuple(done.updated),
            unchanged=tuple(done.unchanged),
            removed=tuple(removed),
            failed=tuple(done.failed),
            skipped=tuple(map(str, found.skipped)),
            passages=done.passages,
            embedded=done.embedded,
            reused=done.passages - done.embedded,
            moved=tuple(done.moved),
            left=tuple(found.left),
            ignored=found.ignored,
            notes=tuple(done.notes),
        )

    def _gone(self, found: Found) -> list[str]:
        """Documents of the given folders whose files are no longer there."""
        files = {str(path) for path in found.files}
        return [
            path
            for path in self._known
            if path not in files
            and any(Path(path).is_relative_to(root) for root in found.roots)
            and not Path(path).exists()
        ]

    def _report(self, done: int, total: int, path: str | None) -> None:
        if self._progress is not None:
            self._progress(AddProgress(done, total, path, self._done.passages))

    # In the thread that reads ahead: nothing here may touch the store.

    def _read_all(self, files: Sequence[Path]) -> Iterator[_Item]:
        for path in files:
            yield self._read(path)

    def _read(self, path: Path) -> _Item:
        """Read and cut one file, or find that it did not change."""
        name = str(path)
        known = self._known.get(name)
        try:
            name.encode()
            now = path.stat()
            if not self._again and file_state.looks_unchanged(known, now):
                return _Unchanged(name)
            content = file_state.read(path)
            state = content.state
            if not self._again and known is not None and known.sha256 == state.sha256:
                return _Unchanged(name, state.mtime_ns if state.mtime_ns != known.mtime_ns else None)
            old = self._left.get((state.sha256, path.suffix.lower())) if known is None else None
            if old:
                return _Moved(name, old.pop(), state.mtime_ns)
            extracted = load(path, content.data)
        except DocumentError as error:
            return Failure(name, str(error))
        except UnicodeEncodeError:
            shown = name.encode(errors="replace").decode()
            return Failure(shown, f"{shown} has a name that is not UTF-8; rename it")
        except OSError as error:
            return Failure(name, f"{name} cannot be read: {error.strerror}")
        return _Chunked(name, state, extracted, *chunk(extracted, self._encoder()))

    # In the thread of the caller.

    def _take(self, item: _Item) -> None:
        if isinstance(item, Failure):
            self._done.failed.append(item)
        elif isinstance(item, _Chunked):
            self._waiting.append(item)
            self._done.notes += [Failure(item.path, note) for note in item.extracted.notes]
            if sum(len(one.chunks) for one in self._waiting) >= embedding.BATCH:
                self._write()
        elif isinstance(item, _Moved):
            self._small.append(item)
            self._done.moved.append(item.path)
        else:
            if item.mtime_ns is not None:
                self._small.append(item)
            self._done.unchanged.append(item.path)

    def _write(self) -> None:
        """Encode what is new of the waiting documents and write them, in one transaction."""
        if not self._waiting:
            return
        work = Embedder(self._store, self._store.passage_table, self._encoder(), self._check)
        wanted = [(c.extracted.text, *pair) for c in self._waiting for pair in zip(c.chunks, c.hashes, strict=True)]
        embeddings = work.encode(wanted)
        with self._store.transaction():
            for one in self._waiting:
                self._store.put_document(
                    one.path,
                    one.state,
                    one.extracted,
                    one.chunks,
                    embeddings,
                    chunking_rules=chunking.CHUNKING_RULES,
                    metadata=self._metadata,
                    has_file=one.has_file,
                )
        for one in self._waiting:
            (self._done.updated if one.path in self._paths else self._done.added).append(one.path)
            self._done.passages += len(one.chunks)
        self._done.embedded += work.embedded
        self._waiting.clear()

    def _finish(self, gone: Sequence[str]) -> list[str]:
        """Write the rest; the paths that left. Only now do they, because others may have wanted their vectors."""
        self._write()
        moved = {item.old for item in self._small if isinstance(item, _Moved)}
        removed = [path for path in gone if path not in moved]
        if self._small or removed or self._store.passage_table.has_pending_vectors():
            with self._store.transaction():
                for item in self._small:
                    if isinstance(item, _Moved):
                        self._store.move_document(item.old, item.path, item.mtime_ns)
                    elif item.mtime_ns is not None:
                        self._store.touch(item.path, item.mtime_ns)
                self._store.leave(removed)
                self._store.passage_table.clear_pending_vectors()
        if self._metadata is not None:
            attributes.put_on(self._store, [*self._done.unchanged, *self._done.moved], self._metadata)
        return removed


def _nothing_to_read(found: Found) -> str:
    """Why: what was named is not there, or what is there is not read."""
    if found.failed and not found.roots:
        return "; ".join(failure.reason for failure in found.failed)
    roots = ", ".join(map(str, found.roots)) or "the list of paths"
    return f"{roots} holds no file that edge can read; it reads {FORMATS_FOR_PEOPLE}"
