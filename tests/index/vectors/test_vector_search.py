"""Searching a large index: whatever is in files, in graphs, in memory or gone, the answer is the exact scan's."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_index.storage.store import Store
from edge_index.vectors import graphs, search, vector_file
from edge_index.vectors.hnsw import Ann
from edge_index.vectors.search import VectorSearch
from edge_index.vectors.vector_file import VectorFile, VectorRecord, append
from index_fakes import Child

DIM = 24
Matrix = NDArray[np.float32]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that happens at a million happens at a hundred."""
    monkeypatch.setattr(search, "SMALLEST", 100)
    monkeypatch.setattr(search, "TAIL", 40)
    monkeypatch.setattr(search, "_UNSAVED", 15)
    monkeypatch.setattr(search, "_BULK", 60)
    monkeypatch.setattr(graphs, "PART", 150)
    monkeypatch.setattr(vector_file, "BLOCK", 32)
    monkeypatch.setattr(vector_file, "_STRIDE", 64)


def unit(number: int, seed: int) -> Matrix:
    rows = np.random.default_rng(seed).standard_normal((number, DIM), dtype=np.float32)
    directions: Matrix = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return directions


QUERIES = unit(6, 99)


class Library:
    """A store whose passages are vectors, and what is in it by our own book-keeping."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "index.sqlite", create=True)
        with self.store.transaction():
            self.store.set_meta("encoder", "test")
            self.store.set_meta("dim", str(DIM))
        self.truth: dict[int, Matrix] = {}
        self._open: list[VectorSearch] = []

    def nearest(self, store: Store | None = None) -> VectorSearch:
        self._open.append(VectorSearch(self.folder, store or self.store))
        return self._open[-1]

    def add(self, number: int, seed: int, first: int | None = None) -> list[int]:
        """Passages, with ids from `first` on or the next ones."""
        rows = unit(number, seed)
        ids = []
        with self.store.transaction():
            document = self._insert("documents", {"path": f"{seed}-{len(self.truth)}"})
            for row in rows:
                given = {} if first is None else {"id": first + len(ids)}
                ids.append(self._insert("passages", {"document": document, **given}))
                self._insert("vectors", {"passage": ids[-1], "vector": row.tobytes()})
            self.store.bump_generation()
        self.truth |= dict(zip(ids, rows, strict=True))
        return ids

    def remove(self, ids: list[int]) -> None:
        with self.store.transaction():
            for passage in ids:
                self.store._db.execute("DELETE FROM passages WHERE id = ?", (passage,))
                del self.truth[passage]
            self.store.bump_generation()

    def _insert(self, table: str, values: dict[str, object]) -> int:
        """A row whose other columns are empty: what they hold is not ours to know."""
        empty = {"TEXT": "", "BLOB": b"", "INTEGER": 0}
        needed = {
            name: empty[kind]
            for _, name, kind, needed, _, key in self.store._db.execute(f"PRAGMA table_info({table})")
            if needed and not key
        }
        row = needed | values
        marks = ", ".join("?" * len(row))
        inserted = self.store._db.execute(
            f"INSERT INTO {table}({', '.join(row)}) VALUES ({marks})", list(row.values())
        ).lastrowid
        assert inserted is not None
        return inserted

    def exact(self, query: Matrix, k: int) -> list[tuple[int, float]]:
        scores = {passage: float(vector.astype(np.float64) @ query) for passage, vector in self.truth.items()}
        return sorted(scores.items(), key=lambda one: -one[1])[:k]

    def agrees(self, searched: VectorSearch, k: int = 10) -> None:
        for query in QUERIES:
            found, exact = searched.search(query, k), self.exact(query, k)
            assert [passage for passage, _ in found] == [passage for passage, _ in exact]
            assert [score for _, score in found] == pytest.approx([score for _, score in exact], abs=1e-5)

    def close(self) -> None:
        for one in self._open:
            one.close()
        self.store.close()

    def files(self) -> list[str]:
        return sorted(name for name in os.listdir(self.folder) if not name.startswith("index."))


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    made = Library(tmp_path)
    yield made
    made.close()


# What comes and goes ---------------------------------------------------------------------------------------------


def test_small_index_is_scanned_in_memory(library: Library) -> None:
    searched = library.nearest()
    assert searched.search(QUERIES[0], 5) == []
    library.add(60, 1)
    library.agrees(searched)
    assert searched.search(QUERIES[0], 0) == []
    library.agrees(searched, 200)
    ids = library.add(30, 2)
    searched.refresh()
    library.agrees(searched)
    library.remove(ids[5:20])
    library.agrees(searched)
    assert library.files() == []


@pytest.mark.parametrize("seed", range(6))
def test_any_history_gives_what_the_exact_scan_gives(library: Library, seed: int) -> None:
    """Ingest, removing, closing, waiting, in any order; a second reader has its own connection."""
    random = np.random.default_rng(seed)
    writer = library.nearest()
    other_store = Store(library.store.path, create=False)
    reader = library.nearest(other_store)
    for step in range(40):
        match random.choice(["add", "add", "bulk", "remove", "mass", "refresh", "finalize", "close", "check"]):
            case "add":
                library.add(int(random.integers(1, 30)), 1000 * seed + step)
            case "bulk":
                library.add(int(random.integers(60, 200)), 1000 * seed + step)
            case "remove" if library.truth:
                library.remove(random.choice(list(library.truth), min(5, len(library.truth)), replace=False).tolist())
            case "mass" if len(library.truth) > 250:
                library.remove(sorted(library.truth)[40:160])
            case "refresh":
                writer.refresh()
            case "finalize":
                (writer if random.random() < 0.5 else reader).finalize()
            case "close":
                (writer if random.random() < 0.5 else reader).close()
            case "check":
                assert writer.check() == []
        library.agrees(writer)
        if step % 3 == 0:
            library.agrees(reader)
    assert "graph.hnsw" in library.files(), "the history never got so far"
    reader.close()
    other_store.close()


def test_nothing_is_read_again_or_built_again_for_what_came_later(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.add(300, 1)
    searched = library.nearest()
    searched.refresh()
    assert library.files() == ["graph-150.hnsw", "graph.hnsw", "vectors.f32"]
    graph_files = [(library.folder / name).read_bytes() for name in library.files()[:2]]
    read: list[int] = []
    vectors_after = library.store.vectors_after

    def counted(passage: int, dim: int) -> Any:
        ids, rows = vectors_after(passage, dim)
        read.append(len(ids))
        return ids, rows

    monkeypatch.setattr(library.store, "vectors_after", counted)
    library.add(10, 2)
    searched.refresh()
    library.agrees(searched)
    assert sum(read) == 10
    assert [(library.folder / name).read_bytes() for name in library.files()[:2]] == graph_files
    assert (library.folder / "vectors.f32").stat().st_size == 310 * (8 + 4 * DIM)
    again = library.nearest()
    library.agrees(again)
    assert sum(read) == 10, "the next one finds all in the file"


def test_graph_takes_in_a_long_tail_and_nothing_else(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = library.add(220, 1)
    searched = library.nearest()
    searched.refresh()
    assert [part.cover.count for part in searched._parts] == [150, 70]
    first = (library.folder / "graph.hnsw").read_bytes()
    inserted: list[int] = []
    add_items: Callable[..., None] = hnswlib.Index.add_items

    def noted(self: Any, data: Matrix, given: NDArray[np.int64], **rest: Any) -> None:
        inserted.extend(given.tolist())
        add_items(self, data, given, **rest)

    monkeypatch.setattr(hnswlib.Index, "add_items", noted)
    new = library.add(45, 2)
    library.remove(ids[200:205])
    searched.refresh()
    assert inserted == new
    assert sorted(part.cover.count for part in searched._parts) == [115, 150]
    library.agrees(searched)
    assert (library.folder / "graph.hnsw").read_bytes() == first
    again = library.nearest()
    again.finalize()
    assert inserted == new, "it was published"
    library.agrees(again)


def test_part_that_lost_many_is_built_again_alone(library: Library) -> None:
    ids = library.add(300, 1)
    searched = library.nearest()
    searched.refresh()
    untouched = (library.folder / "graph.hnsw").read_bytes()
    library.remove(ids[160:200])
    library.agrees(searched)
    assert [part.cover.tombstones for part in searched._parts] == [0, 40]
    searched.finalize()
    assert [(part.cover.count, part.cover.tombstones) for part in searched._parts] == [(150, 0), (110, 0)]
    assert (library.folder / "graph.hnsw").read_bytes() == untouched
    library.agrees(searched)


def test_index_that_becomes_small_again_after_its_latest_passages_left(library: Library) -> None:
    ids = library.add(120, seed=1)
    searched = library.nearest()
    library.agrees(searched)
    library.remove(ids[:5])
    library.agrees(searched)
    library.remove(ids[-40:])
    library.agrees(searched)
    library.add(60, seed=2)
    library.agrees(searched)


def test_passages_with_smaller_ids_than_were_seen(library: Library) -> None:
    """A switch-over may bring passages that were written, unseen, before others that were seen."""
    ids = library.add(150, 1)
    library.add(10, 2, first=ids[-1] + 500)
    searched = library.nearest()
    searched.refresh()
    library.agrees(searched)
    library.remove(ids[:100])
    library.add(130, 3, first=ids[-1] + 1)
    library.agrees(searched)
    again = library.nearest()
    again.finalize()
    library.agrees(again)


@pytest.mark.parametrize("key", ["encoder", "epoch"])
def test_other_vectors_under_the_same_ids(library: Library, key: str) -> None:
    ids = library.add(160, 1)
    searched = library.nearest()
    searched.refresh()
    library.agrees(searched)
    library.remove(ids)
    with library.store.transaction():
        library.store.set_meta(key, "another")
    library.add(160, 2, first=1)
    library.agrees(searched)
    again = library.nearest()
    again.finalize()
    library.agrees(again)
    assert again.check() == []


def test_no_question_gets_too_few_answers(library: Library) -> None:
    """All that lie nearest left, in the file, in the graph and in memory."""
    library.add(200, 1)
    searched = library.nearest()
    searched.refresh()
    library.add(12, 2)
    for query in QUERIES[:2]:
        library.remove([passage for passage, _ in library.exact(query, 15)])
    library.agrees(searched, 30)
    library.agrees(searched, 500)
    assert all(part.cover.tombstones for part in searched._parts)


# Beside the searches ---------------------------------------------------------------------------------------------


def test_searches_go_on_while_the_graph_is_loaded(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library.add(200, 1)
    library.nearest().refresh()
    go_on, opened = threading.Event(), Ann.open

    def slowly(*given: Any, **rest: Any) -> Ann | None:
        assert go_on.wait(30)
        return opened(*given, **rest)

    monkeypatch.setattr(Ann, "open", slowly)
    searched = library.nearest()
    searched.search(QUERIES[0], 1)
    assert searched._maintenance is None, "whoever asks once needs no graph"
    library.agrees(searched)
    assert searched._maintenance is not None
    assert searched._parts == []
    ids = library.add(5, 2)
    library.agrees(searched)
    library.remove([*ids[:2], 3, 160])
    library.agrees(searched)
    go_on.set()
    searched._maintenance.join(30)
    library.agrees(searched)
    assert [part.cover.tombstones for part in searched._parts] == [1, 1], "what left while it was loaded is not found"


def test_graph_of_more_than_the_file_is_not_taken(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process saved and covered what this one still holds in memory: nothing is found twice."""
    library.add(150, 1)
    writer, reader = library.nearest(), library.nearest()
    writer.refresh()
    library.add(10, 2)
    reader.search(QUERIES[0], 1)
    monkeypatch.setattr(search, "TAIL", 5)
    writer.refresh()
    assert library.files() == ["graph-150.hnsw", "graph.hnsw", "vectors.f32"]
    library.agrees(reader)
    reader.finalize()
    library.agrees(reader, 200)
    assert [part.last for part in reader._parts] == [150]


