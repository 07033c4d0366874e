"""Which passages lie nearest to a vector: graphs for most of a large index, an exact scan for all the rest."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge_index.storage.store import Store
from edge_index.vectors.graphs import GraphMaintenance, due, gaps, origin, records_of, set_records, tombstone
from edge_index.vectors.hnsw import Ann, Cover, ExactScan
from edge_index.vectors.integrity import check_files
from edge_index.vectors.vector_cache import VectorCache
from edge_index.vectors.vector_file import VECTORS, Damaged, VectorFile, VectorRecord

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SMALLEST = 50_000
"""Passages. Below, the exact scan is as fast as anyone can see, and neither files nor graphs are made."""

TAIL = 20_000
"""Passages that no graph covers: so many are scanned beside the graphs before the graphs take them in."""

_UNSAVED = 5_000
"""New passages that are kept in memory only before a search writes them to the file of vectors."""

_BULK = 50_000
"""New passages that are not held in memory on their way to the file of vectors."""


@dataclass(frozen=True, slots=True)
class _State:
    """The vectors of a store at a generation: those in the file, then those in memory (`tail`, larger ids).

    `alive` [largest id + 1] says which ids are passages, None when all in the file are; `live` counts them.
    """

    generation: int
    encoder: str
    dim: int
    file: VectorFile | None
    tail: ExactScan
    alive: NDArray[np.bool_] | None
    live: int

    @property
    def last(self) -> int:
        """The largest id that was seen."""
        if len(self.tail.ids):
            return int(self.tail.ids[-1])
        return self.file.record.last if self.file else 0


class VectorSearch:
    """The vectors of a store, ready to be searched; sees what was written since, by whomever.

    Not thread-safe. The graphs of a large index are loaded and made by a thread of its own from the second search
    on (a process that asks once has nothing of them); until they are there, everything is scanned.
    """

    def __init__(self, folder: Path, store: Store) -> None:
        self._folder = folder
        self._cache = VectorCache(folder, store)
        self._store = store
        self._state: _State | None = None
        self._parts: list[Ann] = []
        self._maintenance: GraphMaintenance | None = None
        self._maintained = -1
        self._asked = 0

    def search(
        self, vector: NDArray[np.float32], k: int, among: NDArray[np.int64] | None = None
    ) -> list[tuple[int, float]]:
        """The `k` passages nearest to `vector` [dim] as (id, cosine), best first; with `among`, ids of passages, only
        of those, by an exact scan."""
        import numpy as np

        query = np.ascontiguousarray(vector, np.float32)
        while True:  # a file can be damaged once: the next one is new, or there is none
            try:
                state = self._renewed()
                if among is not None:
                    return _found_among(state, query, k, among)
                self._asked += 1
                if self._asked > 1:
                    self._maintain(state)
                return self._found(state, query, k)
            except Damaged as damaged:
                self._forget_file(damaged.record)

    def refresh(self) -> None:
        """The store was written to: what is new goes into the file of vectors, and into the graphs where that is
        due and not much more work than what was added. Nothing happens in a small index."""
        before = self._cache.written
        try:
            state = self._saved(self._renewed())
            if state.file is None or not self._store.writable:
                return
            work = sum(task.rows for task in due(state.file, self._covers(state), TAIL))
            if 0 < work <= 4 * (self._cache.written - before):
                self.finalize()
        except Damaged as damaged:
            self._forget_file(damaged.record)

    def finalize(self) -> None:
        """Load and make the graphs that are due, on all cores, and come back when they are there."""
        try:
            state = self._renewed()
            if self._maintenance is not None:
                self._maintenance.join()
                self._take(state, self._maintenance)
                self._maintenance = None
            if state.file is not None:
                maintenance = self._new_maintenance(state, state.file, threads=-1)
                maintenance.run()
                self._take(state, maintenance)
                self._maintained = state.generation
        except Damaged as damaged:
            self._forget_file(damaged.record)

    def check(self) -> list[str]:
        """What is wrong with the files beside the store, in sentences for people. They are deleted where that is
        possible and made again when needed; one that is only out of date is not wrong."""
        self.close()
        return check_files(self._folder, self._store)

    def close(self) -> None:
        """Stop what happens beside the searches, and forget everything."""
        self._end_maintenance()
        self._state, self._parts, self._maintained, self._asked = None, [], -1, 0

    # Searching ---------------------------------------------------------------------------------------------------

    def _found(self, state: _State, query: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
        found = state.tail.search(query, k)
        if state.file is not None:
            ranges = gaps(state.file, [part.cover for part in self._parts])
            for part in self._parts:
                nearest = part.search(query, k)
                if nearest is None:
                    ranges.append((part.after, part.last))
                else:
                    found += nearest
            for after, last in ranges:
                found += state.file.scan(query, k, state.file.rows(after, last), state.alive)
        return sorted(found, key=lambda one: -one[1])[:k]

    def _renewed(self) -> _State:
        """What the store says now."""
        generation = self._store.generation()
        state = self._state
        if state is None or state.generation != generation:
            encoder, dim = origin(self._store), self._store.dim()
            if state is None or (state.encoder, state.dim) != (encoder, dim):
                self._end_maintenance()
                self._parts = []
                state = _State(-1, encoder, dim, None, _nothing(dim), None, 0)
            advanced = self._advanced(self._with_file(state), generation)
            state = advanced or self._from_nothing(state, generation)
            if len(state.tail.ids) > _UNSAVED:
                state = self._saved(state)
            self._state = state
            if state.file is not None:
                for part in self._parts:
                    tombstone(part, state.file, state.alive)
        return state

    def _with_file(self, state: _State) -> _State:
        """The state with the file that the store tells of, made if need be; without one where none is needed."""
        count = self._store.count()
        if count < SMALLEST:
            self._parts = []
            return _without_file(state)
        record = self._cache.record(state.encoder, state.dim)
        if state.file is not None and state.file.record == record:
            return state
        file = self._cache.open(record, state.file) or self._cache.make(state.encoder, state.dim)
        if file is None:
            self._parts = []
            return _without_file(state)
        if count - file.record.live > _BULK:
            file = self._cache.extend(file)
        return replace(state, file=file, tail=_nothing(state.dim), alive=None, live=file.record.count)

    def _advanced(self, state: _State, generation: int) -> _State | None:
        """The state with what came and without what went since; None when smaller ids came than were seen.

        Ids are never given twice, so counting tells whether any went.
        """
        import numpy as np

        record = state.file.record if state.file else None
        if record and record.generation == generation and record.live == state.live and not len(state.tail.ids):
            return replace(state, generation=generation)
        ids, vectors = self._store.vectors_after(state.last, state.dim)
        live, alive, tail = state.live + len(ids), state.alive, state.tail
        if len(ids):
            joined = vectors if not len(tail.ids) else np.concatenate([tail.vectors, vectors])
            tail = ExactScan(np.concatenate([tail.ids, ids]), joined)
            if alive is not None:
                alive = np.concatenate([alive, np.zeros(int(ids[-1]) + 1 - len(alive), np.bool_)])
                alive[ids] = True
        if live != self._store.count():
            now = self._store.passage_ids()
            last = max(record.last if record else 0, int(tail.ids[-1]) if len(tail.ids) else 0)
            alive = np.zeros(last + 1, np.bool_)
            alive[now[now <= last]] = True
            kept = alive[tail.ids]
            live = int(kept.sum())
            if state.file is not None:
                state.file.verify(slice(0, state.file.record.count))
                live += int(alive[state.file.ids].sum())
            if live != len(now[now <= last]):
                return None
            tail = ExactScan(tail.ids[kept], tail.vectors[kept])
        return replace(state, generation=generation, tail=tail, alive=alive if record else None, live=live)

    def _from_nothing(self, state: _State, generation: int) -> _State:
        """The state read from the store alone; what was published is not of its passages."""
        self.close()
        self._cache.distrusted = state.file.record if state.file else None
        if self._store.writable:
            with self._store.transaction():
                self._store.set_meta(VECTORS, "")
                set_records(self._store, state.encoder, [])
        nothing = _State(-1, state.encoder, state.dim, None, _nothing(state.dim), None, 0)
        state = self._with_file(nothing)
        return self._advanced(state, generation) or replace(state, generation=-1)

    def _saved(self, state: _State) -> _State:
        """The state with the tail in the file, where there is one."""
        if state.file is None or not len(state.tail.ids):
            return state
        batch = (state.tail.ids, state.tail.vectors)
        file = self._cache.append(state.file, [batch], state.generation, live=state.live)
        if file is not None:
            self._state = state = replace(state, file=file, tail=_nothing(state.dim))
        return state

    def _forget_file(self, record: VectorRecord) -> None:
        """The file of vectors is damaged: away with it, and with everything that was read from it."""
        self.close()
        self._cache.distrusted = record

    # The graphs --------------------------------------------------------------------------------------------------

    def _maintain(self, state: _State) -> None:
        """Take the graphs that are ready, and see to it that those that are not get so."""
        if self._maintenance is not None:
            self._take(state, self._maintenance)
            if self._maintenance.is_alive():
                return
            self._maintenance = None
        if state.file is None or self._maintained == state.generation:
            return
        self._maintained = state.generation
        maintenance = self._new_maintenance(state, state.file, threads=max(1, (os.cpu_count() or 2) // 2))
        if maintenance.has_work():
            self._maintenance = maintenance
            maintenance.start()

    def _new_maintenance(self, state: _State, file: VectorFile, *, threads: int) -> GraphMaintenance:
        return GraphMaintenance(
            self._folder,
            self._store,
            file,
            self._parts,
            state.alive,
            generation=state.generation,
            tail=TAIL,
            threads=threads,
        )

    def _take(self, state: _State, maintenance: GraphMaintenance) -> None:
        while maintenance.arrived:
            new = maintenance.arrived.popleft()
            if state.file is not None:
                tombstone(new, state.file, state.alive)
            self._parts = [*(part for part in self._parts if not new.cover.overlaps(part.cover)), new]
        if maintenance.damaged is not None:
            raise maintenance.damaged

    def _covers(self, state: _State) -> list[Cover]:
        """What the graphs cover: those in memory, or without them those that are published."""
        if self._parts:
            return [part.cover for part in self._parts]
        return [record.cover for record in records_of(self._store, state.encoder)]

    def _end_maintenance(self) -> None:
        if self._maintenance is not None:
            self._maintenance.stop()
            self._maintenance.join()
            self._maintenance = None


def _found_among(
    state: _State, query: NDArray[np.float32], k: int, among: NDArray[np.int64]
) -> list[tuple[int, float]]:
    """What the graphs cover is scanned, too: they cannot leave out most of what they find."""
    import numpy as np

    meant = np.zeros(max(state.last, int(among.max(initial=0))) + 1, np.bool_)
    meant[among] = True
    kept = meant[state.tail.ids]
    found = ExactScan(state.tail.ids[kept], state.tail.vectors[kept]).search(query, k)
    if state.file is not None:
        found += state.file.scan(query, k, slice(0, state.file.record.count), meant)
    return sorted(found, key=lambda one: -one[1])[:k]


def _without_file(state: _State) -> _State:
    """What was known of the rows of the file, and of what is gone of them, is forgotten with it."""
    return state if state.file is None else replace(state, file=None, tail=_nothing(state.dim), alive=None, live=0)


def _nothing(dim: int) -> ExactScan:
    import numpy as np

    return ExactScan(np.empty(0, np.int64), np.empty((0, dim), np.float32))
