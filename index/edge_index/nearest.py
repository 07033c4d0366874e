"""Which passages lie nearest to a vector: an exact scan of small indexes, the graph of large ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import KnowledgeError, StorageError
from edge_index.ann import SMALLEST, Ann, AnnRecord, ExactScan
from edge_index.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Nearest:
    """The vectors of a store, ready to be searched; sees what was written since, by whomever. Not thread-safe."""

    def __init__(self, folder: Path, store: Store) -> None:
        self._file = folder / "graph.hnsw"
        self._store = store
        self._searcher: tuple[int, Ann | ExactScan] | None = None

    def search(self, vector: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
        """The `k` passages nearest to `vector` [dim] as (id, cosine), best first."""
        return self._renewed().search(vector, k)

    def check(self) -> list[str]:
        """What is wrong, in sentences for people. A bad graph file is deleted; one of an older generation is only
        stale and is made again at the next search."""
        record = self._record()
        stale = record is not None and record.generation != self._store.generation()
        if stale or not self._file.is_file() or self._open() is not None:
            return []
        if not self._store.writable:
            return [f"{self._file} does not fit the index; it is not used"]
        self._file.unlink()
        return [f"{self._file} did not fit the index and was deleted; it is made again when needed"]

    def close(self) -> None:
        self._searcher = None

    def _renewed(self) -> Ann | ExactScan:
        generation = self._store.generation()
        if self._searcher is None or self._searcher[0] != generation:
            searcher: Ann | ExactScan | None = None
            if self._store.count() >= SMALLEST:
                searcher = self._open() or self._build(generation)
            self._searcher = (generation, searcher or ExactScan(*self._store.vectors(self._store.dim())))
        return self._searcher[1]

    def _open(self) -> Ann | None:
        return Ann.open(
            self._file,
            self._record(),
            dim=self._store.dim(),
            count=self._store.count(),
            generation=self._store.generation(),
        )

    def _record(self) -> AnnRecord | None:
        text = self._store.meta("graph")
        return AnnRecord.from_json(text) if text else None

    def _build(self, generation: int) -> Ann:
        graph = Ann.build(*self._store.vectors(self._store.dim()))
        if self._store.writable:
            self._publish(graph, generation)
        return graph

    def _publish(self, graph: Ann, generation: int) -> None:
        """Save the graph for the next process. Without it that one builds its own: no reason to fail."""
        try:
            with self._store.transaction():  # one process at a time
                record = graph.save(self._file, generation=generation)
                self._store.set_meta("graph", record.to_json())
        except (KnowledgeError, OSError, StorageError):
            return