def test_graph_is_made_beside_the_searches_and_published(library: Library) -> None:
    library.add(200, 1)
    searched = library.nearest()
    library.agrees(searched)
    assert searched._maintenance is not None
    searched._maintenance.join(30)
    library.agrees(searched)
    assert len(searched._parts) == 2
    assert library.files() == ["graph-150.hnsw", "graph.hnsw", "vectors.f32"]


def test_closing_ends_what_happens_beside(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library.add(200, 1)
    started = threading.Event()

    def endless(batches: Any, *, stopped: Callable[[], bool], **rest: Any) -> None:
        started.set()
        while not stopped():
            pass

    monkeypatch.setattr(Ann, "build", endless)
    searched = library.nearest()
    library.agrees(searched)
    assert started.wait(30)
    searched.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "edge-graphs"]
    assert library.files() == ["vectors.f32"]


def test_process_that_does_not_close_ends(library: Library) -> None:
    """The thread of a process whose main thread came to its end does not keep it alive, and does not crash it."""
    library.add(200, 1)
    code = """
    from edge_index.vectors import search
    from edge_index.vectors.hnsw import Ann
    from edge_index.storage.store import Store
    import numpy as np
    search.SMALLEST = 100
    build = Ann.build
    def endless(batches, *, stopped, **rest):
        say("at work")
        while not stopped(): time.sleep(0.01)
    Ann.build = endless
    store = Store(Path(sys.argv[1]) / "index.sqlite", create=False)
    searched = search.VectorSearch(Path(sys.argv[1]), store)
    for _ in range(3): searched.search(np.ones(24, np.float32), 3)
    """
    child = Child(code, library.folder)
    child.expect("at work")
    assert child.end() == (0, "")


