"""Another encoder, other rules: made afresh beside the index that goes on, and switched over at once."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.errors import EncoderError
from edge_index import Index
from edge_index.ingest import chunking, embedding
from edge_index.records import AddProgress
from index_fakes import Child, CountingEncoder, NewEncoder, WordEncoder


def paragraph(number: int) -> str:
    return f"Paragraph {number} begins. " + " ".join(f"It tells of thing{number}x{n} and matter." for n in range(12))


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(8):
        text = "\n\n".join(f"# Part {n}\n\n{paragraph(10 * number + n)}" for n in range(4))
        (folder / f"{number}.md").write_text(text)
    return folder


@pytest.fixture
def index(tmp_path: Path, docs: Path) -> Iterator[Index]:
    with Index.open(tmp_path / "index", encoder=WordEncoder()) as opened:
        opened.add([docs])
        yield opened


def contents(path: Path) -> tuple[list[object], list[object]]:
    """Passages and words of an index without their numbers, read past our own code."""
    with sqlite3.connect(path / "index.sqlite") as database:
        rows = database.execute(
            "SELECT path, start, end, page, heading, p.text, vector, spans, sentences FROM passages p "
            "JOIN documents d ON document = d.id JOIN vectors ON passage = p.id ORDER BY path, start"
        ).fetchall()
        words = database.execute("SELECT * FROM passages_words ORDER BY term").fetchall()
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    database.close()
    return rows, words


def test_a_rebuild_gives_what_a_new_index_would(tmp_path: Path, index: Index, docs: Path) -> None:
    old_ids = index._store.passage_ids()
    kept = tmp_path / "kept"
    shutil.copytree(docs, kept)
    shutil.rmtree(docs)  # the files are not needed
    with Index.open(index.path, encoder=NewEncoder()) as other:
        with pytest.raises(EncoderError, match="edge index rebuild"):
            other.search("thing45x3")
        found = other.outdated()
        assert found is not None
        assert (found.documents, found.passages, found.done, found.searchable) == (8, len(old_ids), 0, False)
        assert found.seconds > 0
        steps: list[AddProgress] = []
        report = other.rebuild(progress=steps.append)
        assert len(report.updated) == 8
        assert [step.done for step in steps] == [*range(8), 8]
        assert report.passages == report.embedded + report.reused == len(other) > len(old_ids)
        assert other.outdated() is None
        assert other.check() == []
        assert "thing32x3" in other.search("thing32x3", 1)[0].text
        assert other._store.passage_ids().min() > old_ids.max(), "no id is ever used twice"
        with pytest.raises(EncoderError):
            index.search("thing32x3")
    shutil.copytree(kept, docs)
    with Index.open(tmp_path / "whole", encoder=NewEncoder()) as whole:
        whole.add([docs])
    assert contents(index.path) == contents(tmp_path / "whole")
    with Index.open(index.path, encoder=NewEncoder()) as other:  # and it goes on as one
        (docs / "0.md").write_text("# Part\n\nZebras graze by the canal.")
        other.add([docs])
        assert "Zebras" in other.search("zebras graze", 1)[0].text
        assert other._store.passage_ids().max() > old_ids.max()
        assert other.check() == []


KILLED = """
from edge_index.ingest import embedding, rebuild_tables
from index_fakes import NewEncoder
embedding.BATCH = 20
moment = sys.argv[2]

class Slow(NewEncoder):
    def encode_with_spans(self, texts, spans):
        if moment == "encoding" and len(self.passages) > 60:
            say("there"); wait()
        return super().encode_with_spans(texts, spans)

switched = rebuild_tables.schema.switch
def slow():
    for number, statement in enumerate(switched()):
        if moment == f"switching {number}":
            say("there"); wait()
        yield statement
