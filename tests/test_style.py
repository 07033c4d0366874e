"""The house's rules, held by the tools that know them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("mypy", "-p", "edge", "-p", "edge_index", "-p", "edge_converters", "-p", "edge_tui"),
        ("lint-imports",),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_clean(command: tuple[str, ...]) -> None:
    tool = Path(sys.executable).parent / command[0]
    result = subprocess.run([tool, *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
