"""The hnswlib graph: a disposable cache of the store's vectors, never opened before it was checked.

hnswlib reads a damaged file without complaint and then crashes or answers wrongly, so what the file must be
(SHA-256, dim, metric, count, generation) stands in SQLite, and anything else is built again.
Hierarchical navigable small worlds: Malkov and Yashunin, arXiv 1603.09320.
"""

from __future__ import annotations

import errno
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.checksum import sha256_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SMALLEST = 20_000
"""Passages. Below, the exact scan is as fast as anyone can see and finds everything."""

_M = 16
_EF_CONSTRUCTION = 200
_EF = 128
_METRIC = "ip"  # of unit vectors: the cosine


@dataclass(frozen=True, slots=True)
class AnnRecord:
    """What the file must be to be opened."""

    sha256: str
    dim: int
    metric: str
    count: int
    generation: int

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> AnnRecord:
        return cls(**json.loads(text))


class ExactScan:
    """All vectors in memory, every one compared: recall 1."""

    def __init__(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        self._ids = ids
        self._vectors = vectors

    def search(self, query: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
        """The `k` nearest passages as (id, cosine), best first."""
        import numpy as np

        if not len(self._ids):
            return []
        scores = self._vectors @ query
        k = min(k, len(scores))
        nearest = np.argpartition(-scores, k - 1)[:k]
        nearest = nearest[np.argsort(-scores[nearest], kind="stable")]
        return [(int(self._ids[i]), float(scores[i])) for i in nearest]


class Ann:
    """The graph in memory; the same `search` as `ExactScan`."""

    def __init__(self, graph: Any, dim: int) -> None:
        self._graph = graph
        self._dim = dim
        graph.set_ef(_EF)  # hnswlib forgets it on every load

    @classmethod
    def build(cls, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> Ann:
        import hnswlib

        dim = vectors.shape[1]
        graph = hnswlib.Index(space=_METRIC, dim=dim)
        graph.init_index(max_elements=len(ids), M=_M, ef_construction=_EF_CONSTRUCTION)
        graph.add_items(vectors, ids)
        return cls(graph, dim)

    @classmethod
    def open(cls, path: Path, record: AnnRecord | None, *, dim: int, count: int, generation: int) -> Ann | None:
        """The graph in the file, or None when the file is not exactly what the record and the store say."""
        import hnswlib

        if record is None or (record.dim, record.count, record.generation, record.metric) != (
            dim,
            count,
            generation,
            _METRIC,
        ):
            return None
        if not path.is_file() or sha256_of(path) != record.sha256:
            return None
        graph = hnswlib.Index(space=_METRIC, dim=dim)
        graph.load_index(str(path), max_elements=count)
        return cls(graph, dim)

    def search(self, query: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
        labels, distances = self._graph.knn_query(query, k=min(k, self._graph.get_current_count()))
        return [(int(i), 1.0 - float(d)) for i, d in zip(labels[0], distances[0], strict=True)]

    def save(self, path: Path, *, generation: int) -> AnnRecord:
        """Publish the graph: temporary name, fsync, rename. The record belongs into the store.

        Raises OSError when it cannot be written. Two processes must not save at the same time.
        """
        temporary = path.with_suffix(".tmp")
        try:
            temporary.touch()  # an OSError says why; hnswlib's own RuntimeError does not
            self._graph.save_index(str(temporary))
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            if temporary.stat().st_size != self._graph.index_file_size():  # hnswlib does not see a full disk
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(temporary))
            record = AnnRecord(sha256_of(temporary), self._dim, _METRIC, self._graph.get_current_count(), generation)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return record
