"""What commands send to a terminal, byte by byte, where names, documents and models come from somebody hostile."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_tui.cli.main import cli
from edge_tui.terminal import visible
from gguf_files.seeds import make_seed

CLIPBOARD, TITLE = "\x1b]52;c;ZXZpbA==\x07", "\x1b]0;PWN\x07"
NAMES = {
    f"clip{CLIPBOARD}.md": "clip\\x1b]52;c;ZXZpbA==\\x07.md",
    f"title{TITLE}.txt": "title\\x1b]0;PWN\\x07.txt",
    "csi\x9b2Jred\x1b[31m.md": "csi\\u009b2Jred\\x1b[31m.md",
    "row\nadded forged.md": "row\\nadded forged.md",
    "back\r\x7f\x08.txt": "back\\r\\u007f\\x08.txt",
    "turn\u202eexe\u2067.md": "turn\\u202eexe\\u2067.md",
    "[bold]mark[@click=app.quit]up.md": "[bold]mark[@click=app.quit]up.md",
}
EVIL = "".join(NAMES)
# What is ours: click's and Rich's styles, and how Rich draws a line anew.
_OURS = re.compile(rb"\x1b\[[\d;]*m|\x1b\[2K|\x1b\[\d?A|\x1b\[\?25[lh]|\r(?:\x1b\[K)?")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

_PROGRAM = """
import json, sys
from edge_tui.cli.inputs import resources as opening
from edge_tui.cli import main as door
from index_fakes import WordEncoder

opening.open_encoder = lambda _settings: WordEncoder()
for arguments in json.loads(sys.argv[1]):
    print("$", json.dumps(arguments), flush=True)
    door._run(arguments)
