"""Texts without a file, metadata and its filter, and indexes of an older format."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from edge.errors import DocumentError, KnowledgeError, UsageError
from edge_index import Index
from edge_index.records import Document
from edge_index.vectors import search
from edge_index.watch import watch
from index_fakes import WordEncoder, bound_by_permissions

SEAL = "The seal of the main pump is made of green silicone rubber."
FAN = "The fan under the roof turns at 900 revolutions a minute."


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index.open(tmp_path / "index", encoder=WordEncoder())


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "pump.md").write_text(f"# Pump\n\n{SEAL}\n")
    (folder / "fan.txt").write_text(FAN)
    return folder


def documents(index: Index) -> dict[str, Document]:
    return {Path(document.path).name: document for document in index.documents()}


# Texts -----------------------------------------------------------------------------------------------------------


def test_a_text_is_found_under_its_name_with_positions_in_it(index: Index) -> None:
    text = f"Notes of Tuesday.\r\n\r\n{SEAL} It is changed every spring.\n"
    assert index.add_text(text, name="Meeting 7 May").added == ("Meeting 7 May",)
    [passage] = index.search("What is the seal made of?")
    assert (passage.document, text[passage.start : passage.end]) == ("Meeting 7 May", passage.text)
    [evidence] = index.evidence("What is the seal made of?", [passage], 1)
    assert text[evidence.start : evidence.end] == evidence.quote == SEAL
    assert index.text("Meeting 7 May") == text
    assert index.check() == []


def test_the_same_name_replaces_and_the_same_text_does_nothing(index: Index) -> None:
    index.add_text(SEAL, name="note")
    assert index.add_text(SEAL, name="note").unchanged == ("note",)
    assert index.add_text(FAN, name="note").updated == ("note",)
    assert index.text("note") == FAN
    assert len(index.documents()) == 1
    assert index.remove("note") == 1
    assert index.search("fan revolutions") == []


def test_a_markdown_name_gives_headings(index: Index) -> None:
    index.add_text(f"# Pump\n\n## Seal\n\n{SEAL}", name="wiki/pump.md")
    [passage] = index.search("What is the seal made of?")
    assert passage.heading == "Pump > Seal"


@pytest.mark.parametrize("name", ["report.pdf", "page.html", "a.docx"])
def test_a_text_stays_what_it_is_whatever_its_name_says(index: Index, name: str) -> None:
    text = f"<p>{SEAL}</p>"
    index.add_text(text, name=name)
    assert index.text(name) == text


def test_no_file_is_ever_looked_for(index: Index, docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(docs)
    index.add_text(SEAL, name="note")
    index.add_text(FAN, name=str(docs / "gone.txt"))  # as if it lay in the folder that is added
    index.add([docs])
    report = index.add([docs])
    assert (report.removed, report.failed) == ((), ())
    assert index.stale() == {}
    assert index.add(["note"]).unchanged == ("note",)
    assert {name: document.has_file for name, document in documents(index).items()} == {
        "note": False,
        "gone.txt": False,
        "pump.md": True,
        "fan.txt": True,
    }
    assert index.add([docs], again=True).removed == ()


def test_watching_leaves_texts_alone(index: Index, docs: Path) -> None:
    import threading

    index.add_text(SEAL, name=str(docs / "note.txt"))
    stop, reports = threading.Event(), []

    def reported(report: object) -> None:
        reports.append(report)
        stop.set()

    watch(index, [docs], reported, stop=stop)
    assert len(reports) == 1
    assert index.text(str(docs / "note.txt")) == SEAL


def test_a_file_of_the_same_path_takes_the_place_of_a_text(index: Index, docs: Path) -> None:
    path = str(docs / "fan.txt")
    index.add_text(SEAL, name=path)
    assert index.add([docs / "fan.txt"]).updated == (path,)
    assert index.text(path) == FAN
    (docs / "fan.txt").unlink()
    assert index.stale() == {path: "gone"}
    index.add_text(FAN, name=path)
    assert index.stale() == {}


def test_a_rebuild_keeps_texts_and_metadata(index: Index, docs: Path) -> None:
    index.add_text(SEAL, name="note", metadata={"year": 2024})
    index.add([docs / "fan.txt"])
    report = index.rebuild(force=True)
    assert set(report.updated) == {"note", str(docs / "fan.txt")}
    assert (documents(index)["note"].metadata, documents(index)["note"].has_file) == ({"year": 2024}, False)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x1b[2Jb", None, 3])
def test_a_name_must_be_one(index: Index, name: Any) -> None:
    with pytest.raises(UsageError, match="a text needs a name"):
        index.add_text(SEAL, name=name)


def test_a_text_must_be_one(index: Index) -> None:
    with pytest.raises(DocumentError, match="note is empty"):
        index.add_text(" \n", name="note")
    with pytest.raises(UsageError, match="the text for note is a bytes"):
        index.add_text(SEAL.encode(), name="note")  # type: ignore[arg-type]
    index.add_text(f"{SEAL} \ud800\x00", name="odd")
    assert index.text("odd") == f"{SEAL} ��"


# Metadata --------------------------------------------------------------------------------------------------------


def test_metadata_comes_back_with_passages_and_documents(index: Index, docs: Path) -> None:
    about = {"department": "plant", "year": 2024, "tags": ["a", "ü"], "draft": False, "owner": None}
    index.add([docs / "pump.md"], metadata=about)
    [passage] = index.search("What is the seal made of?")
    assert passage.metadata == about == documents(index)["pump.md"].metadata
    assert hash(passage) == hash(passage)


def test_metadata_stays_until_other_is_given(index: Index, docs: Path) -> None:
    pump = docs / "pump.md"
    index.add([pump], metadata={"a": 1})
    pump.write_text(f"# Pump\n\n{SEAL} It leaks.\n")
    assert index.add([pump]).updated
    assert documents(index)["pump.md"].metadata == {"a": 1}
    assert index.add([pump], metadata={"b": 2}).unchanged  # nothing is read or encoded for it
    assert documents(index)["pump.md"].metadata == {"b": 2}
    pump.rename(docs / "moved.md")
    index.add([docs])
    assert documents(index)["moved.md"].metadata == {"b": 2}
    index.add([docs], metadata={})
    assert documents(index)["moved.md"].metadata == {}
    index.add_text(SEAL, name="note", metadata={"a": 1})
    index.add_text(SEAL, name="note", metadata={"a": 2})
    assert (documents(index)["note"].metadata, documents(index)["note"].has_file) == ({"a": 2}, False)


@pytest.mark.parametrize("metadata", [{1: "a"}, {"a": {1, 2}}, {"a": float("nan")}, ["a"], "a=b", {"a": object()}])
def test_metadata_is_what_json_knows(index: Index, docs: Path, metadata: Any) -> None:
    with pytest.raises(UsageError, match="metadata"):
        index.add([docs], metadata=metadata)
    assert index.documents() == []


def test_a_filter_acts_before_the_best_are_taken(index: Index) -> None:
    """Ninety better ones stand before the three that are meant: of another department, all with the same words."""
    for number in range(90):
        index.add_text(f"{SEAL} Number {number}.", name=f"plant {number}", metadata={"department": "plant"})
    for number in range(3):
        text = f"Some seal of a pump, sold as item {number * 1117}."
        index.add_text(text, name=f"sales {number}", metadata={"department": "sales", "item": number})
    found = index.search("What is the seal of the main pump made of?", 3, where={"department": "sales"})
    assert {passage.document for passage in found} == {"sales 0", "sales 1", "sales 2"}
    found = index.search("seal of a pump", 3, where={"department": "sales", "item": 1})
    assert [passage.document for passage in found] == ["sales 1"]
    assert index.search("seal of a pump", 3, where={"department": "nobody"}) == []
    assert index.search("seal of a pump", 3, where={"colour": "green"}) == []
    with pytest.raises(UsageError, match="metadata"):
        index.search("seal", where={"a": object()})


@pytest.mark.parametrize(
    ("value", "others"),
    [(1, [True, "1", 2, None]), (True, [1, "true", False]), (None, ["", 0]), (["a"], ["a", ["a", "b"]]), ("ü", ["u"])],
)
def test_values_are_equal_as_json(index: Index, value: Any, others: list[Any]) -> None:
    for number, other in enumerate([value, *others]):
        index.add_text(f"{SEAL} {'abcdefg'[number] * 9}", name=str(number), metadata={"x": other})
    index.add_text(f"{SEAL} without", name="without")
    assert [passage.document for passage in index.search("seal", 9, where={"x": value})] == ["0"]


def test_a_filter_meets_the_file_of_vectors_too(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large index keeps its vectors in a file beside; here one is large from eight passages on."""
    monkeypatch.setattr(search, "SMALLEST", 8)
    for number in range(12):
        index.add_text(f"{SEAL} Number {number}.", name=str(number), metadata={"even": number % 2 == 0})
    assert (index.path / "vectors.f32").is_file()
    index.add_text(f"{SEAL} Number 13.", name="13", metadata={"even": False})
    index.remove("3")
    for even in (True, False):
        meant = {str(number) for number in (*range(12), 13) if (number % 2 == 0) == even} - {"3"}
        assert {passage.document for passage in index.search(SEAL, 20, where={"even": even})} == meant


