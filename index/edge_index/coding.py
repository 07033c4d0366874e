"""Passages -> vectors: each passage that is not known yet is encoded once, and a long document's share is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from edge_index.database import translated
from edge_index.loaders import Extracted
from edge_index.passages import Span, split
from edge_index.shelf import Shelf, passage_hash, relative, spans_blob
from edge_index.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_index.shelf import Coded


BATCH = 256
"""Passages that are encoded and written together: what a kill can cost."""


class TextEncoder(Protocol):
    """Anything that turns texts into vectors [n, dim]: an `Encoder`, a SentenceTransformer.

    Optional, used where present: `fingerprint`, `max_tokens`, `count(text)`, `encode_with_spans(texts, spans)`.
    `count` may be called from another thread than `encode`.
    """

    def encode(self, texts: list[str], /) -> NDArray[np.float32]: ...


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


def cut(extracted: Extracted, encoder: TextEncoder) -> tuple[list[Span], list[bytes]]:
    """The passages of a text, as long as the encoder can read, and their hashes."""
    spans = split(extracted, count=_counter(encoder), max_tokens=_max_tokens(encoder))
    return spans, [passage_hash(extracted.text[s.start : s.end], spans_blob(s)) for s in spans]


class Coding:
    """Encodes what a shelf of the store has no vectors for.

    `check` raises where the encoder is not, or no longer, the shelf's own. More than `BATCH` passages are encoded
    one batch after the other, and all but the last are put aside in the store at once: a kill costs one batch.
    """

    def __init__(self, store: Store, shelf: Shelf, encoder: TextEncoder, check: Callable[[], object]) -> None:
        self._store = store
        self._shelf = shelf
        self._encoder = encoder
        self._check = check
        self.embedded = 0
        """Passages that were encoded."""

    def encode(self, wanted: Sequence[tuple[str, Span, bytes]]) -> dict[bytes, Coded]:
        """The vectors, by hash, of those passages (text of the document, span, hash) that the store lacks."""
        self._claim()
        by_hash = {name: (text, span) for text, span, name in wanted}
        with translated(self._store.path):
            missing = self._shelf.missing(by_hash)
        coded: dict[bytes, Coded] = {}
        for at in range(0, len(missing), BATCH):
            if coded:
                with self._store.transaction():
                    self._shelf.spare(coded)
            names = missing[at : at + BATCH]
            coded = dict(zip(names, encode(self._encoder, [by_hash[name] for name in names]), strict=True))
            self.embedded += len(names)
        return coded

    def _claim(self) -> None:
        """Note in the store whose vectors these will be."""
        name = fingerprint(self._encoder)
        self._check()
        if self._shelf.encoder() != name:
            with self._store.transaction():
                self._check()  # another process may have been faster
                self._shelf.claim(name)


def encode(encoder: TextEncoder, pairs: Sequence[tuple[str, Span]]) -> list[Coded]:
    """The vectors of passages (text of the document, span), with those of their sentences.

    An encoder with `encode_with_spans` gives both in one pass (late pooling); another reads every sentence.
    """
    texts = [text[span.start : span.end] for text, span in pairs]
    with_spans = getattr(encoder, "encode_with_spans", None)
    if with_spans is not None:
        vectors, parts = with_spans(texts, [relative(span) for _, span in pairs])
        return list(zip(vectors, parts, strict=True))
    flat = unit(encoder.encode([text[a:b] for text, span in pairs for a, b in span.sentences]))
    parts, at = [], 0
    for _, span in pairs:
        parts.append(flat[at : at + len(span.sentences)])
        at += len(span.sentences)
    return list(zip(unit(encoder.encode(texts)), parts, strict=True))


def _counter(encoder: TextEncoder) -> Callable[[str], int]:
    """How many tokens a text has. Without a tokenizer at hand: English has less than two word pieces a word."""
    count: Callable[[str], int] | None = getattr(encoder, "count", None)
    return count if count is not None else lambda text: 2 * len(text.split()) + 2


def _max_tokens(encoder: TextEncoder) -> int:
    own = getattr(encoder, "max_tokens", None) or getattr(encoder, "max_seq_length", None)
    return min(256, int(own)) if own else 256
