"""The door: help, exit codes, what is imported, and that every error is one sentence."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from edge.errors import ModelError
from edge_tui.cli import main as door

HEAVY = {"numpy", "torch", "textual", "llama_cpp", "onnxruntime", "rich"}


def edge(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge_tui.cli.main", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=os.environ | environment,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        *((name, "--help") for name in door.COMMANDS),
        *(("index", name, "--help") for name in ("add", "list", "search", "remove", "check")),
        *(("models", name, "--help") for name in ("list", "show", "pull", "remove")),
        ("models", "pull", "starter", "--help"),
    ],
)
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    code = (
        "import sys; from edge_tui.cli import main as door\n"
        "status = door._run(sys.argv[1:])\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)), status, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[] 0"
    assert done.stdout.startswith("Usage: edge")


def test_help_imports_no_command() -> None:
    code = (
        "import sys; from edge_tui.cli import main as door\n"
        "door._run(['--help'])\n"
        "commands = {f'edge_tui.cli.{name}' for name in door.COMMANDS}; print(sorted(commands & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_command_of_the_table_is_there_and_says_what_the_table_says() -> None:
    context = click.Context(door.cli)
    for name in door.COMMANDS:
        command = door.cli.get_command(context, name)
        assert command is not None
        assert command.name == name
    assert all(name in edge("--help").stdout for name in door.COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        ("frobnicate",),
        ("ask", "--no-such-flag"),
        ("ask",),
        ("ask", "  "),
        ("ask", "q", "--docs", "x", "--index", "y"),
        ("ask", "q", "-k", "0"),
        ("index", "add"),
        ("index", "search"),
        ("models", "pull"),
        ("models", "pull", "phi"),
    ],
)
def test_wrong_usage_is_exit_code_2_on_standard_error(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = edge(*arguments, EDGE_HOME=str(tmp_path / "home"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ask", "why?"), "edge models pull starter"),
        (("ask", "why?", "-m", "no-such"), "no-such"),
        (("ask", "why?", "-m", "./no-such.gguf"), "./no-such.gguf does not exist"),
        (("chat",), "edge ask"),
        (("chat",), "edge chat --plain"),
        (("index", "add", "no-such-folder"), "no-such-folder does not exist"),
        (("index", "search", "why", "--index", "none"), "edge index add"),
        (("index", "list", "--index", "none"), "edge index add"),
        (("index", "check"), "edge index add"),
        (("models", "show", "none"), "none"),
        (("models", "remove", "none", "--yes"), "none"),
    ],
)
def test_an_error_is_one_sentence_and_exit_code_1(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = edge(*arguments, EDGE_HOME=str(home))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("edge: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not home.exists()


def test_settings_that_make_no_sense_are_errors(tmp_path: Path) -> None:
    assert "EDGE_K" in edge("ask", "why?", EDGE_HOME=str(tmp_path), EDGE_K="many").stderr
    (tmp_path / "config.toml").write_text("modell = 'x'\n")
    done = edge("ask", "why?", EDGE_HOME=str(tmp_path))
    assert done.returncode == 1
    assert "modell" in done.stderr


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """A command `paths` that raises what is put into the list."""
    errors: list[BaseException] = []

    @click.command()
    def paths() -> None:
        click.echo("begun")
        raise errors[0]

    monkeypatch.setattr(door.LazyGroup, "get_command", lambda *_: paths)
    return errors


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ModelError("x.gguf is damaged; fetch it again"), 1, "edge: x.gguf is damaged; fetch it again\n"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "edge: the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), 1, "edge: /x/y: Permission denied\n"),
        (MemoryError(), 1, "edge: there is not enough memory"),
        (KeyboardInterrupt(), 130, "edge: interrupted\n"),
        (click.exceptions.Exit(1), 1, ""),
    ],
)
def test_errors_become_exit_codes(
    raising: list[BaseException],
    error: BaseException,
    status: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    raising.append(error)
    assert door._run(["paths"]) == status
    assert capsys.readouterr().err.strip().startswith(said.strip())


def test_a_defect_of_ours_is_not_hidden(raising: list[BaseException]) -> None:
    raising.append(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        door._run(["paths"])


def test_a_reader_that_goes_away_is_no_trouble() -> None:
    command = [sys.executable, "-m", "edge_tui.cli.main", "paths", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_ctrl_c_ends_with_a_word_and_130() -> None:
    """The interrupt comes while a question is awaited on standard input."""
    code = (
        "import os, signal, threading; from edge_tui.cli import main as door\n"
        "threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\n"
        "door.main(['ask'])"
    )
    reading, writing = os.pipe()
    try:
        done = subprocess.run([sys.executable, "-c", code], stdin=reading, capture_output=True, text=True, check=False)
    finally:
        os.close(reading)
        os.close(writing)
    assert (done.returncode, done.stderr.strip()) == (128 + signal.SIGINT, "edge: interrupted")


def test_the_process_does_not_wait_for_a_thread_that_still_loads() -> None:
    code = (
        "import threading, time; from edge_tui.cli import main as door\n"
        "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
        "print('flushed', end='', flush=False); door._leave(3)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (3, "flushed")


def test_a_terminal_that_cannot_show_a_character_shows_another(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edge_tui.cli.main", "paths"],
        capture_output=True,
        env=os.environ | {"EDGE_HOME": str(tmp_path / "ж"), "PYTHONIOENCODING": "latin-1"},
        check=False,
    )
    assert done.returncode == 0
    assert b"?" in done.stdout


def test_telemetry_is_off_before_a_command_runs() -> None:
    """A command stands in for every other one; what the user's environment says does not count."""
    code = (
        "import click, os; from edge_tui.cli import main as door\n"
        "look = click.Command('paths', callback=lambda: print(os.environ['ORT_DISABLE_TELEMETRY']))\n"
        "door.LazyGroup.get_command = lambda *_: look\n"
        "door.main(['paths'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"ORT_DISABLE_TELEMETRY": "0"},
    )
    assert done.stdout.strip() == "1"
