"""The texts come out again, whole and from a file with damaged pages."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from edge.errors import KnowledgeError
from edge_index import Index
from edge_index.storage.export import Exported, export
from index_fakes import WordEncoder

PAGE = 8192


class SmallEncoder(WordEncoder):
    dim = 16


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str], set[tuple[str, str]]]:
    """An index of files of many sizes, their texts, and (path, text) of the passages."""
    folder = tmp_path_factory.mktemp("export")
    (folder / "docs").mkdir()
    for number in range(9):
        text = "\n\n".join(
            f"Part {n} of {number}. " + f"It tells of thing{number}x{n}. " * 40 for n in range(number + 1)
        )
        (folder / "docs" / f"{number:02}.txt").write_text(text)
    # Passages that go on in pages of their own, where SQLite itself sees no damage.
    (folder / "docs" / "zh.txt").write_text("\n\n".join(chr(0x4E00 + n) * 2000 for n in range(6)))
    with Index.open(folder / "index", encoder=SmallEncoder()) as index:
        index.add([folder / "docs"], metadata={"year": 2024})
        texts = {document.path: index.text(document.path) for document in index.documents()}
        passages = {(path, passage.text) for path in texts for passage in index.passages(path)}
    return folder / "index" / "index.sqlite", texts, passages


def exported(path: Path) -> tuple[Exported, list[dict[str, object]]]:
    out = io.StringIO()
    done = export(path, out)
    return done, [json.loads(line) for line in out.getvalue().splitlines()]


def test_everything_comes_out(made: tuple[Path, dict[str, str], set[tuple[str, str]]]) -> None:
    path, texts, passages = made
    done, lines = exported(path)
    assert {line["path"]: line["text"] for line in lines if line["kind"] == "document"} == texts
    assert all(line["metadata"] == {"year": 2024} for line in lines if line["kind"] == "document")
    found = [line for line in lines if line["kind"] == "passage"]
    assert {(line["path"], line["text"]) for line in found} == passages
    for line in found:
        assert texts[str(line["path"])][line["start"] : line["end"]] == line["text"]  # type: ignore[misc]
        assert len(str(line["sha256"])) == 64
    assert (done.documents, done.passages, done.failed) == (len(texts), len(passages), [])


@pytest.mark.parametrize("damage", [b"\xa5" * PAGE, bytes(PAGE)], ids=["garbage", "zeros"])
def test_any_damaged_page_costs_little_and_is_reported(
    made: tuple[Path, dict[str, str], set[tuple[str, str]]], tmp_path: Path, damage: bytes
) -> None:
    path, texts, passages = made
    whole = path.read_bytes()
    copy = tmp_path / "index.sqlite"
    for page in range(1, len(whole) // PAGE):
        copy.write_bytes(whole[: page * PAGE] + damage + whole[(page + 1) * PAGE :])
        done, lines = exported(copy)
        sound = [line for line in lines if "damaged" not in line]
        got = {(line["path"], line["text"]) for line in sound if line["kind"] == "document"}
        assert got <= set(texts.items()), f"page {page}: a text that was never written is called sound"
        saved = [str(line["text"]) for line in sound if line["kind"] == "passage"]
        assert set(saved) <= {text for _, text in passages}
        if len(got) < len(texts) or len(saved) < len(passages):
            assert done.failed, f"page {page}: what is missing is told"
        assert len(got) == len(texts) or len(saved) == len(passages), f"page {page}: all the words are somewhere"


def test_a_page_in_the_place_of_another_is_reported(
    made: tuple[Path, dict[str, str], set[tuple[str, str]]], tmp_path: Path
) -> None:
    """SQLite then finds rows with nothing in their columns, and no fault."""
    path, texts, _ = made
    whole = path.read_bytes()
    pages = [whole[at : at + PAGE] for at in range(0, len(whole), PAGE)]
    copy = tmp_path / "index.sqlite"
    for page in range(1, len(pages)):
        for other in (page - 1 or 2, len(pages) - 1):
            copy.write_bytes(b"".join([*pages[:page], pages[other], *pages[page + 1 :]]))
            try:
                done, lines = exported(copy)
            except KnowledgeError:  # nothing at all can be read, which is told
                continue
            got = {
                (line["path"], line["text"]) for line in lines if line["kind"] == "document" and "damaged" not in line
            }
            assert got <= set(texts.items())
            assert len(got) == len(texts) or done.failed


def test_what_is_no_index(tmp_path: Path) -> None:
    with pytest.raises(KnowledgeError, match="no index"):
        export(tmp_path / "index.sqlite", io.StringIO())
    (tmp_path / "index.sqlite").write_bytes(b"This is no database. " * 500)
    with pytest.raises(KnowledgeError, match="nothing of"):
        export(tmp_path / "index.sqlite", io.StringIO())
