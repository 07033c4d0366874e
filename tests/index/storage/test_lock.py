"""One writer at a time, with real processes."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from edge.errors import KnowledgeError
from edge_index import Index
from index_fakes import Child, WordEncoder

LOCKING = """
class Slow(WordEncoder):
    fingerprint = "WordEncoder"
    def encode(self, texts):
        say("encoding"); wait()
        return super().encode(texts)

Index.open(sys.argv[1], encoder=Slow()).add([sys.argv[2]])
"""


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.txt").write_text("The pump has a green seal.")
    (folder / "b.txt").write_text("The fan hangs under the roof.")
    return folder


def test_who_holds_the_lock_is_reported_and_a_kill_releases_it(tmp_path: Path, docs: Path) -> None:
    with Index.open(tmp_path / "index", encoder=WordEncoder()) as index:
        index.add([docs / "a.txt"])
        child = Child(LOCKING, index.path, docs / "b.txt")
        child.expect("encoding")
        for write in (
            lambda: index.add([docs], wait=0.2),
            lambda: index.remove(docs, wait=0),
            lambda: index.rebuild(wait=0),
        ):
            with pytest.raises(KnowledgeError) as caught:
                write()
            said = str(caught.value)
            assert f"process {child.process.pid} on {socket.gethostname()}, since 2" in said
            assert str(docs / "b.txt") in said, "the command is told"
            assert "try again" in said
        assert index.search("green seal", 1), "readers go on"
        assert len(index.documents()) == 1
        child.process.kill()
        child.end()
        assert len(index.add([docs], wait=5).added) == 1
        assert index.check() == []


def test_a_second_writer_waits(tmp_path: Path, docs: Path) -> None:
    code = """
    index = Index.open(sys.argv[1], encoder=WordEncoder())
    say("open"); wait()
    print(len(index.add([sys.argv[2]], wait=60).added), flush=True)
    """
    with Index.open(tmp_path / "index", encoder=WordEncoder()) as index:
        children = [Child(code, index.path, docs / name) for name in ("a.txt", "b.txt", "a.txt")]
        for child in children:
            child.expect("open")
        with index._writer.held(0):
            for child in children:
                child.go_on()
            assert os.path.getsize(index.path / "index.lock") > 0
            assert len(index) == 0
        ends = [child.end() for child in children]
        assert sorted(ends) == [(0, "0\n"), (0, "1\n"), (0, "1\n")]
        assert len(index.documents()) == 2
        assert index.check() == []


def test_a_lock_file_that_was_left_behind_means_nothing(tmp_path: Path, docs: Path) -> None:
    with Index.open(tmp_path / "index", encoder=WordEncoder()) as index:
        (tmp_path / "index" / "index.lock").write_text('{"pid": 1, "host": "elsewhere"')
        assert len(index.add([docs], wait=0).added) == 2
        with index._writer.held(0):
            (tmp_path / "index" / "index.lock").write_text("garbage")
            with (
                Index.open(tmp_path / "index", encoder=WordEncoder()) as other,
                pytest.raises(KnowledgeError) as caught,
            ):
                other.remove(docs, wait=0)
            assert "another process" in str(caught.value)
