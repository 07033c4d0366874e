"""Command lines and earlier lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_tui.app.input.recall import Recall
from edge_tui.slash_commands.parser import Command, parse, paths


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("/new", Command("new")),
        ("/Add  ~/my docs ", Command("add", "~/my docs")),
        ("what is /new?", None),
        (" /etc/fstab is what?", None),
        ("/", Command("")),
    ],
)
def test_a_slash_at_the_beginning_makes_a_command(line: str, command: Command | None) -> None:
    assert parse(line) == command


def test_paths_with_blanks_quotes_and_apostrophes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    spaced = tmp_path / "my docs"
    spaced.mkdir()
    assert paths(str(spaced)) == (spaced,)
    assert paths("~/my\\ docs /a") == (spaced, Path("/a"))
    assert paths(f"'{spaced}' /b") == (spaced, Path("/b"))
    assert paths("/bob's /c") == (Path("/bob's"), Path("/c"))


def test_recall_goes_back_and_returns_to_the_unsent_line() -> None:
    recall = Recall()
    for line in ("one", "two", "two"):
        recall.remember(line)
    assert recall.step(-1, "draft") == "two"
    assert recall.step(-1, "two") == "one"
    assert recall.step(-1, "one") is None
    assert recall.step(1, "one") == "two"
    assert recall.step(1, "two") == "draft"
    assert recall.step(1, "draft") is None
