"""The whole index afresh from the texts that it keeps: cut by today's rules, encoded with another encoder.

It grows in tables beside the index's own, batch by batch, while the index goes on as it is; one transaction puts
them in its place. A rebuild that was interrupted goes on where it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from edge_index.ingest import embedding
from edge_index.ingest.chunking import CHUNKING_RULES
from edge_index.ingest.embedding import Embedder, TextEncoder, chunk, encode, fingerprint
from edge_index.ingest.prefetch import prefetch
from edge_index.ingest.rebuild_tables import RebuildTables, count_outdated, some_texts
from edge_index.loaders import Extracted, Section
from edge_index.records import AddProgress, AddReport, Outdated
from edge_index.storage.passage_table import Chunk
from edge_index.storage.store import Store

_PREFETCHED = 4
"""Documents that may wait, cut."""

_SAMPLE = 8
"""Passages that are encoded to see how long all of them take."""


@dataclass(frozen=True, slots=True)
class _Chunked:
    id: int
    path: str
    text: str
    chunks: list[Chunk]
    hashes: list[bytes]


def outdated(store: Store, encoder: TextEncoder, *, force: bool = False) -> Outdated | None:
    """What of the index was made otherwise than it would be today; None where nothing was.

    Takes the time of encoding a few passages. With `force` what it would take to make all of it afresh.
    """
    reason = _reason(store, encoder, force)
    if reason is None:
        return None
    documents, passages = len(store.paths()), store.count()
    done = len(RebuildTables(store, _rules(encoder, force)).done())
    seconds = passages * (1 - done / documents) * _seconds_a_passage(store, encoder)
    return Outdated(reason, documents, passages, done, seconds, searchable=not _other_encoder(store, encoder))


def _reason(store: Store, encoder: TextEncoder, force: bool) -> str | None:
    """Why the index is to be made afresh; None where it is not."""
    if not store.count():
        return None
    if _other_encoder(store, encoder):
        return "its vectors were made with another encoder"
    old = count_outdated(store, CHUNKING_RULES)
    if old:
        return f"{old} documents were cut by older rules"
    return "all of it is to be made afresh" if force else None


def _other_encoder(store: Store, encoder: TextEncoder) -> bool:
    return store.meta("encoder") not in (None, fingerprint(encoder))


def _rules(encoder: TextEncoder, force: bool) -> str:
    return json.dumps([CHUNKING_RULES, fingerprint(encoder), force])


def _seconds_a_passage(store: Store, encoder: TextEncoder) -> float:
    texts = some_texts(store, _SAMPLE)
    pairs = [(text, Chunk(0, len(text), None, None, ((0, len(text)),))) for text in texts]
    encode(encoder, pairs[:1])  # the first one pays for what is only made once
    began = time.perf_counter()
    encode(encoder, pairs)
    return (time.perf_counter() - began) / len(pairs)


class Rebuild:
    """One run of `Index.rebuild`. With `force` no vector of the index is taken over."""

    def __init__(
        self,
        store: Store,
        encoder: TextEncoder,
        progress: Callable[[AddProgress], None] | None = None,
        *,
        force: bool = False,
    ) -> None:
        self._store = store
        self._encoder = encoder
        self._progress = progress
        self._force = force
        self._tables = RebuildTables(store, _rules(encoder, force))
        self._table = self._tables.passage_table(reuse=not (force or _other_encoder(store, encoder)))
        self._waiting: list[_Chunked] = []
        self._passages = 0
        self._embedded = 0

    def run(self) -> AddReport:
        """The report names every document as updated, or as unchanged where nothing is to be done."""
        if _reason(self._store, self._encoder, self._force) is None:
            return AddReport(unchanged=tuple(self._store.paths()))
        self._tables.begin()
        left = self._tables.left()
        total = len(self._store.paths())
        with closing(prefetch(map(self._chunk, left), _PREFETCHED)) as items:
            for done, item in enumerate(items, start=total - len(left)):
                self._report(done, total, item.path)
                self._waiting.append(item)
                if sum(len(one.chunks) for one in self._waiting) >= embedding.BATCH:
                    self._write()
        self._write()
        self._tables.switch(CHUNKING_RULES)
        self._report(total, total, None)
        passages = self._store.count()
        return AddReport(
            updated=tuple(self._store.paths()),
            passages=passages,
            embedded=self._embedded,
            reused=passages - self._embedded,
        )

    def _report(self, done: int, total: int, path: str | None) -> None:
        if self._progress is not None:
            self._progress(AddProgress(done, total, path, self._passages))

    def _chunk(self, document: int) -> _Chunked:
        stored = self._tables.text(document)
        sections = tuple(Section(*row) for row in json.loads(stored.sections))
        extracted = Extracted(stored.text, sections, stored.pages, stored.by_line)
        return _Chunked(document, stored.path, extracted.text, *chunk(extracted, self._encoder))

    def _write(self) -> None:
        work = Embedder(self._store, self._table, self._encoder, lambda: None)
        wanted = [(one.text, *pair) for one in self._waiting for pair in zip(one.chunks, one.hashes, strict=True)]
        embeddings = work.encode(wanted)
        with self._store.transaction():
            for one in self._waiting:
                self._table.put(one.id, one.text, one.chunks, embeddings)
                self._tables.note_done(one.id)
                self._passages += len(one.chunks)
        self._embedded += work.embedded
        self._waiting.clear()