def test_small_addition_does_not_wait_for_a_large_graph(library: Library) -> None:
    library.add(200, 1)
    library.nearest().search(QUERIES[0], 1)  # makes the file of vectors
    library.add(3, 2)
    writer = library.nearest()
    writer.refresh()
    assert library.files() == ["vectors.f32"]
    library.agrees(writer)


# The file of vectors ---------------------------------------------------------------------------------------------


def made(path: Path, ids: NDArray[np.int64], rows: Matrix, size: int = 7) -> VectorRecord:
    path.touch()
    batches = ((ids[i : i + size], rows[i : i + size]) for i in range(0, len(ids), size))
    return append(path, VectorRecord("test", DIM, 0, 0, 0, 0, ()), batches, generation=1, live=len(ids))


def test_file_is_scanned_exactly(tmp_path: Path) -> None:
    ids, rows = np.cumsum(np.random.default_rng(3).integers(1, 9, 500)), unit(500, 1)
    file = VectorFile(tmp_path / "v", made(tmp_path / "v", ids, rows))
    alive = np.random.default_rng(4).random(int(ids[-1]) + 1) < 0.5
    for after, last in [(0, ids[-1]), (ids[31], ids[32]), (5, 700), (ids[63] - 1, ids[-1] + 9), (10**9, 10**9 + 1)]:
        chosen = file.rows(int(after), int(last))
        inside = (ids > after) & (ids <= last)
        assert np.array_equal(np.flatnonzero(inside), np.arange(len(ids))[chosen])
        for mask in (None, alive):
            wanted = ids[inside] if mask is None else ids[inside][alive[ids[inside]]]
            scores = {int(i): float(rows[np.searchsorted(ids, i)] @ QUERIES[0]) for i in wanted}
            exact = sorted(scores, key=lambda i: -scores[i])[:8]
            assert [passage for passage, _ in file.scan(QUERIES[0], 8, chosen, mask)] == exact
            taken = list(file.batches(chosen, mask, 50))
            assert np.concatenate([ids[:0], *(some for some, _ in taken)]).tolist() == wanted.tolist()
            assert all(np.array_equal(data, rows[np.searchsorted(ids, some)]) for some, data in taken)


