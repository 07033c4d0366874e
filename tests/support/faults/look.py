"""What a fresh process finds in an index: the looks of the fault harness, against an exact scan of its own."""

from __future__ import annotations

import io
import json
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import EdgeError
from edge_index import Index
from edge_index.storage.export import export
from faults.child import ENCODERS, Place, database_of, encoder_of, prepare
from faults.guards import remove_guards
from faults.story import QUERIES, State, lay
from index_fakes import WordEncoder

Truth = list[tuple[int, str]]
"""Passages: id and text."""


@dataclass
class Look:
    """What a fresh process finds. `texts`, `passages` (their spans) by name of the document."""

    encoder: str = ""
    texts: dict[str, str] = field(default_factory=dict)
    passages: dict[str, list[list[int]]] = field(default_factory=dict)
    answers: list[list[list[Any]]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    """Of the first `Index.check()`, which repairs."""
    left: list[str] = field(default_factory=list)
    """Of the second one."""


def look(place: Place, *, finish: State | None = None, guards: tuple[str, ...] = ()) -> dict[str, Any]:
    """Open the index and compare all that it says with what it must say, before and after a repair.

    With `finish` the documents are then laid out and added once more, and have to be there.
    """
    remove_guards(guards)
    prepare(place, None)
    encoder = encoder_of(place)
    found = Look(type(encoder).__name__)
    with Index.open(place.index, encoder=encoder) as index:
        for document in index.documents():
            found.texts[Path(document.path).name] = index.text(document.path)
        truth = _truth(place, found)
        found.wrong += _compare(index, truth)
        index._vectors.finalize()
        found.wrong += [f"with graphs: {wrong}" for wrong in _compare(index, truth)]
        found.answers = _answers(index)
        found.complaints = index.check()
        found.left = index.check()
        if found.complaints:
            found.wrong += [f"after the repair: {wrong}" for wrong in _compare(index, truth)]
        if finish is not None:
            lay(place.docs, finish)
            index.add([place.docs])
            texts = {Path(document.path).name: index.text(document.path) for document in index.documents()}
            if texts != finish:
                found.wrong.append("adding everything once more did not bring everything")
            found.wrong += [f"after adding once more: {wrong}" for wrong in _compare(index, _truth(place, Look()))]
    return asdict(found)


def look_at_damage(place: Place) -> dict[str, Any]:
    """As `look`, for a store that is damaged itself: `told` is what the index said of it, in errors and by `check`;
    `exported` are the texts that `export` gives out as sound."""
    prepare(place, None)
    found, reported, exported = Look(), [], {}
    try:
        with Index.open(place.index, encoder=WordEncoder()) as index:
            for document in index.documents():
                found.texts[Path(document.path).name] = index.text(document.path)
            _answers(index)
            reported = index.check()
            if not reported:
                found.wrong += _compare(index, _truth(place, found))
    except EdgeError as error:
        reported.append(f"{type(error).__name__}: {error}")
    out = io.StringIO()
    try:
        export(place.index / "index.sqlite", out)
    except EdgeError as error:
        reported.append(f"{type(error).__name__}: {error}")
    for line in map(json.loads, out.getvalue().splitlines()):
        if line["kind"] == "document" and not line.get("damaged"):
            exported[Path(line["path"]).name] = line["text"]
    return {**asdict(found), "reported": reported, "exported": exported}


def fresh(place: Place, docs: Path, files: State, encoder: str, *, exact: bool) -> dict[str, Any]:
    """What an index that is made of these files in one go answers; if not `exact` it has its files beside it."""
    prepare(place, None, exact=exact)
    lay(docs, files)
    found = Look()
    with Index.open(place.index, encoder=ENCODERS[encoder]()) as index:
        index.add([docs])
        found.answers = _answers(index)
        index._vectors.finalize()
        _truth(place, found)
    return asdict(found)


def _answers(index: Index) -> list[list[list[Any]]]:
    return [
        [[Path(p.document).name, p.start, p.end, round(p.score, 4)] for p in index.search(query, 6)]
        for query in QUERIES[1:2]
    ]


def _truth(place: Place, found: Look) -> Truth:
    """All passages that the store lists, past all of our own code."""
    with closing(database_of(place)) as database:
        rows = database.execute(
            "SELECT p.id, d.path, p.start, p.end, p.text, d.text FROM passages p JOIN documents d "
            "ON d.id = p.document ORDER BY d.path, p.start"
        ).fetchall()
    for _, path, start, end, text, whole in rows:
        found.passages.setdefault(Path(path).name, []).append([start, end])
        if whole[start:end] != text:
            found.wrong.append(f"{Path(path).name} {start}-{end} is not in its text")
    return [(row[0], row[4]) for row in rows]


def _compare(index: Index, truth: Truth) -> list[str]:
    """The ten nearest, against an exact scan of what the encoder makes of the texts. Passages that are equally near
    may change places."""
    if not truth:
        return []
    wrong = []
    encoder = index.encoder
    row = {passage: at for at, (passage, _) in enumerate(truth)}
    matrix = _unit(encoder.encode([text for _, text in truth]))
    for query, vector in zip(QUERIES, _unit(encoder.encode(list(QUERIES))), strict=True):
        cosines = matrix @ vector
        best = np.sort(cosines)[::-1][:10]
        found = index._vectors.search(vector, 10)
        if len(found) != len(best):
            wrong.append(f"{query!r}: {len(found)} passages instead of {len(best)}")
        elif any(passage not in row for passage, _ in found):
            wrong.append(f"{query!r}: a passage that does not exist")
        elif not np.allclose([cosines[row[passage]] for passage, _ in found], best, atol=2e-3):
            wrong.append(f"{query!r}: not the nearest passages")
        elif not np.allclose([score for _, score in found], best, atol=2e-3):
            wrong.append(f"{query!r}: wrong cosines")
    return wrong


def _unit(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    units: NDArray[np.float32] = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    return units
