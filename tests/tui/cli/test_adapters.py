"""`edge adapters`, called as a shell calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_converters.adapter import export_adapter
from edge_tui.cli.main import _run

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("EDGE_HOME", str(tmp_path / "home"))

    def call(*arguments: str) -> tuple[int, str, str]:
        status = _run(["adapters", *arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def test_an_adapter_is_kept_shown_and_removed(run: Run, stand_in: Path, trained_lora: Path, tmp_path: Path) -> None:
    (trained_lora / "optimizer.pt").touch()
    try:
        assert run("add", str(trained_lora), "--name", "station")[0] == 0
    finally:
        (trained_lora / "optimizer.pt").unlink()
    gguf = tmp_path / "handbook.gguf"
    export_adapter(trained_lora, gguf, base=stand_in)
    assert run("add", str(gguf))[0] == 0
    kept = tmp_path / "home" / "adapters"
    assert (kept / "station" / "adapter_model.safetensors").is_file()
    assert not (kept / "station" / "optimizer.pt").exists()
    listed = json.loads(run("list", "--json")[1])
    assert [(entry["name"], entry["format"]) for entry in listed] == [("handbook", "gguf"), ("station", "peft")]
    for name in ("station", "handbook"):
        facts = json.loads(run("show", name, "--json")[1])
        assert (facts["modules"], facts["ranks"], facts["alpha"]) == (120, [8], 16)
    assert run("remove", "station", "handbook", "--yes")[0] == 0
    assert list(kept.iterdir()) == []
    assert trained_lora.is_dir()


def test_what_cannot_be_kept_is_said(run: Run, trained_lora: Path, tmp_path: Path, starter_home: Path) -> None:
    assert run("add", str(trained_lora), "--name", "a")[0] == 0
    model = next((starter_home / "models").glob("*.gguf"))
    (tmp_path / "notes.txt").touch()
    for arguments, words in (
        (("add", str(trained_lora), "--name", "a"), "already"),
        (("add", str(trained_lora), "--name", "../a"), "no name for an adapter"),
        (("add", str(tmp_path / "absent")), "does not exist"),
        (("add", str(tmp_path / "notes.txt")), "no LoRA"),
        (("add", str(model)), "no LoRA"),
        (("add", str(tmp_path)), "adapter_config.json"),
        (("remove", "a", "b"), "no adapter called 'b'; known: a"),
        (("remove", "a"), "add --yes"),
        (("show", "b"), "no adapter called 'b'"),
    ):
        status, _, said = run(*arguments)
        assert status == (2 if said.startswith("Usage") else 1), arguments
        assert words in said, said
    assert [path.name for path in (tmp_path / "home" / "adapters").iterdir()] == ["a"]
    assert run("add", str(trained_lora), "--name", "a", "--replace")[0] == 0
    assert [path.name for path in (tmp_path / "home" / "adapters").iterdir()] == ["a"]


def test_whether_it_fits_a_model_is_said(run: Run, trained_lora: Path, starter_home: Path) -> None:
    model = next((starter_home / "models").glob("*.gguf"))
    status, shown, _ = run("show", str(trained_lora), "-m", str(model), "--json")
    assert status == 0
    assert json.loads(shown)["fits"].startswith("no: ")