@pytest.mark.parametrize("first", [0, 1, 31, 32, 33, 90])
def test_appending_that_was_cut_off_does_not_count(tmp_path: Path, first: int) -> None:
    ids, rows = np.arange(1, 121), unit(120, 1)
    path = tmp_path / "v"
    record = made(path, ids[:first], rows[:first])
    append(path, record, [(ids[60:] + 1000, unit(60, 5))], generation=2, live=0)  # the record never reached SQLite
    before = VectorFile(path, record) if first else None
    longer = append(path, record, [(ids[first:], rows[first:])], generation=2, live=120)
    if before is not None:
        before.verify(slice(0, first))
        assert np.array_equal(before.ids, ids[:first])
    whole = VectorFile(path, longer, before)
    whole.verify(slice(0, 120))
    assert np.array_equal(whole.ids, ids)
    assert np.array_equal(whole.vectors, rows)
    assert whole._sound == [True] * 4
    assert VectorFile(path, longer, whole)._sound == [True] * 4, "nothing is compared again"
    assert longer.blocks == made(tmp_path / "w", ids, rows).blocks
    assert VectorRecord.from_json(longer.to_json()) == longer


def test_vectors_of_another_length_do_not_come_in(tmp_path: Path) -> None:
    (tmp_path / "v").touch()
    batch = (np.arange(1, 4), np.ones((3, 12), np.float32))
    with pytest.raises(ValueError, match="12 numbers"):
        append(tmp_path / "v", VectorRecord("test", DIM, 0, 0, 0, 0, ()), [batch], generation=1, live=3)


