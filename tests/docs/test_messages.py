"""The page about error messages quotes messages that the sources hold, and has a section for every error."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import edge.errors

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "guide" / "troubleshooting.md").read_text(encoding="utf-8")
QUOTED = [found[2].strip() for found in re.finditer(r"^- (`+)(.*)\1$", PAGE, re.MULTILINE)]


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    """Every text of the four packages, with … in the place of what is filled in."""
    found = []
    for package in ("edge/edge", "index/edge_index", "converters/edge_converters", "tui/edge_tui"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    found.append("".join(_text(part) for part in node.values))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(re.sub(r"\{\w*\}", "…", node.value))
    return found


def _text(part: ast.expr) -> str:
    return str(part.value) if isinstance(part, ast.Constant) else "…"


@pytest.mark.parametrize("message", QUOTED)
def test_the_message_is_one_of_the_sources(message: str, sentences: list[str]) -> None:
    pattern = re.compile(".*".join(re.escape(part) for part in re.split("…+", message)))
    assert any(pattern.fullmatch(sentence) for sentence in sentences), message


def test_every_error_that_is_raised_has_a_section() -> None:
    sections = set(re.findall(r"^### (\w+)$", PAGE, re.MULTILINE))
    errors = {
        name
        for name, kind in vars(edge.errors).items()
        if isinstance(kind, type) and issubclass(kind, edge.errors.EdgeError) and kind is not edge.errors.EdgeError
    }
    assert sections == errors
