"""`edge config`: what stands where, what is written, and what is refused."""

from __future__ import annotations

import json
import stat
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edge.settings import NAMES
from edge_tui.cli.main import _run, cli


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_HOME", str(tmp_path))
    for name in NAMES:
        monkeypatch.delenv(f"EDGE_{name.upper()}", raising=False)
    return tmp_path / "config.toml"


def config(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["config", *arguments])


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert _run(["config", *arguments]) == 1
    return capsys.readouterr().err


def listed() -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in json.loads(config("list", "--json").stdout)}


def test_every_setting_is_listed_with_who_set_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('model = "phi"\nk = 7\n[keys]\ncopy = "f6"\n')
    monkeypatch.setenv("EDGE_K", "9")
    found = listed()
    assert set(NAMES) < set(found)
    assert (found["model"]["value"], found["model"]["source"], found["model"]["origin"]) == ("phi", "config", str(file))
    assert (found["k"]["value"], found["k"]["default"], found["k"]["origin"]) == (9, 5, "EDGE_K")
    assert (found["extra_read_seconds"]["source"], found["extra_read_seconds"]["type"]) == ("default", "float")
    assert found["kv_type"]["choices"] == ["f16", "q8_0", "q4_0"]
    assert (found["keys.copy"]["value"], found["keys.copy"]["default"]) == ("f6", "ctrl+y")
    text = config("list").stdout
    assert all(name in text for name in found)
    assert "EDGE_K" in text
    assert config("get", "k").stdout == "9\n"
    assert config("get", "context").stdout == ""


def test_set_keeps_what_a_person_wrote_and_other_programs_read_it(file: Path) -> None:
    file.write_text('# mine\nmodel = "phi"   # the small one\n\n[keys]\ncopy = "f6" # handy\n')
    assert config("set", "k", "12").exit_code == 0
    assert config("set", "model", 'a "quoted" name\\').exit_code == 0
    assert config("set", "keep_chats", "off").exit_code == 0
    assert config("set", "keys.code", "f7").exit_code == 0
    written = tomllib.loads(file.read_text())
    assert written == {
        "model": 'a "quoted" name\\',
        "k": 12,
        "keep_chats": False,
        "keys": {"copy": "f6", "code": "f7"},
    }
    assert all(comment in file.read_text() for comment in ("# mine", "# the small one", "# handy"))
    assert config("unset", "k").exit_code == config("unset", "keys.copy").exit_code == 0
    assert tomllib.loads(file.read_text())["keys"] == {"code": "f7"}
    assert "k" not in tomllib.loads(file.read_text())
    assert list(file.parent.iterdir()) == [file]


def test_a_setting_can_still_be_called_by_its_old_name(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("certainty = 0.25\n")
    assert config("get", "certainty").stdout == config("get", "min_answerable").stdout == "0.25\n"
    assert "certainty" not in config("list").stdout
    monkeypatch.setenv("EDGE_CERTAINTY", "0.5")
    assert "EDGE_CERTAINTY is set" in config("set", "certainty", "0.75").stderr
    assert tomllib.loads(file.read_text()) == {"certainty": 0.25, "min_answerable": 0.75}
    assert config("unset", "certainty").exit_code == 0
    assert tomllib.loads(file.read_text()) == {}


def test_the_file_is_private_and_a_link_stays_one(file: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "dotfiles" / "edge.toml"
    elsewhere.parent.mkdir()
    file.symlink_to(elsewhere)
    assert config("set", "k", "3").exit_code == 0
    assert file.is_symlink()
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o600
    assert tomllib.loads(elsewhere.read_text()) == {"k": 3}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("kv_typ", "f16", "did you mean kv_type?"),
        ("key.copy", "f6", "did you mean keys.copy"),
        ("kv_type", "q8_1", "did you mean q8_0?"),
        ("k", "many", "a number (int)"),
        ("k", "0", "from 1 to"),
        ("k", "2.5", "a number (int)"),
        ("min_answerable", "nan", "from 0 to 1"),
        ("temperature", "-1", "0 or more"),
        ("gpu_layers", "alle", "did you mean all"),
        ("keep_chats", "perhaps", "true or false"),
        ("keys.copy", "hyper+x", "is no key"),
        ("keys.copy", "ctrl+l", "would mean both"),
    ],
)
def test_what_a_setting_does_not_take_is_refused_and_nothing_written(
    file: Path, capsys: pytest.CaptureFixture[str], name: str, value: str, said: str
) -> None:
    file.write_text("context = 512\n")
    assert said in refused(capsys, "set", "--", name, value)
    assert file.read_text() == "context = 512\n"


def test_a_broken_file_is_named_and_can_be_put_right(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("modell = 'x'\nk = 3\n")
    said = refused(capsys, "list")
    assert "'modell'" in said
    assert "did you mean model?" in said
    assert config("unset", "modell").exit_code == 0
    assert config("get", "k").stdout == "3\n"
    file.write_text("k = [\n")
    assert "edge config edit" in refused(capsys, "set", "k", "3")
    assert file.read_text() == "k = [\n"


def test_edit_opens_the_editor_and_says_what_is_wrong_then(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The editor is a program that writes a line; what it found is every setting, none of them set."""
    editor = tmp_path / "editor.py"
    editor.write_text("import sys\nfile = open(sys.argv[1], 'a')\nfile.write(open(sys.argv[0] + '.line').read())\n")
    line = tmp_path / "editor.py.line"
    monkeypatch.setenv("VISUAL", f"{sys.executable} {editor}")
    line.write_text("")
    assert _run(["config", "edit"]) == 0
    assert tomllib.loads(file.read_text()) == {}
    assert all(f"# {name} = " in file.read_text() for name in NAMES)
    line.write_text("[keys]\ncopy = 'hyper+x'\n")
    assert "is no key" in refused(capsys, "edit")
    file.write_text("")
    line.write_text("kv_type = 'f8'\n")
    assert "kv_type must be" in refused(capsys, "edit")


def test_path_is_where_the_settings_are_read_from(file: Path) -> None:
    assert Path(config("path").stdout.strip()) == file