# Older files -----------------------------------------------------------------------------------------------------


@pytest.fixture
def old(tmp_path: Path, docs: Path) -> Path:
    """An index as format 2 had it: without the table that format 3 added."""
    with Index.open(tmp_path / "old", encoder=WordEncoder()) as index:
        index.add([docs])
    with sqlite3.connect(tmp_path / "old" / "index.sqlite") as db:
        db.execute("DROP TABLE attributes")
        db.execute("UPDATE meta SET value = '2' WHERE key = 'format'")
    db.close()
    return tmp_path / "old"


def test_an_older_index_is_brought_up_in_place(old: Path, docs: Path) -> None:
    encoder = WordEncoder()
    with Index.open(old, encoder=encoder) as index:
        assert [p.metadata for p in index.search("What is the seal made of?", 1)] == [{}]
        assert {document.has_file for document in index.documents()} == {True}
        report = index.add([docs], metadata={"a": 1})
        assert (len(report.unchanged), report.embedded) == (2, 0)
        assert index.search("seal", where={"a": 1})
        index.add_text(FAN, name="note")
        assert index.check() == []
    assert encoder.seen == ["What is the seal made of?", "seal"]  # no document was
    with sqlite3.connect(old / "index.sqlite") as db:
        assert db.execute("SELECT value FROM meta WHERE key = 'format'").fetchone() == ("3",)
    db.close()


