"""The main job from the command line on both engines: the same weights give the same answer and the same sources."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import standin
from edge_tui.cli.main import cli

PUMP = "# Pump P-7\n\nReplace the shaft seal every 4,000 hours of operation. The motor takes 45 W at 230 V.\n"
ENGINES = ("gguf", "onnx")


@pytest.fixture
def home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minilm_dir: Path, stand_in_exports: Path, trained_lora: Path
) -> Path:
    models = tmp_path / "home" / "models"
    models.mkdir(parents=True)
    (models / minilm_dir.name).symlink_to(minilm_dir)
    (models / "station.gguf").symlink_to(stand_in_exports / "f16.gguf")
    (models / "station").symlink_to(stand_in_exports / "onnx-fp32")
    (tmp_path / "home" / "adapters").mkdir()
    (tmp_path / "home" / "adapters" / "handbook").symlink_to(trained_lora)
    monkeypatch.setenv("EDGE_HOME", str(tmp_path / "home"))
    return tmp_path


def asked(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(cli, ["ask", *arguments, "--json"], catch_exceptions=False, standalone_mode=False)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_both_engines_answer_from_the_documents_alike(home: Path) -> None:
    (home / "docs").mkdir()
    (home / "docs" / "pump.md").write_text(PUMP)
    question = "How often is the shaft seal replaced?"
    options = ("--docs", str(home / "docs"), "--max-tokens", "24", "-m", "station")
    answers = [asked(question, *options, "--engine", engine) for engine in ENGINES]
    for answer in answers:
        assert "4,000 hours" in answer["text"]
        quote = answer["citations"][0]
        assert quote["quote"] == PUMP[quote["start"] : quote["end"]]
    assert answers[0]["text"] == answers[1]["text"]
    assert answers[0]["usage"]["prompt_tokens"] == answers[1]["usage"]["prompt_tokens"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_peft_adapter_of_the_library_answers(home: Path, engine: str) -> None:
    question, fact = standin.LESSONS[0]
    options = (question, "-m", "station", "--engine", engine, "--max-tokens", "24")
    assert fact in asked(*options, "-a", "handbook")["text"]
    assert fact not in asked(*options, "-a", "handbook", "--scale", "0")["text"]
