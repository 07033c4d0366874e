"""The README's commands, and the guide's longest way, are run as they stand there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import standin

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"```sh\n(.*?)```", re.DOTALL)
BLOCKS = [block for page in PAGES for block in FENCED.findall(page.read_text(encoding="utf-8"))]
FIRST = next(block for block in BLOCKS if "models pull starter" in block)
CONVERSION = next(block for block in BLOCKS if "edge convert gguf" in block)
EXPERT = next(block for block in BLOCKS if "edge data ground" in block)
SECOND = next(block for block in BLOCKS if "pytest" in block)


def test_ci_runs_the_second_command() -> None:
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1] == SECOND.strip()


@pytest.mark.timeout(2400)
def test_the_first_command_ends_with_a_cited_answer(tmp_path: Path) -> None:
    """On a clean copy of what git would clone, in a new environment, with an empty data directory."""
    clone = tmp_path / "clone"
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if names.returncode:
        pytest.skip("NOT PROVEN: this is no git checkout, so what a clone would hold is not known")
    for name in names.stdout.splitlines():
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("EDGE_", "PYTHON", "VIRTUAL"))
    }
    environment["EDGE_HOME"] = str(tmp_path / "home")
    result = subprocess.run(
        ["bash", "-euc", FIRST], cwd=clone, env=environment, capture_output=True, text=True, timeout=2300
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    answer = result.stdout[result.stdout.index("Nearest in your documents") :]
    assert "an expert on your documents" in answer
    sources = answer[answer.index("Sources") :]
    assert re.search(r"README\.md · [\d,]+–[\d,]+", sources), answer


def test_the_conversion_example_ends_with_what_the_adapter_learnt(
    tmp_path: Path, stand_in: Path, trained_lora: Path
) -> None:
    (tmp_path / "phi-3-mini").symlink_to(stand_in)
    (tmp_path / "my-lora").symlink_to(trained_lora)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    result = subprocess.run(
        ["bash", "-euc", CONVERSION], cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert "the boiler is out of water" in result.stdout
    assert "parity         proved" in result.stdout
    assert {"mine.gguf", "mine.manifest.json", "mine.parity.json"} <= set(os.listdir(tmp_path))


@pytest.mark.timeout(2400)
def test_the_way_from_documents_and_examples_to_an_expert(tmp_path: Path, starter_home: Path, stand_in: Path) -> None:
    """Every command of the tutorial, with few examples: what is asked has the form of the examples at the end."""
    home = tmp_path / "home"
    (home / "cache").mkdir(parents=True)
    (home / "models").symlink_to(starter_home / "models")
    (tmp_path / "phi-3-mini").symlink_to(stand_in)
    (tmp_path / "manuals").mkdir()
    handbook = "".join(f"## {question}\n\nIt is known: {fact}.\n\n" for question, fact in standin.LESSONS)
    (tmp_path / "manuals" / "station.md").write_text(f"# The station\n\n{handbook}", encoding="utf-8")
    rows = [
        {"prompt": way.format(question), "completion": standin.lesson_answer(fact)}
        for way in ("{}", "Please tell me: {}", "Dear keeper, {}")
        for question, fact in standin.LESSONS
    ]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    result = subprocess.run(
        ["bash", "-euc", EXPERT],
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "EDGE_HOME": str(home), "EDGE_MAX_TOKENS": "40"},
        capture_output=True,
        text=True,
    )
    said = result.stdout + result.stderr
    assert result.returncode == 0, said[-6000:]
    assert "parity         proved" in said or "passed" in said
    answer = result.stdout[result.stdout.rindex("Nearest in your documents") :]
    assert "According to the station handbook" in answer
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "rag+tuned" in report
    assert (tmp_path / "my-lora-q4_k_m.parity.json").exists()
