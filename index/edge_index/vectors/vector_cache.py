"""The file of vectors beside a store: opened where it fits what SQLite says, made and made longer from SQLite."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import KnowledgeError, StorageError
from edge_index.storage.store import Store
from edge_index.vectors.graphs import remove_leftovers
from edge_index.vectors.hnsw import discard, temporary_for
from edge_index.vectors.vector_file import FILE, VECTORS, Damaged, VectorFile, VectorRecord, append

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_index.vectors.vector_file import Batch

_BATCH = 1024


class VectorCache:
    """A folder with a store and, perhaps, its file of vectors. Where it cannot be written there is none: no error."""

    def __init__(self, folder: Path, store: Store) -> None:
        self._folder = folder
        self._path = folder / FILE
        self._store = store
        self.written = 0
        """Rows that this object wrote."""
        self.distrusted: VectorRecord | None = None
        """What the record says of a file that was found damaged: it is not opened again."""

    def record(self, encoder: str, dim: int) -> VectorRecord | None:
        """What SQLite says of the file, if it is of these vectors."""
        text = self._store.meta(VECTORS)
        record = VectorRecord.from_json(text) if text else None
        return record if record and (record.encoder, record.dim) == (encoder, dim) else None

    def open(self, record: VectorRecord | None, before: VectorFile | None) -> VectorFile | None:
        """The file, or None where there is none that can be trusted."""
        if record is None or self.distrusted == record:
            return None
        try:
            return VectorFile(self._path, record, before)
        except (Damaged, OSError):
            return None

    def make(self, encoder: str, dim: int) -> VectorFile | None:
        """A new file of all vectors, or None where it cannot be written."""
        if not self._store.writable:
            return None
        temporary = temporary_for(self._path)
        generation = self._store.generation()
        ids = self._store.passage_ids()
        try:
            remove_leftovers(self._folder)
            temporary.touch()
            empty = VectorRecord(encoder, dim, 0, 0, generation, 0, ())
            record = append(temporary, empty, self._stream(ids, dim), generation=generation, live=len(ids))
            with self._store.transaction():
                os.replace(temporary, self._path)
                self._store.set_meta(VECTORS, record.to_json())
            self.written += record.count
            self.distrusted = None
            return VectorFile(self._path, record)
        except (KnowledgeError, OSError, StorageError):
            return None
        finally:
            discard(temporary)

    def extend(self, file: VectorFile) -> VectorFile:
        """The file with everything that came since, without holding it in memory."""
        generation, ids = self._store.generation(), self._store.passage_ids()
        ids = ids[ids > file.record.last]
        return self.append(file, self._stream(ids, file.record.dim), generation, live=-1) or file

    def append(self, file: VectorFile, batches: Iterable[Batch], generation: int, *, live: int) -> VectorFile | None:
        """The longer file; None when another process changed it meanwhile, or it cannot be written."""
        if not self._store.writable:
            return None
        try:
            with self._store.transaction():
                if self._store.meta(VECTORS) != file.record.to_json():
                    return None
                record = append(self._path, file.record, batches, generation=generation, live=live)
                self._store.set_meta(VECTORS, record.to_json())
            self.written += record.count - file.record.count
            return VectorFile(self._path, record, file)
        except (KnowledgeError, OSError, StorageError):
            return None

    def _stream(self, ids: NDArray[np.int64], dim: int) -> Iterator[Batch]:
        import numpy as np

        for start in range(0, len(ids), _BATCH):
            found = self._store.vectors_of(ids[start : start + _BATCH].tolist(), dim)
            if found:
                batch = sorted(found)
                yield np.array(batch, np.int64), np.stack([found[passage][0] for passage in batch])
