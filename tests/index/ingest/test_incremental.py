"""Only what is new is encoded: edits, moves and copies, seen by an encoder that notes what it is given."""

from __future__ import annotations

import os
import random
import re
import sqlite3
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_index import Index
from edge_index.ingest import embedding, file_state
from edge_index.ingest.chunking import split
from edge_index.loaders import Extracted
from index_fakes import Child, CountingEncoder


def paragraph(number: int) -> str:
    return f"Paragraph {number} begins. " + " ".join(f"It tells of thing{number}x{n} and matter." for n in range(12))


def book(numbers: range) -> str:
    return "\n\n".join(map(paragraph, numbers)) + "\n"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "long.txt").write_text(book(range(60)))
    (folder / "short.txt").write_text(book(range(100, 103)))
    return folder


@pytest.fixture
def encoder() -> CountingEncoder:
    return CountingEncoder()


@pytest.fixture
def index(tmp_path: Path, docs: Path, encoder: CountingEncoder) -> Iterator[Index]:
    with Index.open(tmp_path / "index", encoder=encoder) as opened:
        report = opened.add([docs])
        assert report.embedded == len(encoder.passages) == len(opened)
        encoder.passages.clear()
        yield opened
        assert opened.check() == []


def rows(index: Index) -> dict[str, int]:
    """Text -> id of the passages, read past our own code."""
    with sqlite3.connect(index.path / "index.sqlite") as database:
        found = dict(database.execute("SELECT text, id FROM passages").fetchall())
    database.close()
    return found


def test_an_edit_encodes_its_own_passage_alone(index: Index, docs: Path, encoder: CountingEncoder) -> None:
    before = rows(index)
    text = (docs / "long.txt").read_text()
    (docs / "long.txt").write_text(text.replace("It tells of thing30x5 and matter.", "Zebras graze by the canal."))
    report = index.add([docs])
    assert len(encoder.passages) == report.embedded == 1
    assert "Zebras" in encoder.passages[0]
    assert (report.passages, report.reused) == (60, 59)
    after = rows(index)
    kept = before.keys() & after.keys()
    assert len(kept) == 62
    assert all(before[one] == after[one] for one in kept), "an unchanged passage keeps its id"
    assert max(after.values()) == after[encoder.passages[0]] > max(before.values())
    assert "Zebras" in index.search("zebras graze canal", 1)[0].text
    assert index.search("thing45x3", 1)[0].text in index.text(str(docs / "long.txt"))
    assert not [p for p in index.search("thing30x5", 9) if "thing30x5" in p.text]


def test_an_insertion_shifts_what_follows_without_encoding_it(
    index: Index, docs: Path, encoder: CountingEncoder
) -> None:
    (docs / "long.txt").write_text(paragraph(777) + "\n\n" + book(range(60)))
    before = rows(index)
    assert index.add([docs]).embedded == len(encoder.passages) == 1
    text = index.text(str(docs / "long.txt"))
    for passage in index.passages(str(docs / "long.txt")):
        assert text[passage.start : passage.end] == passage.text
    assert all(rows(index)[one] == number for one, number in before.items())


def test_words_index_is_written_only_for_what_changed(index: Index, docs: Path) -> None:
    """FTS5 stores a segment for each transaction that changes it: an edit of one passage makes a small one."""
    with sqlite3.connect(index.path / "index.sqlite") as database:
        database.execute("INSERT INTO passages_text(passages_text) VALUES ('optimize')")
        database.commit()
        sizes = "SELECT coalesce(sum(length(block)), 0) FROM passages_text_data"
        whole = database.execute(sizes).fetchone()[0]
        (docs / "long.txt").write_text(paragraph(777) + "\n\n" + book(range(60)))
        index.add([docs])
        grown = database.execute(sizes).fetchone()[0] - whole
    database.close()
    assert 0 < grown < whole / 10


