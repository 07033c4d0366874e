"""The graph file: as good as an exact scan where it is used, and never opened when it is not exactly ours."""

from __future__ import annotations

import argparse
import ast
import collections
import json
import os
import pathlib
import re
import sqlite3
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.types import Passage
from edge_index import Index
from edge_index.encoders.encoder import Encoder
from edge_index.vectors import search as nearest_module
from edge_index.vectors.hnsw import Ann, ExactScan
from index_fakes import Child, WordEncoder

QUERIES = ("thing 3 with wheels", "the number 44 of things", "which thing has 17 wheels?", "green wheels")


@pytest.fixture(scope="module")
def sentences(minilm_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float32]:
    """Real encodings of real text: sentences of the docstrings of Python's library."""
    texts: list[str] = []
    for module in (argparse, collections, pathlib, subprocess, tarfile, ast):
        tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                texts += re.split(r"(?<=[.:])\s+", " ".join((ast.get_docstring(node) or "").split()))
    found = sorted({text for text in texts if len(text) > 30})
    assert len(found) > 400
    with Encoder.open(minilm_dir, cache=tmp_path_factory.mktemp("cache")) as encoder:
        return encoder.encode(found)


def perturbed(vectors: NDArray[np.float32], times: int, strength: float) -> NDArray[np.float32]:
    """Every vector `times` over, each turned a little in a random direction."""
    noise = np.random.default_rng(7).standard_normal((times, *vectors.shape), dtype=np.float32)
    turned = vectors + strength * noise / np.sqrt(vectors.shape[1])
    turned = turned.reshape(-1, vectors.shape[1])
    unit: NDArray[np.float32] = turned / np.linalg.norm(turned, axis=1, keepdims=True)
    return unit


