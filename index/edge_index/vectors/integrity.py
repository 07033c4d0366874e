"""Are the files beside SQLite what SQLite says they are, and do the graphs find what an exact scan finds?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edge_index.storage.store import Store
from edge_index.vectors.graphs import origin, records_of, set_records
from edge_index.vectors.hnsw import Ann, AnnRecord
from edge_index.vectors.vector_file import FILE, VECTORS, Damaged, VectorFile, VectorRecord

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SAMPLE = 64
"""Vectors that are compared with SQLite's, and asked for."""

_UNFIT = "does not fit the index"
_NEIGHBOURS = 10
_RECALL = 0.9
"""Of the neighbours of the sampled vectors a graph that finds less is built again."""


def check_files(folder: Path, store: Store) -> list[str]:
    """What is wrong, in sentences for people. What is wrong is deleted where the store can be written."""
    encoder, text = origin(store), store.meta(VECTORS)
    file = _open(folder, store, encoder)
    if file is not None and not _is_sound(file, store):
        file = None
    problems = {}
    for record in records_of(store, encoder):
        problem = _problem(folder, record, store, file) if (folder / record.name).exists() else None
        if problem:
            problems[record] = problem
    unfit = file is None and (folder / FILE).exists()
    if not store.writable:
        return [f"{path} {problem}; it is not used" for path, problem in _still(folder, store, text, unfit, problems)]
    if not unfit and not problems and not _strangers(folder, store):
        return []
    with store.transaction():  # nobody publishes meanwhile, and what was put in its place is not deleted
        wrong = list(_still(folder, store, text, unfit, problems))
        for path, _ in wrong:
            path.unlink(missing_ok=True)
        for path in _strangers(folder, store):
            path.unlink(missing_ok=True)
        if store.meta(VECTORS) == text and unfit:
            store.set_meta(VECTORS, "")
        encoder = origin(store)
        set_records(store, encoder, [record for record in records_of(store, encoder) if record not in problems])
    return [f"{path} {problem} and was deleted; it is made again when needed" for path, problem in wrong]


def _still(
    folder: Path, store: Store, text: str | None, unfit: bool, problems: Mapping[AnnRecord, str]
) -> Iterator[tuple[Path, str]]:
    """The files that are wrong and were not replaced since they were looked at."""
    if unfit and store.meta(VECTORS) == text:
        yield folder / FILE, _UNFIT
    for record in records_of(store, origin(store)):
        if record in problems:
            yield folder / record.name, problems[record]


def _strangers(folder: Path, store: Store) -> list[Path]:
    """Graphs of which the store does not know any more: left behind, and never opened."""
    known = {record.name for record in records_of(store, origin(store))}
    return [path for path in sorted(folder.glob("graph*.hnsw")) if path.name not in known]


def _open(folder: Path, store: Store, encoder: str) -> VectorFile | None:
    text = store.meta(VECTORS)
    record = VectorRecord.from_json(text) if text else None
    if record is None or (record.encoder, record.dim) != (encoder, store.dim()):
        return None
    try:
        return VectorFile(folder / FILE, record)
    except (Damaged, OSError):
        return None


def _is_sound(file: VectorFile, store: Store) -> bool:
    """All checksums, and a sample against SQLite."""
    import numpy as np

    try:
        file.verify(slice(0, file.record.count))
    except Damaged:
        return False
    rows = np.random.default_rng().integers(0, file.record.count, _SAMPLE)
    kept = store.vectors_of(file.ids[rows].tolist(), file.record.dim)
    return all(
        np.array_equal(kept[passage][0], file.vectors[row])
        for row, passage in zip(rows.tolist(), file.ids[rows].tolist(), strict=True)
        if passage in kept
    )


def _problem(folder: Path, record: AnnRecord, store: Store, file: VectorFile | None) -> str | None:
    """What is wrong with a graph: the end of a sentence, or None."""
    import numpy as np

    part = Ann.open(folder, record, dim=store.dim(), generation=store.generation())
    if part is None:
        return _UNFIT
    rows = file.rows(record.after, record.last) if file is not None else slice(0, 0)
    if file is None or rows.start >= rows.stop:
        return None
    alive = np.zeros(max(file.record.last, record.last) + 1, np.bool_)
    ids = store.passage_ids()
    alive[ids[ids < len(alive)]] = True
    part.tombstone(alive)
    recall = _recall(part, file, rows, alive)
    if recall >= _RECALL:
        return None
    return f"finds only {recall:.0%} of what an exact scan finds"


def _recall(part: Ann, file: VectorFile, rows: slice, alive: NDArray[np.bool_]) -> float:
    """The share of the neighbours of some of its vectors that the graph finds."""
    import numpy as np

    living = np.flatnonzero(alive[file.ids[rows]]) + rows.start
    found = expected = 0
    for row in np.random.default_rng().choice(living, min(_SAMPLE, len(living)), replace=False):
        query = file.vectors[row].copy()
        exact = file.scan(query, _NEIGHBOURS, rows, alive)
        least = exact[-1][1] - 1e-5  # equally near ones are as good
        found += sum(score >= least for _, score in part.search(query, _NEIGHBOURS) or [])
        expected += len(exact)
    return found / expected if expected else 1.0
