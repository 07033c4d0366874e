"""The vectors of an index in one flat file: a disposable copy of SQLite's, mapped into memory and scanned exactly.

A row is the id of a passage (int64) and its vector (float32 [dim]); ids ascend. SQLite holds how many rows count and
a CRC-32 of every `BLOCK` rows, which is compared when a block is first read. Rows behind those that count belong to
an appending that was cut off, and the next one writes over them.
"""

from __future__ import annotations

import itertools
import json
import os
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Batch = tuple[NDArray[np.int64], NDArray[np.float32]]

FILE = "vectors.f32"
VECTORS = "vectors"
"""The key of the record in SQLite."""

BLOCK = 4096
"""Rows that one checksum covers."""

_STRIDE = 16 * BLOCK
"""Rows that are compared with a question in one go."""


@dataclass(frozen=True, slots=True)
class VectorRecord:
    """What the file must be. It stands in SQLite.

    `count` rows, the largest id is `last`; `live` of them were passages of the index at `generation`; for each block
    its first id and its CRC-32.
    """

    encoder: str
    dim: int
    count: int
    last: int
    generation: int
    live: int
    blocks: tuple[tuple[int, int], ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> VectorRecord:
        fields = json.loads(text)
        return cls(**fields | {"blocks": tuple((first, crc) for first, crc in fields["blocks"])})


class Damaged(Exception):
    """A file of vectors is not what its `record` in SQLite says."""

    def __init__(self, path: Path, record: VectorRecord) -> None:
        super().__init__(f"{path} is damaged")
        self.record = record


class VectorFile:
    """The rows that `record` counts. Nothing is read from a block whose checksum is wrong: `Damaged` is raised."""

    def __init__(self, path: Path, record: VectorRecord, before: VectorFile | None = None) -> None:
        """Raises OSError when there is no such file and Damaged when its length is not its record's.

        `before` is the same file as it was opened last: what was compared then is not compared again.
        """
        import numpy as np

        width = _width(record.dim)
        with path.open("rb") as file:
            stat = os.fstat(file.fileno())
            if stat.st_size < record.count * width or len(record.blocks) != -(-record.count // BLOCK):
                raise Damaged(path, record)
            self._bytes = np.memmap(file, dtype=np.uint8, mode="r", shape=(record.count * width,))
        self.path = path
        self.record = record
        self.identity = (stat.st_dev, stat.st_ino)
        self.ids = np.ndarray((record.count,), np.int64, self._bytes, 0, (width,))
        self.vectors = np.ndarray((record.count, record.dim), np.float32, self._bytes, 8, (width, 4))
        self._sound = [False] * len(record.blocks)
        if before is not None and before.identity == self.identity:
            for block, (old, new) in enumerate(zip(before.record.blocks, record.blocks, strict=False)):
                self._sound[block] = before._sound[block] and old == new

    def rows(self, after: int, last: int) -> slice:
        """The rows of the ids from `after` (which is left out) to `last`."""
        return slice(self._row_after(after), self._row_after(last))

    def verify(self, rows: slice) -> None:
        """Compare the checksums of the blocks that these rows lie in. Raises Damaged."""
        if rows.start >= rows.stop:
            return
        unread = [b for b in range(rows.start // BLOCK, (rows.stop - 1) // BLOCK + 1) if not self._sound[b]]
        if len(unread) < 8:
            for block in unread:
                self._verify_block(block)
            return
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for _ in threads.map(self._verify_block, unread):
                pass

    def scan(
        self, query: NDArray[np.float32], k: int, rows: slice, alive: NDArray[np.bool_] | None
    ) -> list[tuple[int, float]]:
        """The `k` nearest among these rows as (id, cosine), best first; of ids that are not `alive` none."""
        import numpy as np

        self.verify(rows)
        ids, scores = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        for start in range(rows.start, rows.stop, _STRIDE):
            piece = slice(start, min(start + _STRIDE, rows.stop))
            products = products_of(self.vectors[piece], query)
            if alive is not None:
                products[~alive[self.ids[piece]]] = -np.inf
            best = highest(products, k)
            ids.append(self.ids[piece][best])
            scores.append(products[best])
        return top(np.concatenate(ids), np.concatenate(scores), k)

    def batches(self, rows: slice, alive: NDArray[np.bool_] | None, size: int = 1024) -> Iterator[Batch]:
        """Copies of the rows of living ids, some at a time."""
        self.verify(rows)
        for start in range(rows.start, rows.stop, size):
            piece = slice(start, min(start + size, rows.stop))
            ids, vectors = self.ids[piece].copy(), self.vectors[piece].copy()
            yield (ids, vectors) if alive is None else (ids[alive[ids]], vectors[alive[ids]])

    def _row_after(self, passage: int) -> int:
        """The first row whose id is larger."""
        block = bisect_right(self.record.blocks, passage, key=lambda block: block[0]) - 1
        if block < 0:
            return 0
        self._verify_block(block)
        start, stop = block * BLOCK, min((block + 1) * BLOCK, self.record.count)
        return bisect_right(self.ids, passage, start, stop)

    def _verify_block(self, block: int) -> None:
        if self._sound[block]:
            return
        size = BLOCK * _width(self.record.dim)
        if zlib.crc32(self._bytes.data[block * size : (block + 1) * size]) != self.record.blocks[block][1]:
            raise Damaged(self.path, self.record)
        self._sound[block] = True


def products_of(vectors: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """The dot products of the rows [n, dim] with `query` [dim].

    Row by row: the threads of a BLAS take ten times longer than the work when the cores have other things to do.
    """
    import numpy as np

    products: NDArray[np.float32] = np.einsum("ij,j->i", vectors, query)
    return products


def highest(scores: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """Where the `k` highest scores are, in no order."""
    import numpy as np

    return np.arange(len(scores)) if len(scores) <= k else np.argpartition(-scores, k - 1)[:k]


def top(ids: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
    """The `k` best as (id, score), best first; what scores minus infinity is left out."""
    import numpy as np

    order = np.argsort(-scores, kind="stable")[:k]
    return [(int(ids[i]), float(scores[i])) for i in order if scores[i] > -np.inf]


def append(path: Path, record: VectorRecord, batches: Iterable[Batch], *, generation: int, live: int) -> VectorRecord:
    """Write rows behind those that `record` counts, and make sure that they are on the disk.

    They count once the record that comes back stands in SQLite: until then nobody sees them. Ids must ascend. One
    process at a time. Raises OSError, and ValueError for vectors of another length.
    """
    width = _width(record.dim)
    count, last, blocks = record.count, record.last, list(record.blocks)
    with path.open("rb+") as file:
        file.seek(count * width)
        for ids, vectors in batches:
            if vectors.shape[1] != record.dim:
                raise ValueError(f"a vector of {vectors.shape[1]} numbers among those of {record.dim}")
            data = _packed(ids, vectors)
            file.write(data)
            for start, stop in _cut(count, count + len(ids)):
                rows = data[(start - count) * width : (stop - count) * width]
                if start % BLOCK:
                    first, crc = blocks.pop()
                    blocks.append((first, zlib.crc32(rows, crc)))
                else:
                    blocks.append((int(ids[start - count]), zlib.crc32(rows)))
            count, last = count + len(ids), int(ids[-1]) if len(ids) else last
        file.flush()
        os.fsync(file.fileno())
    return VectorRecord(record.encoder, record.dim, count, last, generation, live, tuple(blocks))


def _cut(start: int, stop: int) -> Sequence[tuple[int, int]]:
    """The rows from `start` to `stop`, cut where blocks end."""
    edges = [start, *range((start // BLOCK + 1) * BLOCK, stop, BLOCK), stop]
    return [] if start == stop else list(itertools.pairwise(edges))


def _packed(ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> memoryview:
    """The bytes of rows."""
    import numpy as np

    rows = np.empty((len(ids), _width(vectors.shape[1])), np.uint8)
    rows[:, :8] = ids.astype("<i8").reshape(-1, 1).view(np.uint8)
    rows[:, 8:] = np.ascontiguousarray(vectors, "<f4").view(np.uint8)
    return rows.reshape(-1).data


def _width(dim: int) -> int:
    """Bytes of a row."""
    return 8 + 4 * dim