rebuild_tables.schema.switch = slow
Index.open(sys.argv[1], encoder=Slow()).rebuild()
"""


@pytest.mark.parametrize("moment", ["encoding", "switching 0", "switching 7", "switching 16", "switching 20"])
def test_a_killed_rebuild_leaves_the_index_and_goes_on(
    tmp_path: Path, index: Index, docs: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(index.path)
    answer = index.search("thing32x3", 1)
    child = Child(KILLED, index.path, moment)
    child.expect("there")
    assert index.search("thing32x3", 1) == answer, "it is used meanwhile"
    child.process.kill()
    child.end()
    assert contents(index.path) == before
    assert index.check() == []
    (docs / "1.md").write_text("# Part\n\nZebras graze by the canal.")
    (docs / "2.md").unlink()
    (docs / "9.md").write_text("# Part\n\nLions sleep under the bridge.")
    index.add([docs])  # the old one still grows
    monkeypatch.setattr(embedding, "BATCH", 20)
    encoder = NewEncoder()
    with Index.open(index.path, encoder=encoder) as other:
        found = other.outdated()
        assert found is not None
        assert 1 <= found.done <= 6
        encoder.passages.clear()
        report = other.rebuild()
        assert report.embedded == len(encoder.passages) < len(other)
        assert other.check() == []
    with Index.open(tmp_path / "whole", encoder=NewEncoder()) as whole:
        whole.add([docs])
    assert contents(index.path) == contents(tmp_path / "whole")


def test_no_id_is_ever_used_twice(index: Index, docs: Path) -> None:
    """Not even one that came and went between two tries of a rebuild."""
    child = Child(KILLED, index.path, "switching 0")
    child.expect("there")
    child.process.kill()
    child.end()
    (docs / "otter.md").write_text("Otters swim under the quay.")
    index.add([docs])
    ever = index._store.passage_ids().max()
    (docs / "otter.md").unlink()
    index.add([docs])
    with Index.open(index.path, encoder=NewEncoder()) as other:
        assert other.rebuild().embedded == 0, "all of it was ready"
        (docs / "swan.md").write_text("Swans rest beside the lock.")
        other.add([docs])
        assert other._store.passage_ids().max() > ever
        assert other.check() == []


def test_older_rules_are_rebuilt_with_the_known_vectors(
    index: Index, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = CountingEncoder()
    with Index.open(index.path.parent / "second", encoder=encoder) as other:
        other.add([docs])
        assert (other.outdated(), other.outdated_chunks()) == (None, 0)
        monkeypatch.setattr(chunking, "CHUNKING_RULES", "99")
        monkeypatch.setattr("edge_index.ingest.rebuild.CHUNKING_RULES", "99")
        monkeypatch.setattr("edge_index.index.CHUNKING_RULES", "99")
        found = other.outdated()
        assert found is not None
        assert (found.searchable, other.outdated_chunks()) == (True, 8)
        assert other.search("thing32x3", 1)
        encoder.passages.clear()
        report = other.rebuild()
        assert (report.embedded, encoder.passages) == (0, [])
        assert (other.outdated(), other.check()) == (None, [])
        encoder.passages.clear()
        assert other.rebuild().updated == ()
        assert other.rebuild(force=True).embedded == len(set(encoder.passages)) == len(other)


def test_a_rebuild_by_other_rules_begins_anew(index: Index) -> None:
    class Third(NewEncoder):
        fingerprint = "third"

    child = Child(KILLED, index.path, "encoding")
    child.expect("there")
    child.process.kill()
    child.end()
    with Index.open(index.path, encoder=Third()) as other:
        found = other.outdated()
        assert found is not None
        assert found.done == 0
        report = other.rebuild()
        assert (len(report.updated), report.passages) == (8, len(other))
        assert report.reused < 10, "only what stands there twice"
        assert other.check() == []


def test_damaged_vectors_are_seen_and_made_afresh(index: Index) -> None:
    with sqlite3.connect(index.path / "index.sqlite") as database:
        (blob,) = database.execute("SELECT vector FROM vectors WHERE passage = 3").fetchone()
        wrong = np.frombuffer(blob, np.float32) + np.float32(0.25)
        database.execute("UPDATE vectors SET vector = ? WHERE passage = 3", (wrong.tobytes(),))
    database.close()
    (problem,) = index.check()
    assert "edge index rebuild --force" in problem
    index.rebuild(force=True)
    assert index.check() == []
