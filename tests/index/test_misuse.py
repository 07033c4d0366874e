"""Paths as people write them, and encoders that do not do what an encoder must: named, and nothing is kept of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import EncoderError, KnowledgeError, UsageError
from edge_index import Index
from index_fakes import WordEncoder


@pytest.fixture
def manuals(tmp_path: Path) -> Path:
    folder = tmp_path / "manuals"
    folder.mkdir()
    (folder / "pump.md").write_text("# Pump\nThe pump needs oil of grade 3.")
    (folder / "crane.md").write_text("# Crane\nThe crane needs grease every month.")
    return folder


@pytest.fixture
def index(tmp_path: Path) -> Any:
    with Index.open(tmp_path / "index", encoder=WordEncoder()) as made:
        yield made


@pytest.mark.parametrize("kind", [str, Path])
def test_one_str_or_path_is_one_path(index: Index, manuals: Path, kind: Callable[[Path], Any]) -> None:
    assert len(index.add(kind(manuals)).added) == 2


def test_one_str_is_one_pattern(index: Index, manuals: Path) -> None:
    assert [Path(path).name for path in index.add(manuals, exclude="pump.md").added] == ["crane.md"]
    assert [Path(path).name for path in index.add(manuals, include="pump.md").added] == ["pump.md"]


def test_a_path_that_cannot_be_reached_is_reported_and_the_others_go_on(index: Index, manuals: Path) -> None:
    unreachable = "/" + "x" * 300  # longer than any file system takes
    report = index.add([unreachable, manuals])
    assert len(report.added) == 2
    assert "File name too long" in report.failed[0].reason
    with pytest.raises(KnowledgeError, match="File name too long"):
        index.add(unreachable)


def test_nothing_there_is_an_error_and_something_missing_beside_something_is_reported(
    index: Index, manuals: Path
) -> None:
    with pytest.raises(KnowledgeError, match="/no/such/folder is not there"):
        index.add(["/no/such/folder"])
    with pytest.raises(KnowledgeError, match="the list of paths holds no file"):
        index.add([])
    report = index.add([manuals, "/no/such/folder"])
    assert (len(report.added), [failure.path for failure in report.failed]) == (2, ["/no/such/folder"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda index: index.add(None), "paths is None; give a path or a list of paths"),
        (lambda index: index.add([None]), "one of paths is None"),
        (lambda index: index.add("", exclude=()), "paths is ''; give a path"),
        (lambda index: index.remove(""), "path is ''; give a path"),
        (lambda index: index.search(None), "query is None; give a str"),
        (lambda index: index.search("oil", 0), "k is 0"),
        (lambda index: Index.open(None), "path is None"),
    ],
)
def test_each_argument_is_named_with_its_value(
    index: Index, manuals: Path, call: Callable[[Index], object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(manuals)
    index.add(".")
    with pytest.raises(UsageError, match=message):
        call(index)
    assert len(index.documents()) == 2


def test_stale_takes_one_path(index: Index, manuals: Path) -> None:
    index.add(manuals)
    pump = str(manuals / "pump.md")
    (manuals / "pump.md").unlink()
    assert index.stale(pump) == {pump: "gone"}


class Gives:
    """An encoder that returns, or raises, what it is told to."""

    fingerprint = "gives"

    def __init__(self, found: Callable[[list[str]], Any]) -> None:
        self.encode = found


def raises(texts: list[str]) -> Any:
    raise RuntimeError("the GPU fell off")


async def coroutine(texts: list[str]) -> Any:
    return []


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (lambda texts: None, "the encoder Gives gave"),
        (lambda texts: "vectors", "the encoder Gives gave"),
        (lambda texts: np.ones(3), r"the encoder Gives gave numbers of the shape \[3\], not \["),
        (lambda texts: np.ones((len(texts) + 1, 3)), r"shape \[\d+, 3\], not \["),
        (lambda texts: np.ones((len(texts), 0)), r"shape \[\d+, 0\]"),
        (lambda texts: np.ones((len(texts), 3, 2)), r"shape \[\d+, 3, 2\]"),
        (lambda texts: [["a"]] * len(texts), "gave a list and no vectors"),
        (lambda texts: np.full((len(texts), 3), np.nan), r"no numbers \(NaN or infinite\)"),
        (lambda texts: np.full((len(texts), 3), np.inf), r"no numbers \(NaN or infinite\)"),
        (lambda texts: np.zeros((len(texts), 3)), "gave a vector of zeros for"),
        (raises, "failed on .* texts: RuntimeError: the GPU fell off"),
        (coroutine, "has an async encode"),
    ],
)
def test_an_encoder_that_gives_something_else_is_named_and_nothing_is_kept(
    tmp_path: Path, manuals: Path, found: Callable[[list[str]], Any], message: str
) -> None:
    with Index.open(tmp_path / "index", encoder=Gives(found)) as index:
        with pytest.raises(EncoderError, match=message):
            index.add(manuals)
        assert (len(index), index.documents()) == (0, [])


def test_vectors_of_sentences_are_checked_as_well(tmp_path: Path, manuals: Path) -> None:
    class Late(WordEncoder):
        def encode_with_spans(self, texts: list[str], spans: Any) -> Any:
            return self.encode(texts), [np.full((len(own), self.dim), np.nan) for own in spans]

    with (
        Index.open(tmp_path / "index", encoder=Late()) as index,
        pytest.raises(EncoderError, match="Late gave numbers"),
    ):
        index.add(manuals)


def test_plain_lists_are_vectors(tmp_path: Path, manuals: Path) -> None:
    with Index.open(tmp_path / "index", encoder=Gives(lambda texts: [[len(t), 1, 2] for t in texts])) as index:
        assert len(index.add(manuals).added) == 2
        assert len(index.search("oil")) > 0


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (lambda texts: WordEncoder().encode(texts), "for a function of texts, an object with it as `encode`"),
        (object(), "give an object with encode"),
        ("all-MiniLM", "encoder is 'all-MiniLM'; give an object with encode"),
    ],
)
def test_what_can_be_no_encoder_is_refused_when_the_index_is_opened(tmp_path: Path, encoder: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Index.open(tmp_path / "index", encoder=encoder)
    assert not (tmp_path / "index").exists()


def test_a_loader_that_fails_or_loads_something_else_is_named(tmp_path: Path, manuals: Path) -> None:
    def broken() -> Any:
        raise RuntimeError("no weights")

    with Index.open(tmp_path / "index", encoder=broken) as index, pytest.raises(EncoderError, match="no weights"):
        index.add(manuals)
    with Index.open(tmp_path / "index", encoder=dict) as index, pytest.raises(EncoderError, match="loaded a dict"):  # type: ignore[arg-type]
        index.add(manuals)
    with Index.open(tmp_path / "index", encoder=WordEncoder) as index:
        assert len(index.add(manuals).added) == 2


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_check_reports_vectors_that_an_older_version_has_kept(tmp_path: Path, manuals: Path, value: float) -> None:
    """As a version that did not look wrote them: with the right checksum."""
    from edge_index.storage.passage_table import vectors_crc

    with Index.open(tmp_path / "index", encoder=WordEncoder()) as index:
        index.add(manuals)
        assert index.check() == []
        rows = index._store.read("SELECT passage, spans, sentences FROM vectors LIMIT 1")
        vector = np.full(WordEncoder.dim, value, np.float32).tobytes()
        for passage, spans, sentences in rows:
            crc = vectors_crc(vector, spans, sentences)
            index._store.write("UPDATE vectors SET vector = ?, crc = ? WHERE passage = ?", (vector, crc, passage))
        assert any("are no numbers (NaN) or zero" in problem for problem in index.check())
