"""Passages -> vectors: each passage that is not known yet is encoded once, and a long document's share is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from inspect import iscoroutine, signature
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeGuard, cast

from edge import arguments
from edge.errors import EdgeError, EncoderError
from edge_index.ingest.chunking import split
from edge_index.loaders import Extracted
from edge_index.storage.passage_table import Chunk, PassageTable, passage_hash, relative, spans_blob
from edge_index.storage.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_index.storage.passage_table import Embedding


BATCH = 256
"""Passages that are encoded and written together: what a kill can cost."""


class TextEncoder(Protocol):
    """Anything that turns texts into vectors [n, dim]: an `Encoder`, a SentenceTransformer.

    Optional, used where present: `fingerprint`, `max_tokens`, `count(text)`, `encode_with_spans(texts, spans)`. `count`
    may be called from another thread than `encode`.
    """

    def encode(self, texts: list[str], /) -> NDArray[np.float32]:
        """The vectors of texts.

        Args:
            texts: Some texts.

        Returns:
            float32 [n, dim], in their order; of any length but zero.
        """
        ...


AnyEncoder: TypeAlias = TextEncoder | Callable[[], TextEncoder]
"""An encoder, or a function that loads one."""


def check_encoder(encoder: object) -> None:
    """Raise UsageError for what can be neither an encoder nor a function that loads one."""
    if encoder is None or _is_encoder(encoder):
        return
    needed = "an object with encode(texts), or a function without arguments that loads one"
    if not callable(encoder):
        arguments.refuse("encoder", encoder, needed)
    with suppress(TypeError, ValueError):  # what is written in C may not tell
        wanted = signature(encoder).parameters.values()
        if any(p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in wanted):
            arguments.refuse("encoder", encoder, f"{needed}; for a function of texts, an object with it as `encode`")


def load_encoder(given: AnyEncoder) -> TextEncoder:
    """The encoder itself, or the one that the function loads. Raises EncoderError."""
    if _is_encoder(given):  # before it is called: a SentenceTransformer can be, too
        return given
    try:
        loaded = cast("Callable[[], object]", given)()
    except EdgeError:
        raise
    except Exception as error:
        raise EncoderError(f"the encoder could not be loaded by {given!r}: {_reason(error)}") from error
    if not _is_encoder(loaded):
        raise EncoderError(f"{given!r} loaded a {type(loaded).__name__}, which has no encode(texts) and is no encoder")
    return loaded


def _is_encoder(given: object) -> TypeGuard[TextEncoder]:
    """A str has an `encode`, too, and a class loads one when it is called."""
    return hasattr(given, "encode") and not isinstance(given, str | type)


def encoded(encoder: TextEncoder, texts: list[str]) -> NDArray[np.float32]:
    """Unit vectors [n, dim] of `texts`. Raises EncoderError, which names the encoder, for anything else."""
    with _named_where_it_fails(encoder, len(texts)):
        found = encoder.encode(texts)
    return unit(_checked(encoder, found, len(texts)))


@contextmanager
def _named_where_it_fails(encoder: TextEncoder, count: int) -> Iterator[None]:
    try:
        yield
    except EdgeError:
        raise
    except Exception as error:
        raise EncoderError(f"{_named(encoder)} failed on {count} texts: {_reason(error)}") from error


def _checked(encoder: TextEncoder, found: Any, count: int) -> NDArray[np.float32]:
    import numpy as np

    if iscoroutine(found):
        found.close()
        raise EncoderError(f"{_named(encoder)} has an async encode; give one whose encode is a plain function")
    try:
        vectors = np.asarray(found, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise EncoderError(f"{_named(encoder)} gave a {type(found).__name__} and no vectors [{count}, dim]") from error
    if vectors.ndim != 2 or len(vectors) != count or not vectors.shape[1]:
        raise EncoderError(f"{_named(encoder)} gave numbers of the shape {list(vectors.shape)}, not [{count}, dim]")
    if not np.isfinite(vectors).all():
        raise EncoderError(f"{_named(encoder)} gave numbers that are no numbers (NaN or infinite); nothing is kept")
    return vectors


def _not_zero(encoder: TextEncoder, vectors: NDArray[np.float32], texts: Sequence[str]) -> NDArray[np.float32]:
    """A passage whose vector is zero would be found by nothing."""
    for vector, text in zip(vectors, texts, strict=True):
        if not vector.any():
            raise EncoderError(f"{_named(encoder)} gave a vector of zeros for {text[:40]!r}; nothing is kept")
    return vectors


def _named(encoder: TextEncoder) -> str:
    return f"the encoder {getattr(encoder, 'name', None) or type(encoder).__name__}"


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


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


def chunk(extracted: Extracted, encoder: TextEncoder) -> tuple[list[Chunk], list[bytes]]:
    """The passages of a text, as long as the encoder can read, and their hashes."""
    chunks = split(extracted, count=_counter(encoder), max_tokens=_max_tokens(encoder))
    return chunks, [passage_hash(extracted.text[c.start : c.end], spans_blob(c)) for c in chunks]


class Embedder:
    """Encodes what a passage table of the store has no vectors for.

    `check` raises where the encoder is not, or no longer, the table's own. More than `BATCH` passages are encoded
    one batch after the other, and all but the last are put aside in the store at once: a kill costs one batch.
    """

    def __init__(self, store: Store, table: PassageTable, encoder: TextEncoder, check: Callable[[], object]) -> None:
        self._store = store
        self._table = table
        self._encoder = encoder
        self._check = check
        self.embedded = 0
        """Passages that were encoded."""

    def encode(self, wanted: Sequence[tuple[str, Chunk, bytes]]) -> dict[bytes, Embedding]:
        """The vectors, by hash, of those passages (text of the document, chunk, hash) that the store lacks."""
        self._claim()
        by_hash = {name: (text, chunk) for text, chunk, name in wanted}
        with self._store.translated():
            missing = self._table.missing(by_hash)
        embeddings: dict[bytes, Embedding] = {}
        for at in range(0, len(missing), BATCH):
            if embeddings:
                with self._store.transaction():
                    self._table.put_pending(embeddings)
            names = missing[at : at + BATCH]
            embeddings = dict(zip(names, encode(self._encoder, [by_hash[name] for name in names]), strict=True))
            self.embedded += len(names)
        return embeddings

    def _claim(self) -> None:
        """Note in the store whose vectors these will be."""
        name = fingerprint(self._encoder)
        self._check()
        if self._table.encoder() != name:
            with self._store.transaction():
                self._check()  # another process may have been faster
                self._table.claim(name)


def encode(encoder: TextEncoder, pairs: Sequence[tuple[str, Chunk]]) -> list[Embedding]:
    """The vectors of passages (text of the document, chunk), with those of their sentences.

    An encoder with `encode_with_spans` gives both in one pass (late pooling); another reads every sentence.
    """
    texts = [text[chunk.start : chunk.end] for text, chunk in pairs]
    with_spans = getattr(encoder, "encode_with_spans", None)
    if with_spans is not None:
        spans = [relative(chunk) for _, chunk in pairs]
        with _named_where_it_fails(encoder, len(texts)):
            vectors, parts = with_spans(texts, spans)
        checked = [_checked(encoder, part, len(own)) if own else part for part, own in zip(parts, spans, strict=True)]
        return list(zip(_not_zero(encoder, _checked(encoder, vectors, len(texts)), texts), checked, strict=True))
    flat = encoded(encoder, [text[a:b] for text, chunk in pairs for a, b in chunk.sentences])
    parts, at = [], 0
    for _, chunk in pairs:
        parts.append(flat[at : at + len(chunk.sentences)])
        at += len(chunk.sentences)
    return list(zip(_not_zero(encoder, encoded(encoder, texts), texts), parts, strict=True))


def _counter(encoder: TextEncoder) -> Callable[[str], int]:
    """How many tokens a text has. Without a tokenizer at hand: English has less than two word pieces a word."""
    count: Callable[[str], int] | None = getattr(encoder, "count", None)
    return count if count is not None else lambda text: 2 * len(text.split()) + 2


def _max_tokens(encoder: TextEncoder) -> int:
    own = getattr(encoder, "max_tokens", None) or getattr(encoder, "max_seq_length", None)
    return min(256, int(own)) if own else 256