def test_moved_renamed_and_copied_files_keep_their_vectors(index: Index, docs: Path, encoder: CountingEncoder) -> None:
    before, generation = rows(index), index._store.generation()
    (docs / "deep").mkdir()
    (docs / "long.txt").rename(docs / "deep" / "renamed.txt")
    report = index.add([docs])
    assert report.moved == (str(docs / "deep" / "renamed.txt"),)
    assert report.added == report.removed == ()
    assert rows(index) == before
    assert index._store.generation() == generation, "the graph need not change"
    assert [Path(d.path).name for d in index.documents()] == ["renamed.txt", "short.txt"]
    (docs / "copy.txt").write_text(book(range(60)))
    report = index.add([docs])
    assert (len(report.added), report.embedded, report.reused) == (1, 0, 60)
    # Moved and edited at once: the old one is still there when the new one is read.
    (docs / "copy.txt").unlink()
    (docs / "deep" / "renamed.txt").rename(docs / "other.txt")
    (docs / "other.txt").write_text(book(range(60)) + "\n\nA new end that nobody has seen before.\n")
    report = index.add([docs])
    assert {Path(p).name for p in report.removed} == {"copy.txt", "renamed.txt"}
    assert encoder.passages == [p.text for p in index.passages(str(docs / "other.txt"))][-1:]
    assert "nobody has seen" in encoder.passages[0]


def test_text_moved_from_one_file_to_another(index: Index, docs: Path, encoder: CountingEncoder) -> None:
    (docs / "long.txt").write_text(book(range(30)))
    (docs / "short.txt").write_text(book(range(30, 60)))
    report = index.add([docs])
    assert len(report.updated) == 2
    assert encoder.passages == []
    assert len(index) == 60


def test_repeated_text_is_encoded_once(index: Index, docs: Path, encoder: CountingEncoder) -> None:
    (docs / "thrice.txt").write_text("\n\n".join([paragraph(900)] * 3))
    (docs / "again.txt").write_text(paragraph(900))
    report = index.add([docs])
    assert (len(encoder.passages), report.passages, report.embedded) == (1, 4, 1)


def test_again_reads_but_encodes_nothing(index: Index, docs: Path, encoder: CountingEncoder) -> None:
    before = rows(index)
    report = index.add([docs], again=True)
    assert (len(report.updated), report.embedded) == (2, 0)
    assert rows(index) == before
    assert encoder.passages == []


def test_an_emptied_index_takes_another_encoder(index: Index, docs: Path) -> None:
    index.remove(docs)

    class Other(CountingEncoder):
        fingerprint = "other"
        dim = 64

    with Index.open(index.path, encoder=Other()) as other:
        other.add([docs])
        assert "thing45x3" in other.search("thing45x3", 1)[0].text
        assert other.check() == []
    index.remove(docs)


KILLED = """
from edge_index.ingest import embedding
from index_fakes import CountingEncoder
embedding.BATCH = 10

class Slow(CountingEncoder):
    def encode_with_spans(self, texts, spans):
        if len(self.passages) >= 40:
            say("there"); wait()
        return super().encode_with_spans(texts, spans)

Index.open(sys.argv[1], encoder=Slow()).add([sys.argv[2]])
"""