ROW = 8 + 4 * DIM


def flip(at: int) -> Callable[[bytearray], None]:
    def damage(data: bytearray) -> None:
        data[at] ^= 1

    return damage


def zeros(data: bytearray) -> None:
    data[1024:2048] = bytes(1024)


def swapped(data: bytearray) -> None:
    block = 32 * ROW
    data[:block], data[block : 2 * block] = data[block : 2 * block], data[:block]


def cut(data: bytearray) -> None:
    del data[-ROW:]


def emptied(data: bytearray) -> None:
    data.clear()


def other_order(data: bytearray) -> None:
    data[ROW : 2 * ROW], data[2 * ROW : 3 * ROW] = data[2 * ROW : 3 * ROW], data[ROW : 2 * ROW]


DAMAGES = [
    flip(0),
    flip(33 * ROW + 3),
    flip(70 * ROW + 30),
    flip(150 * ROW - 1),
    zeros,
    swapped,
    cut,
    emptied,
    other_order,
]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("graph", [True, False])
def test_damaged_file_of_vectors_answers_nothing(
    library: Library, damage: Callable[[bytearray], None], graph: bool
) -> None:
    library.add(150, 1)
    first = library.nearest()
    first.refresh()
    path = library.folder / "vectors.f32"
    if not graph:
        (library.folder / "graph.hnsw").unlink()
    sound = path.read_bytes()
    data = bytearray(sound)
    damage(data)
    path.write_bytes(data)
    assert path.read_bytes() != sound
    searched = library.nearest()
    library.agrees(searched, 150)
    searched.finalize()
    library.agrees(searched, 30)
    assert path.read_bytes() == sound
    path.write_bytes(data)
    (problem,) = library.nearest().check()
    assert "vectors.f32" in problem
    assert "made again" in problem
    assert not path.exists()
    library.agrees(library.nearest(), 30)


