"""The guide's longest way, from documents and examples to an expert, is run as it stands there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pages
import standin

EXPERT = next(block for block in pages.commands() if "edge data ground" in block)


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