def test_a_kill_inside_a_long_document_costs_one_batch(
    tmp_path: Path, docs: Path, encoder: CountingEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = Child(KILLED, tmp_path / "killed", docs / "long.txt")
    child.expect("there")
    child.process.kill()
    child.end()
    monkeypatch.setattr(embedding, "BATCH", 10)
    with Index.open(tmp_path / "killed", encoder=encoder) as index:
        assert index.documents() == []
        report = index.add([docs / "long.txt"])
        assert report.embedded == len(encoder.passages) == 60 - 40
        assert index.check() == []
        assert "thing45x3" in index.search("thing45x3", 1)[0].text
    with sqlite3.connect(tmp_path / "killed" / "index.sqlite") as database:
        assert database.execute("SELECT count(*) FROM spare").fetchone() == (0,), "nothing is left behind"
    database.close()


# Files that change under our hands -------------------------------------------------------------------------------


def test_a_file_that_changes_while_it_is_read_is_read_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "growing.txt"
    path.write_text("first")
    os.utime(path, ns=(0, 1))
    fstat, calls = os.fstat, []

    def meddle(descriptor: int) -> os.stat_result:
        calls.append(descriptor)
        if len(calls) == 2:
            path.write_text("second, and longer")
        return fstat(descriptor)

    monkeypatch.setattr(os, "fstat", meddle)
    assert file_state.read(path).data == b"second, and longer"


def test_a_file_that_never_rests_is_reported(index: Index, docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fstat = os.fstat

    def meddle(descriptor: int) -> os.stat_result:
        with (docs / "log.txt").open("a") as file:
            file.write("another line\n")
        return fstat(descriptor)

    (docs / "log.txt").write_text("a line\n")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fstat", meddle)
        (failure,) = index.add([docs / "log.txt"]).failed
    assert "being written" in failure.reason


def test_a_write_in_the_tick_of_the_last_one_is_seen(index: Index, docs: Path) -> None:
    """Same size, same time: only because the file was fresh when it was read is it looked at again."""
    now = time.time_ns()
    path = docs / "fresh.txt"
    path.write_text("The seal is green.")
    os.utime(path, ns=(now, now))
    index.add([docs])
    path.write_text("The seal is white.")
    os.utime(path, ns=(now, now))
    assert [Path(p).name for p in index.add([docs]).updated] == ["fresh.txt"]


def test_stale_sources(index: Index, docs: Path) -> None:
    assert index.stale() == {}
    os.utime(docs / "short.txt", ns=(1, 1))
    assert index.stale() == {}, "touched is not changed"
    (docs / "short.txt").write_text(book(range(200, 203)))
    (docs / "long.txt").unlink()
    assert index.stale() == {str(docs / "short.txt"): "changed", str(docs / "long.txt"): "gone"}
    assert index.stale([str(docs / "long.txt"), "unknown"]) == {str(docs / "long.txt"): "gone"}
    assert "thing30x5" in index.text(str(docs / "long.txt")), "the old text can still be shown"


# Reading ahead ---------------------------------------------------------------------------------------------------


def test_no_thread_is_left_when_an_add_ends(index: Index, docs: Path) -> None:
    for number in range(40):
        (docs / f"{number}.txt").write_text(paragraph(number))

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.add([docs], progress=stop)
    index.add([docs])
    assert not [thread for thread in threading.enumerate() if thread.name == "edge-prefetch"]


# Borders ---------------------------------------------------------------------------------------------------------

WORDS = [f"w{n}" + "abcdefgh"[n % 8] * (n % 6) for n in range(3000)]
SHAPES = {
    "paragraphs": (" ", ". ", "\n\n", False),
    "one paragraph": (" ", ". ", " ", False),
    "a list": (" ", "\n\n", "\n\n", False),
    "a table": (",", "\n", "\n", True),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_an_edit_moves_few_borders(shape: str) -> None:
    between_words, end, between, by_line = SHAPES[shape]
    random_ = random.Random(7)

    def sentence() -> str:
        return between_words.join(random_.choices(WORDS, k=random_.randint(5, 20))).capitalize()

    sentences = [[sentence() for _ in range(random_.randint(2, 6))] for _ in range(300)]

    def cut(blocks: list[list[str]]) -> set[str]:
        text = between.join(end.join(block) + ("." if end == ". " else "") for block in blocks)
        spans = split(Extracted(text, by_line=by_line), count=lambda piece: len(re.findall(r"\w+", piece)) * 4 // 3 + 2)
        return {text[span.start : span.end] for span in spans}

    before = cut(sentences)
    changed = []
    for at in range(5, 295, 10):
        edited = [*sentences[:at], [sentence(), *sentences[at][1:], sentence()], *sentences[at + 1 :]]
        changed.append(len(cut(edited) - before))
    assert len(before) > 30
    assert statistics.median(changed) <= 3
    assert statistics.mean(changed) <= 5