def graph_of(ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> Ann:
    built = Ann.build([(ids, vectors)], dim=vectors.shape[1], count=len(ids), after=0, last=int(ids[-1]))
    assert built is not None
    return built


def test_graph_without_what_left_is_as_good(sentences: NDArray[np.float32]) -> None:
    """Half of all, and for some questions all of the nearest hundred: the answer is neither short nor worse."""
    vectors = perturbed(sentences, 4, 0.7)
    ids = np.arange(len(vectors), dtype=np.int64) + 1
    graph, alive = graph_of(ids, vectors), np.arange(len(vectors) + 1) % 2 == 0
    queries = perturbed(sentences[::25], 1, 0.7)
    for query in queries[:5]:
        alive[ids[np.argsort(-(vectors @ query))[:100]]] = False
    for _ in range(2):  # what is tombstones already is left in peace
        graph.tombstone(alive)
    assert graph.cover.tombstones == len(ids) - int(alive[1:].sum())
    living = ids[alive[ids]]
    hits = 0
    for query in queries:
        found = [passage for passage, _ in graph.search(query, 30) or []]
        assert len(found) == 30
        assert alive[found].all()
        exact = living[np.argsort(-(vectors[living - 1] @ query))[:30]]
        hits += len(set(found) & set(exact.tolist()))
    assert hits >= 0.98 * 30 * len(queries)
    everything = graph.search(queries[0], len(ids))
    assert everything is None or {passage for passage, _ in everything} == set(living.tolist())


def test_recall_against_an_exact_scan(sentences: NDArray[np.float32], tmp_path: Path) -> None:
    vectors = perturbed(sentences, 4, 0.7)
    queries = perturbed(sentences[::3], 1, 0.7)
    ids = np.arange(len(vectors), dtype=np.int64) * 3 + 5
    built = graph_of(ids, vectors)
    temporary, record = built.save(tmp_path, generation=4)
    temporary.rename(tmp_path / record.name)
    opened = Ann.open(tmp_path, record, dim=vectors.shape[1], generation=4)
    assert opened is not None
    cosines = queries @ vectors.T
    exact = [set(ids[np.argsort(-row, kind="stable")[:10]].tolist()) for row in cosines]
    for graph in (built, opened):  # hnswlib forgets its `ef` when it loads: 0.95 with its own
        found = [graph.search(query, 10) or [] for query in queries]
        recall = np.mean([len(truth & {i for i, _ in rows}) / 10 for truth, rows in zip(exact, found, strict=True)])
        assert recall >= 0.98
        assert [score for _, score in found[0]] == sorted((score for _, score in found[0]), reverse=True)
        best, score = found[0][0]
        assert score == pytest.approx(float(cosines[0][(best - 5) // 3]), abs=1e-5)


def test_exact_scan_against_a_sort(sentences: NDArray[np.float32]) -> None:
    ids = np.arange(len(sentences), dtype=np.int64) + 100
    scan = ExactScan(ids, sentences)
    for query in perturbed(sentences[:40], 1, 0.5):
        order = np.argsort(-(sentences @ query), kind="stable")
        for k in (1, 7, len(ids), len(ids) + 5):
            found = scan.search(query, k)
            assert [i for i, _ in found] == ids[order[:k]].tolist()
            assert [score for _, score in found] == pytest.approx((sentences @ query)[order[:k]].tolist(), abs=1e-6)
    assert ExactScan(ids[:0], sentences[:0]).search(sentences[0], 5) == []


# The file --------------------------------------------------------------------------------------------------------


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that hnswlib was told to read."""
    read: list[str] = []
    load: Callable[..., Any] = hnswlib.Index.load_index

    def note(self: Any, path: str, **rest: Any) -> Any:
        read.append(path)
        return load(self, path, **rest)

    monkeypatch.setattr(hnswlib.Index, "load_index", note)
    return read


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an index of a hundred documents and its graph."""
    monkeypatch.setattr(nearest_module, "SMALLEST", 50)
    docs = tmp_path / "docs"
    docs.mkdir()
    for number in range(100):
        (docs / f"{number}.txt").write_text(f"This is thing {number}. It has {number % 30} green wheels.")
    with Index.open(tmp_path / "index", encoder=WordEncoder()) as index:
        index.add([docs])
    assert (tmp_path / "index" / "graph.hnsw").is_file()
    return tmp_path / "index"


def answers(folder: Path) -> list[list[Passage]]:
    """Before the graph is there, and with it."""
    with Index.open(folder, encoder=WordEncoder()) as index:
        scanned = [index.search(query, 8) for query in QUERIES]
        index._vectors.finalize()
        assert [index.search(query, 8) for query in QUERIES] == scanned
        return scanned


def exact_answers(folder: Path) -> list[list[Passage]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest_module, "SMALLEST", 10**9)
        return answers(folder)


def test_sound_file_is_opened_once(library: Path, loads: list[str]) -> None:
    """The control for what follows: a file that fits is read, and gives what the exact scan gives."""
    exact = exact_answers(library)
    assert loads == []
    before = (library / "graph.hnsw").stat()
    assert answers(library) == exact
    assert loads == [str(library / "graph.hnsw")]
    assert (library / "graph.hnsw").stat().st_mtime_ns == before.st_mtime_ns
    assert all(exact)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def zero_a_page(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:8192] = bytes(4096)
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


def of_another_dim(path: Path) -> None:
    temporary, _ = graph_of(np.arange(1, 101, dtype=np.int64), np.eye(100, 64, dtype=np.float32)).save(
        path.parent, generation=1
    )
    temporary.rename(path)


@pytest.mark.parametrize("damage", [flip, zero_a_page, truncate, of_another_dim, lambda path: path.write_bytes(b"")])
def test_damaged_file_is_never_opened(library: Path, loads: list[str], damage: Callable[[Path], None]) -> None:
    exact = exact_answers(library)
    damage(library / "graph.hnsw")
    assert answers(library) == exact
    assert loads == []
    assert answers(library) == exact  # it was made again, and that one is opened
    assert loads == [str(library / "graph.hnsw")]


@pytest.mark.parametrize(
    "lie", [{"dim": 128}, {"count": 99}, {"generation": 10**6}, {"metric": "l2"}, {"sha256": "0" * 64}, None]
)
def test_file_that_is_not_the_records_is_never_opened(
    library: Path, loads: list[str], lie: dict[str, Any] | None
) -> None:
    exact = exact_answers(library)
    with sqlite3.connect(library / "index.sqlite") as database:
        if lie is None:
            database.execute("DELETE FROM meta WHERE key = 'graph'")
        else:
            (record,) = database.execute("SELECT value FROM meta WHERE key = 'graph'").fetchone()
            known = json.loads(record)
            reported = json.dumps(known | {"parts": [part | lie for part in known["parts"]]})
            database.execute("UPDATE meta SET value = ? WHERE key = 'graph'", (reported,))
    database.close()
    assert answers(library) == exact
    assert loads == []
    assert answers(library) == exact
    assert len(loads) == 1


def test_file_of_yesterday_answers_together_with_what_changed(library: Path, loads: list[str]) -> None:
    """Documents came and went by the same number, and nothing was published since."""
    old = (library / "graph.hnsw").read_bytes()
    with Index.open(library, encoder=WordEncoder()) as index:
        new = library.parent / "docs" / "3.txt"
        new.write_text("This is thing 3 with blue sails. It has 3 blue sails.")
        assert len(index.add([new]).updated) == 1
        index._vectors.finalize()
        assert loads == [str(library / "graph.hnsw")]
        assert index.search("blue sails", 1)[0].document == str(new)
        assert all(
            "blue" in one.text for one in index.search("thing 3 with green wheels", 50) if one.document == str(new)
        )
    assert (library / "graph.hnsw").read_bytes() == old
    assert answers(library) == exact_answers(library)


def test_graphs_of_another_encoders_vectors_are_not_opened(library: Path, loads: list[str]) -> None:
    with sqlite3.connect(library / "index.sqlite") as database:
        database.execute("UPDATE meta SET value = replace(value, 'WordEncoder', 'Another') WHERE key = 'graph'")
    database.close()
    assert answers(library) == exact_answers(library)
    assert loads == []


def test_file_that_is_gone_is_made_again(library: Path, loads: list[str]) -> None:
    (library / "graph.hnsw").unlink()
    assert answers(library) == exact_answers(library)
    assert loads == []
    assert (library / "graph.hnsw").is_file()


def test_check_deletes_a_damaged_file(library: Path, loads: list[str]) -> None:
    with Index.open(library, encoder=WordEncoder()) as index:
        assert index.check() == []
        loads.clear()
        flip(library / "graph.hnsw")
        (problem,) = index.check()
        assert "graph.hnsw" in problem
        assert index.check() == []
    assert loads == []
    assert not list(library.glob("graph*"))


def test_file_is_published_whole_or_not_at_all(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks while the new graph is written finds the old one; an interruption leaves nothing behind."""
    old = (library / "graph.hnsw").read_bytes()
    watched: list[bytes] = []
    replace = os.replace

    def interrupted(source: Any, target: Any) -> None:
        watched.append((library / "graph.hnsw").read_bytes())
        raise KeyboardInterrupt

    with Index.open(library, encoder=WordEncoder()) as index:
        for number in range(30):  # more than a graph puts up with
            index.remove(library.parent / "docs" / f"{number}.txt")
        monkeypatch.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            index._vectors.finalize()
        monkeypatch.setattr(os, "replace", replace)
    assert watched == [old]
    assert (library / "graph.hnsw").read_bytes() == old
    assert not list(library.glob("*.tmp"))
    assert answers(library) == exact_answers(library)


FULL = """
import resource
from edge_index.vectors import search as module
module.SMALLEST = 50
with Index.open(sys.argv[1], encoder=WordEncoder()) as index:
    for number in range(30):
        index.remove(Path(sys.argv[2]) / f"{number}.txt")
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
    index._vectors.finalize()
    print([part.cover.count for part in index._vectors._parts], len(index.search("green wheels", 8)))
"""


def test_graph_for_which_there_is_no_room_is_not_published(library: Path, loads: list[str]) -> None:
    """hnswlib says nothing when a disk is full. The search goes on, and the half file is never anybody's."""
    old = (library / "graph.hnsw").read_bytes()
    assert len(old) > 100_000
    assert Child(FULL, library, library.parent / "docs").end() == (0, "[70] 8\n")
    assert (library / "graph.hnsw").read_bytes() == old
    assert not list(library.glob("*.tmp"))
    assert answers(library) == exact_answers(library)
    assert loads == [str(library / "graph.hnsw")], "the old one, which is still sound"


def test_graph_is_not_published_while_another_process_writes(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that saved at once would mix their files. Whoever cannot have the store to itself just answers."""
    (library / "graph.hnsw").unlink()
    stored = """
    index = Index.open(sys.argv[1], encoder=WordEncoder())
    with index._store.transaction():
        index._store.set_meta("held", "yes")
        say("held"); wait()
    """
    child = Child(stored, library)
    child.expect("held")
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *rest, **options: connect(*rest, **options | {"timeout": 0.05}))
    with Index.open(library, encoder=WordEncoder()) as index:
        index._vectors.finalize()
        assert [part.cover.count for part in index._vectors._parts] == [100]
        assert [index.search(query, 8) for query in QUERIES] == exact_answers(library)
    assert not list(library.glob("graph*"))
    child.go_on()
    assert child.end() == (0, "")


def test_two_processes_publish_at_the_same_time(library: Path, loads: list[str]) -> None:
    (library / "graph.hnsw").unlink()
    code = """
    from edge_index.vectors import search as module
    module.SMALLEST = 50
    index = Index.open(sys.argv[1], encoder=WordEncoder())
    say("here"); wait()
    index._vectors.finalize()
    """
    children = [Child(code, library) for _ in range(3)]
    for child in children:
        child.expect("here")
    for child in children:
        child.go_on()
    assert [child.end() for child in children] == [(0, "")] * 3
    assert answers(library) == exact_answers(library)
    assert len(loads) == 1


def test_small_index_has_no_graph(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest_module, "SMALLEST", 1000)
    for name in ("graph.hnsw", "vectors.f32"):
        (library / name).unlink()
    assert all(answers(library))
    assert not list(library.glob("graph*")) + list(library.glob("vectors*"))
