"""Following a folder with the real watcher, the index itself inside it."""

from __future__ import annotations

import threading
from pathlib import Path
from queue import Empty, Queue

import pytest

from edge.errors import KnowledgeError
from edge_index import Index
from edge_index.records import AddReport
from edge_index.watch import watch
from index_fakes import WordEncoder


def test_changes_are_followed(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.txt").write_text("The pump has a green seal.")
    reported: Queue[AddReport | KnowledgeError] = Queue()
    stop = threading.Event()

    def next_change() -> AddReport:
        while True:
            what = reported.get(timeout=60)
            assert isinstance(what, AddReport), what
            if what.added or what.updated or what.removed or what.moved:
                return what

    with Index.open(docs / "index", encoder=WordEncoder()) as index:
        thread = threading.Thread(target=lambda: watch(index, [docs], reported.put, stop=stop))
        thread.start()
        try:
            assert next_change().added == (str(docs / "a.txt"),)
            (docs / "b.txt").write_text("The fan hangs under the roof.")
            assert next_change().added == (str(docs / "b.txt"),)
            assert index.search("fan roof", 1)[0].document == str(docs / "b.txt")
            (docs / "b.txt").rename(docs / "c.txt")
            assert next_change().moved == (str(docs / "c.txt"),)
            (docs / "a.txt").unlink()
            assert next_change().removed == (str(docs / "a.txt"),)
            quiet = 0
            while not reported.empty() or quiet < 3:  # the last change may be told in two pieces
                try:
                    what = reported.get(timeout=1.5)
                except Empty:
                    break
                quiet += 1
                assert isinstance(what, AddReport)
            else:
                pytest.fail("its own writes wake it up")
        finally:
            stop.set()
            thread.join(60)
        assert not thread.is_alive()