"""


def on_a_terminal(commands: list[list[str]], **environment: str) -> bytes:
    """All that these commands write to a terminal, which is standard output and standard error."""
    here = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "CI")}
    master, slave = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, json.dumps(commands)],
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=slave,
        env={**inherited, "PYTHONPATH": here, "TERM": "xterm-256color", **environment},
    )
    os.close(slave)
    written = read(master)
    assert child.wait() == 0, written[-2000:]
    return written


def read(master: int) -> bytes:
    """Everything that comes to this end of a terminal until the other one is closed."""
    written = b""
    with os.fdopen(master, "rb", buffering=0) as terminal, contextlib.suppress(OSError):
        while piece := terminal.read(1 << 16):
            written += piece
    return written.replace(b"\r\n", b"\n")


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / f"manuals{TITLE}"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        (folder / name).write_text(f"# Pump {number}\n\nThe {CLIPBOARD} pump \x9b2J number {number} is blue.\n")
    (folder / f"damaged{TITLE}.pdf").write_bytes(b"%PDF-1.7 and no more")
    (folder / f"nowhere{TITLE}").symlink_to(folder / "gone")
    (folder / f"unknown{TITLE}.xyz{CLIPBOARD}").write_bytes(b"x")
    return folder


@pytest.fixture
def models(edge_home: Path) -> Path:
    """A model in the library whose name and whose metadata are hostile, and an adapter of that kind."""
    folder = edge_home / "models"
    folder.mkdir(parents=True)
    seed = make_seed(folder / f"evil{TITLE}\nmodel.gguf", "llama")
    seed.write_bytes(seed.read_bytes().replace(b"tiny", b"\x1b]0;"))  # general.name
    adapter = edge_home / "adapters" / f"lora{CLIPBOARD}"
    adapter.mkdir(parents=True)
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": [EVIL], "base_model_name_or_path": EVIL}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    return seed


def commands_on(docs: Path, model: Path) -> list[list[str]]:
    shown = str(docs / next(iter(NAMES)))
    return [
        ["index", "add", str(docs), "--index", "evil"],
        ["index", "add", str(docs / "gone\x1b[2J\nedge: all is well"), "--index", "evil"],
        ["index", "list", "--index", "evil"],
        ["index", "search", "pump", "--index", "evil"],
        ["index", "show", shown, "--index", "evil"],
        ["index", "show", f"{shown}{CLIPBOARD}", "--index", "evil"],
        ["index", "check", "--index", "evil"],
        ["index", "export", "-", "--index", "evil"],
        ["index", "remove", shown, "--index", "evil", "--yes"],
        ["models", "list"],
        ["models", "show", str(model)],
        ["models", "show", f"none{CLIPBOARD}"],
        ["models", "import", f"{model}{TITLE}"],
        ["adapters", "list"],
        ["adapters", "show", f"lora{CLIPBOARD}"],
        ["ask", "what?", "--model", f"none{CLIPBOARD}"],
        ["data", "check", str(docs / next(iter(NAMES)))],
        ["chats", "list"],
        ["doctor"],
        [f"no-command{CLIPBOARD}"],
        ["paths", f"--no-option{TITLE}"],
    ]


def test_nothing_foreign_steers_a_terminal_and_names_stay_recognisable(docs: Path, models: Path) -> None:
    written = on_a_terminal(commands_on(docs, models))
    assert b"\x1b[1m" in written, "styles are shown on a terminal"
    text = _OURS.sub(b"", written).decode()
    assert _CONTROL.findall(text) == []
    assert "Traceback" not in text
    for name in NAMES.values():
        assert name in text, name
    assert "\nadded forged.md" not in text
    assert "\nedge: all is well" not in text
    assert "evil\\x1b]0;PWN\\x07\\nmodel" in text
    assert "\\x1b[2J" in text


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_without_colours_no_escape_sequence_is_written(docs: Path, models: Path, environment: dict[str, str]) -> None:
    written = on_a_terminal(commands_on(docs, models), **environment)
    assert _CONTROL.findall(written.decode()) == []
    assert b"The index is whole." in written


def test_colours_are_forced_through_a_pipe_and_an_empty_no_color_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def header() -> str:
        return CliRunner().invoke(cli, ["doctor"]).stdout

    monkeypatch.delenv("TERM", raising=False)
    assert "\x1b" not in header()
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "")
    assert "\x1b[1m" in header()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in header()


def test_json_holds_hostile_names_as_they_are(models: Path) -> None:
    name = "c1\x9b2J\x7f\u202e\x1b]0;PWN\x07\nrow"
    models.rename(models.with_name(f"{name}.gguf"))
    written = CliRunner().invoke(cli, ["models", "list", "--json"]).stdout
    assert _CONTROL.findall(written) == []
    assert json.loads(written)[0]["name"] == name


def test_a_progress_bar_spells_what_it_names(tmp_path: Path) -> None:
    program = (
        "import sys; from edge_tui.terminal import guarded\n"
        "from edge_tui.cli.output import passing, stages\n"
        "with guarded():\n"
        "    with stages() as show: show(sys.argv[1], 1, 2)\n"
        "    with passing() as show: show(sys.argv[1])\n"
    )
    master, slave = pty.openpty()
    child = [sys.executable, "-c", program, EVIL]
    subprocess.run(child, stderr=slave, check=True, env=os.environ | {"TERM": "xterm", "COLUMNS": "400"})
    os.close(slave)
    text = _OURS.sub(b"", read(master)).decode()
    assert _CONTROL.findall(text) == []
    assert text.count("title\\x1b]0;PWN\\x07") >= 2
    assert "\nadded forged" not in text


def test_every_character_of_unicode_that_steers_is_spelled() -> None:
    """The oracle is Unicode's own table: controls, line separators, surrogates, and the marks of embedding."""
    import unicodedata

    overrides = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    for code in range(0x110000):
        character = chr(code)
        foreign = (
            unicodedata.category(character) in ("Cc", "Zl", "Zp", "Cs")
            or unicodedata.bidirectional(character) in overrides
        ) and character not in "\t\n"
        assert (visible(character) != character) == foreign, hex(code)
        if foreign and code >= 0x7F:
            assert json.loads(f'"{visible(character)}"') == character
