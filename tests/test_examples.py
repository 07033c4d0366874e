"""The programs in examples/ do what they say, with the starter models."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
    assert {"technician", "seal"} == set(eval(value, {"__builtins__": {}}))
    assert any("stands in service note" in line for line in below)
