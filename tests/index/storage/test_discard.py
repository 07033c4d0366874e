"""An index that was made and stayed empty leaves again, and takes nothing of anybody with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_index import Index
from edge_index.storage.discard import discard_empty
from index_fakes import Child, WordEncoder

OPEN = """
index = Index.open(sys.argv[1], encoder=WordEncoder())
say("open"); wait()
print(len(index.add([sys.argv[2]]).added), flush=True)
"""


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_text("The pump has a green seal.")
    return path


def test_an_empty_index_leaves_and_one_with_documents_stays(tmp_path: Path, document: Path) -> None:
    folder = tmp_path / "index"
    Index.open(folder, encoder=WordEncoder()).close()
    assert discard_empty(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    with Index.open(folder, encoder=WordEncoder()) as index:
        index.add([document])
        assert not discard_empty(folder)
        assert index.search("green seal", 1)
    assert not discard_empty(tmp_path / "none")


def test_what_another_process_adds_beside_it_is_kept_or_refused(tmp_path: Path, document: Path) -> None:
    folder = tmp_path / "index"
    Index.open(folder, encoder=WordEncoder()).close()
    child = Child(OPEN, folder, document)
    child.expect("open")
    assert discard_empty(folder)
    child.go_on()
    status, said = child.end()
    assert status != 0
    assert "was removed by another program; add to it again" in said
    child = Child(OPEN, folder, document)
    child.expect("open")
    child.go_on()
    assert child.end() == (0, "1\n")
    assert not discard_empty(folder)
