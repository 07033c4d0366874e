"""What happens to the graphs beside a search: sound files are loaded, and what no graph covers yet is taken in."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import KnowledgeError, StorageError
from edge_index.storage.store import Store
from edge_index.vectors.hnsw import PART, Ann, AnnRecord, Cover, discard
from edge_index.vectors.vector_file import Damaged, VectorFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_KEY = "graph"
_DEAD = 0.2
"""The share of passages that left the index at which a graph is built again."""


@dataclass(frozen=True, slots=True)
class Task:
    """A graph to be made of the ids from `after` (left out) to `last`.

    `base` is what a graph covers of it already, `rows` what is new.
    """

    after: int
    last: int
    rows: int
    base: Cover | None


def origin(store: Store) -> str:
    """Where the vectors come from: the encoder, and the switch-over to passages that were made afresh."""
    return f"{store.meta('encoder') or ''} {store.meta('epoch') or ''}".strip()


def records_of(store: Store, encoder: str) -> list[AnnRecord]:
    """The published graphs of vectors that this encoder made, by their ids."""
    known = json.loads(store.meta(_KEY) or "{}")
    parts = known.get("parts", []) if known.get("encoder") == encoder else []
    return sorted((AnnRecord(**part) for part in parts), key=lambda record: record.after)


def set_records(store: Store, encoder: str, records: Sequence[AnnRecord]) -> None:
    store.set_meta(_KEY, json.dumps({"encoder": encoder, "parts": [asdict(record) for record in records]}))


def tombstone(part: Ann, file: VectorFile, alive: NDArray[np.bool_] | None) -> None:
    """What left the index is no longer found in the part. `alive` None: all in the file are passages."""
    import numpy as np

    rows = file.rows(part.after, part.last)
    known = rows.stop - rows.start if alive is None else int(alive[part.after + 1 : part.last + 1].sum())
    if known == part.cover.count - part.cover.tombstones:
        return
    if alive is None:
        file.verify(rows)
        alive = np.zeros(part.last + 1, np.bool_)
        alive[file.ids[rows]] = True
    part.tombstone(alive)


def gaps(file: VectorFile, covers: Sequence[Cover]) -> list[tuple[int, int]]:
    """The ranges of ids (after, last] in the file that nothing covers."""
    found, after = [], 0
    for cover in sorted(covers, key=lambda cover: cover.after):
        if cover.after > after:
            found.append((after, cover.after))
        after = cover.last
    if file.record.last > after:
        found.append((after, file.record.last))
    return found


def due(file: VectorFile, covers: Sequence[Cover], tail: int) -> list[Task]:
    """The graphs to be made: none while fewer than `tail` rows are uncovered and few passages left the index."""
    kept = [cover for cover in covers if cover.tombstones <= _DEAD * cover.count]
    uncovered = [(after, last, file.rows(after, last)) for after, last in gaps(file, kept)]
    if len(kept) == len(covers) > 0 and sum(rows.stop - rows.start for _, _, rows in uncovered) < tail:
        return []
    tasks = []
    for after, last, rows in uncovered:
        base = next((cover for cover in kept if cover.last == after and cover.count < PART), None)
        start, room = rows.start, PART - (base.count if base else 0)
        while start < rows.stop:
            stop = min(start + room, rows.stop)
            end = last if stop == rows.stop else int(file.ids[stop - 1])
            tasks.append(Task(base.after if base else after, end, stop - start, base))
            after, start, base, room = end, stop, None, PART
    return tasks


class GraphMaintenance(threading.Thread):
    """One round of it: `run` it, or `start` it to have it done beside the searches.

    It changes nothing that is searched: parts that are ready stand in `arrived`, with the graphs' ranges; whoever
    searches takes them. Ends early after `stop` and when the main thread has ended.
    """

    def __init__(
        self,
        folder: Path,
        store: Store,
        file: VectorFile,
        parts: Sequence[Ann],
        alive: NDArray[np.bool_] | None,
        *,
        generation: int,
        tail: int,
        threads: int,
    ) -> None:
        super().__init__(name="edge-graphs")
        self.arrived: deque[Ann] = deque()
        self.damaged: Damaged | None = None
        """The file of vectors turned out to be damaged."""
        self._folder = folder
        self._path = store.path
        self._writable = store.writable
        self._file = file
        self._parts = list(parts)
        self._alive = alive
        self._records = records_of(store, file.record.encoder)
        self._generation = generation
        self._tail = tail
        self._threads = threads
        self._ending = threading.Event()

    def has_work(self) -> bool:
        return bool(self._unloaded()) or (
            self._writable and bool(due(self._file, [part.cover for part in self._parts], self._tail))
        )

    def run(self) -> None:
        try:
            self._load()
            if self._writable:
                self._make()
        except Damaged as damaged:
            self.damaged = damaged
        except (OSError, MemoryError, RuntimeError):
            return  # no memory, or a failing disk: the exact scan goes on answering

    def stop(self) -> None:
        self._ending.set()

    def _stopped(self) -> bool:
        return self._ending.is_set() or not threading.main_thread().is_alive()

    def _unloaded(self) -> list[AnnRecord]:
        """Those that cover more than the file, because another process went on meanwhile, have to wait."""
        return [
            record
            for record in self._records
            if record.last <= self._file.record.last
            and not any(part.after == record.after and part.last >= record.last for part in self._parts)
        ]

    def _load(self) -> None:
        for record in self._unloaded():
            if self._stopped():
                return
            part = Ann.open(self._folder, record, dim=self._file.record.dim, generation=self._generation)
            if part is not None:
                self._take(part)

    def _take(self, part: Ann) -> None:
        tombstone(part, self._file, self._alive)
        self._parts = [*(other for other in self._parts if not part.cover.overlaps(other.cover)), part]
        self.arrived.append(part)

    def _make(self) -> None:
        for task in due(self._file, [part.cover for part in self._parts], self._tail):
            part = self._built(task)
            if part is None or self._stopped():
                return
            if len(part):  # or all of them left
                self._publish(part)
                self._take(part)

    def _built(self, task: Task) -> Ann | None:
        base = self._copy_of(task.base) if task.base else None
        start = base.last if base else task.after
        rows = self._file.rows(start, task.last)
        return Ann.build(
            self._file.batches(rows, self._alive),
            dim=self._file.record.dim,
            count=rows.stop - rows.start,
            after=task.after,
            last=task.last,
            base=base,
            threads=self._threads,
            stopped=self._stopped,
        )

    def _copy_of(self, cover: Cover) -> Ann | None:
        """What grows: the one that is searched must not change, hnswlib cannot do both at once."""
        record = next((part.record for part in self._parts if part.after == cover.after), None)
        if record is None:
            return None
        return Ann.open(self._folder, record, dim=self._file.record.dim, generation=self._generation)

    def _publish(self, part: Ann) -> None:
        """Save the graph for the next process. Without it that one makes its own: no reason to fail."""
        temporary: Path | None = None
        try:
            remove_leftovers(self._folder)
            temporary, record = part.save(self._folder, generation=self._generation)
            with closing(Store(self._path, create=False)) as store, store.transaction():
                self._exchange(store, temporary, record)
        except (KnowledgeError, OSError, StorageError):
            pass
        finally:
            if temporary is not None:
                discard(temporary)

    def _exchange(self, store: Store, temporary: Path, record: AnnRecord) -> None:
        """Put the new file and its record in the place of what it replaces. Inside a transaction."""
        encoder = self._file.record.encoder
        known = records_of(store, encoder)
        replaced = [other for other in known if other.cover.overlaps(record.cover)]
        newer = [other for other in replaced if other not in self._records and other.last >= record.last]
        if newer or origin(store) != encoder:
            return  # another process was faster, or the vectors are no longer these
        os.replace(temporary, self._folder / record.name)
        set_records(store, encoder, [*(other for other in known if other not in replaced), record])
        for other in replaced:
            if other.name != record.name:
                (self._folder / other.name).unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Files that a process which was killed did not finish. One that is still at work finishes in less than an hour."""
    for path in folder.glob("*.tmp"):
        try:
            if time.time() - path.stat().st_mtime > 3600:
                path.unlink(missing_ok=True)
        except OSError:
            continue
