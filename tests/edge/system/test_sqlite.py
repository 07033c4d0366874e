"""SQLite files that several processes use: their locks are seen by others, their errors say what is the matter."""

from __future__ import annotations

import gc
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest

from edge import library
from edge.errors import FileReplaced, StorageError
from edge.system.sqlite import explain
from edge_index import Index
from edge_index.storage.export import export
from edge_tui.history.database import set_aside
from edge_tui.history.records import ChatMessage, Turn, now
from edge_tui.history.store import Store
from index_fakes import WordEncoder

# The bytes on which SQLite holds a shared lock as long as it has a file with a write-ahead log open: sqlite3.c,
# SHARED_FIRST and SHARED_SIZE, and UNIX_SHM_DMS of the file beside it.
SEEN = """
import fcntl, os, sys
for name, length, start in (("", 510, 0x40000002), ("-shm", 1, 128)):
    descriptor = os.open(sys.argv[1] + name, os.O_RDWR)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
    except OSError:
        continue
    sys.exit(f"no lock on {sys.argv[1]}{name}")
"""


def assert_locked(path: Path) -> None:
    """Another process sees that this one has the database open."""
    pytest.importorskip("fcntl")
    done = subprocess.run([sys.executable, "-c", SEEN, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def turn(question: str) -> Turn:
    return Turn(ChatMessage("user", question, now(), sent=question), ChatMessage("assistant", "Yes.", now()))


@pytest.fixture
def chats(edge_home: Path) -> Iterator[Store]:
    with Store(edge_home / "chats.sqlite") as store:
        store.put(store.create("a chat"), turn("why?"))
        yield store


@pytest.fixture
def index(edge_home: Path, tmp_path: Path) -> Iterator[Index]:
    (tmp_path / "a.txt").write_text("The pump has a green seal.")
    with Index.open(edge_home / "indexes" / "default", encoder=WordEncoder()) as index:
        index.add([tmp_path / "a.txt"])
        yield index


def _visit(store: Store) -> None:
    with Store(store.path) as other:
        other.search("why")
        other.tidy()
        other.settle()


def _vacuum(store: Store) -> None:
    with Store(store.path) as other:
        other.remove([other.create("to be removed")])


def _read_early(store: Store) -> None:
    from edge_tui.session.prewarm_order import _cited

    assert list(_cited()) == []


def _export_chats(store: Store) -> None:
    from click.testing import CliRunner

    from edge_tui.cli.chats import export as command

    assert "why?" in CliRunner().invoke(command, []).output


def _doctor(store: Store) -> None:
    from edge_tui.cli.doctor import _data_directory

    _data_directory()
    library.indexes()


def _as_document(store: Store) -> None:
    link = store.path.with_name("notes.txt")
    link.symlink_to(store.path)
    with Index.open(store.path.with_name("other"), encoder=WordEncoder()) as other:
        assert len(other.add([store.path, link]).failed) == 2


@pytest.mark.parametrize("work", [_visit, _vacuum, _read_early, _export_chats, _doctor, _as_document])
def test_others_see_that_the_chats_are_open_whatever_was_done_beside(
    chats: Store, work: Callable[[Store], None]
) -> None:
    assert_locked(chats.path)
    work(chats)
    assert_locked(chats.path)


def _search(index: Index) -> None:
    with Index.open(index.path, encoder=WordEncoder()) as other:
        other.search("green seal")
        other.stale()


def _check(index: Index) -> None:
    with Index.open(index.path, encoder=WordEncoder()) as other:
        assert other.check() == []
        other.rebuild(force=True)


def _export(index: Index) -> None:
    export(index.path / "index.sqlite", StringIO())


def _listed(index: Index) -> None:
    assert [entry.name for entry in library.indexes()] == ["default"]


def _own_file(index: Index) -> None:
    link = index.path / "notes.txt"
    os.link(index.path / "index.sqlite", link)
    try:
        report = index.add([index.path / "index.sqlite", link], again=True)
    finally:
        link.unlink()
    assert [failure.reason for failure in report.failed if "itself has open" in failure.reason]


@pytest.mark.parametrize("work", [_search, _check, _export, _listed, _own_file])
def test_others_see_that_the_index_is_open_whatever_was_done_beside(
    index: Index, work: Callable[[Index], None]
) -> None:
    assert_locked(index.path / "index.sqlite")
    work(index)
    assert_locked(index.path / "index.sqlite")


def test_two_programs_keep_each_others_chats(chats: Store) -> None:
    """The program of https://sqlite.org/howtocorrupt.html, 2.2, with another process that leaves in between."""
    other = """
import sys
from pathlib import Path
from edge_tui.history.store import Store
with Store(Path(sys.argv[1])) as store:
    store.chats()
    store.create(sys.argv[2])
"""
    expected = ["a chat"]
    for number in range(3):
        _visit(chats)
        subprocess.run([sys.executable, "-c", other, str(chats.path), f"other {number}"], check=True)
        chats.create(f"own {number}")
        expected += [f"other {number}", f"own {number}"]
    assert sorted(entry.title for entry in chats.chats()) == sorted(expected)
    chats.close()
    with sqlite3.connect(chats.path) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("SELECT count(*) FROM chats").fetchone() == (len(expected),)
    database.close()


@pytest.mark.parametrize("ending", ["", "-wal", "-shm"])
def test_what_is_written_to_a_file_that_was_taken_away_is_not_said_to_be_kept(chats: Store, ending: str) -> None:
    chats.path.with_name(chats.path.name + ending).rename(chats.path.with_name("elsewhere"))
    with pytest.raises(FileReplaced, match="removed or replaced by another program"):
        chats.create("lost otherwise")


def test_an_index_that_is_deleted_while_it_is_open_says_so(index: Index, tmp_path: Path) -> None:
    index.path.rename(tmp_path / "elsewhere")
    (tmp_path / "a.txt").write_text("The fan hangs under the roof.")
    with pytest.raises(Exception, match=r"was removed by another program; add to it again"):
        index.add([tmp_path / "a.txt"], again=True)
    index.path.mkdir()
    with pytest.raises(FileReplaced, match=r"index\.sqlite was removed or replaced"):
        index.add([tmp_path / "a.txt"], again=True)


def test_who_finds_the_same_damage_second_leaves_the_new_file_alone(edge_home: Path) -> None:
    path = edge_home / "chats.sqlite"
    Store(path).close()
    path.write_bytes(b"no database" * 1000)
    found = []
    for _ in range(2):
        with pytest.raises(StorageError, match="damaged") as caught:
            Store(path)
        found.append(caught.value.found)  # type: ignore[attr-defined]
    assert set_aside(path, found[0]) is not None
    with Store(path) as store:
        store.create("kept")
        assert set_aside(path, found[1]) is None
        assert [entry.title for entry in store.chats()] == ["kept"]


def caught(work: Callable[[], object]) -> sqlite3.Error:
    with pytest.raises(sqlite3.Error) as error:
        work()
    return error.value


def test_an_error_says_what_is_the_matter(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    with sqlite3.connect(path, isolation_level=None) as one:
        one.execute("CREATE TABLE t (x)")
        one.execute("BEGIN IMMEDIATE")
        with sqlite3.connect(path, timeout=0, isolation_level=None) as two:
            busy = caught(lambda: two.execute("BEGIN IMMEDIATE"))
            foreign = caught(lambda: two.execute("SELECT * FROM absent"))
            two.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 100)
            large = caught(lambda: two.execute("SELECT ?", ("x" * 200,)))
        one.execute("PRAGMA max_page_count=2")
        full = caught(lambda: one.execute("INSERT INTO t VALUES (zeroblob(100000))"))
        two.close()
    one.close()
    assert explain(path, busy) == ("busy", f"{path} is locked by another program; close the other one, or wait until "
                                           "it is done.")  # fmt: skip
    assert explain(path, full)[1].startswith(f"there is no room for {path}")
    assert explain(path, foreign)[0] == "foreign"
    assert "too large" in explain(path, large)[1]
    path.write_bytes(b"no database" * 1000)
    with sqlite3.connect(path) as three:
        assert explain(path, caught(lambda: three.execute("SELECT * FROM t")))[0] == "damaged"
    three.close()


def failing(code: int, name: str) -> sqlite3.Error:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode, error.sqlite_errorname = code, name
    return error


def test_a_failing_disk_and_a_removed_file_are_not_called_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.sqlite"
    error = failing(sqlite3.SQLITE_IOERR_READ, "SQLITE_IOERR_READ")
    assert explain(path, error)[0] == "removed"
    path.touch()
    kind, said = explain(path, error)
    assert kind == "other"
    assert "reports an error (disk I/O error, SQLITE_IOERR_READ)" in said
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 0}))
    assert explain(path, error)[0] == "full"


def test_what_nobody_closed_is_not_taken_for_open(tmp_path: Path) -> None:
    """Its log is deleted with it, and what number that had on the disk the next file gets."""
    from edge.system.sqlite import is_open
    from edge_index.storage.store import Store as IndexStore

    store = IndexStore(tmp_path / "index.sqlite", create=True)
    found = [os.stat(f"{store.path}{end}") for end in ("", "-wal", "-shm")]
    assert all(map(is_open, found))
    del store
    gc.collect()
    assert not any(map(is_open, found))
