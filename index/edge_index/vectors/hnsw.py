"""The hnswlib graphs: disposable caches of the vectors, never opened before they were checked.

hnswlib reads a damaged file without complaint and then crashes or answers wrongly, so what a file must be
(SHA-256, dim, metric, count, ids, generation) stands in SQLite, and anything else is built again. A graph covers a
range of ids, up to `PART` passages: hnswlib stops every thread of Python while it loads or saves one, and that must
stay short. What no graph covers is scanned exactly.
Hierarchical navigable small worlds: Malkov and Yashunin, arXiv 1603.09320.
"""

from __future__ import annotations

import errno
import os
import secrets
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.system.checksum import sha256_of
from edge_index.vectors.vector_file import highest, products_of, top

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_index.vectors.vector_file import Batch

PART = 250_000
"""Passages that one graph covers at most."""

_M = 16
_EF_CONSTRUCTION = 100
_EF = 128
_METRIC = "ip"  # of unit vectors: the cosine


@dataclass(frozen=True, slots=True)
class Cover:
    """The ids from `after` (left out) to `last`: `count` passages, `tombstones` of which left the index."""

    after: int
    last: int
    count: int
    tombstones: int

    def overlaps(self, other: Cover) -> bool:
        return self.after < other.last and other.after < self.last


@dataclass(frozen=True, slots=True)
class AnnRecord:
    """What a file must be to be opened: it covers the ids from `after` (left out) to `last`, `count` of them."""

    sha256: str
    dim: int
    metric: str
    count: int
    generation: int
    after: int
    last: int

    @property
    def name(self) -> str:
        return f"graph-{self.after}.hnsw" if self.after else "graph.hnsw"

    @property
    def cover(self) -> Cover:
        return Cover(self.after, self.last, self.count, 0)


class ExactScan:
    """Vectors in memory, every one compared: recall 1."""

    def __init__(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        self.ids = ids
        self.vectors = vectors

    def search(self, query: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
        """The `k` nearest passages as (id, cosine), best first."""
        if not len(self.ids):
            return []
        scores = products_of(self.vectors, query)
        best = highest(scores, k)
        return top(self.ids[best], scores[best], k)


class Ann:
    """A graph in memory; the same `search` as `ExactScan`. Not to be extended while it is searched."""

    def __init__(self, graph: Any, after: int, last: int) -> None:
        import numpy as np

        self._graph = graph
        self.after = after
        self.last = last
        self.record: AnnRecord | None = None
        self._ids = np.sort(np.array(graph.get_ids_list(), np.int64))
        self._tombstones = np.zeros(len(self._ids), np.bool_)
        self._dead = 0
        graph.set_ef(_EF)  # hnswlib forgets it on every load

    @classmethod
    def build(
        cls,
        batches: Iterable[Batch],
        *,
        dim: int,
        count: int,
        after: int,
        last: int,
        base: Ann | None = None,
        threads: int = -1,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Ann | None:
        """The graph of the `batches` of ids and vectors, at most `count`; None when `stopped` was true meanwhile.

        `base` is a graph that grows by them, and must not be searched any more. `threads` -1: one a core.
        """
        import hnswlib

        if base is None:
            graph = hnswlib.Index(space=_METRIC, dim=dim)
            graph.init_index(max_elements=count, M=_M, ef_construction=_EF_CONSTRUCTION)
        else:
            graph = base._graph
            graph.resize_index(len(base) + count)
        for ids, vectors in batches:
            if stopped():
                return None
            if len(ids):
                graph.add_items(vectors, ids, num_threads=threads)
        return cls(graph, after, last)

    @classmethod
    def open(cls, folder: Path, record: AnnRecord, *, dim: int, generation: int) -> Ann | None:
        """The graph in the file, or None when the file is not exactly what the record says, or the record is not of
        an index like this one (`generation` of the store or an earlier one).
        """
        import hnswlib

        path = folder / record.name
        if (record.dim, record.metric) != (dim, _METRIC) or record.generation > generation:
            return None
        try:
            if sha256_of(path) != record.sha256 or _shape(path) != (record.count, _row_bytes(dim)):
                return None
        except OSError:
            return None
        graph = hnswlib.Index(space=_METRIC, dim=dim)
        graph.load_index(str(path), max_elements=record.count)
        part = cls(graph, record.after, record.last)
        if part._ids[0] <= record.after or part._ids[-1] > record.last:
            return None
        part.record = record
        return part

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def cover(self) -> Cover:
        return Cover(self.after, self.last, len(self), self._dead)

    def tombstone(self, alive: NDArray[np.bool_]) -> None:
        """Passages that are not `alive` [largest id + 1] are no longer found."""
        import numpy as np

        dead = ~alive[self._ids]
        for passage in self._ids[dead & ~self._tombstones].tolist():
            self._graph.mark_deleted(passage)
        self._tombstones = np.logical_or(self._tombstones, dead)
        self._dead = int(self._tombstones.sum())

    def search(self, query: NDArray[np.float32], k: int) -> list[tuple[int, float]] | None:
        """As `ExactScan.search`; None when the graph does not lead to as many passages as it holds."""
        k = min(k, len(self) - self._dead)
        if k == 0:
            return []
        try:
            labels, distances = self._graph.knn_query(query, k=k, num_threads=1)
        except RuntimeError:  # parts of the graph hang together no more
            return None
        return [(int(i), 1.0 - float(d)) for i, d in zip(labels[0], distances[0], strict=True)]

    def save(self, folder: Path, *, generation: int) -> tuple[Path, AnnRecord]:
        """Write the graph under a temporary name, and make sure that it is on the disk.

        It is published when the file is renamed to the record's name and the record stands in the store.
        Raises OSError when it cannot be written.
        """
        record = AnnRecord("", self._graph.dim, _METRIC, len(self), generation, self.after, self.last)
        temporary = temporary_for(folder / record.name)
        try:
            temporary.touch()  # an OSError says why; hnswlib's own RuntimeError does not
            self._graph.save_index(str(temporary))
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            if temporary.stat().st_size != self._graph.index_file_size():  # hnswlib does not see a full disk
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(temporary))
            self.record = replace(record, sha256=sha256_of(temporary))
        except BaseException:
            discard(temporary)
            raise
        return temporary, self.record


def discard(temporary: Path) -> None:
    """Where a file system has become read-only the file stays; `remove_leftovers` takes it later."""
    with suppress(OSError):
        temporary.unlink(missing_ok=True)


def temporary_for(path: Path) -> Path:
    """A name beside the file that nobody else uses."""
    return path.with_suffix(f".{secrets.token_hex(4)}.tmp")


def _shape(path: Path) -> tuple[int, ...]:
    """How many vectors the file says it has, and the bytes of each with its label and its links on the lowest level.

    The third and the fourth number of the file (hnswalg.h of hnswlib 0.8, saveIndex).
    """
    with path.open("rb") as file:
        head = file.read(32)
    return struct.unpack("=QQ", head[16:]) if len(head) == 32 else ()


def _row_bytes(dim: int) -> int:
    return 4 + 4 * 2 * _M + 4 * dim + 8
