"""The SQLite file: ranking by words against a BM25 of its own, all or nothing, damage, rights."""

from __future__ import annotations

import math
import os
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import snowballstemmer
from numpy.typing import NDArray

from edge.errors import KnowledgeError, StorageError
from edge_index.loaders import Extracted
from edge_index.storage.passage_table import Chunk, passage_hash, spans_blob
from edge_index.storage.store import FileState, Store
from index_fakes import Child, bound_by_permissions

STEM = snowballstemmer.stemmer("porter").stemWord

SENTENCES = [
    "The bridge over the river was opened in the spring of 1902.",
    "Bridges of iron were cheaper than bridges of stone, and a bridge of wood was the cheapest bridge.",
    "Rivers carry sand to the sea.",
    "A river without a bridge was crossed by a ferry, which the ferryman rowed from bank to bank.",
    "The bank lent money to the town for the opening of the school.",
    "Iron is made in a furnace from ore, coke and lime.",
    "The school stands beside the furnace, and its windows face the river.",
    "Springs of steel keep the wagon level when the road is rough.",
    "Money for the wagons was counted in the bank.",
    "The sea freezes in some winters as far as the island.",
    "Ferries ran in winter too, unless the river was frozen.",
    "In the museum there is a wooden model of the first bridge, three metres long.",
]


def put(store: Store, path: str, texts: list[str], heading: str | None = None) -> list[int]:
    """A document with one passage and one sentence a text; vectors that can be told apart."""
    text = "\n\n".join(texts)
    spans, at = [], 0
    for piece in texts:
        spans.append(Chunk(at, at + len(piece), heading, None, ((at, at + len(piece)),)))
        at += len(piece) + 2
    vectors = np.eye(len(texts), 16, dtype=np.float32)
    return put_spans(store, path, FileState("0" * 64, len(text), 1), Extracted(text), spans, vectors, vectors[:, None])


def put_spans(
    store: Store,
    path: str,
    state: FileState,
    extracted: Extracted,
    spans: list[Chunk],
    vectors: Iterable[NDArray[np.float32]],
    sentences: Iterable[NDArray[np.float32]],
) -> list[int]:
    names = [passage_hash(extracted.text[span.start : span.end], spans_blob(span)) for span in spans]
    with store.transaction():
        return store.put_document(
            path, state, extracted, spans, dict(zip(names, zip(vectors, sentences, strict=True), strict=True))
        )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "index.sqlite", create=True)


# Words -----------------------------------------------------------------------------------------------------------


def okapi(query: list[str], texts: list[str], headings: list[str]) -> dict[int, float]:
    """BM25 with k1 = 1.2 and b = 0.75, a word in the heading counting half, as SQLite's manual defines it."""
    bodies = [Counter(STEM(word) for word in re.findall(r"\w+", text.lower())) for text in texts]
    heads = [Counter(STEM(word) for word in re.findall(r"\w+", text.lower())) for text in headings]
    lengths = [body.total() + head.total() for body, head in zip(bodies, heads, strict=True)]
    mean = sum(lengths) / len(lengths)
    scores: Counter[int] = Counter()
    for word in map(STEM, query):
        stored = [i for i in range(len(texts)) if bodies[i][word] or heads[i][word]]
        rarity = max(math.log((len(texts) - len(stored) + 0.5) / (len(stored) + 0.5)), 1e-6) if stored else 0
        for i in stored:
            often = bodies[i][word] + 0.5 * heads[i][word]
            scores[i] += rarity * often * 2.2 / (often + 1.2 * (0.25 + 0.75 * lengths[i] / mean))
    return dict(scores)


