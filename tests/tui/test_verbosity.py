"""`-v`, `--quiet` and `--log FILE`, before a command and behind it."""

from __future__ import annotations

import logging
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edge.errors import KnowledgeError
from edge.log import logger
from edge_tui.cli.main import LazyGroup, _run, cli
from edge_tui.cli.output import status, warn


@pytest.fixture(autouse=True)
def talking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command `paths` that says something in every way."""

    @click.command()
    @click.option("--fail", is_flag=True)
    def paths(fail: bool) -> None:
        status("a remark")
        warn("a warning")
        logger("engine").info("what is done\x1b]0;x\x07")
        logger("engine").debug("what llama.cpp says")
        click.echo("the result")
        if fail:
            raise KnowledgeError("it went wrong")

    monkeypatch.setattr(LazyGroup, "find_command", lambda *_: paths)


@pytest.mark.parametrize(
    ("flags", "heard"),
    [
        ((), ["a remark", "a warning"]),
        (("--quiet",), ["a warning"]),
        (("-v",), ["a remark", "a warning", "edge.engine: what is done"]),
        (("-vv",), ["a remark", "a warning", "edge.engine: what is done", "edge.engine: what llama.cpp says"]),
        (("--quiet", "-v"), ["a warning", "edge.engine: what is done"]),
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_how_much_is_said(flags: tuple[str, ...], heard: list[str], before: bool) -> None:
    done = CliRunner().invoke(cli, [*flags, "paths"] if before else ["paths", *flags], catch_exceptions=False)
    assert [line.partition("\\x1b")[0] for line in done.stderr.splitlines()] == heard
    assert done.stdout == "the result\n"
    assert "\x1b" not in done.stderr
    assert not [each for each in logging.getLogger("edge").handlers if not isinstance(each, logging.NullHandler)]
    assert logging.getLogger("edge").level == logging.NOTSET


def test_a_log_holds_all_of_it_and_is_added_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "edge.log"
    assert _run(["paths", "--log", str(file), "--quiet"]) == 0
    assert _run(["--log", str(file), "paths", "--fail"]) == 1
    assert "what is done" not in capsys.readouterr().err
    text = file.read_text()
    for said in ("INFO edge.cli: a remark", "a warning", "INFO edge.engine: what is done", "DEBUG edge.engine"):
        assert text.count(said) == 2
    assert "ERROR edge.cli: it went wrong" in text
    assert "KnowledgeError" in text
    assert "\x1b" not in text


def test_a_log_that_cannot_be_written_is_an_error_before_anything_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(["paths", "--log", str(tmp_path / "none" / "edge.log")]) == 1
    caught = capsys.readouterr()
    assert "name another file with --log" in caught.err
    assert caught.out == ""