def test_damage_that_a_thread_finds(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph must not be made of damaged vectors."""
    library.add(200, 1)
    library.nearest().search(QUERIES[0], 1)
    path = library.folder / "vectors.f32"
    sound = path.read_bytes()
    searched = library.nearest()
    searched.search(QUERIES[0], 1)
    assert searched._state is not None
    assert searched._state.file is not None
    searched._state.file._sound = [False] * 7  # as if those blocks had not been read yet
    with path.open("r+b") as file:
        file.seek(180 * ROW + 50)
        file.write(b"\x00\xff\x00")
    searched.finalize()
    assert library.files() == ["graph.hnsw", "vectors.f32"], "made of the sound blocks"
    library.agrees(searched)
    assert path.read_bytes() == sound


def test_damage_that_is_found_before_the_first_answer(library: Library) -> None:
    """When passages left since, all ids in the file are read before anything is scanned."""
    ids = library.add(150, 1)
    library.nearest().refresh()
    library.remove(ids[3:9])
    with (library.folder / "vectors.f32").open("r+b") as file:
        file.seek(100 * ROW)
        file.write(b"\x07\x07")
    library.agrees(library.nearest())


def test_record_of_a_longer_file(library: Library) -> None:
    """An older copy of the file came back: it is shorter than SQLite says, or another generation of the same length."""
    ids = library.add(150, 1)
    searched = library.nearest()
    searched.refresh()
    old = (library.folder / "vectors.f32").read_bytes()
    library.remove(ids[:20])
    library.add(10, 2)
    searched.refresh()
    assert (library.folder / "vectors.f32").read_bytes()[: len(old)] == old
    (library.folder / "vectors.f32").write_bytes(old)
    library.agrees(library.nearest())


def test_where_nothing_can_be_written(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """With files, without them, and with damaged ones."""
    library.add(200, 1)
    library.store.writable = False
    searched = library.nearest()
    library.agrees(searched)
    searched.finalize()
    library.agrees(searched)
    assert library.files() == []
    library.store.writable = True
    library.nearest().refresh()
    files = library.files()
    library.store.writable = False
    library.add(20, 2)
    searched = library.nearest()
    searched.finalize()
    assert len(searched._parts) == 2
    library.agrees(searched)
    for name in files:
        (library.folder / name).write_bytes((library.folder / name).read_bytes()[:-700] + bytes(700))
    before = [(library.folder / name).read_bytes() for name in files]
    problems = library.nearest().check()
    assert len(problems) == 3
    assert all("it is not used" in problem for problem in problems)
    searched = library.nearest()
    searched.finalize()
    library.agrees(searched)
    assert [(library.folder / name).read_bytes() for name in files] == before
    library.store.writable = True


def test_full_disk_is_no_reason_not_to_answer(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library.add(200, 1)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    searched = library.nearest()
    searched.refresh()
    library.agrees(searched)
    assert library.files() == []
    monkeypatch.undo()
    monkeypatch.setattr(search, "SMALLEST", 100)
    library.add(1, 2)
    searched.refresh()
    assert "vectors.f32" in library.files()
    library.agrees(searched)


# Checking --------------------------------------------------------------------------------------------------------


def test_check_finds_a_graph_that_does_not_find(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sound to the last bit, but made of other vectors: only comparing answers tells."""
    library.add(150, 1)
    with monkeypatch.context() as patch:
        patch.setattr(VectorFile, "batches", lambda *_: iter([(np.arange(1, 151), unit(150, 77))]))
        library.nearest().refresh()
    (problem,) = library.nearest().check()
    assert "graph.hnsw finds only" in problem
    assert "graph.hnsw" not in library.files()
    searched = library.nearest()
    searched.finalize()
    library.agrees(searched)
    assert searched.check() == []


def test_check_finds_a_file_of_other_vectors(library: Library) -> None:
    """Its checksums fit; SQLite's vectors do not."""
    library.add(150, 1)
    library.nearest().refresh()
    with library.store.transaction():
        record = made(library.folder / "vectors.f32", np.arange(1, 151), unit(150, 77))
        library.store.set_meta("vectors", record.to_json())
    assert any("vectors.f32" in problem for problem in library.nearest().check())
    library.agrees(library.nearest())


def test_two_readers_while_one_writes(library: Library) -> None:
    """Processes of their own; every answer is one that was right at some moment, and all end well."""
    library.add(150, 1)
    library.nearest().refresh()
    code = """
    from edge_index.vectors import graphs, search, vector_file
    from edge_index.storage.store import Store
    import numpy as np
    search.SMALLEST, search.TAIL, search._UNSAVED, graphs.PART, vector_file.BLOCK = 100, 40, 15, 150, 32
    store = Store(Path(sys.argv[1]) / "index.sqlite", create=False)
    searched = search.VectorSearch(Path(sys.argv[1]), store)
    query = np.frombuffer(bytes.fromhex(sys.argv[2]), np.float32)
    say("here")
    asked = 0
    while store.meta("end") is None or asked < 20:
        found = searched.search(query, 10)
        assert len(found) == 10 == len({i for i, _ in found}), found
        asked += 1
        if asked % 7 == 0:
            searched.finalize()
    print([i for i, _ in searched.search(query, 10)])
    searched.close()
    """
    children = [Child(code, library.folder, QUERIES[0].tobytes().hex()) for _ in range(2)]
    for child in children:
        child.expect("here")
    writer = library.nearest()
    try:
        for step in range(25):
            ids = library.add(20, 50 + step)
            if step % 3 == 0:
                library.remove(ids[:10])
            writer.refresh()
            library.agrees(writer)
    finally:  # the children end by it
        with library.store.transaction():
            library.store.set_meta("end", "yes")
    expected = f"{[passage for passage, _ in library.exact(QUERIES[0], 10)]}\n"
    assert [child.end() for child in children] == [(0, expected)] * 2
    assert library.nearest().check() == []


def test_leftovers_of_a_killed_process_are_cleared(library: Library) -> None:
    library.add(150, 1)
    old, fresh = library.folder / "graph.77.tmp", library.folder / "vectors.78.tmp"
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    library.nearest().refresh()
    assert not old.exists()
    assert fresh.exists(), "its process may be at work"