@pytest.mark.parametrize(
    "query",
    [
        ["bridge"],
        ["bridges", "river"],
        ["opening", "school", "bank"],
        ["ferry", "winter", "frozen"],
        ["iron", "spring", "museum", "zeppelin"],
        ["Chapter".lower(), "sea"],
    ],
)
def test_bm25_against_the_formula(store: Store, query: list[str]) -> None:
    ids = put(store, "/a.txt", SENTENCES[:7], "Chapter on rivers")
    ids += put(store, "/b.txt", SENTENCES[7:])
    oracle = okapi(query, SENTENCES, ["Chapter on rivers"] * 7 + [""] * 5)
    found = store.bm25(query, 30)
    assert dict(found) == pytest.approx({ids[i]: score for i, score in oracle.items()}, rel=1e-6)
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
    assert store.bm25(query, 2) == found[:2]


@pytest.mark.parametrize(
    "word", ["", "*", "river*", "near(a b)", "a AND b", "(", "text:river", "-", "^river", "O'Brien", "NOT"]
)
def test_bm25_takes_every_word_as_a_word(store: Store, word: str) -> None:
    """Nothing is a command of the full-text search; the words after it are still found."""
    ids = put(store, "/a.txt", SENTENCES)
    assert ids[11] in dict(store.bm25([word, "museum"], 30))


def test_frequencies_count_passages(store: Store) -> None:
    put(store, "/a.txt", SENTENCES)
    counted = {
        word: sum(word in {STEM(w) for w in re.findall(r"\w+", text.lower())} for text in SENTENCES)
        for word in ("bridg", "river", "ferri", "winter", "bank")
    }
    assert store.frequencies([*counted, "zeppelin"]) == counted
    assert store.frequencies([]) == {}


def test_words_leave_with_their_document(store: Store) -> None:
    put(store, "/a.txt", SENTENCES[:6])
    kept = put(store, "/b.txt", SENTENCES[6:])
    store.forget(["/a.txt"])
    assert {i for i, _ in store.bm25(["bridge", "river", "iron"], 30)} <= set(kept)
    assert store.frequencies(["iron"]) == {}
    assert store.integrity() == []
    put(store, "/b.txt", ["Another text."])
    assert store.frequencies(["ferri"]) == {}
    assert store.count() == 1


# What stands there -----------------------------------------------------------------------------------------------


def test_what_is_written_is_read(store: Store) -> None:
    text = "Größe 😀 zählt. Ἀρχή!"
    spans = [Chunk(0, 14, "Über > uns", 3, ((0, 14),)), Chunk(15, 20, None, None, ((15, 17), (17, 20)))]
    vectors = np.arange(8, dtype=np.float32).reshape(2, 4)
    sentences = [np.full((1, 4), 0.5, np.float32), np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)]
    first, second = put_spans(
        store, "/ü/ö.txt", FileState("ab", 31, 7), Extracted(text, pages=9), spans, vectors, sentences
    )
    rows = store.passages([first, second])
    assert [rows[i].text for i in (first, second)] == [text[0:14], text[15:20]]
    assert (rows[first].heading, rows[first].page, rows[first].sha256) == ("Über > uns", 3, "ab")
    assert store.text("/ü/ö.txt") == text
    assert store.states() == {"/ü/ö.txt": FileState("ab", 31, 7)}
    (document,) = store.documents()
    assert (document.characters, document.passages, document.pages) == (len(text), 2, 9)
    ids, matrix = store.vectors(4)
    assert ids.tolist() == [first, second]
    np.testing.assert_array_equal(matrix, vectors)
    vector, places, inside = store.vectors_of([second], 4)[second]
    np.testing.assert_array_equal(vector, vectors[1])
    assert places.tolist() == [[0, 2], [2, 5]]  # from the passage's start
    np.testing.assert_array_equal(inside, sentences[1])
    assert store.find_passages([("/ü/ö.txt", 15, 20), ("/ü/ö.txt", 15, 21)]) == [second, None]


def test_transaction_is_all_or_nothing(store: Store) -> None:
    put(store, "/a.txt", SENTENCES[:3])
    before = (store.states(), store.generation(), store.bm25(["bridge"], 9))

    def fail_half_way() -> None:
        with store.transaction():
            store.delete_document("/a.txt")
            store.bump_generation()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert (store.states(), store.generation(), store.bm25(["bridge"], 9)) == before
    assert store.integrity() == []