def test_an_older_index_that_cannot_be_written_is_read_all_the_same(old: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    (old / "index.sqlite").chmod(0o444)
    old.chmod(0o555)
    code = (
        "import json, sys; from edge_index.storage.store import Store; from pathlib import Path; "
        "store = Store(Path(sys.argv[1]), create=False); assert not store.writable; "
        "print(json.dumps([len(store.documents()), len(store.states()), store.meta('format')]))"
    )
    done = subprocess.run(
        [*bound_by_permissions(), sys.executable, "-c", code, str(old / "index.sqlite")],
        capture_output=True,
        text=True,
        check=False,
    )
    old.chmod(0o755)
    assert (json.loads(done.stdout or "null"), done.stderr) == ([2, 2, "2"], "")


def test_a_newer_index_is_left_alone(old: Path) -> None:
    with sqlite3.connect(old / "index.sqlite") as db:
        db.execute("UPDATE meta SET value = '4' WHERE key = 'format'")
    db.close()
    with pytest.raises(KnowledgeError, match="index format 4, and this version of edge knows 2 to 3"):
        Index.open(old)


def test_a_copy_of_an_older_index_can_be_opened_by_two_at_once(old: Path, tmp_path: Path) -> None:
    shutil.copytree(old, tmp_path / "copy")
    with Index.open(tmp_path / "copy", encoder=WordEncoder()) as one, Index.open(tmp_path / "copy") as other:
        assert len(one.documents()) == len(other.documents()) == 2


def test_damaged_metadata_is_reported(index: Index, docs: Path) -> None:
    index.add([docs])
    index.close()
    with sqlite3.connect(index.path / "index.sqlite") as db:
        db.execute("UPDATE attributes SET metadata = '{' || metadata")
    db.close()
    with (
        Index.open(index.path, encoder=WordEncoder()) as again,
        pytest.raises(KnowledgeError, match=r"is damaged .*metadata"),
    ):
        again.documents()
    assert os.path.isfile(index.path / "index.sqlite")
