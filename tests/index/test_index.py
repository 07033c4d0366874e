"""The index as a person meets it: folders that change, files that cannot be read, processes that die."""

from __future__ import annotations

import io
import os
import re
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from reportlab.pdfgen.canvas import Canvas

from edge.errors import EdgeError, EncoderError, KnowledgeError, StorageError
from edge_index import Index
from edge_index.records import AddProgress, AddReport
from index_fakes import Child, OtherEncoder, WordEncoder, bound_by_permissions

PUMP = "The seal of the pump is made of green rubber. It is changed every spring."
FAN = "The fan hangs under the roof. Two screws hold the fan in its place."
LAMP = "The lamp burns for nine hundred hours. Then the lamp is replaced."


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "deep").mkdir(parents=True)
    (folder / "pump.txt").write_text(PUMP)
    (folder / "fan.md").write_text(f"# Fan\n\n{FAN}\n")
    (folder / "deep" / "lamp.txt").write_text(LAMP)
    return folder


@pytest.fixture
def encoder() -> WordEncoder:
    return WordEncoder()


@pytest.fixture
def index(tmp_path: Path, encoder: WordEncoder) -> Iterator[Index]:
    with Index.open(tmp_path / "index", encoder=encoder) as opened:
        yield opened


def names(paths: tuple[str, ...]) -> list[str]:
    return [Path(path).name for path in paths]


def known(index: Index) -> list[str]:
    return [Path(document.path).name for document in index.documents()]


def contents(index: Index) -> set[tuple[str, str]]:
    """Everything an index holds that does not depend on the order in which it came."""
    return {(document.path, index.text(document.path)) for document in index.documents()}


# Ingest ----------------------------------------------------------------------------------------------------------


def test_second_time_nothing_is_done(index: Index, docs: Path, encoder: WordEncoder) -> None:
    first = index.add([docs])
    assert names(first.added) == ["fan.md", "pump.txt", "lamp.txt"]
    assert first.passages == len(index) > 0
    seen, before = len(encoder.seen), contents(index)
    second = index.add([docs, docs / "pump.txt"])
    assert second == AddReport(unchanged=first.added)
    assert len(encoder.seen) == seen
    assert contents(index) == before


def test_only_the_changed_file_is_read_again(index: Index, docs: Path, encoder: WordEncoder) -> None:
    index.add([docs])
    encoder.seen.clear()
    (docs / "pump.txt").write_text("The seal of the pump is made of leather now.")
    report = index.add([docs])
    assert names(report.updated) == ["pump.txt"]
    assert names(report.unchanged) == ["fan.md", "lamp.txt"]
    assert report.added == report.removed == ()
    assert encoder.seen
    assert all("leather" in text for text in encoder.seen)
    assert index.text(str(docs / "pump.txt")) == "The seal of the pump is made of leather now."
    assert "rubber" not in " ".join(passage.text for passage in index.search("seal rubber pump", 9))
    assert index.check() == []


