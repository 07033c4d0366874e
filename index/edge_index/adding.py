"""Documents in: what changed is read, cut, encoded and written to the store, a batch at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edge.errors import DocumentError, KnowledgeError
from edge.types import AddProgress, AddReport, Failure
from edge_index.files import Found, find_files
from edge_index.loaders import Extracted, load
from edge_index.passages import Span, split
from edge_index.store import FileState, Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BATCH = 256
"""Passages that are encoded and written together: what a kill can cost."""


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


class Adding:
    """One run of `Index.add`: reads ahead until a batch is full, then encodes and writes it in one transaction.

    `encoder` is called when the first file really has to be read, and raises EncoderError if it is not the one
    that the store was made with.
    """

    def __init__(
        self, store: Store, encoder: Callable[[], TextEncoder], progress: Callable[[AddProgress], None] | None
    ) -> None:
        self._store = store
        self._encoder = encoder
        self._progress = progress
        self._known = store.states()
        self._waiting: list[_Read] = []
        self._added: list[str] = []
        self._updated: list[str] = []
        self._unchanged: list[str] = []
        self._failed: list[Failure] = []
        self._passages = 0

    def run(self, paths: Sequence[Path | str]) -> AddReport:
        """Raises KnowledgeError when there is nothing to read at all."""
        found = find_files(paths)
        self._failed += found.failed
        gone = self._gone(found)
        if not (found.files or found.failed or gone):
            raise KnowledgeError(
                f"{', '.join(map(str, found.roots)) or 'the list of paths'} holds no file that edge can read; "
                "it reads text, Markdown, reStructuredText, HTML, PDF, DOCX, CSV, JSON lines and source code"
            )
        self._store.forget(gone)
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
            self._progress(AddProgress(done, total, path, self._passages))

    def _take(self, path: Path) -> None:
        """Read one file, or find that it did not change."""
        name = str(path)
        known = self._known.get(name)
        try:
            name.encode()
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
        except UnicodeEncodeError:
            shown = name.encode(errors="replace").decode()
            self._failed.append(Failure(shown, f"{shown} has a name that is not UTF-8; rename it"))
            return
        except OSError as error:
            self._failed.append(Failure(name, f"{name} cannot be read: {error.strerror}"))
            return
        encoder = self._encoder()
        spans = split(extracted, count=_counter(encoder), max_tokens=_max_tokens(encoder))
        self._waiting.append(_Read(name, state, extracted, spans))

    def _write(self) -> None:
        if not self._waiting:
            return
        vectors, sentences = _encode(self._encoder(), self._waiting)
        with self._store.transaction():
            # Asked again: another process may have made the empty index its own with another encoder meanwhile.
            self._store.set_meta("encoder", fingerprint(self._encoder()))
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


def fingerprint(encoder: TextEncoder) -> str:
    """What tells this encoder from others: vectors of two of them cannot be compared."""
    return str(getattr(encoder, "fingerprint", None) or type(encoder).__name__)


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """`vectors` [n, dim], each of length 1; a zero vector stays zero."""
    import numpy as np

    vectors = np.asarray(vectors, dtype=np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units: NDArray[np.float32] = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return units


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
    flat = unit(encoder.encode([text[a:b] for text, span in pairs for a, b in span.sentences]))
    sentences, at = [], 0
    for _, span in pairs:
        sentences.append(flat[at : at + len(span.sentences)])
        at += len(span.sentences)
    return unit(encoder.encode(texts)), sentences


def _counter(encoder: TextEncoder) -> Callable[[str], int]:
    """How many tokens a text has. Without a tokenizer at hand: English has less than two word pieces a word."""
    count: Callable[[str], int] | None = getattr(encoder, "count", None)
    return count if count is not None else lambda text: 2 * len(text.split()) + 2


def _max_tokens(encoder: TextEncoder) -> int:
    own = getattr(encoder, "max_tokens", None) or getattr(encoder, "max_seq_length", None)
    return min(256, int(own)) if own else 256
