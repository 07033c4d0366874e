"""What a shell is given: completion of commands and options, and manual pages out of the commands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from every_command import every_command

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
PATH = os.pathsep.join([str(BIN), os.environ["PATH"]])


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("edge mo", {"models"}),
        ("edge index wa", {"watch", "warm"}),
        ("edge ask --eng", {"--engine"}),
        ("edge ask --engine ", {"gguf", "onnx"}),
        ("edge convert onnx base --prec", {"--precision"}),
    ],
)
def test_bash_completes_commands_options_and_their_words(typed: str, offered: set[str]) -> None:
    """By bash itself, with the script that the guide has a reader keep."""
    script = """
        eval "$(_EDGE_COMPLETE=bash_source edge)"
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _edge_completion edge; printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "-c", script, "bash", *typed.split(" ")], env={"PATH": PATH}, capture_output=True, text=True
    )
    assert (set(done.stdout.split()), done.stderr) == (offered, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_is_what_click_makes_for_it(shell: str) -> None:
    from click.shell_completion import get_completion_class

    from edge_tui.cli.main import cli

    environment = {"PATH": PATH, "_EDGE_COMPLETE": f"{shell}_source"}
    done = subprocess.run([BIN / "edge"], env=environment, capture_output=True, text=True)
    kind = get_completion_class(shell)
    assert kind is not None
    assert (done.stdout, done.stderr) == (kind(cli, {}, "edge", "_EDGE_COMPLETE").source(), "")


@pytest.fixture(scope="module")
def manual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("man") / "man1"
    subprocess.run([sys.executable, ROOT / "packaging" / "manual_pages.py", folder], check=True)
    return folder


def test_there_is_a_manual_page_for_every_command_with_all_its_options(manual: Path) -> None:
    pages = {page.name for page in manual.iterdir()}
    for context in every_command():
        name = f"{context.command_path.replace(' ', '-')}.1"
        pages.remove(name)
        text = (manual / name).read_text(encoding="ascii").replace("\\-", "-")
        for parameter in context.command.get_params(context):
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert all(re.search(rf"^\\fB(.* )?{option}\b", text, re.MULTILINE) for option in parameter.opts), name
    assert pages == set()


def test_the_manual_pages_are_roff_without_a_fault(manual: Path) -> None:
    """By mandoc where there is one; everywhere no line is a request that was not meant as one."""
    known = {".TH", ".SH", ".PP", ".TP", ".nf", ".fi"}
    for page in manual.iterdir():
        requests = re.findall(r"^[.'][^ \n]*", page.read_text(encoding="ascii"), re.MULTILINE)
        assert set(requests) <= known, page.name
    if shutil.which("mandoc"):
        done = subprocess.run(
            ["mandoc", "-T", "lint", "-W", "warning", *manual.iterdir()], capture_output=True, text=True
        )
        assert (done.returncode, done.stdout) == (0, "")