def test_same_size_and_another_content_is_seen(index: Index, docs: Path) -> None:
    index.add([docs])
    stat = (docs / "pump.txt").stat()
    (docs / "pump.txt").write_text(PUMP.replace("green", "white"))
    os.utime(docs / "pump.txt", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert names(index.add([docs]).updated) == ["pump.txt"]


def test_touched_file_is_unchanged(index: Index, docs: Path, encoder: WordEncoder) -> None:
    index.add([docs])
    encoder.seen.clear()
    for _ in range(2):
        os.utime(docs / "pump.txt")
        report = index.add([docs])
        assert len(report.unchanged) == 3
        assert report.updated == report.added == ()
    assert encoder.seen == []


def test_file_that_is_gone_leaves_with_its_folder(index: Index, docs: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "docs-2"  # its name begins like the folder's
    elsewhere.mkdir()
    (elsewhere / "other.txt").write_text("Another folder altogether.")
    index.add([docs, elsewhere])
    (docs / "pump.txt").unlink()
    (elsewhere / "other.txt").unlink()
    report = index.add([docs / "fan.md"])
    assert report.removed == (), "a file says nothing about its folder"
    report = index.add([docs])
    assert names(report.removed) == ["pump.txt"]
    assert sorted(known(index)) == ["fan.md", "lamp.txt", "other.txt"]
    assert "pump.txt" not in {Path(passage.document).name for passage in index.search("seal pump rubber", 9)}
    for file in (docs / "fan.md", docs / "deep" / "lamp.txt"):
        file.unlink()
    assert len(index.add([docs]).removed) == 2, "also the last one leaves"


def test_remove_file_and_folder(index: Index, docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index.add([docs])
    monkeypatch.chdir(docs.parent)
    assert index.remove("docs/nothing.txt") == 0
    assert index.remove("docs/deep/../pump.txt") == 1
    assert index.remove(docs / "deep") == 1
    assert known(index) == ["fan.md"]
    assert index.remove("docs") == 1
    assert len(index) == 0
    assert index.search("fan") == []
    assert (docs / "pump.txt").is_file(), "the files themselves stay"


def test_unreadable_files_are_listed_and_the_others_indexed(index: Index, docs: Path) -> None:
    scanned, locked = io.BytesIO(), io.BytesIO()
    canvas = Canvas(scanned)
    canvas.rect(50, 50, 300, 300, fill=1)
    canvas.save()
    canvas = Canvas(locked, encrypt="secret")
    canvas.drawString(72, 700, "Nobody can read this.")
    canvas.save()
    bad = {
        "scanned.pdf": scanned.getvalue(),
        "locked.pdf": locked.getvalue(),
        "empty.txt": b"",
        "binary.txt": bytes(range(256)) * 40,
        "cut.docx": b"PK\x03\x04",
    }
    for name, data in bad.items():
        (docs / name).write_bytes(data)
    (docs / "picture.png").write_bytes(b"\x89PNG")
    (docs / ".hidden.txt").write_text("A secret.")
    (docs / ".git").mkdir()
    (docs / ".git" / "notes.txt").write_text("Another secret.")
    (docs / "loop").symlink_to(docs)
    report = index.add([docs, docs / "missing.txt"])
    assert sorted(names(report.added)) == ["fan.md", "lamp.txt", "pump.txt"]
    assert {Path(failure.path).name for failure in report.failed} == {*bad, "missing.txt"}
    for failure in report.failed:
        assert Path(failure.path).name in failure.reason
        assert "\n" not in failure.reason
    assert names(report.skipped) == ["picture.png"]
    assert sorted(known(index)) == ["fan.md", "lamp.txt", "pump.txt"]
    assert index.check() == []


def test_file_that_became_unreadable_keeps_what_was_known(index: Index, docs: Path) -> None:
    index.add([docs])
    (docs / "pump.txt").write_bytes(bytes(range(256)) * 40)
    report = index.add([docs])
    assert [Path(failure.path).name for failure in report.failed] == ["pump.txt"]
    assert index.text(str(docs / "pump.txt")) == PUMP


def test_file_name_that_is_no_text(index: Index, docs: Path) -> None:
    name = os.fsencode(docs) + b"/caf\xe9.txt"
    try:
        with open(name, "w") as file:
            file.write("A text.")
    except OSError:
        pytest.skip("this file system takes only names that are text")
    report = index.add([docs])
    assert len(report.added) == 3
    (failure,) = report.failed
    assert "rename it" in failure.reason
    failure.path.encode()


def test_nothing_to_read_is_an_error_and_changes_nothing(index: Index, docs: Path, tmp_path: Path) -> None:
    index.add([docs])
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "picture.png").write_bytes(b"\x89PNG")
    for paths in ([empty], []):
        with pytest.raises(KnowledgeError, match="holds no file that edge can read"):
            index.add(paths)
    assert len(known(index)) == 3


def test_a_long_file_and_its_progress(index: Index, docs: Path) -> None:
    """One file of more passages than are written at once, and files behind it."""
    (docs / "long.txt").write_text(
        "\n\n".join(f"Paragraph {n}. " + f"It speaks of thing {n}. " * 9 for n in range(400))
    )
    (docs / "more.txt").write_text("\n\n".join(f"Another {n}. " + f"It tells of matter {n}. " * 9 for n in range(400)))
    steps: list[AddProgress] = []
    report = index.add([docs], progress=steps.append)
    assert report.passages == len(index) == sum(document.passages for document in index.documents()) > 2 * 256
    assert [step.done for step in steps] == [0, 1, 2, 3, 4, 5]
    assert {step.total for step in steps} == {5}
    assert [Path(step.path).name if step.path else None for step in steps] == [
        "fan.md",
        "long.txt",
        "more.txt",
        "pump.txt",
        "lamp.txt",
        None,
    ]
    written = [step.passages for step in steps]
    assert written == sorted(written)
    assert written[0] == 0
    assert written[-1] == report.passages
    assert index.search("thing 377", 1)[0].document == str(docs / "long.txt")
    assert index.check() == []


def test_progress_that_raises_stops_and_keeps_what_was_written(index: Index, docs: Path) -> None:
    """So somebody stops an add from a program; the next one goes on where it was."""
    (docs / "a.txt").write_text("\n\n".join(f"Paragraph {n}. " + f"It speaks of thing {n}. " * 9 for n in range(300)))

    def stop(now: AddProgress) -> None:
        if now.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.add([docs], progress=stop)
    assert known(index) == ["a.txt"]
    report = index.add([docs])
    assert names(report.unchanged) == ["a.txt"]
    assert len(report.added) == 3
    assert index.check() == []


# Searching -------------------------------------------------------------------------------------------------------


def test_every_span_is_literal(index: Index, docs: Path) -> None:
    (docs / "greek.txt").write_text(
        "Ἐν ἀρχῇ ἦν ὁ λόγος 😀. The seal — naïve, 漢字 — holds water.\r\n\r\nA second line.", newline=""
    )
    index.add([docs])
    for query in ("seal of the pump", "naïve λόγος 漢字 seal", "which screws hold the fan?", "second line"):
        passages = index.search(query, 9)
        evidence = index.evidence(query, passages)
        assert passages
        assert 1 <= len(evidence) <= 3
        for passage in passages:
            assert index.text(passage.document)[passage.start : passage.end] == passage.text
            assert 0 <= passage.score <= 1
        for sentence in evidence:
            assert index.text(sentence.document)[sentence.start : sentence.end] == sentence.quote
            assert any(p.document == sentence.document and p.start <= sentence.start < p.end for p in passages)
        assert [p.score for p in passages] == sorted((p.score for p in passages), reverse=True)


def test_page_heading_and_hash_come_along(index: Index, docs: Path) -> None:
    import hashlib

    file = io.BytesIO()
    canvas = Canvas(file)
    for page in ("Nothing stands on this page but a word.", "The turbine spins at four thousand revolutions."):
        canvas.drawString(72, 700, page)
        canvas.showPage()
    canvas.save()
    (docs / "turbine.pdf").write_bytes(file.getvalue())
    index.add([docs])
    found = index.search("turbine revolutions spins", 1)[0]
    assert (found.page, found.sha256) == (2, hashlib.sha256(file.getvalue()).hexdigest())
    assert index.evidence("turbine revolutions spins", [found])[0].page == 2
    fan = index.search("fan roof screws", 1)[0]
    assert (fan.page, fan.heading) == (None, "Fan")


def test_fewer_passages_than_wanted(index: Index, docs: Path) -> None:
    index.add([docs])
    assert len(index.search("the pump the fan the lamp", 100)) == 3
    assert len(index.search("the pump the fan the lamp", 2)) == 2


def test_empty_index_finds_nothing(index: Index) -> None:
    assert index.search("anything") == []
    assert index.evidence("anything", []) == []
    assert index.documents() == []
    assert len(index) == 0
    with pytest.raises(KnowledgeError, match="not in the index"):
        index.text("nothing.txt")


@pytest.mark.parametrize("query", ["", "   \n", "\0", "and of the", "what is it?", "???", "😀", "漢字", "\ud800"])
def test_queries_without_content(index: Index, docs: Path, query: str) -> None:
    index.add([docs])
    for passage in index.search(query):
        assert index.text(passage.document)[passage.start : passage.end] == passage.text


@pytest.mark.parametrize(
    "query",
    [
        '"seal of the pump"',
        '"seal',
        "seal*",
        "seal NEAR pump",
        "NEAR(seal pump)",
        "seal AND NOT pump",
        "(seal OR pump",
        "text:seal pump",
        "pump-seal",
        "^seal pump",
        "the green seal of the pump'; DROP TABLE passages; --",
        "the pump's seal",
        "PUMP SEAL",
        "{seal} + pump",
        "séal pump",
    ],
)
def test_syntax_of_the_full_text_search_is_only_words(index: Index, docs: Path, query: str) -> None:
    index.add([docs])
    assert Path(index.search(query, 1)[0].document).name == "pump.txt"


def test_very_long_query(index: Index, docs: Path) -> None:
    index.add([docs])
    query = " ".join(f"word{n}" for n in range(40_000)) + " seal pump rubber green"
    assert isinstance(index.search(query), list)


def test_evidence_of_foreign_passages_is_left_out(index: Index, docs: Path) -> None:
    from dataclasses import replace

    index.add([docs])
    (passage,) = index.search("seal of the pump", 1)
    stranger = replace(passage, document="/elsewhere.txt")
    assert {e.document for e in index.evidence("seal of the pump", [stranger, passage])} == {passage.document}
    assert len(index.evidence("seal of the pump spring", [passage, passage], limit=1)) == 1


def test_evidence_of_keywords_is_the_sentence_that_holds_them(index: Index, docs: Path) -> None:
    index.add([docs])
    for query in ("seal of the pump", "green rubber", "SEAL"):
        evidence = index.evidence(query, index.search(query, 1))
        assert evidence[0].quote == "The seal of the pump is made of green rubber."


def test_evidence_comes_once(index: Index, docs: Path) -> None:
    index.add([docs])
    (passage,) = index.search("seal of the pump is changed every spring", 1)
    evidence = index.evidence("seal of the pump is changed every spring", [passage, passage])
    assert len({e.quote for e in evidence}) == len(evidence)


# Encoders --------------------------------------------------------------------------------------------------------


def test_another_encoder_is_refused(index: Index, docs: Path) -> None:
    index.add([docs])
    with Index.open(index.path, encoder=OtherEncoder()) as other:
        for use in (lambda: other.search("pump"), lambda: other.add([docs.parent])):
            (docs / "new.txt").write_text("Something new.")
            with pytest.raises(EncoderError, match="WordEncoder"):
                use()
        assert len(other.documents()) == 3, "what needs no encoder works"


def test_another_encoder_that_was_faster(tmp_path: Path, docs: Path) -> None:
    """Two processes open an empty index with different encoders: the second writer is refused, not mixed in."""
    with (
        Index.open(tmp_path / "i", encoder=WordEncoder()) as first,
        Index.open(tmp_path / "i", encoder=OtherEncoder()) as second,
    ):
        assert second.search("pump") == []
        first.add([docs / "pump.txt"])
        with pytest.raises(EncoderError):
            second.add([docs / "fan.md"])
        assert first.check() == []
        assert first.search("seal of the pump", 1)


def test_no_encoder_is_needed_to_look(index: Index, docs: Path, edge_home: Path) -> None:
    index.add([docs])
    with Index.open(index.path) as plain:
        assert len(plain.documents()) == 3
        assert plain.check() == []
        assert len(plain.add([docs]).unchanged) == 3
        assert plain.remove(docs / "fan.md") == 1
        with pytest.raises(EncoderError, match="edge models pull starter"):
            plain.search("pump")


def test_vectors_are_made_unit(index: Index, docs: Path) -> None:
    index.add([docs])
    with sqlite3.connect(index.path / "index.sqlite") as database:
        blobs = [row[0] for row in database.execute("SELECT vector FROM vectors")]
    database.close()
    lengths = [np.linalg.norm(np.frombuffer(blob, np.float32)) for blob in blobs]
    assert lengths == pytest.approx([1.0] * len(lengths))


# Other processes -------------------------------------------------------------------------------------------------

DYING = """
from edge_index.ingest import embedding
from edge_index.storage.store import Store

embedding.BATCH = 1  # each document is written as soon as it is encoded

class Slow(WordEncoder):
    fingerprint = "WordEncoder"
    def encode(self, texts):
        if sys.argv[3] == "encoding" and any("thing 5" in text for text in texts):
            say("there"); wait()
        return super().encode(texts)

put = Store.put_document
def slow_put(self, path, *rest, **named):
    ids = put(self, path, *rest, **named)
    if sys.argv[3] == "writing" and path.endswith("5.txt"):
        say("there"); wait()
    return ids
Store.put_document = slow_put

Index.open(sys.argv[1], encoder=Slow()).add([sys.argv[2]])
say("too late")
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("moment", ["encoding", "writing"])
def test_killed_while_adding(tmp_path: Path, moment: str, end: signal.Signals) -> None:
    """The index opens, is whole, holds what was written, and the next add does the rest."""
    docs = tmp_path / "docs"
    docs.mkdir()
    for number in range(9):
        (docs / f"{number}.txt").write_text(f"This is thing {number}. It has {number + 2} wheels.")
    child = Child(DYING, tmp_path / "index", docs, moment)
    child.expect("there")
    child.process.send_signal(end)
    status, said = child.end()
    assert "too late" not in said
    assert status != 0
    with Index.open(tmp_path / "index", encoder=WordEncoder()) as index:
        assert index.check() == []
        assert known(index) == [f"{number}.txt" for number in range(5)]
        assert index.search("thing 3 wheels", 1)
        report = index.add([docs])
        assert len(report.unchanged) == 5
        assert names(report.added) == [f"{number}.txt" for number in range(5, 9)]
        assert index.check() == []
        with Index.open(tmp_path / "whole", encoder=WordEncoder()) as whole:
            whole.add([docs])
            assert contents(index) == contents(whole)
            assert index.search("thing 7 wheels", 9) == whole.search("thing 7 wheels", 9)


def test_what_another_process_adds_is_found(index: Index, docs: Path) -> None:
    index.add([docs / "fan.md"])
    assert index.search("seal of the pump green rubber") == []
    code = "Index.open(sys.argv[1], encoder=WordEncoder()).add([sys.argv[2]])"
    assert Child(code, index.path, docs / "pump.txt").end() == (0, "")
    assert index.search("seal of the pump green rubber", 1)[0].document == str(docs / "pump.txt")
    code = "Index.open(sys.argv[1], encoder=WordEncoder()).remove(sys.argv[2])"
    assert Child(code, index.path, docs / "pump.txt").end() == (0, "")
    assert index.search("seal of the pump green rubber") == []


def test_vectors_in_memory_follow_the_store(index: Index, docs: Path) -> None:
    """Words that carry no content are found by the vectors alone; those must not be the ones of before."""
    index.add([docs])
    assert index.search("why so") == []
    (docs / "odd.txt").write_text("Why so.")
    index.add([docs])
    assert index.search("why so", 1)[0].document == str(docs / "odd.txt")
    code = "Index.open(sys.argv[1], encoder=WordEncoder()).remove(sys.argv[2])"
    assert Child(code, index.path, docs / "odd.txt").end() == (0, "")
    assert index.search("why so") == []


LOCKING = """
index = Index.open(sys.argv[1], encoder=WordEncoder())
with index._store.transaction():
    index._store.set_meta("held", "yes")
    say("held")
    wait()
"""


def test_second_writer_waits(index: Index, docs: Path) -> None:
    index.add([docs / "fan.md"])
    child = Child(LOCKING, index.path)
    child.expect("held")
    assert index.search("fan roof screws"), "searching does not wait"
    reports: list[AddReport] = []
    adding = threading.Thread(target=lambda: reports.append(index.add([docs])))
    adding.start()
    adding.join(0.5)
    assert adding.is_alive(), "it got in while the other one was writing"
    child.go_on()
    assert child.end() == (0, "")
    adding.join(60)
    assert len(reports[0].added) == 2
    assert index.check() == []


def test_second_writer_that_waited_long_enough_says_so(index: Index, docs: Path) -> None:
    index.add([docs / "fan.md"])
    child = Child(LOCKING, index.path)
    child.expect("held")
    index._store._db.execute("PRAGMA busy_timeout = 50")
    with pytest.raises(KnowledgeError, match="another process; try again"):
        index.add([docs])
    child.go_on()
    assert child.end() == (0, "")
    assert len(index.add([docs]).added) == 2


def test_threads_share_an_index(index: Index, docs: Path) -> None:
    for number in range(30):
        (docs / f"{number}.txt").write_text(f"This is thing {number}. It has {number + 2} wheels.")
    index.add([docs / "pump.txt"])
    troubles: list[BaseException] = []

    def use(job: int) -> None:
        try:
            for number in range(job, 30, 3):
                index.add([docs / f"{number}.txt"])
                assert index.search("seal of the pump", 1)[0].document == str(docs / "pump.txt")
        except BaseException as error:
            troubles.append(error)

    threads = [threading.Thread(target=use, args=(job,)) for job in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert troubles == []
    assert len(index.documents()) == 31
    assert index.check() == []


# Where it lies ---------------------------------------------------------------------------------------------------

READ_ONLY = """
from edge.errors import EdgeError
index = Index.open(sys.argv[1], encoder=WordEncoder())
passages = index.search("seal of the pump", 1)
print(index.check(), [e.quote for e in index.evidence("seal of the pump", passages)][0])
for job in (lambda: index.add([sys.argv[2]]), lambda: index.remove(sys.argv[2])):
    try:
        job()
    except EdgeError as error:
        print(type(error).__name__)
"""


def test_read_only_folder_is_searched(index: Index, docs: Path) -> None:
    index.add([docs])
    index.close()
    (docs / "new.txt").write_text("Something new.")
    index.path.chmod(0o555)
    try:
        status, said = Child(READ_ONLY, index.path, docs, before=bound_by_permissions()).end()
    finally:
        index.path.chmod(0o755)
    assert (status, said.splitlines()) == (
        0,
        ["[] The seal of the pump is made of green rubber.", "StorageError", "StorageError"],
    )


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("I am a file.")
    with pytest.raises(StorageError, match=re.escape(str(tmp_path / "file"))):
        Index.open(tmp_path / "file" / "index", encoder=WordEncoder())


def test_no_index_is_made_by_asking(tmp_path: Path) -> None:
    with pytest.raises(KnowledgeError, match="there is no index"):
        Index.open(tmp_path / "index", create=False)
    assert list(tmp_path.iterdir()) == []


def test_check_finds_text_that_does_not_fit(index: Index, docs: Path) -> None:
    index.add([docs])
    assert index.check() == []
    with sqlite3.connect(index.path / "index.sqlite") as database:
        database.execute("UPDATE documents SET text = replace(text, 'seal', 'sail') WHERE path LIKE '%pump.txt'")
    database.close()
    problems = index.check()
    assert problems
    assert all("pump.txt" in problem for problem in problems)


def test_check_finds_a_full_text_index_that_does_not_fit(index: Index, docs: Path) -> None:
    index.add([docs])
    with sqlite3.connect(index.path / "index.sqlite") as database:
        database.execute("DROP TRIGGER passages_delete")
        database.execute("DELETE FROM passages WHERE id = 1")
    database.close()
    assert any("full-text" in problem for problem in index.check())


def test_damaged_index_is_reported(index: Index, docs: Path) -> None:
    index.add([docs])
    index.close()
    (index.path / "index.sqlite").write_bytes(b"This is no database. " * 500)
    with pytest.raises(EdgeError, match="damaged or no index"):
        Index.open(index.path, encoder=WordEncoder())


def test_a_graph_that_is_only_out_of_date_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_index.vectors.search.SMALLEST", 2)
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.txt").write_text("The pump is made of brass.\n\nThe seal is made of rubber.\n" * 40)
    with Index.open(tmp_path / "index", encoder=WordEncoder()) as index:
        index.add([folder])
        assert index.search("pump")
        assert (tmp_path / "index" / "graph.hnsw").is_file()
        (folder / "b.txt").write_text("The valve is made of steel.")
        index.add([folder])
        assert index.check() == []
        assert index.search("valve")[0].document.endswith("b.txt")
        (tmp_path / "index" / "graph.hnsw").write_bytes(b"x")
        assert "deleted" in index.check()[0]


def test_words_without_spaces_around_them_are_found(tmp_path: Path) -> None:
    """Chinese, Japanese and Thai, by words inside a sentence; the encoder knows nothing of them."""
    folder = tmp_path / "docs"
    folder.mkdir()
    texts = {
        "wall": "万里长城是中国古代的伟大工程。它全长两万多公里。",
        "kyoto": "京都は昔の日本の都です。金閣寺はとても有名です。",
        "thai": "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย",
        "bread": "Bread is baked for fifty minutes.",
    }
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    questions = {"wall": "长城 中国", "kyoto": "金閣寺", "thai": "เมืองหลวงของไทย"}

    def found(index: Index) -> dict[str, list[str]]:
        return {name: [Path(p.document).stem for p in index.search(q)][:1] for name, q in questions.items()}

    right = {name: [name] for name in questions}
    with Index.open(tmp_path / "index", encoder=WordEncoder()) as index:
        index.add([folder])
        assert found(index) == right
        index.rebuild(force=True)
        assert found(index) == right
        index.remove(folder / "kyoto.txt")
        assert found(index)["kyoto"] != ["kyoto"]
        assert index.check() == []


def test_a_megabyte_of_a_question_takes_no_minutes(tmp_path: Path) -> None:
    """Full-text search takes a time that grows with the square of the words."""
    (tmp_path / "a.md").write_text("The heron stands in the shallow water.")
    (tmp_path / "b.md").write_text("The lighthouse was painted white in spring.")
    with Index.open(tmp_path / "index", encoder=WordEncoder()) as index:
        index.add([tmp_path / "a.md", tmp_path / "b.md"])
        question = "heron lighthouse " * 60_000
        begun = time.process_time()
        found = index.search(question, 2)
        index.evidence(question, found)
        assert time.process_time() - begun < 10
        assert {Path(passage.document).name for passage in found} == {"a.md", "b.md"}