def test_full_disk_is_reported_and_loses_nothing(store: Store, tmp_path: Path) -> None:
    put(store, "/a.txt", SENTENCES)
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages + 2}")  # SQLite's own way to a disk that is full
    with pytest.raises(StorageError, match="free some space"):
        put(store, "/b.txt", [f"{sentence} {'x' * 5000}" for sentence in SENTENCES])
    assert list(store.states()) == ["/a.txt"]
    assert store.integrity() == []
    store._db.execute(f"PRAGMA max_page_count = {pages + 999}")
    put(store, "/b.txt", SENTENCES)
    assert list(store.states()) == ["/a.txt", "/b.txt"]
    store.close()


# Damage ----------------------------------------------------------------------------------------------------------


def look_around(path: Path) -> None:
    store = Store(path, create=True)
    try:
        store.integrity()
        store.documents()
    finally:
        store.close()


@pytest.mark.parametrize("damage", ["garbage", "header", "truncated", "no schema page"])
def test_damaged_file_is_a_knowledge_error(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "index.sqlite"
    store = Store(path, create=True)
    put(store, "/a.txt", SENTENCES)
    store.close()
    data = bytearray(path.read_bytes())
    if damage == "garbage":
        data[:] = b"This is no index.\n" * 900
    elif damage == "header":
        data[:16] = bytes(16)
    elif damage == "truncated":
        del data[len(data) // 3 :]
    else:
        data[100:4096] = b"\xff" * 3996
    path.write_bytes(data)
    with pytest.raises(KnowledgeError, match=re.escape(str(path))) as caught:
        look_around(path)
    assert "delete" in str(caught.value)
    assert path.read_bytes() == data, "a damaged file is left as it is"


def test_damage_inside_is_found_by_integrity_or_reported(tmp_path: Path) -> None:
    """Every page in turn is overwritten: no other error than ours comes out, and none of it stays unnoticed."""
    path = tmp_path / "index.sqlite"
    store = Store(path, create=True)
    put(store, "/a.txt", [f"{sentence} {number}" for number in range(8) for sentence in SENTENCES][:16])
    store.close()
    whole = path.read_bytes()
    for page in range(1, len(whole) // 8192):
        path.write_bytes(whole[: page * 8192] + b"\xa5" * 8192 + whole[(page + 1) * 8192 :])
        noticed = False
        try:
            store = Store(path, create=False)
            try:
                noticed = bool(store.integrity() + store.damaged())
                store.documents()
                store.bm25(["bridge"], 9)
            finally:
                store.close()
        except KnowledgeError:
            noticed = True
        assert noticed, f"page {page}"


def test_another_format_is_refused_by_name(store: Store) -> None:
    store.set_meta("format", "99")
    store.close()
    with pytest.raises(KnowledgeError, match="index format 99"):
        Store(store.path, create=False)


def test_no_index(tmp_path: Path) -> None:
    with pytest.raises(KnowledgeError, match="no index"):
        Store(tmp_path / "index.sqlite", create=False)
    assert list(tmp_path.iterdir()) == []


# Other processes and rights --------------------------------------------------------------------------------------


def test_many_processes_make_the_same_index(tmp_path: Path) -> None:
    code = "say('here'); wait(); Index.open(sys.argv[1], encoder=WordEncoder()).close()"
    children = [Child(code, tmp_path / "index") for _ in range(4)]
    for child in children:
        child.expect("here")
    for child in children:
        child.go_on()
    assert [child.end() for child in children] == [(0, "")] * 4


READ = """
from edge.errors import EdgeError
from edge_index.storage.store import Store
try:
    store = Store(Path(sys.argv[1]), create=False)
    print(store.writable, [document.path for document in store.documents()], store.integrity())
    store.set_meta("x", "y")
except EdgeError as error:
    print(type(error).__name__, error)
"""

LEAVE_A_LOG = """
from edge_index.loaders import Extracted
from edge_index.storage.store import FileState, Store
store = Store(Path(sys.argv[1]), create=True)
with store.transaction():
    store.put_document("/new.txt", FileState("", 0, 0), Extracted(""), [], {})
os._exit(0)
"""


def read_only(path: Path) -> tuple[int, str]:
    """What `READ` says where neither the file nor its folder can be written."""
    files = list(path.parent.iterdir())
    for file in files:
        file.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        return Child(READ, path, before=bound_by_permissions()).end()
    finally:
        path.parent.chmod(0o755)


def test_read_only_folder_is_read_and_whole(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    store = Store(folder / "index.sqlite", create=True)
    put(store, "/a.txt", SENTENCES)
    store.close()
    status, said = read_only(store.path)
    assert status == 0
    assert said.startswith("False ['/a.txt'] []\n")
    assert "StorageError" in said
    assert "make its folder writable" in said
    assert [file.name for file in store.path.parent.iterdir()] == ["index.sqlite"]


def test_read_only_folder_of_a_killed_writer_shows_everything(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    assert Child(LEAVE_A_LOG, folder / "index.sqlite").end() == (0, "")
    assert (folder / "index.sqlite-wal").stat().st_size
    assert read_only(folder / "index.sqlite")[1].startswith("False ['/new.txt'] []\n")


LOOK_TWICE = """
from edge.errors import KnowledgeError
from edge_index.storage.store import Store
store = Store(Path(sys.argv[1]), create=False)
known = store.paths()
assert not store.writable
assert store.text(known[0])
say("there")
wait()
try:
    print([store.text(path) for path in known], store.integrity())
except KnowledgeError as error:
    print(error)
"""


def test_what_another_account_writes_is_not_called_damage_where_nothing_can_be_written(tmp_path: Path) -> None:
    """There SQLite reads without locks, and pages of two states meet."""
    folder = tmp_path / "folder"
    folder.mkdir()
    store = Store(folder / "index.sqlite", create=True)
    for number in range(60):
        put(store, f"/{number}.txt", [f"{number} {sentence}" * 20 for sentence in SENTENCES])
    store.close()
    folder.chmod(0o555)
    reader = Child(LOOK_TWICE, store.path, before=bound_by_permissions())
    reader.expect("there")
    folder.chmod(0o755)
    with closing(Store(store.path, create=False)) as writer:
        writer.forget([f"/{number}.txt" for number in range(58)])
        writer.run(["VACUUM"])
    reader.go_on()
    status, said = reader.end()
    assert status == 0, said
    assert "is being written by another process; try again when it is done" in said
    assert "damaged" not in said
    assert "delete" not in said
    assert "'/58.txt', '/59.txt'" in read_only(store.path)[1], "and then it is whole"


def test_read_only_folder_with_a_log_alone_is_never_called_damaged(tmp_path: Path) -> None:
    """A disk that was full at close, then a copy on a medium: what to do is not to delete it."""
    folder = tmp_path / "folder"
    folder.mkdir()
    assert Child(LEAVE_A_LOG, folder / "index.sqlite").end() == (0, "")
    (folder / "index.sqlite-shm").unlink()
    status, said = read_only(folder / "index.sqlite")
    assert status == 0
    assert said.startswith("KnowledgeError the newest part of")
    assert "delete" not in said
    writable = Store(folder / "index.sqlite", create=False)  # what it says to do helps
    writable.close()
    assert read_only(folder / "index.sqlite")[1].startswith("False ['/new.txt'] []\n")


def test_index_moves_with_its_file(store: Store, tmp_path: Path) -> None:
    put(store, "/a.txt", SENTENCES)
    store.close()
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(store.path, other / "index.sqlite")
    assert sorted(os.listdir(tmp_path)) == ["index.sqlite", "other"], "closed in order, one file is the index"
    with sqlite3.connect(other / "index.sqlite") as copied:
        assert copied.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    copied.close()
