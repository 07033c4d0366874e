"""The programs in examples/ do what they say, with the starter models."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(home: Path, name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(home), "EDGE_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def home(starter_home: Path, tmp_path: Path) -> Path:
    (tmp_path / "models").symlink_to(starter_home / "models")
    return tmp_path


def test_own_retriever(home: Path) -> None:
    said = run(home, "own_retriever", "How long does the warranty last?")
    assert "[1] warranty: “The warranty lasts for three years.”" in said


def test_own_encoder(home: Path) -> None:
    assert run(home, "own_encoder") == (
        "ticket 17 ({'open': True, 'site': 'north'}): The pump loses oil at the lower seal.\n"
    )


def test_structured(home: Path) -> None:
    value, *below = run(home, "structured").splitlines()
    assert value.startswith("technician='")
    assert " seal='" in value
    assert any("stands in service note" in line for line in below)


def test_batch(home: Path) -> None:
    (home / "questions.csv").write_text(
        "question,asked by\nHow often is the pump due?,Ada\nWho won the cup in 1966?,Bo\n"
    )
    said = run(home, "batch", str(home / "questions.csv"), str(EXAMPLES / "manuals"), str(home / "answers.csv"))
    assert said == "2 questions answered\n"
    with (home / "answers.csv").open(newline="", encoding="utf-8") as file:
        pump, cup = csv.DictReader(file)
    text = (EXAMPLES / "manuals" / pump["document"]).read_text(encoding="utf-8")
    assert pump["quote"] in text
    assert "ninety days" in pump["quote"]
    assert (cup["question"], cup["document"], cup["quote"]) == ("Who won the cup in 1966?", "", "")


def test_adapter_swap(home: Path, stand_in_exports: Path) -> None:
    said = run(home, "adapter_swap", str(stand_in_exports / "f16.gguf"), str(stand_in_exports / "lora.gguf"))
    answers = dict(re.findall(r"^(the base|lora|lora, half|the base again): (.*)", said, re.MULTILINE))
    assert answers["the base"] == answers["the base again"] != answers["lora"]
    assert "the boiler is out of water" in answers["lora"]


def test_compare(home: Path) -> None:
    first, *_ = run(home, "compare").splitlines()
    assert "your documents (rag)" in first
    assert "of 5" in first


def test_notebook(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its cells, one after the other as a notebook runs them, beside the folder that it names."""
    book = json.loads((EXAMPLES / "notebook.ipynb").read_text(encoding="utf-8"))
    assert (book["nbformat"], len({cell["id"] for cell in book["cells"]})) == (4, len(book["cells"]))
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.setenv("EDGE_HOME", str(home))
    names: dict[str, Any] = {}
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)  # kept without results
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert "ninety days" in names["answer"]._repr_markdown_()
    assert "pump.md" in capsys.readouterr().out


def test_every_example_is_run_and_listed() -> None:
    files = {file.name for file in EXAMPLES.iterdir() if file.suffix in (".py", ".ipynb")}
    tests = {f"test_{Path(name).stem}" for name in files}
    assert tests - {"test_streaming_server"} <= set(globals())  # that one has a file of its own
    guide = (EXAMPLES.parent / "docs" / "guide" / "api.md").read_text(encoding="utf-8")
    assert {Path(name).name for name in re.findall(r"`(examples/[\w.]+)` \|", guide)} == files
    assert len(files) >= 8
