"""The README's commands are run as they stand there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pages

ROOT = Path(__file__).resolve().parent.parent
BLOCKS = pages.commands()
FIRST = next(block for block in BLOCKS if "models pull starter" in block)
CONVERSION = next(block for block in BLOCKS if "edge convert gguf" in block)
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


@pytest.mark.timeout(2400)
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
