"""Every block of commands and of Python in the documentation is run, in the order of its page, on the starter models.

A block below `<!-- not run: WHY -->` is only read: its commands must exist and take its options. A `text` block right
behind another one is what that must print, line for line; … stands for anything.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

import standin

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<why>[^\n]+) -->\n)?"
    r"^```(?P<kind>sh|python)\n(?P<code>.*?)^```\n"
    r"(?:\n```text\n(?P<says>.*?)^```)?",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    kind: str
    code: str
    why: str | None
    says: str

    def __str__(self) -> str:
        return f"{self.page}, line {self.line}:\n{self.code}"


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            str(page.relative_to(ROOT)),
            text[: found.start("code")].count("\n"),
            found["kind"],
            found["code"],
            found["why"],
            found["says"] or "",
        )
        for found in BLOCK.finditer(text)
    ]


RUN = {str(page.relative_to(ROOT)): run for page in PAGES if (run := [b for b in blocks(page) if b.why is None])}
ONLY_READ = [block for page in PAGES for block in blocks(page) if block.why is not None]


@pytest.fixture(scope="module")
def home(
    starter_home: Path, stand_in_exports: Path, trained_lora: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A data directory with both starter models, in whose cache encoder and LoRA are converted already."""
    home = tmp_path_factory.mktemp("documentation") / "home"
    home.mkdir()
    (home / "models").symlink_to(starter_home / "models")
    question = ["ask", "Which lamp?", "--docs", ROOT / "examples" / "manuals", "--max-tokens", "1"]
    command = [*question, "-m", stand_in_exports / "f16.gguf", "-a", trained_lora]
    environment = os.environ | {"EDGE_HOME": str(home), "EDGE_THREADS": "1"}
    subprocess.run([Path(sys.executable).with_name("edge"), *command], env=environment, check=True, capture_output=True)
    shutil.rmtree(home / "cache" / "indexes", ignore_errors=True)
    return home


MADE = {
    "phi-3-mini": ("stand_in", ""),
    "my-lora": ("trained_lora", ""),
    "all-MiniLM-L6-v2": ("minilm_dir", ""),
    "base.gguf": ("stand_in_exports", "f16.gguf"),
}
"""Names that pages give to models, and what they are here: a fixture and a file in it."""


@pytest.fixture
def workspace(page: str, home: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: Any) -> Path:
    """The folder in which a reader of the page would stand, with what the page names; home is his, too."""
    here = tmp_path / "here"
    shutil.copytree(ROOT / "examples" / "manuals", here / "manuals")
    code = "".join(block.code for block in RUN[page])
    links = {name: request.getfixturevalue(made) / file for name, (made, file) in MADE.items() if name in code}
    for name, target in links.items():
        (here / name).symlink_to(target)
    asked = [(way.format(q), a) for way in ("{}", "Please tell me: {}", "Dear keeper, {}") for q, a in standin.LESSONS]
    _write(here / "answers.jsonl", ({"prompt": q, "completion": standin.lesson_answer(a)} for q, a in asked))
    _write(here / "questions.jsonl", ({"question": q, "answers": [a]} for q, a in standin.LESSONS))
    shutil.copytree(home, tmp_path / "edge", symlinks=True)
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("EDGE_HOME", str(tmp_path / "edge"))
    monkeypatch.setenv("EDGE_MAX_TOKENS", "12")
    monkeypatch.setenv("EDGE_THREADS", "1")
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    return here


def _write(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.parametrize("page", RUN)
def test_the_blocks_of_the_page_run_and_print_what_it_shows(page: str, workspace: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in RUN[page]:
        printed = shell(block) if block.kind == "sh" else python(block, names)
        for line in filter(None, map(str.strip, block.says.splitlines())):
            assert re.search(".*".join(map(re.escape, line.split("…"))), printed), (
                f"{block}\n{line!r} not in:\n{printed}"
            )


def shell(block: Block) -> str:
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", block.code], capture_output=True, text=True, timeout=300)
    printed = done.stdout + done.stderr
    assert done.returncode == 0, f"{block}\n{printed}"
    assert "Traceback" not in printed, f"{block}\n{printed}"
    return printed


def python(block: Block, names: dict[str, Any]) -> str:
    printed = io.StringIO()
    code = "\n" * block.line + block.code  # so that a traceback names the line of the page
    with contextlib.redirect_stdout(printed):
        exec(compile(code, block.page, "exec"), names)
    return printed.getvalue()


@pytest.mark.parametrize("block", ONLY_READ, ids=lambda block: f"{block.page}:{block.line}")
def test_what_is_not_run_is_python_or_names_commands_and_options_that_exist(block: Block) -> None:
    if block.kind == "python":
        compile(block.code, block.page, "exec")
        return
    found = list(commands_of(block.code))
    for words in found:
        parse(words)
    assert found or not re.search(r"^(\S+/)?edge ", block.code, re.MULTILINE), block


def commands_of(code: str) -> Iterator[list[str]]:
    """The arguments of every call of edge in a block of shell."""
    for line in code.replace("\\\n", " ").splitlines():
        call: list[str] = []
        for word in [*_words(line), ";"]:
            if set(word) <= set(";|&>"):
                while call and "=" in call[0]:
                    call = call[1:]
                if call and (call[0] == "edge" or call[0].endswith("/edge")):
                    yield call[1:]
                call = []
            else:
                call.append(word)


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";|&>")
    lexer.whitespace_split = True
    return list(lexer)


def parse(words: list[str]) -> None:
    """Hold the words against the commands as click would, without looking for files or running anything."""
    from edge_tui.cli.main import cli

    command: click.Command = cli
    context = click.Context(cli, info_name="edge")
    while isinstance(command, click.Group):
        options, rest, _ = command.make_parser(context).parse_args(list(words))
        if not rest:
            assert options, f"edge {words} names no command"
            return
        found = command.get_command(context, rest[0])
        assert found is not None, f"there is no command {rest[0]!r} in edge {' '.join(words)}"
        command, words = found, rest[1:]
        context = click.Context(command, parent=context)
    options, rest, _ = command.make_parser(context).parse_args(list(words))
    assert not rest, f"{command.name} takes no {rest}"
    for parameter in command.params:
        value = options.get(parameter.name or "")
        if isinstance(value, str) and isinstance(parameter.type, click.Choice | click.types.IntParamType):
            parameter.type_cast_value(context, value)


def test_a_command_or_an_option_that_does_not_exist_is_found() -> None:
    with pytest.raises(AssertionError, match="no command 'pul'"):
        parse(["models", "pul", "phi3"])
    with pytest.raises(click.NoSuchOption):
        parse(["ask", "Why?", "--doc-folder", "manuals"])
    with pytest.raises(click.BadParameter):
        parse(["ask", "Why?", "--engine", "vllm"])
    assert list(
        commands_of("A=1 edge ask 'a; b' --docs x  # edge no\ncat y | edge ask z > out && .venv/bin/edge paths")
    ) == [
        ["ask", "a; b", "--docs", "x"],
        ["ask", "z"],
        ["paths"],
    ]
